using System.Text;
using KeyVa.Protocol.Resp;
using Xunit;

namespace KeyVa.Tests.Resp;

/// <summary>What is a command, what is none, and that it does not matter in which pieces it comes.</summary>
public sealed class RespReaderTests
{
    public static TheoryData<string, string[]> Commands => new()
    {
        { "*1\r\n$4\r\nPING\r\n", ["PING"] },
        { "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n", ["SET", "a", ""] },
        { "*2\r\n$3\r\nGET\r\n$12\r\nwith\r\nbreaks\r\n", ["GET", "with\r\nbreaks"] },
        { "*0\r\n", [] },
        { "*-1\r\n", [] },
        { "\r\n", [] },
        { "   \n", [] },
        { "PING\r\n", ["PING"] },
        { "set  a\tb\n", ["set", "a", "b"] },
        { "set \"a b\" 'c \\'d'\r\n", ["set", "a b", "c 'd"] },
        { "set \"\\x41\\n\\\"\\q\" \"\"\r\n", ["set", "A\n\"q", ""] },
        { "set foo\"bar\"\r\n", ["set", "foobar"] },
    };

    public static TheoryData<string, string> Errors => new()
    {
        { "*x\r\n", "invalid multibulk length" },
        { "*99999999999999999999\r\n", "invalid multibulk length" },
        { "*1048577\r\n", "invalid multibulk length" },
        { "*+1\r\n", "invalid multibulk length" },
        { "*1\r\nPING\r\n", "expected '$', got 'P'" },
        { "*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'" },
        { "*1\r\n$x\r\n", "invalid bulk length" },
        { "*1\r\n$-1\r\n", "invalid bulk length" },
        { "*1\r\n$999999999\r\n", "invalid bulk length" },
        { "*1\r\n$9223372036854775808\r\n", "invalid bulk length" },
        { "set \"a\r\n", "unbalanced quotes in request" },
        { "set \"a\"b\r\n", "unbalanced quotes in request" },
        { "set 'a\r\n", "unbalanced quotes in request" },
    };

    [Theory]
    [MemberData(nameof(Commands))]
    public void ACommandIsRead(string wire, string[] arguments)
    {
        RespReader reader = new(new RespLimits());
        byte[] bytes = Encoding.Latin1.GetBytes("xx" + wire + "rest");

        Assert.Equal(RespRead.Complete, reader.Read(bytes, 2, bytes.Length));

        Assert.Equal(wire.Length, reader.Consumed);
        Assert.Equal(arguments, Arguments(reader.Command));
        Assert.Equal(arguments, Arguments(reader.Command.Copy()));
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public void ACommandThatComesByteByByteIsTheSame(string wire, string[] arguments)
    {
        RespReader reader = new(new RespLimits());
        byte[] bytes = Encoding.Latin1.GetBytes(wire + wire);
        for (int times = 0; times < 2; times++)
        {
            for (int end = 0; end < wire.Length; end++)
            {
                // In another buffer each time, and at another place.
                byte[] piece = [.. new byte[end % 3], .. bytes[..end]];
                Assert.Equal(RespRead.Incomplete, reader.Read(piece, end % 3, piece.Length));
            }

            Assert.Equal(RespRead.Complete, reader.Read(bytes, 0, wire.Length));
            Assert.Equal(arguments, Arguments(reader.Command));
        }
    }

    [Theory]
    [MemberData(nameof(Errors))]
    public void WhatIsNoCommandIsRefusedAndStaysSo(string wire, string error)
    {
        RespReader reader = new(new RespLimits());
        byte[] bytes = Encoding.Latin1.GetBytes(wire);

        Assert.Equal(RespRead.Broken, reader.Read(bytes, 0, bytes.Length));
        Assert.Equal("Protocol error: " + error, reader.Error);

        byte[] right = "*1\r\n$4\r\nPING\r\n"u8.ToArray();
        Assert.Equal(RespRead.Broken, reader.Read(right, 0, right.Length));
    }

    [Theory]
    [InlineData("x", "too big inline request")]
    [InlineData("*1", "too big mbulk count string")]
    [InlineData("*1\r\n$1", "too big bulk count string")]
    public void ALineWithoutAnEndIsRefused(string begin, string error)
    {
        RespReader reader = new(new RespLimits());
        byte[] bytes = Encoding.Latin1.GetBytes(begin + new string('1', RespLimits.MaxLineBytes + 1));

        Assert.Equal(RespRead.Broken, reader.Read(bytes, 0, bytes.Length));
        Assert.Equal("Protocol error: " + error, reader.Error);
    }

    [Fact]
    public void ACommandThatIsLongerThanAllowedIsRefusedBeforeItIsThere()
    {
        RespReader reader = new(new RespLimits { MaxBulkBytes = 100, MaxCommandBytes = 150 });
        byte[] bytes = Encoding.Latin1.GetBytes($"*3\r\n$100\r\n{new string('a', 100)}\r\n$90\r\n");

        Assert.Equal(RespRead.Broken, reader.Read(bytes, 0, bytes.Length));
        Assert.Contains("longer than 150 bytes", reader.Error);
    }

    [Fact]
    public void ReadingAllocatesNothing()
    {
        RespReader reader = new(new RespLimits());
        byte[] bytes = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$5\r\nvalue\r\n"u8.ToArray();
        Assert.Equal(RespRead.Complete, reader.Read(bytes, 0, bytes.Length));
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            reader.Read(bytes, 0, bytes.Length);
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    private static string[] Arguments(RespCommand command) =>
        [.. Enumerable.Range(0, command.Count).Select(i => Encoding.Latin1.GetString(command[i]))];
}
