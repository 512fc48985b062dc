using KeyVa.Server;
using Xunit;

namespace KeyVa.Tests.Server;

public sealed class KeyListTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("m", "6d")]
    [InlineData("g,p z,ä", "67 70207a c3a4")]
    [InlineData(@"\x00,a\x2cb,\xff\xFE", "00 612c62 fffe")]
    [InlineData(@"\t,\n,\r,\\", "09 0a 0d 5c")]
    public void KeysAreReadAsTheCommandLineShowsThem(string text, string expected)
    {
        Assert.True(KeyList.TryParse(text, out IReadOnlyList<ReadOnlyMemory<byte>>? keys));
        Assert.Equal(expected, string.Join(' ', keys.Select(static key => Convert.ToHexStringLower(key.Span))));
    }

    [Theory]
    [InlineData("g,")]
    [InlineData(",g")]
    [InlineData("p,g")]
    [InlineData("g,g")]
    [InlineData(@"g\")]
    [InlineData(@"\x6")]
    [InlineData(@"\xgg")]
    [InlineData(@"\x 6")]
    [InlineData(@"\,")]
    [InlineData("\uFFFD")]
    [InlineData("a\uD800")]
    public void WhatIsNoRisingListOfKeysIsRefused(string text) => Assert.False(KeyList.TryParse(text, out _));

    [Fact]
    public void AKeyIsNoLongerThanKeysAre()
    {
        Assert.True(KeyList.TryParse(new string('k', Limits.MaxKeyBytes), out _));
        Assert.False(KeyList.TryParse(new string('k', Limits.MaxKeyBytes + 1), out _));
    }
}
