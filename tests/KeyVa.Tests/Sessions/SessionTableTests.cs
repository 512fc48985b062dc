using System.Text;
using KeyVa.Io;
using KeyVa.Sessions;
using Xunit;

namespace KeyVa.Tests.Sessions;

/// <summary>The table of sessions by itself: a write is applied once, within bounds, and the table comes back from its bytes.</summary>
public sealed class SessionTableTests
{
    private const long Hour = 3_600_000;

    [Fact]
    public void AWriteIsAppliedOnceAndAnsweredTwice()
    {
        SessionTable table = new();
        table.Open(7, 1);
        Assert.Equal(SessionVerdict.Apply, table.Look(7, 1, 1, out _));
        table.Record(7, 1, 1, "one"u8.ToArray());

        // In the same group, and behind it.
        Assert.Equal(SessionVerdict.Repeat, table.Look(7, 1, 1, out _));
        table.Publish(1);
        Assert.Equal(SessionVerdict.Repeat, table.Look(7, 1, 2, out ReadOnlyMemory<byte> result));
        Assert.Equal("one", Encoding.ASCII.GetString(result.Span));
        Assert.Equal(SessionVerdict.Apply, table.Look(7, 2, 2, out _));
        table.Record(7, 2, 2, []);
        Assert.Equal(SessionVerdict.Unknown, table.Look(7, 1, 2, out _));
        Assert.Equal(SessionVerdict.Unknown, table.Look(8, 1, 2, out _));
    }

    [Fact]
    public void AWriteIsSureToBeDoneWhereItsSessionIsInUseAndThereIsRoom()
    {
        SessionTable table = new(maxSessions: 4);
        table.Open(7, 1);
        Assert.False(table.IsSureOf(7, 1, 1), "it is not applied yet");
        table.Publish(1);
        Assert.True(table.IsSureOf(7, 1, (Hour / 2) + 1));
        Assert.False(table.IsSureOf(7, 1, (Hour / 2) + 2), "half of its life is over");
        Assert.False(table.IsSureOf(8, 1, 1), "there is none");
        Assert.False(table.IsSureOf(7, 0, 1), "it opens one");
        table.Record(7, 3, 1, []);
        table.Open(8, 1);
        table.Publish(1);
        Assert.Equal([false, true, true], new[] { 2, 3, 4 }.Select(sequence => table.IsSureOf(7, sequence, 1)));
        table.Open(9, 1);
        table.Publish(1);
        Assert.False(table.IsSureOf(7, 4, 1), "it may have to give way");
    }

    [Fact]
    public void WhatAGroupChangesIsCapturedOnceTheGroupIsApplied()
    {
        SessionTable table = new();
        Assert.Empty(table.Capture());
        table.Open(7, 1);
        table.Publish(1);
        byte[] before = table.Capture();
        Assert.Equal(SessionVerdict.Apply, table.Look(7, 1, 2, out _));
        table.Record(7, 1, 2, [1]);
        Assert.Equal(before, table.Capture());
        table.Publish(2);
        Assert.NotEqual(before, table.Capture());
    }

    [Fact]
    public void TheSessionUsedLongestAgoGivesWayAndOneThatNobodyUsesEnds()
    {
        SessionTable table = new(maxSessions: 2);
        table.Open(1, 1);
        table.Open(2, 1);
        table.Open(1, 1);
        table.Open(3, 1);
        table.Publish(1);
        Assert.Equal(2, table.Count);
        Assert.Equal(SessionVerdict.Unknown, table.Look(2, 1, 1, out _));
        Assert.Equal(SessionVerdict.Apply, table.Look(1, 1, Hour, out _));
        table.Publish(Hour);
        Assert.Equal(SessionVerdict.Unknown, table.Look(3, 1, Hour + 2, out _));
        Assert.Equal(SessionVerdict.Apply, table.Look(1, 1, (2 * Hour) - 1, out _));
        table.Publish((2 * Hour) - 1);
        Assert.Equal(1, table.Count);
    }

    [Fact]
    public void ATableComesBackFromItsBytesAndGoesOnAlike()
    {
        Random random = new(5);
        SessionTable table = new(maxSessions: 5);
        for (int i = 1; i < 3000; i++)
        {
            long stamp = i * (Hour / 40);
            long client = 1 + random.Next(8);
            if (random.Next(4) == 0)
            {
                table.Open(client, stamp);
            }
            else if (table.Look(client, 1 + (i / 50) + random.Next(3), stamp, out _) == SessionVerdict.Apply)
            {
                table.Record(client, 1 + (i / 50) + 2, stamp, new byte[random.Next(20)]);
            }

            table.Publish(stamp);
            Assert.True(table.Count <= 5);
            if (i % 20 == 0)
            {
                byte[] bytes = [.. table.Capture()];
                SessionTable back = new(maxSessions: 5);
                Assert.True(back.TryLoad(bytes));
                Assert.Equal(bytes, back.Capture());
                table = back;
            }
        }
    }

    [Fact]
    public void BytesThatAreNoTableAreRefused()
    {
        SessionTable table = new();
        table.Open(1, 1);
        table.Record(1, 1, 1, "result"u8.ToArray());
        table.Open(2, 1);
        table.Publish(1);
        byte[] bytes = table.Capture();
        for (int length = 1; length < bytes.Length; length++)
        {
            Assert.False(new SessionTable().TryLoad(bytes.AsSpan(0, length)));
        }

        Random random = new(1);
        for (int i = 0; i < 10_000; i++)
        {
            byte[] damaged = [.. bytes];
            damaged[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            SessionTable back = new();
            if (back.TryLoad(damaged))
            {
                Assert.Equal(damaged, back.Capture());
            }
        }
    }

    [Fact]
    public void AFileIsReadBackAndDamageIsNamed()
    {
        var files = new MemoryFileSystem();
        files.CreateDirectory("/data");
        SessionsFile.Write(files, "/data", 7, []);
        Assert.Empty(files.List("/data"));
        SessionsFile.Write(files, "/data", 7, [1, 2, 3]);
        SessionsFile.Write(files, "/data", 8, [4]);
        Assert.Equal([1, 2, 3], SessionsFile.Read(files, "/data", 7));
        Assert.Empty(SessionsFile.Read(files, "/data", 9));
        SessionsFile.RemoveAllBut(files, "/data", 7);
        Assert.Equal([SessionsFile.NameOf(7)], files.List("/data"));
        using (StorageFile file = files.Open("/data/" + SessionsFile.NameOf(7), writable: true))
        {
            file.Write(15, [9]);
        }

        CorruptionException damage = Assert.Throws<CorruptionException>(() => SessionsFile.Read(files, "/data", 7));
        Assert.Contains(SessionsFile.NameOf(7), damage.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task SessionsSurviveReplayFlushAndReopening(EngineKind engine)
    {
        var files = new MemoryFileSystem();
        var options = new StoreOptions { Engine = engine, MemtableBytes = 1 << 20, JournalSegmentBytes = 1 << 20, BlockCacheBytes = 1 << 20 };
        for (int round = 1; round <= 6; round++)
        {
            await using Store store = Store.Open("/data", options, new StoreEnvironment { FileSystem = files });
            if (round == 1)
            {
                Assert.True((await store.OpenSessionAsync(77)).IsOk);
            }

            // The write of the round before, then this one's, twice.
            if (round > 1)
            {
                await IncrementAsync(store, round - 1, round - 1);
            }

            await IncrementAsync(store, round, round);
            await IncrementAsync(store, round, round);
            if (round % 2 == 0)
            {
                // So much that files are written.
                for (int i = 0; i < 40; i++)
                {
                    Assert.True(store.Upsert(BitConverter.GetBytes(i), new byte[100_000]).IsOk);
                }

                Assert.Equal(Status.Ok, (await store.Partitions.BeginSnapshot(1, $"/copy{round}").Completion).Status);
                await using Store copy = Store.Open($"/copy{round}", options, new StoreEnvironment { FileSystem = files });
                await IncrementAsync(copy, round, round);
            }

            using var old = new WriteBatch { Session = round == 1 ? new SessionHead(78, 1) : new SessionHead(77, round - 1) };
            Assert.Equal(Status.Expired, (await store.WriteAsync(old.Put("never"u8, "x"u8))).Status);
            using ValueLease never = store.Get("never"u8);
            Assert.False(never.Found);
        }
    }

    private static async Task IncrementAsync(Store store, long sequence, long expected)
    {
        using var batch = new WriteBatch { Session = new SessionHead(77, sequence) };
        WriteResult result = await store.WriteAsync(batch.Increment("counter"u8));
        Assert.Equal((Status.Ok, expected), (result.Status, result.MergedNumber));
    }
}
