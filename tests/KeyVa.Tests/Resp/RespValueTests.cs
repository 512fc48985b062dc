using System.Text;
using KeyVa.Protocol.Resp;
using KeyVa.Server.Resp;
using Xunit;

namespace KeyVa.Tests.Resp;

/// <summary>Numbers, patterns, replies and the table of commands, by themselves.</summary>
public sealed class RespValueTests
{
    [Theory]
    [InlineData("0", true)]
    [InlineData("-1", true)]
    [InlineData("9223372036854775807", true)]
    [InlineData("-9223372036854775808", true)]
    [InlineData("9223372036854775808", false)]
    [InlineData("", false)]
    [InlineData("-", false)]
    [InlineData("-0", false)]
    [InlineData("01", false)]
    [InlineData("+1", false)]
    [InlineData(" 1", false)]
    [InlineData("1 ", false)]
    [InlineData("1x", false)]
    public void WholeNumbersAreReadAsRedisDoes(string text, bool isNumber)
    {
        Assert.Equal(isNumber, RespNumber.TryRead(Encoding.ASCII.GetBytes(text), out long number));
        Assert.Equal(isNumber ? long.Parse(text, System.Globalization.CultureInfo.InvariantCulture) : 0, isNumber ? number : 0);
    }

    [Theory]
    [InlineData("0.1", "0.2", "0.3")]
    [InlineData("10.5", "0.1", "10.6")]
    [InlineData("5.0e3", "200", "5200")]
    [InlineData("1", "-1", "0")]
    [InlineData("-0.5", "0.25", "-0.25")]
    [InlineData("3.0e3", "1.25e-5", "3000.00001249999999997")]
    [InlineData("12345678901234567890.5", "0", "12345678901234567890")]
    [InlineData("0.00000000000000001", "0", "0.00000000000000001")]
    [InlineData("-0.000000000000000001", "0", "0")]
    public void SumsAreThoseOfALongDouble(string left, string right, string sum)
    {
        Assert.True(LongDouble.TryParse(Encoding.ASCII.GetBytes(left), out LongDouble one));
        Assert.True(LongDouble.TryParse(Encoding.ASCII.GetBytes(right), out LongDouble other));
        string shown = (one + other).ToString();
        Assert.Equal(sum, shown == "-0" ? "0" : shown);
    }

    [Theory]
    [InlineData("")]
    [InlineData("nan")]
    [InlineData(" 1")]
    [InlineData("1e5000")]
    [InlineData("1e999999999999")]
    [InlineData("1e-6000")]
    [InlineData("1.2.3")]
    [InlineData("1e")]
    [InlineData(".")]
    public void WhatIsNoNumberIsNone(string text) => Assert.False(LongDouble.TryParse(Encoding.ASCII.GetBytes(text), out _));

    [Theory]
    [InlineData("*", "", true)]
    [InlineData("a*b*c", "aXbYc", true)]
    [InlineData("a*b*c", "aXbY", false)]
    [InlineData("h?llo", "hello", true)]
    [InlineData("h[ae]llo", "hillo", false)]
    [InlineData("h[^e]llo", "hallo", true)]
    [InlineData("h[b-a]llo", "hallo", true)]
    [InlineData("h\\?llo", "hello", false)]
    [InlineData("h\\?llo", "h?llo", true)]
    [InlineData("[", "[", false)]
    [InlineData("", "a", false)]
    [InlineData("**a**", "bab", true)]
    public void PatternsMatchAsInRedis(string pattern, string text, bool matches) =>
        Assert.Equal(matches, RespPattern.Matches(Encoding.ASCII.GetBytes(pattern), Encoding.ASCII.GetBytes(text)));

    [Fact]
    public void APatternOfManyStarsEnds() =>
        Assert.False(RespPattern.Matches(
            Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("*a", 2000)) + "b"), Encoding.ASCII.GetBytes(new string('a', 8000))));

    [Fact]
    public void EveryCommandIsFoundInAnyCaseAndNothingElseIs()
    {
        foreach (CommandInfo info in CommandTable.All)
        {
            Assert.Same(info, CommandTable.Find(Encoding.ASCII.GetBytes(info.Name)));
            Assert.Same(info, CommandTable.Find(Encoding.ASCII.GetBytes(info.Name.ToUpperInvariant())));
            Assert.Null(CommandTable.Find(Encoding.ASCII.GetBytes(info.Name + "x")));
            Assert.Null(CommandTable.Find(Encoding.ASCII.GetBytes(info.Name[..^1] + "\u0001")));
        }

        Assert.Null(CommandTable.Find(""u8));
        Assert.Null(CommandTable.Find(new byte[100]));
    }

    [Fact]
    public void RepliesSpeakTheVersionThatWasAskedFor()
    {
        Assert.Equal("$-1\r\n*-1\r\n*4\r\n*2\r\n*1\r\n$3\r\n1.5\r\n", Written(2));
        Assert.Equal("_\r\n_\r\n%2\r\n~2\r\n>1\r\n,1.5\r\n", Written(3));
    }

    [Fact]
    public void AnErrorIsOneLine()
    {
        using RespOutput output = new();
        output.Error("ERR a\r\nb");
        Assert.Equal("-ERR a  b\r\n", Encoding.ASCII.GetString(output.Unsent));
    }

    private static string Written(int version)
    {
        using RespOutput output = new() { Version = version };
        output.Null();
        output.NullArray();
        output.Map(2);
        output.Set(2);
        output.Push(1);
        output.Double(1.5);
        return Encoding.ASCII.GetString(output.Unsent);
    }
}
