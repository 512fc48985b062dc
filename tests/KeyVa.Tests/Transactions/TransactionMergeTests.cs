using KeyVa.Tests.Merges;
using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;
using static KeyVa.Tests.Transactions.TransactionTests;

namespace KeyVa.Tests.Transactions;

/// <summary>Merges inside transactions: kept until the commit, seen by reads, in conflict only where something was read.</summary>
public sealed class TransactionMergeTests
{
    public static TheoryData<IsolationLevel> Levels => [.. Enum.GetValues<IsolationLevel>()];

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task WhatWasNotReadNeverConflicts(IsolationLevel isolation)
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "n", "10");
        using Transaction one = store.Begin(new TransactionOptions { Isolation = isolation });
        using Transaction other = store.Begin(new TransactionOptions { Isolation = isolation });
        Assert.True(one.Increment("n"u8, 5).IsOk);
        Assert.True(one.Increment("n"u8).IsOk);
        Assert.True(one.Increment("new"u8).IsOk);
        Assert.True(other.Increment("n"u8, -1).IsOk);
        Assert.True(other.Increment("new"u8).IsOk);
        WriteResult merged = one.Merge("n"u8, MergeFunction.Append, "0"u8);
        Assert.Equal((Status.Ok, 0L, 0), (merged.Status, merged.Version, merged.Merged.Count));
        Set(store, "n", "100");
        Assert.True(other.Commit().IsOk);
        CommitResult result = one.Commit();
        Assert.True(result.IsOk, result.Detail);
        Assert.Equal("1050", Get(store, "n"));
        Assert.Equal("2", Get(store, "new"));
        using ValueLease lease = store.Get("n"u8);
        Assert.Equal(result.Version, lease.Version);
    }

    [Theory]
    [InlineData(IsolationLevel.Serializable, true)]
    [InlineData(IsolationLevel.Serializable, false)]
    [InlineData(IsolationLevel.RepeatableRead, true)]
    [InlineData(IsolationLevel.RepeatableRead, false)]
    public async Task WhatWasReadConflicts(IsolationLevel isolation, bool readsFirst)
    {
        foreach (string way in new[] { "get", "several", "scan", "absent" })
        {
            await using Store store = new StoreFixture().Open();
            string key = way == "absent" ? "b" : "a";
            Set(store, "a", "1");
            using Transaction txn = store.Begin(new TransactionOptions { Isolation = isolation });
            for (int step = 0; step < 2; step++)
            {
                if (step == (readsFirst ? 1 : 0))
                {
                    Assert.True(txn.Increment(Bytes(key)).IsOk);
                }
                else if (way == "several")
                {
                    Assert.NotNull(txn.Get([Bytes(key)]).Records[0]);
                }
                else if (way == "scan")
                {
                    Assert.Equal(readsFirst ? "a=1" : "a=2", Scan(txn, new ScanOptions()));
                }
                else
                {
                    Assert.Equal(way == "absent" ? (readsFirst ? null : "1") : readsFirst ? "1" : "2", Read(txn, key));
                }
            }

            Set(store, key, "7");
            CommitResult result = txn.Commit();
            Assert.True(result.Status == Status.Conflict, $"{way}: {result.Status}");
            Assert.Equal(way == "scan" && isolation == IsolationLevel.Serializable ? [] : Bytes(key), result.ConflictKey.ToArray());
            Assert.Equal("7", Get(store, key));
        }
    }

    [Fact]
    public async Task AtRepeatableReadOnlyWhatWasReadCounts()
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "a", "1");
        Set(store, "m", "1");
        using Transaction txn = store.Begin(new TransactionOptions { Isolation = IsolationLevel.RepeatableRead });
        Assert.Equal("1", Read(txn, "a"));
        Assert.Equal("", Scan(txn, new ScanOptions { From = "x"u8.ToArray(), To = "y"u8.ToArray() }));
        Assert.True(txn.Increment("m"u8).IsOk);
        Set(store, "m", "5");
        Set(store, "a", "5");
        CommitResult result = txn.Commit();
        Assert.True(result.IsOk, result.Detail);
        Assert.Equal("6", Get(store, "m"));
    }

    [Theory]
    [InlineData(EngineKind.Lsm, Concurrency.Optimistic)]
    [InlineData(EngineKind.Memory, Concurrency.Optimistic)]
    [InlineData(EngineKind.Lsm, Concurrency.Pessimistic)]
    public async Task ItStacksOnWhatTheTransactionHasWritten(EngineKind engine, Concurrency concurrency)
    {
        await using Store store = new StoreFixture(new StoreOptions { Engine = engine }).Open();
        foreach (string key in new[] { "put", "removed", "range1", "range2", "over", "kept" })
        {
            Set(store, key, "old");
        }

        using Transaction txn = store.Begin(new TransactionOptions { Concurrency = concurrency });
        txn.Put("put"u8, "a"u8);
        Append(txn, "put", "b");
        txn.Remove("removed"u8);
        Append(txn, "removed", "c");
        Append(txn, "range1", "lost");
        txn.RemoveRange("range"u8, "rangf"u8);
        Append(txn, "range2", "d");
        Append(txn, "over", "lost");
        txn.Put("over"u8, "e"u8);
        Append(txn, "kept", "1");
        Append(txn, "kept", "2");
        Append(txn, "new", "f");
        Assert.Equal(["ab", "c", null, "d", "e", "old12", "f"], new[] { "put", "removed", "range1", "range2", "over", "kept", "new" }.Select(key => Read(txn, key)));
        const string After = "kept=old12 new=f over=e put=ab range2=d removed=c";
        string seen = Scan(txn, new ScanOptions { Unordered = engine == EngineKind.Memory });
        Assert.Equal(After, string.Join(' ', seen.Split(' ').Order(StringComparer.Ordinal)));
        if (engine == EngineKind.Lsm)
        {
            Assert.Equal("removed=c range2=d put=ab", Scan(txn, new ScanOptions { Reverse = true, Limit = 3 }));
        }

        Assert.True(txn.Commit().IsOk);
        Assert.Equal(After, Script.StateOf(store));
    }

    [Fact]
    public async Task SavepointsTakeMergesBack()
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "a", "1");
        using Transaction txn = store.Begin();
        Append(txn, "a", "2");
        Savepoint two = txn.SetSavepoint();
        Append(txn, "a", "3");
        Savepoint three = txn.SetSavepoint();
        txn.RemoveRange("a"u8, default);
        Append(txn, "a", "4");
        Assert.Equal("4", Read(txn, "a"));
        txn.RollbackTo(three);
        Assert.Equal("123", Read(txn, "a"));
        Append(txn, "a", "x");
        txn.RollbackTo(two);
        Append(txn, "a", "5");
        Assert.Equal("125", Read(txn, "a"));
        Assert.True(txn.Commit().IsOk);
        Assert.Equal("125", Get(store, "a"));
    }

    [Fact]
    public async Task ARefusalIsToldWhereItShows()
    {
        await using Store store = new StoreFixture(new StoreOptions { MaxValueBytes = 1000 }).Open();
        Set(store, "text", "words");
        using (Transaction txn = store.Begin())
        {
            txn.Put("own"u8, "words"u8);
            WriteResult refused = txn.Increment("own"u8);
            Assert.Equal((Status.MergeRefused, -1), (refused.Status, refused.FailedOperation));
            Assert.StartsWith("increment: ", refused.Detail, StringComparison.Ordinal);
            Assert.Equal("words", Read(txn, "own"));
            Assert.Equal(Status.TooLarge, txn.Merge("own"u8, MergeFunction.Append, new byte[996]).Status);
            Assert.Equal(Status.TooLarge, txn.Merge("other"u8, MergeFunction.Append, new byte[1001]).Status);
            Assert.Equal(Status.Unsupported, txn.Merge("other"u8, new Named("mine"), "1"u8).Status);
            Assert.True(txn.Increment("text"u8).IsOk);
            using (ValueLease lease = txn.Get("text"u8))
            {
                Assert.Equal(Status.MergeRefused, lease.Status);
            }

            ReadResult read = await txn.GetAsync(Bytes("text"));
            Assert.Equal(Status.MergeRefused, read.Status);
            Assert.StartsWith("increment: ", read.Detail, StringComparison.Ordinal);
            RefusedException failure = Assert.Throws<RefusedException>(() => Scan(txn, new ScanOptions()));
            Assert.Equal(Status.MergeRefused, failure.Status);
            Assert.StartsWith("'text': increment: ", failure.Message, StringComparison.Ordinal);
            CommitResult result = txn.Commit();
            Assert.Equal(Status.MergeRefused, result.Status);
            Assert.StartsWith("'text': increment: ", result.Detail, StringComparison.Ordinal);
        }

        using (Transaction txn = store.Begin())
        {
            Append(txn, "text", new string('x', 990));
            Append(txn, "text", new string('x', 990));
            Assert.Equal(Status.TooLarge, txn.Commit().Status);
        }

        Assert.Null(Get(store, "own"));
        Assert.Equal("words", Get(store, "text"));
    }

    [Fact]
    public async Task OneKeyIsMergedABoundedNumberOfTimes()
    {
        await using Store store = new StoreFixture().Open();
        using Transaction txn = store.Begin();
        for (int i = 0; i < KeyVa.Transactions.TransactionMerges.MaxStacked; i++)
        {
            Assert.True(txn.Increment("n"u8).IsOk);
        }

        Assert.Equal(Status.TooLarge, txn.Increment("n"u8).Status);
        Assert.True(txn.Increment("m"u8).IsOk);
        Assert.True(txn.Commit().IsOk);
        Assert.Equal("1024", Get(store, "n"));
    }

    [Fact]
    public async Task ReadUncommittedSeesTheMergesOfOthers()
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "a", "0");
        using Transaction dirty = store.Begin(new TransactionOptions { Isolation = IsolationLevel.ReadUncommitted });
        using Transaction one = store.Begin();
        using Transaction other = store.Begin();
        Append(one, "a", "1");
        Append(other, "a", "2");
        Append(one, "a", "3");
        Append(other, "b", "4");
        Append(dirty, "a", "9");
        Assert.Equal("01239", Read(dirty, "a"));
        Assert.Equal("a=01239 b=4", Scan(dirty, new ScanOptions()));
        other.RemoveRange("a"u8, "b"u8);
        Append(one, "a", "5");
        Assert.Equal("59", Read(dirty, "a"));
        Assert.Equal("a=59 b=4", Scan(dirty, new ScanOptions()));
        Assert.Equal("0135", Read(one, "a"));
        one.Rollback();
        other.Rollback();
        Assert.Equal("09", Read(dirty, "a"));
    }

    [Fact]
    public async Task APessimisticMergeLocksItsKey()
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "n", "1");
        var options = new TransactionOptions { Concurrency = Concurrency.Pessimistic, LockTimeout = TimeSpan.Zero };
        using Transaction txn = store.Begin(options);
        Assert.True(txn.Increment("n"u8).IsOk);
        using Transaction other = store.Begin(options);
        Assert.Equal(Status.LockTimeout, other.Increment("n"u8).Status);
        using (ValueLease lease = txn.GetForUpdate("n"u8))
        {
            Assert.Equal("2"u8, lease.Value);
        }

        Assert.True(txn.Commit().IsOk);
        Assert.True(other.Increment("n"u8).IsOk);
        Assert.Equal("3", Read(other, "n"));
    }

    [Fact]
    public async Task ExpiriesStayUnlessOneIsGiven()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        long now = fixture.Time.GetUtcNow().ToUnixTimeMilliseconds();
        store.Upsert("a"u8, "1"u8, new WriteOptions { Expiry = Expiry.AtUnixMilliseconds(now + 50_000) });
        store.Upsert("b"u8, "1"u8, new WriteOptions { Expiry = Expiry.AtUnixMilliseconds(now + 50_000) });
        using Transaction txn = store.Begin();
        Append(txn, "a", "2");
        txn.Merge("b"u8, MergeFunction.Append, "2"u8, new WriteOptions { Expiry = Expiry.AtUnixMilliseconds(now + 90_000) });
        Append(txn, "b", "3");
        txn.Put("c"u8, "1"u8, new WriteOptions { Expiry = Expiry.AtUnixMilliseconds(now + 70_000) });
        Append(txn, "c", "2");
        txn.Merge("d"u8, MergeFunction.Append, "1"u8, new WriteOptions { Expiry = Expiry.AtUnixMilliseconds(now - 1) });
        Assert.Null(Read(txn, "d"));
        Append(txn, "d", "2");
        Assert.Equal("2", Read(txn, "d"));
        Assert.Equal("a=12 b=123 c=12 d=2", Scan(txn, new ScanOptions()));
        string Expiries(Func<string, long> of) => string.Join(' ', "abcd".Select(key => of(key.ToString()) is var at && at == 0 ? "never" : $"{at - now}"));
        Assert.Equal("50000 90000 70000 never", Expiries(key =>
        {
            using ValueLease lease = txn.Get(Bytes(key));
            return lease.ExpiresAtUnixMilliseconds;
        }));
        Assert.True(txn.Commit().IsOk);
        Assert.Equal("50000 90000 70000 never", Expiries(key =>
        {
            using ValueLease lease = store.Get(Bytes(key));
            return lease.ExpiresAtUnixMilliseconds;
        }));
    }

    [Fact]
    public async Task ConditionsGoWithMerges()
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "a", "1");
        using Transaction txn = store.Begin();
        Assert.Equal(Status.ConditionFailed, txn.Increment("a"u8, 1, new WriteOptions { Condition = Condition.IfAbsent }).Status);
        Assert.True(txn.Increment("a"u8, 1, new WriteOptions { Condition = Condition.IfValue("1"u8.ToArray()) }).IsOk);
        Assert.True(txn.Increment("a"u8, 1, new WriteOptions { Condition = Condition.IfValue("2"u8.ToArray()) }).IsOk);
        Set(store, "a", "1");
        Assert.Equal(Status.Conflict, txn.Commit().Status);
    }

    [Fact]
    public async Task AJournalHoldsStacksOfAProgramsOwnFunctions()
    {
        var fixture = new StoreFixture(new StoreOptions { MergeFunctions = [new Reverse()] });
        await using (Store store = fixture.Open())
        {
            Set(store, "a", "0");
            using Transaction txn = store.Begin();
            Assert.True(txn.Merge("a"u8, new Reverse(), "1"u8).IsOk);
            Append(txn, "a", "2");
            Assert.True(txn.Merge("a"u8, new Reverse(), "3"u8).IsOk);
            Assert.Equal("3102", Read(txn, "a"));
            Assert.True(txn.Commit().IsOk);
            Assert.Equal("3102", Get(store, "a"));
            fixture.Files = fixture.Files.Kill();
        }

        await using (Store store = fixture.Open())
        {
            Assert.Equal("3102", Get(store, "a"));
            fixture.Files = fixture.Files.Kill();
        }

        StoreException failure = Assert.Throws<StoreException>(() => (new StoreFixture { Files = fixture.Files }).Open());
        Assert.Contains("'reverse' version 1", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ManyClientsCountWithoutAConflict()
    {
        await using Store store = new StoreFixture(new StoreOptions { Durability = Durability.Os, CreateDefaultPartition = false }).Open();
        PartitionedStore.Split(store, EngineKind.Lsm, 2, "m");
        const int Threads = 8;
        const int Each = 200;
        int refused = 0;
        Thread[] threads = [.. Enumerable.Range(0, Threads).Select(_ => new Thread(() =>
        {
            for (int i = 0; i < Each; i++)
            {
                using Transaction txn = store.Begin();
                txn.Increment("a"u8);
                txn.Increment("z"u8, 2);
                txn.Increment("a"u8);
                if (!txn.Commit().IsOk)
                {
                    Interlocked.Increment(ref refused);
                }
            }
        }))];
        Array.ForEach(threads, static thread => thread.Start());
        Array.ForEach(threads, static thread => thread.Join());
        Assert.Equal(0, refused);
        Assert.Equal($"{2 * Threads * Each}", Get(store, "a"));
        Assert.Equal($"{2 * Threads * Each}", Get(store, "z"));
    }

    private static void Append(Transaction txn, string key, string more) => Assert.True(txn.Merge(Bytes(key), MergeFunction.Append, Bytes(more)).IsOk);
}
