using System.Text;
using KeyVa.Io;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Stores;

public sealed class PartitionTests
{
    private static readonly StoreOptions NoPartitions = new() { CreateDefaultPartition = false, JournalSegmentBytes = 1 << 20 };

    [Fact]
    public async Task AStoreKeepsItsPartitionsAndSaysSoWhoeverAsksForOthers()
    {
        var fixture = new StoreFixture(new StoreOptions { SplitAt = [Bytes("g"), Bytes("p")], JournalSegmentBytes = 1 << 20 });
        await using (Store store = fixture.Open())
        {
            Assert.Equal([("", "g"), ("g", "p"), ("p", "")], store.Partitions.List().Select(static one => (Encoding.UTF8.GetString(one.Range.From.Span), Encoding.UTF8.GetString(one.Range.To.Span))));
            Assert.Empty(store.RecoveryNotes);
            Assert.True(Set(store, "h", "1").IsOk);
        }

        await using (Store store = fixture.Open())
        {
            Assert.DoesNotContain(store.RecoveryNotes, static note => note.Contains("split-at", StringComparison.Ordinal));
        }

        fixture.Options = fixture.Options with { SplitAt = [Bytes("m")] };
        await using (Store store = fixture.Open())
        {
            Assert.Contains(store.RecoveryNotes, static note => note.Contains("split-at asks for 2 partitions", StringComparison.Ordinal) && note.Contains("keeps the 3", StringComparison.Ordinal));
            Assert.Equal(3, store.Partitions.List().Count);
            Assert.Equal("1", Get(store, "h"));
        }

        fixture.Options = fixture.Options with { CreateDefaultPartition = false };
        Assert.Contains("split-at", Assert.Throws<StoreException>(() => fixture.Open()).Message);
    }

    [Fact]
    public async Task PartitionsAreAddedListedAndRemoved()
    {
        var fixture = new StoreFixture(NoPartitions);
        await using (Store store = fixture.Open())
        {
            Assert.Equal(Status.BadNode, Set(store, "a", "1").Status);
            using (ValueLease lease = store.Get("a"u8))
            {
                Assert.Equal(Status.BadNode, lease.Status);
            }

            Assert.Equal(Status.Ok, store.Partitions.Add(Range("", "m")).Status);
            Assert.Equal(Status.Ok, store.Partitions.Add(Range("m", "t"), EngineKind.Memory).Status);
            Assert.Equal(Status.Invalid, store.Partitions.Add(Range("l", "n")).Status);
            Assert.Equal(Status.Invalid, store.Partitions.Add(Range("z", "y")).Status);
            Assert.Equal(Status.Invalid, store.Partitions.Add(Range("y", "y")).Status);
            Assert.Equal(Status.Invalid, store.Partitions.Add(Range("t", ""), EngineKind.Lsm, isVolatile: true).Status);
            Assert.True(Set(store, "a", "1").IsOk);
            Assert.True(Set(store, "m", "2").IsOk);
            Assert.Equal(Status.BadNode, Set(store, "t", "3").Status);
            Assert.Equal(Status.BadNode, (await store.GetAsync([Bytes("a"), Bytes("t")])).Status);
            Assert.Equal("BadNode", Scan(store, new ScanOptions { From = Bytes("a"), To = Bytes("z"), Unordered = true }));
            Assert.Equal("a", Scan(store, new ScanOptions { From = Bytes("a"), To = Bytes("m") }));
        }

        await using (Store store = fixture.Open())
        {
            IReadOnlyList<PartitionInfo> partitions = store.Partitions.List();
            Assert.Equal([1L, 2L], partitions.Select(p => p.Id));
            Assert.Equal("2", Get(store, "m"));
            Assert.Equal(Status.ConditionFailed, store.Partitions.Remove(2).Status);
            Assert.Equal(Status.NotFound, store.Partitions.Remove(9).Status);
            Assert.Equal(Status.NotFound, store.Partitions.Remove(Range("m", "u"), discardData: true).Status);
            Assert.Equal(Status.Ok, store.Partitions.Remove(Range("m", "t"), discardData: true).Status);
            Assert.Equal(Status.BadNode, Set(store, "m", "2").Status);
            Assert.False(fixture.Files.DirectoryExists("/data/partitions/2"));
            Assert.Equal(3, store.Partitions.Add(Range("m", "")).Partition!.Id);
            Assert.Null(Get(store, "m"));
            Assert.True(Set(store, "m", "new").IsOk);
        }

        fixture.Files = fixture.Files.Crash(3);
        await using (Store store = fixture.Open())
        {
            Assert.Equal("new", Get(store, "m"));
            Assert.Equal("1", Get(store, "a"));
        }
    }

    [Fact]
    public async Task AfterARestartARemovedPartitionHoldsNoSegmentOfTheJournal()
    {
        var fixture = new StoreFixture(NoPartitions with { MemtableBytes = 1 << 20, JournalBudgetBytes = 4 << 20 });
        await using (Store store = fixture.Open())
        {
            store.Partitions.Add(Range("", "m"));
            store.Partitions.Add(Range("m", ""));
            Assert.True(Set(store, "a", "1").IsOk);
            Assert.True(Set(store, "z", "1").IsOk);
            Assert.Equal(Status.Ok, store.Partitions.Remove(2, discardData: true).Status);
        }

        await using (Store store = fixture.Open())
        {
            byte[] value = new byte[100_000];
            for (int i = 0; i < 200; i++)
            {
                Assert.True(store.Upsert("a"u8, value).IsOk);
            }

            Assert.True(SpinWait.SpinUntil(() => !fixture.Files.FileExists("/data/journal/0000000001.journal"), TimeSpan.FromSeconds(20)));
        }
    }

    [Fact]
    public async Task ABatchOverPartitionsIsAllOrNothingAtOneVersion()
    {
        var fixture = new StoreFixture(NoPartitions);
        await using (Store store = fixture.Open())
        {
            store.Partitions.Add(Range("", "m"));
            store.Partitions.Add(Range("m", "t"), EngineKind.Memory);
            store.Partitions.Add(Range("t", "x"), EngineKind.Memory, isVolatile: true);
            using var batch = new WriteBatch();
            batch.Put("a"u8, "1"u8).Put("m"u8, "1"u8);
            WriteResult written = store.Write(batch);
            Assert.True(written.IsOk, written.Detail);
            MultiReadResult read = await store.GetAsync([Bytes("a"), Bytes("m")]);
            Assert.All(read.Records, r => Assert.Equal(written.Version, r!.Value.Version));

            batch.Clear();
            batch.Put("a"u8, "2"u8).Put("m"u8, "2"u8, new WriteOptions { Condition = Condition.IfAbsent }).Remove("b"u8);
            WriteResult refused = await store.WriteAsync(batch);
            Assert.Equal((Status.ConditionFailed, 1, written.Version), (refused.Status, refused.FailedOperation, refused.CurrentVersion));
            Assert.Equal(("1", "1"), (Get(store, "a"), Get(store, "m")));

            batch.Clear();
            batch.Remove("nobody"u8).Remove("m"u8).Put("a"u8, "3"u8);
            Assert.Equal([false, true, false], store.Write(batch).Removed.ToArray());

            batch.Clear();
            batch.Put("a"u8, "4"u8).Put("z"u8, "4"u8);
            Assert.Equal((Status.BadNode, 1), (store.Write(batch).Status, store.Write(batch).FailedOperation));
            batch.Clear();
            batch.Put("a"u8, "4"u8).Put("t"u8, "4"u8);
            Assert.Equal(Status.Unsupported, store.Write(batch).Status);
        }

        fixture.Files = fixture.Files.Crash(5);
        await using (Store store = fixture.Open())
        {
            Assert.Equal(("3", null), (Get(store, "a"), Get(store, "m")));
        }
    }

    [Fact]
    public async Task NobodySeesHalfOfABatch()
    {
        var fixture = new StoreFixture(NoPartitions with { Durability = Durability.Os });
        await using Store store = fixture.Open();
        store.Partitions.Add(Range("", "m"));
        store.Partitions.Add(Range("m", ""), EngineKind.Memory);
        using (var first = new WriteBatch())
        {
            Assert.True(store.Write(first.Put("a"u8, BitConverter.GetBytes(0L)).Put("z"u8, BitConverter.GetBytes(0L))).IsOk);
        }

        bool stop = false;
        Task writer = Task.Run(() =>
        {
            using var batch = new WriteBatch();
            for (long i = 1; i <= 3000; i++)
            {
                batch.Clear();
                Assert.True(store.Write(batch.Put("a"u8, BitConverter.GetBytes(i)).Put("z"u8, BitConverter.GetBytes(i))).IsOk);
            }

            Volatile.Write(ref stop, true);
        });
        Task single = Task.Run(() =>
        {
            for (int i = 0; i < 3000; i++)
            {
                Assert.True(Set(store, "b", $"{i}").IsOk && Set(store, "y", $"{i}").IsOk);
            }
        });
        while (!Volatile.Read(ref stop))
        {
            MultiReadResult read = await store.GetAsync([Bytes("a"), Bytes("z")]);
            Assert.Equal(Number(read.Records[0]!.Value.Value.Span), Number(read.Records[1]!.Value.Value.Span));

            // One after the other: the second may be newer, never older.
            long a = Read(store, "a"u8);
            long z = Read(store, "z"u8);
            Assert.True(z >= a, $"a at {a} was read before z at {z}");
        }

        await Task.WhenAll(writer, single);
        Assert.Equal(3000, Read(store, "z"u8));
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task ASnapshotIsAStoreOfItsOwn(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine });
        await using (Store store = fixture.Open())
        {
            for (int i = 0; i < 1000; i++)
            {
                Set(store, $"k{i}", $"v{i}");
            }

            PartitionSnapshotResult missing = await store.Partitions.BeginSnapshot(7, "/copy").Completion;
            Assert.Equal(Status.NotFound, missing.Status);
            Assert.Equal(Status.Invalid, (await store.Partitions.BeginSnapshot(1, "relative").Completion).Status);
            Assert.Equal(Status.Invalid, (await store.Partitions.BeginSnapshot(1, "/data").Completion).Status);
            PartitionSnapshot snapshot = store.Partitions.BeginSnapshot(1, "/copy");
            Set(store, "later", "1");
            PartitionSnapshotResult result = await snapshot.Completion;
            Assert.Equal((Status.Ok, snapshot.BytesTotal), (result.Status, snapshot.BytesDone));
            Assert.True(result.Index >= 1000 && snapshot.BytesTotal > 0);
        }

        MemoryFileSystem after = fixture.Files.Crash(11);
        await using Store copy = Store.Open("/copy", null, new StoreEnvironment { FileSystem = after, Time = fixture.Time });
        for (int i = 0; i < 1000; i++)
        {
            Assert.Equal($"v{i}", Get(copy, $"k{i}"));
        }

        Assert.True(Set(copy, "more", "1").IsOk);
    }

    private static KeyRange Range(string from, string to) => new(Bytes(from), Bytes(to));

    private static long Number(ReadOnlySpan<byte> bytes) => BitConverter.ToInt64(bytes);

    private static long Read(Store store, ReadOnlySpan<byte> key)
    {
        using ValueLease lease = store.Get(key);
        return Number(lease.Value);
    }
}
