using System.Text;
using KeyVa.Server.Identity;
using Xunit;

namespace KeyVa.Tests.Server.Identity;

public sealed class RightsTests
{
    private static readonly string[] Bounds = ["", "a", "a/", "a/5", "a/\u007f", "a0", "a00", "b", "ÿ", "ÿÿ", "ÿÿa"];

    [Theory]
    [InlineData("a/")]
    [InlineData("a")]
    [InlineData("ÿ")]
    [InlineData("aÿ")]
    public void ARangeIsAllowedOnlyIfItsKeysAre(string prefix)
    {
        // Latin-1, so that a character is a byte.
        Rights rights = Rights.Of(Plane.Data, [new Grant(Plane.Data, Level.Read, Bytes(prefix))]);
        foreach (string from in Bounds)
        {
            foreach (string to in Bounds)
            {
                bool isAllowed = rights.AllowsRange(Level.Read, Bytes(from), Bytes(to));
                KeyRange range = new(Bytes(from), Bytes(to));
                if (!isAllowed || range.IsEmpty)
                {
                    continue;
                }

                // No key of an allowed range is outside of the prefix.
                foreach (string key in Bounds.Where(static key => key.Length > 0).Concat(Bounds.Select(static key => key + "x")))
                {
                    Assert.True(!range.Contains(Bytes(key)) || rights.Allows(Level.Read, Bytes(key)), $"[{from}, {to}) has {key}");
                }
            }
        }

        KeyRange own = KeyRange.WithPrefix(Bytes(prefix));
        Assert.True(rights.AllowsRange(Level.Read, own.From.Span, own.To.Span));
        Assert.True(rights.AllowsRange(Level.Read, Bytes(prefix + "m"), [], []));
        Assert.False(rights.AllowsRange(Level.Read, [], own.To.Span));
        Assert.False(rights.AllowsRange(Level.Write, own.From.Span, own.To.Span));
        Assert.False(rights.AllowsRange(Level.Read, [], []));
    }

    [Fact]
    public void TheHighestLevelOfAKeyCounts()
    {
        List<Grant> grants = [];
        foreach (string text in new[] { "data:read", "data:write:a/", "data:admin:a/b/", "control:read" })
        {
            Assert.True(Grant.TryParse(text, grants, out _));
        }

        Rights data = Rights.Of(Plane.Data, grants);
        Assert.Equal(Level.Read, data.Everywhere);
        Assert.Equal(Level.Admin, data.Highest);
        Assert.True(data.Allows(Level.Write, "a/x"u8));
        Assert.False(data.Allows(Level.Admin, "a/x"u8));
        Assert.True(data.Allows(Level.Admin, "a/b/x"u8));
        Assert.True(data.Allows(Level.Read, "z"u8));
        Assert.False(data.Allows(Level.Write, "z"u8));
        Assert.Equal(Level.Read, Rights.Of(Plane.Control, grants).Everywhere);
    }

    [Theory]
    [InlineData("admin", "data:admin control:admin")]
    [InlineData("read", "data:read")]
    [InlineData("data:write:orders/2024:", "data:write:orders/2024:")]
    [InlineData("control:write", "control:write")]
    public void GrantsAreReadAsTheyAreWritten(string text, string expected)
    {
        List<Grant> grants = [];
        Assert.True(Grant.TryParse(text, grants, out _));
        Assert.Equal(expected, string.Join(' ', grants));
    }

    [Theory]
    [InlineData("")]
    [InlineData("data")]
    [InlineData("data:all")]
    [InlineData("control:read:prefix")]
    [InlineData("keys:read")]
    public void OtherGrantsAreRefusedByName(string text)
    {
        Assert.False(Grant.TryParse(text, [], out string? wrong));
        Assert.Contains($"'{text}'", wrong);
    }

    private static byte[] Bytes(string text) => Encoding.Latin1.GetBytes(text);
}
