using System.Text;
using KeyVa.Protocol.Resp;
using KeyVa.Server.Resp;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>The codec of the Redis protocol: a command, a wait for more or a refusal with words, never an exception, and the same in any pieces.</summary>
public sealed class RespFuzzTests : Fuzzing
{
    private static readonly RespLimits Limits = new() { MaxBulkBytes = 1 << 16, MaxArguments = 1 << 10, MaxCommandBytes = 1 << 17 };

    private static readonly byte[][] Requests =
    [
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"u8.ToArray(),
        "*1\r\n$4\r\nPING\r\nPING\r\nset \"a\\x41\\n\" 'b \\'c'\r\n"u8.ToArray(),
        "*0\r\n*-1\r\n\r\n*2\r\n$0\r\n\r\n$3\r\n\r\n\r\r\n"u8.ToArray(),
        "*1024\r\n$65536\r\n*1025\r\n$-1\r\n$99999999999999999999\r\n"u8.ToArray(),
    ];

    private static readonly byte[][] Patterns = ["h[^a-c]l*o?\\*"u8.ToArray(), "**a[b-"u8.ToArray(), "[]]*\\"u8.ToArray()];

    private static readonly byte[][] Numbers = ["-123.456e-7"u8.ToArray(), "+99999999999999999999.00000001"u8.ToArray(), "1e4932"u8.ToArray(), "-inf"u8.ToArray(), "9223372036854775808"u8.ToArray()];

    [Fact]
    public void RequestsAreTheSameInAnyPieces() => Run(40_000, Requests, static (input, random) =>
    {
        List<string> whole = [];
        List<string> pieces = [];
        bool wholeBroken = Read(input, () => input.Length, whole);
        int next = 0;
        bool piecesBroken = Read(input, () => next = Math.Min(input.Length, next + random.Next(1, 8)), pieces);
        Assert.Equal(whole, pieces);
        Assert.Equal(wholeBroken, piecesBroken);
    });

    [Fact]
    public void PatternsEnd() => Run(40_000, Patterns, static (input, random) =>
    {
        byte[] text = new byte[random.Next(64)];
        random.NextBytes(text);
        _ = RespPattern.Matches(input, text);
        Assert.True(RespPattern.LiteralPrefix(input) <= input.Length);
        Assert.True(RespPattern.Matches("*"u8, text));
    });

    [Fact]
    public void NumbersAreReadOrRefused() => Run(20_000, Numbers, static (input, random) =>
    {
        if (RespNumber.TryRead(input, out long number))
        {
            Assert.Equal(number.ToString(System.Globalization.CultureInfo.InvariantCulture), Encoding.ASCII.GetString(input));
        }

        if (LongDouble.TryParse(input, out LongDouble real) && real.IsFinite)
        {
            LongDouble sum = real + LongDouble.Zero;
            Assert.Equal(real.ToString(), sum.ToString());
            Assert.True(random.Next(2) == 0 || LongDouble.TryParse(Encoding.ASCII.GetBytes(real.ToString()), out LongDouble _), real.ToString());
        }
    });

    /// <summary>Reads all there is, as more and more of it comes; true: it is broken.</summary>
    private static bool Read(byte[] input, Func<int> more, List<string> commands)
    {
        RespReader reader = new(Limits);
        int start = 0;
        int end = 0;
        while (end < input.Length)
        {
            end = more();
            while (true)
            {
                RespRead read = reader.Read(input, start, end);
                if (read == RespRead.Broken)
                {
                    Assert.NotEmpty(reader.Error);
                    return true;
                }

                if (read == RespRead.Incomplete)
                {
                    break;
                }

                Assert.InRange(reader.Consumed, 1, end - start);
                start += reader.Consumed;
                commands.Add(string.Join('|', Enumerable.Range(0, reader.Command.Count).Select(i => Convert.ToHexString(reader.Command[i]))));
            }
        }

        return false;
    }
}
