using System.Globalization;
using System.Numerics;
using KeyVa.Indexes;
using Xunit;

namespace KeyVa.Tests.Indexes;

public sealed class IndexValueTests
{
    private static readonly string[] Numbers =
    [
        "-1e300", "-9223372036854775809", "-9223372036854775808", "-100", "-99.5", "-99", "-1.5", "-1", "-0.1", "-0.01", "-1e-300", "0", "1e-300", "0.001",
        "0.01", "0.1", "0.11", "0.5", "1", "1.0000000000000000000000001", "1.5", "2", "9", "10", "10.5", "11", "99", "100", "101", "9007199254740992",
        "9007199254740993", "18446744073709551616", "1e20", "1e300", "1.5e300", "1e301",
    ];

    [Fact]
    public void NumbersAreOrderedAndExact()
    {
        IndexValue[] values = [.. Numbers.Select(Number)];
        for (int i = 0; i < values.Length; i++)
        {
            for (int j = 0; j < values.Length; j++)
            {
                Assert.True(Math.Sign(i.CompareTo(j)) == Math.Sign(values[i].CompareTo(values[j])), $"{Numbers[i]} and {Numbers[j]}");
            }
        }
    }

    [Theory]
    [InlineData("1", "1.0")]
    [InlineData("1", "10e-1")]
    [InlineData("100", "1E+2")]
    [InlineData("-0.5", "-5e-1")]
    [InlineData("0", "-0.000e7")]
    public void OneNumberHasOneEncoding(string a, string b) => Assert.Equal(Number(a), Number(b));

    [Theory]
    [InlineData("")]
    [InlineData("-")]
    [InlineData("1e")]
    [InlineData("1x")]
    [InlineData("e5")]
    [InlineData("1e99999999999")]
    [InlineData("NaN")]
    public void WhatIsNoNumberIsRefused(string text) => Assert.False(IndexValue.TryParseNumber(text, out _));

    [Fact]
    public void ValuesAreShownAsJson()
    {
        Assert.Equal("12.5", IndexValue.From(12.5).ToString());
        Assert.Equal("-0.001", IndexValue.From(-0.001).ToString());
        Assert.Equal("100", IndexValue.From(100L).ToString());
        Assert.Equal("-9223372036854775808", IndexValue.From(long.MinValue).ToString());
        Assert.Equal("1e+300", IndexValue.From(1e300).ToString().Replace("e", "e+", StringComparison.Ordinal));
        Assert.Equal("\"a\\u0000b\"", IndexValue.From("a\0b").ToString());
        Assert.Equal("null", IndexValue.Null.ToString());
        Assert.Equal("true", IndexValue.From(true).ToString());
    }

    [Fact]
    public void TheOrderOfTheBytesIsTheOrderOfTheTuples()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        for (int round = 0; round < 20_000; round++)
        {
            object?[] a = Tuple(random);
            object?[] b = Tuple(random);
            byte[] encodedA = [.. a.SelectMany(static value => Value(value).Encoded.ToArray())];
            byte[] encodedB = [.. b.SelectMany(static value => Value(value).Encoded.ToArray())];
            int expected = Compare(a, b);
            Assert.True(expected == Math.Sign(encodedA.AsSpan().SequenceCompareTo(encodedB)), $"seed {seed}, round {round}: ({string.Join(", ", a)}) and ({string.Join(", ", b)})");
            ReadOnlySpan<byte> rest = encodedA;
            foreach (object? value in a)
            {
                Assert.True(IndexValue.TryTake(ref rest, out IndexValue taken));
                Assert.Equal(Value(value), taken);
            }

            Assert.True(rest.IsEmpty);
        }
    }

    [Fact]
    public void AnyBytesAreReadOrRefused()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        var bytes = new byte[64];
        byte[] tags = [0x10, 0x20, 0x21, 0x30, 0x31, 0x32, 0x40, 0x50];
        for (int round = 0; round < 20_000; round++)
        {
            random.NextBytes(bytes);
            ReadOnlySpan<byte> input = bytes.AsSpan(0, random.Next(bytes.Length));
            if (!input.IsEmpty)
            {
                bytes[0] = tags[random.Next(tags.Length)];
            }

            int length = IndexValueEncoding.LengthOfFirst(input);
            Assert.True(length >= 0 && length <= input.Length, $"seed {seed}, round {round}");
            IndexValueEncoding.HasNull(input);
        }
    }

    internal static IndexValue Number(string text)
    {
        Assert.True(IndexValue.TryParseNumber(text, out IndexValue value), text);
        return value;
    }

    private static object?[] Tuple(Random random)
    {
        var values = new object?[2];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = random.Next(8) switch
            {
                0 => null,
                1 => random.Next(2) == 0,
                2 => (decimal)random.Next(-3, 4),
                3 => (decimal)random.NextInt64(long.MinValue, long.MaxValue),
                4 => new decimal(random.Next(), random.Next(3), 0, random.Next(2) == 0, (byte)random.Next(29)),
                _ => string.Concat(Enumerable.Range(0, random.Next(4)).Select(_ => "\0\u0001aaé\uffff"[random.Next(6)])),
            };
        }

        return values;
    }

    private static IndexValue Value(object? value) => value switch
    {
        null => IndexValue.Null,
        bool b => b,
        decimal d => d,
        _ => (string)value,
    };

    private static int Compare(object?[] a, object?[] b)
    {
        for (int i = 0; i < a.Length; i++)
        {
            int order = Rank(a[i]).CompareTo(Rank(b[i]));
            order = order != 0 ? order : (a[i], b[i]) switch
            {
                (bool x, bool y) => x.CompareTo(y),
                (decimal x, decimal y) => Scaled(x).CompareTo(Scaled(y)),
                (string x, string y) => System.Text.Encoding.UTF8.GetBytes(x).AsSpan().SequenceCompareTo(System.Text.Encoding.UTF8.GetBytes(y)),
                _ => 0,
            };
            if (order != 0)
            {
                return Math.Sign(order);
            }
        }

        return 0;
    }

    private static int Rank(object? value) => value switch { null => 0, bool => 1, decimal => 2, _ => 3 };

    // Exact, whatever their scales.
    private static BigInteger Scaled(decimal value)
    {
        string text = value.ToString(CultureInfo.InvariantCulture);
        int point = text.IndexOf('.', StringComparison.Ordinal);
        int decimals = point < 0 ? 0 : text.Length - point - 1;
        return BigInteger.Parse(text.Replace(".", string.Empty, StringComparison.Ordinal), CultureInfo.InvariantCulture) * BigInteger.Pow(10, 30 - decimals);
    }
}
