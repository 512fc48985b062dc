using System.Globalization;
using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Raft;

/// <summary>A retried command is applied once (§8; dissertation, §6.3), within bounds, and alike on every replica.</summary>
public sealed class SessionTableTests
{
    [Fact]
    public void ACommandIsAppliedOnceAndAnsweredTwice()
    {
        SessionTable table = new();
        table.Open(7);
        Assert.Equal(SessionVerdict.Apply, table.Look(7, 1, 0, out _));
        table.Record(7, 1, TestNode.Bytes("done"));
        Assert.Equal(SessionVerdict.Repeat, table.Look(7, 1, 0, out ReadOnlyMemory<byte> result));
        Assert.Equal("done", System.Text.Encoding.UTF8.GetString(result.Span));
    }

    [Fact]
    public void WhatIsForgottenIsRefusedAndNotAppliedAgain()
    {
        SessionTable table = new(maxSessions: 4, maxResults: 2);
        table.Open(7);
        foreach (long sequence in (long[])[1, 2, 3])
        {
            Assert.Equal(SessionVerdict.Apply, table.Look(7, sequence, 0, out _));
            table.Record(7, sequence, TestNode.Bytes("x"));
        }

        Assert.Equal(SessionVerdict.Forgotten, table.Look(7, 1, 0, out _));
        Assert.Equal(SessionVerdict.Repeat, table.Look(7, 2, 0, out _));
        Assert.Equal(SessionVerdict.Apply, table.Look(7, 9, 8, out _));
        Assert.Equal(SessionVerdict.Forgotten, table.Look(7, 5, 0, out _));
    }

    [Fact]
    public void TheSessionUsedLongestAgoGivesWay()
    {
        SessionTable table = new(maxSessions: 2);
        table.Open(1);
        table.Open(2);
        table.Open(1);
        table.Open(3);
        Assert.Equal(2, table.Count);
        Assert.Equal(SessionVerdict.NoSession, table.Look(2, 1, 0, out _));
        Assert.Equal(SessionVerdict.Apply, table.Look(1, 1, 0, out _));
    }

    [Fact]
    public void ATableComesBackFromItsBytesAndGoesOnAlike()
    {
        Random random = new(5);
        SessionTable table = new(maxSessions: 5, maxResults: 3);
        for (int i = 0; i < 2000; i++)
        {
            if (i % 50 == 0)
            {
                byte[] bytes = SessionEncoding.Encode(table);
                SessionTable back = new(maxSessions: 5, maxResults: 3);
                Assert.True(SessionEncoding.TryDecode(bytes, back));
                Assert.Equal(bytes, SessionEncoding.Encode(back));
                table = back;
            }

            long client = random.Next(8);
            long sequence = 1 + random.Next(10) + (i / 100);
            if (random.Next(4) == 0)
            {
                table.Open(client);
            }
            else if (table.Look(client, sequence, sequence - 1 - random.Next(4), out ReadOnlyMemory<byte> result) == SessionVerdict.Apply)
            {
                table.Record(client, sequence, TestNode.Bytes(sequence.ToString(CultureInfo.InvariantCulture)));
            }
            else if (!result.IsEmpty)
            {
                Assert.Equal(sequence, long.Parse(result.Span, CultureInfo.InvariantCulture));
            }

            Assert.True(table.Count <= 5);
        }
    }

    [Fact]
    public void BytesThatAreNoTableAreRefused()
    {
        SessionTable table = new();
        table.Open(1);
        table.Look(1, 1, 0, out _);
        table.Record(1, 1, TestNode.Bytes("result"));
        table.Open(2);
        byte[] bytes = SessionEncoding.Encode(table);
        for (int length = 0; length < bytes.Length; length++)
        {
            Assert.False(SessionEncoding.TryDecode(bytes.AsSpan(0, length), new SessionTable()));
        }

        Random random = new(1);
        for (int i = 0; i < 10_000; i++)
        {
            byte[] damaged = [.. bytes];
            damaged[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            SessionTable back = new();
            if (SessionEncoding.TryDecode(damaged, back))
            {
                Assert.Equal(damaged, SessionEncoding.Encode(back));
            }
        }

        Assert.False(SessionEncoding.TryDecode([.. bytes, 0], new SessionTable()));
    }
}
