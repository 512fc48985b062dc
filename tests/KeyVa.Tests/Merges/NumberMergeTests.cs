using System.Globalization;
using System.Text;
using Xunit;

namespace KeyVa.Tests.Merges;

public sealed class NumberMergeTests
{
    [Theory]
    [InlineData(null, "1", "1")]
    [InlineData("41", "1", "42")]
    [InlineData("5", "-7", "-2")]
    [InlineData("007", "+1", "8")]
    [InlineData("9223372036854775806", "1", "9223372036854775807")]
    [InlineData("-9223372036854775807", "-1", "-9223372036854775808")]
    public void AnIncrementAdds(string? existing, string operand, string sum) =>
        Assert.Equal(sum, MergeCall.Of(MergeFunction.Increment, existing, operand));

    [Theory]
    [InlineData("9223372036854775807", "1", "beyond 64 bits")]
    [InlineData("-9223372036854775808", "-1", "beyond 64 bits")]
    [InlineData("", "1", "the key's value is no whole number")]
    [InlineData("1.5", "1", "the key's value is no whole number of 64 bits in decimal, but '1.5'")]
    [InlineData(" 1", "1", "the key's value")]
    [InlineData("9223372036854775808", "1", "the key's value")]
    [InlineData("1", "", "the operand is no whole number")]
    [InlineData("1", "1e3", "the operand")]
    [InlineData("1", "grün", "bytes that are no plain text")]
    public void AnIncrementOfSomethingElseIsRefused(string existing, string operand, string because)
    {
        string answer = MergeCall.Of(MergeFunction.Increment, existing, operand);
        Assert.StartsWith("!", answer, StringComparison.Ordinal);
        Assert.Contains(because, answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, "1.5", "1.5")]
    [InlineData("0.1", "0.2", "0.30000000000000004")]
    [InlineData("10", "-2.5e0", "7.5")]
    [InlineData("3", "5", "8")]
    [InlineData("1e20", "1", "1E+20")]
    [InlineData("-1", "1", "0")]
    [InlineData("-0", "-0", "0")]
    public void AnIncrementOfDoublesIsTheShortestTextThatReadsBack(string? existing, string operand, string sum)
    {
        Assert.Equal(sum, MergeCall.Of(MergeFunction.IncrementFloat, existing, operand));
        Assert.Equal(sum, MergeCall.Of(MergeFunction.IncrementFloat, sum, "0"));
    }

    [Theory]
    [InlineData("1", "NaN")]
    [InlineData("1", "Infinity")]
    [InlineData("1", "∞")]
    [InlineData("1", "1e999")]
    [InlineData("1.7e308", "1.7e308")]
    [InlineData("one", "1")]
    [InlineData("1", "1,000")]
    [InlineData("1", " 1")]
    public void WhatIsNoFiniteDoubleIsRefused(string existing, string operand) =>
        Assert.StartsWith("!", MergeCall.Of(MergeFunction.IncrementFloat, existing, operand), StringComparison.Ordinal);

    [Theory]
    [InlineData(null, "7", "7", "7")]
    [InlineData("3", "7", "3", "7")]
    [InlineData("10", "9", "9", "10")]
    [InlineData("-1", "1", "-1", "1")]
    [InlineData("1.0", "1", "1.0", "1.0")]
    [InlineData("1.5", "2", "1.5", "2")]
    [InlineData("9007199254740993", "9007199254740992", "9007199254740992", "9007199254740993")]
    [InlineData("0", "-0.0", "0", "0")]
    public void TheWinnersBytesStay(string? existing, string operand, string least, string greatest)
    {
        Assert.Equal(least, MergeCall.Of(MergeFunction.Min, existing, operand));
        Assert.Equal(greatest, MergeCall.Of(MergeFunction.Max, existing, operand));
    }

    [Theory]
    [InlineData(null, "x")]
    [InlineData("x", "1")]
    [InlineData("1", "NaN")]
    [InlineData("1", "")]
    public void WhatIsNoNumberHasNoOrder(string? existing, string operand)
    {
        Assert.StartsWith("!", MergeCall.Of(MergeFunction.Min, existing, operand), StringComparison.Ordinal);
        Assert.StartsWith("!", MergeCall.Of(MergeFunction.Max, existing, operand), StringComparison.Ordinal);
    }

    [Fact]
    public void AnAppendPutsBytesBehindBytes()
    {
        Assert.Equal("b", MergeCall.Of(MergeFunction.Append, null, "b"));
        Assert.Equal("ab", MergeCall.Of(MergeFunction.Append, "a", "b"));
        Assert.Equal("a", MergeCall.Of(MergeFunction.Append, "a", ""));
    }

    [Fact]
    public void IncrementsAreTheSumsOfAModel()
    {
        const int Seed = 7;
        var random = new Random(Seed);
        for (int i = 0; i < 20_000; i++)
        {
            long left = random.NextInt64(long.MinValue, long.MaxValue) >> random.Next(64);
            long right = random.NextInt64(long.MinValue, long.MaxValue) >> random.Next(64);
            Int128 sum = (Int128)left + right;
            string answer = MergeCall.Of(MergeFunction.Increment, left.ToString(CultureInfo.InvariantCulture), right.ToString(CultureInfo.InvariantCulture));
            Assert.Equal(sum >= long.MinValue && sum <= long.MaxValue ? sum.ToString(CultureInfo.InvariantCulture) : "!", answer.StartsWith('!') ? "!" : answer);
        }
    }

    [Fact]
    public void TheFunctionsAreFoundByTheirNames()
    {
        Assert.Equal(
            "increment increment-float append min max json-merge-patch set-union",
            string.Join(' ', MergeFunction.BuiltIn.Select(static function => function.Name)));
        Assert.All(MergeFunction.BuiltIn, static function => Assert.Same(function, MergeFunction.Find(function.Name)));
        Assert.Equal(Enumerable.Range(1, 7), MergeFunction.BuiltIn.Select(static function => function.Number));
        Assert.Null(MergeFunction.Find("Increment"));
        Assert.Equal("!", MergeCall.Of(MergeFunction.Increment, Encoding.UTF8.GetBytes(new string('0', 300)), "1"u8.ToArray())[..1]);
    }
}
