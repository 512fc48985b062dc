using System.Text;
using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Transactions;

public sealed class TransactionTests
{
    public static TheoryData<IsolationLevel> Levels => [.. Enum.GetValues<IsolationLevel>()];

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task WhatItWritesOnlyItSeesUntilItCommits(IsolationLevel isolation)
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "a", "1");
        Set(store, "c", "3");
        using Transaction txn = store.Begin(new TransactionOptions { Isolation = isolation });
        Assert.True(txn.Put("b"u8, "two"u8).IsOk);
        Assert.True(txn.Remove("a"u8).IsOk);
        Assert.True(txn.Put("c"u8, "drei"u8).IsOk);
        Assert.Equal("two", Read(txn, "b"));
        Assert.Null(Read(txn, "a"));
        Assert.Equal("b=two c=drei", Scan(txn, new ScanOptions()));
        Assert.Equal("c=drei b=two", Scan(txn, new ScanOptions { Reverse = true }));
        MultiReadResult several = txn.Get([Bytes("a"), Bytes("b"), Bytes("c")]);
        Assert.Equal([null, "two", "drei"], several.Records.Select(static r => r is { } record ? Encoding.UTF8.GetString(record.Value.Span) : null));
        Assert.Equal("a c", StoreFixture.Scan(store, new ScanOptions()));
        CommitResult result = txn.Commit();
        Assert.True(result.IsOk, result.Detail);
        Assert.Equal("b c", StoreFixture.Scan(store, new ScanOptions()));
        using ValueLease lease = store.Get("b"u8);
        Assert.Equal(result.Version, lease.Version);
    }

    [Fact]
    public async Task RollingBackLeavesNothing()
    {
        await using Store store = new StoreFixture().Open();
        using (Transaction txn = store.Begin())
        {
            txn.Put("a"u8, "1"u8);
            txn.Rollback();
            Assert.Throws<InvalidOperationException>(() => txn.Put("a"u8, "2"u8));
            Assert.Throws<InvalidOperationException>(() => txn.Commit());
        }

        using (Transaction txn = store.Begin())
        {
            txn.Put("a"u8, "1"u8);
        }

        Transaction gone = store.Begin();
        gone.Dispose();
        gone.Dispose();
        Assert.Throws<InvalidOperationException>(() => gone.Put("a"u8, "2"u8));
        Assert.Null(Get(store, "a"));
        Assert.Equal(0, store.Live.Count);
    }

    [Fact]
    public async Task SavepointsTakeBackWhatCameAfter()
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "z", "0");
        using Transaction txn = store.Begin();
        txn.Put("a"u8, "1"u8);
        Savepoint first = txn.SetSavepoint();
        txn.Put("a"u8, "2"u8);
        txn.Put("b"u8, "2"u8);
        Savepoint second = txn.SetSavepoint();
        txn.RemoveRange(default, default);
        txn.Put("c"u8, "3"u8);
        Assert.Equal("c=3", Scan(txn, new ScanOptions()));
        txn.RollbackTo(second);
        Assert.Equal("a=2 b=2 z=0", Scan(txn, new ScanOptions()));
        txn.RollbackTo(first);
        txn.RollbackTo(first);
        Assert.Equal("a=1 z=0", Scan(txn, new ScanOptions()));
        Assert.Throws<ArgumentException>(() => txn.RollbackTo(second));
        txn.Put("d"u8, "4"u8);
        txn.RollbackTo(default);
        Assert.Equal("z=0", Scan(txn, new ScanOptions()));
        txn.Put("e"u8, "5"u8);
        Assert.True(txn.Commit().IsOk);
        Assert.Equal("e z", StoreFixture.Scan(store, new ScanOptions()));
    }

    [Fact]
    public async Task AConflictNamesTheKey()
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "read", "1");
        using Transaction txn = store.Begin();
        Assert.Equal("1", Read(txn, "read"));
        txn.Put("written"u8, "1"u8);
        Set(store, "read", "2");
        CommitResult result = txn.Commit();
        Assert.Equal(Status.Conflict, result.Status);
        Assert.Equal("read", Encoding.UTF8.GetString(result.ConflictKey.Span));
        Assert.Contains("'read'", result.Detail, StringComparison.Ordinal);
        Assert.Null(Get(store, "written"));
    }

    [Fact]
    public async Task AKeyThatWasAbsentMustBeAbsent()
    {
        await using Store store = new StoreFixture().Open();
        using Transaction txn = store.Begin();
        Assert.Null(Read(txn, "a"));
        txn.Put("b"u8, "1"u8);
        using Transaction other = store.Begin();
        Assert.Null(Read(other, "a"));
        other.Put("b"u8, "1"u8);
        Set(store, "a", "1");
        Assert.Equal(Status.Conflict, txn.Commit().Status);
        store.Remove("a"u8);
        Assert.True(other.Commit().IsOk);
    }

    [Fact]
    public async Task ConditionsAreEvaluatedInsideTheTransactionAndHoldAtItsEnd()
    {
        await using Store store = new StoreFixture().Open();
        WriteResult first = Set(store, "a", "1");
        foreach (IsolationLevel isolation in Enum.GetValues<IsolationLevel>())
        {
            using Transaction txn = store.Begin(new TransactionOptions { Isolation = isolation });
            WriteResult refused = txn.Put("a"u8, "2"u8, new WriteOptions { Condition = Condition.IfAbsent });
            Assert.Equal((Status.ConditionFailed, first.Version), (refused.Status, refused.CurrentVersion));
            Assert.True(txn.Put("n"u8, "1"u8, new WriteOptions { Condition = Condition.IfAbsent }).IsOk);
            Assert.Equal(Status.ConditionFailed, txn.Put("n"u8, "2"u8, new WriteOptions { Condition = Condition.IfAbsent }).Status);
            Assert.True(txn.Put("n"u8, "2"u8, new WriteOptions { Condition = Condition.IfValue(Bytes("1")) }).IsOk);
            Assert.True(txn.Remove("a"u8, Condition.IfVersion(first.Version)).IsOk);
            Set(store, "n", "other");
            Assert.Equal(Status.Conflict, txn.Commit().Status);
            Assert.Equal("1", Get(store, "a"));
            store.Remove("n"u8);
        }
    }

    [Fact]
    public async Task ARemovedRangeTakesWhatIsThereAndNotWhatIsPutAfter()
    {
        await using Store store = new StoreFixture().Open();
        foreach (string key in (string[])["a", "b", "c", "d"])
        {
            Set(store, key, key);
        }

        using Transaction txn = store.Begin(new TransactionOptions { Isolation = IsolationLevel.RepeatableRead });
        txn.Put("bb"u8, "before"u8);
        txn.RemoveRange("b"u8, "d"u8);
        txn.Put("c"u8, "after"u8);
        Assert.Equal("a=a c=after d=d", Scan(txn, new ScanOptions()));
        Assert.Null(Read(txn, "bb"));
        Set(store, "b2", "came between");
        Assert.True(txn.Commit().IsOk);
        Assert.Equal("a c d", StoreFixture.Scan(store, new ScanOptions()));
        Assert.Equal("after", Get(store, "c"));
    }

    [Fact]
    public async Task AScanSeesWritesMadeWhileItRuns()
    {
        await using Store store = new StoreFixture().Open();
        foreach (string key in (string[])["a", "c", "e", "g"])
        {
            Set(store, key, key);
        }

        using Transaction txn = store.Begin();
        using (ScanCursor cursor = txn.Scan(new ScanOptions { Limit = 5 }))
        {
            Assert.True(cursor.MoveNext());
            txn.Put("b"u8, "b"u8);
            txn.Remove("c"u8);
            txn.Put("a1"u8, "a1"u8);
            Assert.Equal("a1 b e", Keys(cursor, 3));
            txn.Put("d"u8, "late"u8);
            cursor.Seek("c"u8);
            Assert.Equal("d", Keys(cursor, 1));
        }

        using (ScanCursor cursor = txn.Scan(new ScanOptions { Reverse = true, From = Bytes("a1"), To = Bytes("g") }))
        {
            Assert.Equal("e d", Keys(cursor, 2));
            txn.Put("d0"u8, "x"u8);
            txn.Put("c0"u8, "x"u8);
            Assert.Equal("c0 b a1", Keys(cursor, 9));
        }

        Assert.True(txn.Commit().IsOk);
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task APhantomBehindWhereTheScanStoppedIsNoConflict(EngineKind engine)
    {
        await using Store store = new StoreFixture(new StoreOptions { Engine = engine }).Open();
        for (int i = 0; i < 100; i++)
        {
            Set(store, $"k{i:000}", "v");
        }

        // In the order of either engine: what the first scan returns stops in the middle.
        List<string> order = [.. Enumerable.Range(0, 100).Select(static i => $"k{i:000}")];
        using Transaction txn = store.Begin();
        using Transaction other = store.Begin();
        string last = Scan(txn, new ScanOptions { Unordered = true, Limit = 50 }).Split(' ')[^1].Split('=')[0];
        Scan(other, new ScanOptions { Unordered = true, Limit = 50 });
        string all = StoreFixture.Scan(store, new ScanOptions { Unordered = true });
        string beyond = all.Split(' ')[^1];
        Set(store, beyond, "changed");
        txn.Put("w1"u8, "1"u8);
        Assert.True(txn.Commit().IsOk);
        store.Remove("w1"u8);
        Set(store, last, "changed");
        other.Put("w2"u8, "1"u8);
        Assert.Equal(Status.Conflict, other.Commit().Status);
    }

    [Fact]
    public async Task ABatchMayCheckKeysThatItDoesNotWrite()
    {
        foreach (int partitions in (int[])[1, 2])
        {
            await using Store store = new StoreFixture(new StoreOptions { CreateDefaultPartition = partitions == 1 }).Open();
            PartitionedStore.Split(store, EngineKind.Lsm, partitions, "m");
            long version = Set(store, "a", "1").Version;
            using WriteBatch batch = new();
            Assert.True(store.Write(batch.Check("a"u8, Condition.IfVersion(version)).Check("b"u8, Condition.IfAbsent).Put("z"u8, "1"u8)).IsOk);
            batch.Clear();
            WriteResult refused = store.Write(batch.Put("z"u8, "2"u8).Check("a"u8, Condition.IfVersion(version)).Check("z"u8, Condition.IfAbsent));
            Assert.Equal(Status.Invalid, refused.Status);
            batch.Clear();
            Set(store, "a", "2");
            refused = store.Write(batch.Put("z"u8, "2"u8).Check("a"u8, Condition.IfVersion(version)));
            Assert.Equal((Status.ConditionFailed, 1), (refused.Status, refused.FailedOperation));
            Assert.Equal("1", Get(store, "z"));
            batch.Clear();
            Assert.True(store.Write(batch.Check("a"u8, Condition.IfValue(Bytes("2")))).IsOk);
            Assert.Throws<ArgumentException>(() => batch.Check("q"u8, default));
        }
    }

    [Fact]
    public async Task WhatACommitHoldsIsBounded()
    {
        await using Store store = new StoreFixture(new StoreOptions { MaxTransactionBytes = 64 << 10, MaxTransactions = 2 }).Open();
        using Transaction txn = store.Begin();
        byte[] value = new byte[40 << 10];
        Assert.True(txn.Put("a"u8, value).IsOk);
        WriteResult refused = txn.Put("b"u8, value);
        Assert.Equal(Status.TooLarge, refused.Status);
        Assert.Contains("max-transaction-bytes", refused.Detail, StringComparison.Ordinal);
        Status status = Status.Ok;
        for (int i = 0; i < 2000 && status <= Status.NotFound; i++)
        {
            using ValueLease lease = txn.Get(Bytes($"key{i}"));
            status = lease.Status;
        }

        Assert.Equal(Status.TooLarge, status);
        using Transaction second = store.Begin(new TransactionOptions { ReadOnly = true });
        Assert.Equal(Status.Invalid, second.Put("a"u8, "1"u8).Status);
        Assert.Equal(Status.Busy, Assert.Throws<RefusedException>(() => store.Begin()).Status);
        second.Dispose();
        using Transaction third = store.Begin();
        Assert.Equal(Status.Invalid, third.Put(default, default).Status);
        Assert.Equal(Status.TooLarge, third.Put(new byte[Limits.MaxKeyBytes + 1], default).Status);
        Assert.Equal(Status.TooLarge, third.Put("a"u8, new byte[(1 << 20) + 1]).Status);
        Assert.Equal(Status.Invalid, third.RemoveRange("b"u8, "a"u8).Status);
    }

    [Theory]
    [InlineData(EngineKind.Lsm, 1)]
    [InlineData(EngineKind.Memory, 1)]
    [InlineData(EngineKind.Lsm, 2)]
    public async Task ALargeCommitWorksAndIsReplayed(EngineKind engine, int partitions)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, CreateDefaultPartition = partitions == 1 });
        byte[] value = new byte[1 << 20];
        await using (Store store = fixture.Open())
        {
            PartitionedStore.Split(store, engine, partitions, "k15");
            using Transaction txn = store.Begin();
            for (int i = 0; i < 60; i++)
            {
                value[0] = (byte)i;
                Assert.True(txn.Put(Bytes($"k{i:00}"), value).IsOk);
            }

            CommitResult result = txn.Commit();
            Assert.True(result.IsOk, result.Detail);
        }

        await using Store again = fixture.Open();
        for (int i = 0; i < 60; i++)
        {
            using ValueLease lease = again.Get(Bytes($"k{i:00}"));
            Assert.True(lease.Found && lease.Value.Length == value.Length && lease.Value[0] == (byte)i, $"k{i:00}");
        }
    }

    [Fact]
    public async Task AnAbandonedTransactionEndsAtItsTimeLimit()
    {
        var time = new SteppedTime();
        await using Store store = Store.Open("/data", new StoreOptions(), new StoreEnvironment { FileSystem = new KeyVa.Io.MemoryFileSystem(), Time = time });
        Set(store, "a", "1");
        using Transaction txn = store.Begin(new TransactionOptions { TimeLimit = TimeSpan.FromSeconds(30) });
        using Transaction brief = store.Begin(new TransactionOptions { TimeLimit = TimeSpan.FromSeconds(10) });
        using ScanCursor cursor = brief.Scan(new ScanOptions());
        time.Advance(TimeSpan.FromSeconds(11));
        Assert.Equal(Status.Expired, Assert.Throws<RefusedException>(() => cursor.MoveNext()).Status);
        Assert.Equal("1", Read(txn, "a"));
        Assert.Equal(Status.Expired, brief.Get("a"u8).Status);
        Assert.Equal(Status.Expired, brief.Put("a"u8, "2"u8).Status);
        Assert.Equal(Status.Expired, brief.Scan(new ScanOptions()).Status);
        Assert.Equal(Status.Expired, (await brief.GetAsync(Bytes("a"))).Status);
        CommitResult result = brief.Commit();
        Assert.Equal(Status.Expired, result.Status);
        Assert.Contains("time limit", result.Detail, StringComparison.Ordinal);
        Assert.Equal(1, store.Live.Count);
        time.Advance(TimeSpan.FromSeconds(20));
        Assert.Equal(0, store.Live.Count);
        Assert.Equal(Status.Expired, txn.Get("a"u8).Status);
    }

    [Fact]
    public async Task TransactRetriesUntilNobodyIsInTheWay()
    {
        await using Store store = new StoreFixture(new StoreOptions { Durability = Durability.Os }).Open();
        Set(store, "n", "0");
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, _ =>
        {
            for (int i = 0; i < 100; i++)
            {
                CommitResult result = store.Transact(static txn =>
                {
                    using ValueLease lease = txn.Get("n"u8);
                    int next = lease.Found ? int.Parse(Encoding.ASCII.GetString(lease.Value), System.Globalization.CultureInfo.InvariantCulture) + 1 : 0;
                    txn.Put("n"u8, Bytes($"{next}"));
                });
                Assert.True(result.IsOk, $"{result.Status}: {result.Detail}");
            }
        });
        Assert.Equal("400", Get(store, "n"));
        CommitResult async = await store.TransactAsync(static async txn => await txn.PutAsync(Bytes("async"), Bytes("1")));
        Assert.True(async.IsOk);
        Assert.Equal("1", Get(store, "async"));
        Assert.Throws<FormatException>(() => store.Transact(static _ => throw new FormatException()));
        Assert.Equal(new CommitResult(), store.Transact(static txn => txn.Rollback()));
        Assert.Equal(0, store.Live.Count);
    }

    internal static string? Read(Transaction txn, string key)
    {
        using ValueLease lease = txn.Get(Bytes(key));
        return lease.Found ? Encoding.UTF8.GetString(lease.Value) : lease.Status == Status.NotFound ? null : lease.Status.ToString();
    }

    internal static string Scan(Transaction txn, ScanOptions options)
    {
        var text = new StringBuilder();
        using ScanCursor cursor = txn.Scan(options);
        Assert.Equal(Status.Ok, cursor.Status);
        while (cursor.MoveNext())
        {
            text.Append(Encoding.UTF8.GetString(cursor.Key)).Append('=').Append(Encoding.UTF8.GetString(cursor.Value)).Append(' ');
        }

        return text.ToString().TrimEnd();
    }

    private static string Keys(ScanCursor cursor, int most)
    {
        List<string> keys = [];
        while (keys.Count < most && cursor.MoveNext())
        {
            keys.Add(Encoding.UTF8.GetString(cursor.Key));
        }

        return string.Join(' ', keys);
    }
}
