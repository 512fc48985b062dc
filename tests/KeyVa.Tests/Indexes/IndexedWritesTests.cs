using System.Text;
using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Tests.Stores;
using KeyVa.Tests.Transactions;
using KeyVa.Tests.Watches;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Indexes;

/// <summary>What indexes have to do with transactions, merges, rolling back, watches and scrubs.</summary>
public sealed class IndexedWritesTests
{
    private static readonly IndexDefinition City = new() { Name = "city", Fields = ["c"] };
    private static readonly IndexDefinition Mail = new() { Name = "mail", Fields = ["m"], Unique = true };

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    public async Task ATransactionThatTakesATakenValueIsRefused(int partitions, bool isPessimistic)
    {
        await using Store store = await Open(Mail, partitions);
        Set(store, "z", Document("m", "x"));
        using (Transaction txn = store.Begin(new TransactionOptions { Concurrency = isPessimistic ? Concurrency.Pessimistic : Concurrency.Optimistic }))
        {
            txn.Put("a"u8, Bytes(Document("m", "x")));
            txn.Put("b"u8, Bytes(Document("m", "y")));
            CommitResult result = await txn.CommitAsync();
            Assert.Equal(Status.NotUnique, result.Status);
            Assert.Contains("'z'", result.Detail, StringComparison.Ordinal);
        }

        Assert.Null(Get(store, "a"));
        Assert.Null(Get(store, "b"));

        // It takes the value over from the record that it removes, whichever partition that is in.
        using (Transaction txn = store.Begin(new TransactionOptions { Concurrency = isPessimistic ? Concurrency.Pessimistic : Concurrency.Optimistic }))
        {
            txn.Remove("z"u8);
            txn.Put("a"u8, Bytes(Document("m", "x")));
            CommitResult result = txn.Commit();
            Assert.True(result.IsOk, result.Detail);
        }

        Assert.Equal(["a"], IndexTests.Keys(store, new IndexQuery { Index = "mail", Equal = ["x"] }));
        using (Transaction txn = store.Begin(new TransactionOptions { Concurrency = isPessimistic ? Concurrency.Pessimistic : Concurrency.Optimistic }))
        {
            txn.Put("c"u8, Bytes(Document("m", "twice")));
            txn.Put("y"u8, Bytes(Document("m", "twice")));
            Assert.Equal(Status.NotUnique, txn.Commit().Status);
        }

        Assert.Null(Get(store, "c"));
    }

    [Fact]
    public async Task OfTransactionsThatRaceForAValueOneGetsIt()
    {
        const int Values = 60;
        await using Store store = await Open(Mail, 2);
        int[] won = new int[Values];
        int unexpected = 0;
        Thread[] threads = [.. Enumerable.Range(0, 4).Select(thread => new Thread(() =>
        {
            for (int i = 0; i < Values; i++)
            {
                using Transaction txn = store.Begin(new TransactionOptions { Concurrency = thread == 3 ? Concurrency.Pessimistic : Concurrency.Optimistic });
                txn.Put(Bytes($"{(thread % 2 == 0 ? 'a' : 'z')}{thread}-{i}"), Bytes(Document("m", $"{i}")));
                txn.Put(Bytes($"{(thread % 2 == 0 ? 'y' : 'b')}{thread}-{i}"), Bytes(Document("m", $"own {thread} {i}")));
                Status status = thread < 2 ? txn.Commit().Status : txn.CommitAsync().AsTask().GetAwaiter().GetResult().Status;
                if (status == Status.Ok)
                {
                    Interlocked.Increment(ref won[i]);
                }
                else if (status != Status.NotUnique)
                {
                    Interlocked.Increment(ref unexpected);
                }
            }
        }))];
        Array.ForEach(threads, static thread => thread.Start());
        Array.ForEach(threads, static thread => thread.Join());
        Assert.Equal(0, unexpected);
        Assert.All(won, static count => Assert.Equal(1, count));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task ATransactionAsksAtItsSnapshot(int partitions)
    {
        await using Store store = await Open(City, partitions);
        var oslo = new IndexQuery { Index = "city", Equal = ["Oslo"] };
        Set(store, "a", Document("c", "Oslo"));
        using (Transaction reader = store.Begin(new TransactionOptions { ReadOnly = true }))
        using (Transaction txn = store.Begin(new TransactionOptions { Isolation = IsolationLevel.RepeatableRead }))
        using (Transaction committed = store.Begin(new TransactionOptions { Isolation = IsolationLevel.ReadCommitted }))
        {
            Set(store, "z", Document("c", "Oslo"));
            store.Remove("a"u8);
            Assert.Equal(["a"], Found(reader.Query(oslo)));
            Assert.Equal(["a"], Found(await reader.OpenQueryAsync(oslo)));
            Assert.Equal(["a"], Found(txn.Query(oslo)));
            Assert.Equal(["z"], Found(committed.Query(oslo)));
            Assert.Equal(Status.NotFound, reader.Query(oslo with { Index = "none" }).Status);
            txn.Put("b"u8, Bytes(Document("c", "Oslo")));
            Assert.Equal(["a", "b"], Found(txn.Query(oslo)));
            committed.Remove("z"u8);
            Assert.Empty(Found(committed.Query(oslo)));
        }

        using Transaction serializable = store.Begin();
        Assert.Equal(["z"], Found(serializable.Query(oslo)));
        serializable.Rollback();
        Assert.Throws<InvalidOperationException>(() => serializable.Query(oslo));
        Assert.Equal(0, store.GetStatistics().OpenSnapshots);

        static List<string> Found(IndexCursor cursor)
        {
            using (cursor)
            {
                Assert.True(cursor.Status == Status.Ok, cursor.Detail);
                List<string> found = [];
                while (cursor.MoveNext())
                {
                    found.Add(Encoding.UTF8.GetString(cursor.Key));
                }

                return found;
            }
        }
    }

    [Fact]
    public async Task AMergeWhoseValueOtherPartitionsMayHaveIsRefused()
    {
        await using Store store = await Open(Mail, 2);
        Set(store, "a", Document("m", "x"));
        WriteResult refused = store.Merge("a"u8, MergeFunction.JsonMergePatch, """{"m":"y"}"""u8);
        Assert.Equal((Status.Unsupported, 0), (refused.Status, refused.FailedOperation));
        Assert.Contains("'mail'", refused.Detail, StringComparison.Ordinal);
        Assert.Equal(Document("m", "x"), Get(store, "a"));
    }

    [Fact]
    public async Task AWriteThatWaitsForALockHoldsNoValueThatTheHolderNeeds()
    {
        await using Store store = await Open(Mail, 2);
        using Transaction txn = store.Begin(new TransactionOptions { Concurrency = Concurrency.Pessimistic });
        txn.Put("a"u8, Bytes(Document("m", "x")));
        Task<WriteResult> waiting = store.UpsertAsync(Bytes("a"), Bytes(Document("m", "x"))).AsTask();
        Assert.False(waiting.IsCompleted);
        Assert.True((await txn.CommitAsync()).IsOk);
        Assert.True((await waiting).IsOk);
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task AMergeMovesItsRecordInTheIndex(EngineKind engine)
    {
        var tags = new IndexDefinition { Name = "tags", Fields = ["$[*]"], Sparse = true };
        var fixture = new StoreFixture(new StoreOptions { Engine = engine });
        await using (Store store = fixture.Open())
        {
            await Create(store, City);
            await Create(store, tags);
            Set(store, "doc", """{"c":"Oslo","n":1}""");
            Assert.True(store.Merge("doc"u8, MergeFunction.JsonMergePatch, """{"c":"Rome"}"""u8).IsOk);
            Assert.True(store.Merge("new"u8, MergeFunction.JsonMergePatch, """{"c":"Rome"}"""u8).IsOk);
            Assert.True(store.Merge("set"u8, MergeFunction.SetUnion, """["a","b"]"""u8).IsOk);
            Assert.True(store.Merge("set"u8, MergeFunction.SetUnion, """["b","c"]"""u8).IsOk);
            Check(store);
        }

        await using Store again = fixture.Open();
        Check(again);

        static void Check(Store store)
        {
            Assert.Empty(IndexTests.Keys(store, new IndexQuery { Index = "city", Equal = ["Oslo"] }));
            Assert.Equal(["doc", "new"], IndexTests.Keys(store, new IndexQuery { Index = "city", Equal = ["Rome"] }));
            Assert.Equal(["set", "set", "set"], IndexTests.Keys(store, new IndexQuery { Index = "tags" }));
        }
    }

    [Fact]
    public async Task WhatMergesComeToIsHeldUnique()
    {
        await using Store store = await Open(Mail with { Strict = true }, 1);
        Set(store, "a", Document("m", "x"));
        Set(store, "b", Document("m", "y"));
        Assert.Equal(Status.NotUnique, store.Merge("b"u8, MergeFunction.JsonMergePatch, """{"m":"x"}"""u8).Status);
        Assert.Equal(Document("m", "y"), Get(store, "b"));
        Assert.Equal(Status.NotIndexable, store.Merge("b"u8, MergeFunction.Append, "}"u8).Status);
        using var batch = new WriteBatch();
        batch.Put("other"u8, "{}"u8).Merge("a"u8, MergeFunction.JsonMergePatch, """{"m":"y"}"""u8).Merge("b"u8, MergeFunction.JsonMergePatch, """{"m":"x"}"""u8);
        Assert.True(store.Write(batch).IsOk);
        Assert.Equal(["a"], IndexTests.Keys(store, new IndexQuery { Index = "mail", Equal = ["y"] }));
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task RollingBackBringsTheEntriesBack(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false, RetainVersionsFor = TimeSpan.FromHours(1) });
        await using Store store = fixture.Open();
        PartitionedStore.Split(store, engine, 2, "m");
        await Create(store, City);
        for (int i = 0; i < 50; i++)
        {
            Set(store, $"{(i % 2 == 0 ? 'a' : 'z')}{i:D2}", Document("c", i % 3 == 0 ? "Oslo" : "Rome"));
        }

        long then = Set(store, "b", Document("c", "Oslo")).Version;
        store.RemoveRange("a"u8, "z30"u8);
        Set(store, "new", Document("c", "Oslo"));
        RollBackResult back = store.RollBack(KeyRange.All, AsOf.AtVersion(then));
        Assert.Equal(Status.Ok, back.Status);
        await IndexOracle.Check(store, "rolled back");
        Assert.Contains("b", IndexTests.Keys(store, new IndexQuery { Index = "city", Equal = ["Oslo"] }));
        Assert.DoesNotContain("new", IndexTests.Keys(store, new IndexQuery { Index = "city" }));

        await Create(store, Mail);
        RollBackResult refused = store.RollBack(KeyRange.All, AsOf.AtVersion(then));
        Assert.Equal(Status.Unsupported, refused.Status);
        Assert.Contains("'mail'", refused.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ARollBackThatIsCutOffLeavesIndexAndRecordsInStep()
    {
        for (int step = 1; step < 160; step += 11)
        {
            await RollBackWithPowerLoss(step);
        }
    }

    [Fact]
    public async Task AWatchSeesTheRecordsAndNothingOfTheIndex()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        Set(store, "k0", Document("c", "Oslo"));
        await using WatchReader reader = await WatchReader.OpenAsync(store, "");
        await Create(store, City);
        Set(store, "k1", "1");
        Assert.True((await store.Indexes.DropAsync("city")).IsOk);
        await Create(store, City);
        store.Remove("k0"u8);
        Set(store, "k2", "2");
        WatchEvent[] events = [await reader.NextAsync(), await reader.NextAsync(), await reader.NextAsync()];
        Assert.Equal(["Put k1", "Remove k0", "Put k2"], events.Select(static told => $"{told.Kind} {Encoding.UTF8.GetString(told.Key.Span)}"));
    }

    [Fact]
    public async Task AScrubReadsTheFilesOfIndexes()
    {
        var fixture = new StoreFixture();
        await using (Store store = fixture.Open())
        {
            await Create(store, City);
            for (int i = 0; i < 200; i++)
            {
                Set(store, $"k{i}", Document("c", $"city {i}"));
            }

            // What is written before a drop is flushed by it.
            await Create(store, new IndexDefinition { Name = "other", Fields = ["o"] });
            await store.Indexes.DropAsync("other");
            await IndexSettled.Dropped(store);
            string folder = Path.Combine(StoreFixture.Directory, "partitions");
            string table = Tables(fixture.Files, folder).First(static path => path.Contains("indexes", StringComparison.Ordinal));
            using (StorageFile file = fixture.Files.Open(table, writable: true))
            {
                file.Write(40, [0xEE, 0xEE, 0xEE, 0xEE]);
            }

            ScrubResult scrubbed = await store.BeginScrub(null).Completion;
            Assert.Equal(Status.Ok, scrubbed.Status);
            Assert.Contains(scrubbed.Damages, damage => damage.File == table);
        }
    }

    private static IEnumerable<string> Tables(MemoryFileSystem files, string folder)
    {
        foreach (string name in files.List(folder))
        {
            string path = Path.Combine(folder, name);
            if (files.DirectoryExists(path))
            {
                foreach (string table in Tables(files, path))
                {
                    yield return table;
                }
            }
            else if (name.EndsWith(".sst", StringComparison.Ordinal))
            {
                yield return path;
            }
        }
    }

    private static async Task RollBackWithPowerLoss(int step)
    {
        var fixture = new StoreFixture(new StoreOptions { MemtableBytes = 16 << 10 });
        Store store = fixture.Open();
        await Create(store, City);
        for (int i = 0; i < 300; i++)
        {
            Set(store, $"k{i:D4}", Document("c", $"old {i % 5}"));
        }

        long then = store.Partitions.List()[0].AppliedIndex;
        ScanCursor pin = store.Scan(new ScanOptions());
        long target = pin.SnapshotVersion;
        for (int i = 0; i < 300; i++)
        {
            Set(store, $"k{i + 150:D4}", Document("c", $"new {i % 5}"));
        }

        Assert.True(then > 0);
        MemoryFileSystem? after = null;
        int countdown = step;
        fixture.Files.Faults.Before = (_, _) =>
        {
            if (Interlocked.Decrement(ref countdown) == 0)
            {
                after = fixture.Files.AfterPowerLoss(step);
            }
        };
        Assert.Equal(Status.Ok, store.RollBack(KeyRange.All, AsOf.AtVersion(target)).Status);
        pin.Dispose();
        await store.CompactAsync(KeyRange.All);
        fixture.Files.Faults.Before = null;
        after ??= fixture.Files.AfterPowerLoss(step);
        await store.DisposeAsync();
        fixture.Files = after;
        await using Store again = fixture.Open();
        Assert.True((await again.Indexes.WaitAsync("city")).IsOk);
        await IndexOracle.Check(again, $"step {step}");
        Assert.Null(again.Failure);
    }

    private static async Task<Store> Open(IndexDefinition definition, int partitions)
    {
        Store store = new StoreFixture(new StoreOptions { CreateDefaultPartition = partitions == 1 }).Open();
        PartitionedStore.Split(store, EngineKind.Lsm, partitions, "m");
        await Create(store, definition);
        return store;
    }

    private static async Task Create(Store store, IndexDefinition definition)
    {
        Assert.True((await store.Indexes.CreateAsync(definition)).IsOk);
        Assert.True((await store.Indexes.WaitAsync(definition.Name)).IsOk);
    }

    private static string Document(string field, string value) => $"{{\"{field}\":\"{value}\"}}";
}
