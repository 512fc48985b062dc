using System.Text;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Partitions;

/// <summary>The vectors are those of xxHash's own self-test (xsum_sanity_check.c) and of its documentation.</summary>
public class XxHash64Tests
{
    private const uint Prime32 = 2654435761;
    private const ulong Prime64 = 11400714785074694797;

    [Theory]
    [InlineData("", 0xEF46DB3751D8E999)]
    [InlineData("a", 0xD24EC4F1A98C6E5B)]
    [InlineData("abc", 0x44BC2CF5AD770999)]
    [InlineData("Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1)]
    public void HashesText(string text, ulong expected) =>
        Assert.Equal(expected, XxHash64.Compute(Encoding.ASCII.GetBytes(text)));

    [Theory]
    [InlineData(0, 0UL, 0xEF46DB3751D8E999)]
    [InlineData(0, Prime32, 0xAC75FDA2929B17EF)]
    [InlineData(1, 0UL, 0xE934A84ADB052768)]
    [InlineData(1, Prime32, 0x5014607643A9B4C3)]
    [InlineData(4, 0UL, 0x9136A0DCA57457EE)]
    [InlineData(14, 0UL, 0x8282DCC4994E35C8)]
    [InlineData(14, Prime32, 0xC3BD6BF63DEB6DF0)]
    [InlineData(222, 0UL, 0xB641AE8CB691C174)]
    [InlineData(222, Prime32, 0x20CB8AB7AE10C14A)]
    public void HashesTheSelfTestBuffer(int length, ulong seed, ulong expected)
    {
        byte[] buffer = new byte[length];
        ulong generator = Prime32;
        for (int i = 0; i < length; i++)
        {
            buffer[i] = (byte)(generator >> 56);
            generator *= Prime64;
        }

        Assert.Equal(expected, XxHash64.Compute(buffer, seed));
    }
}
