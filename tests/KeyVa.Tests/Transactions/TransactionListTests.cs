using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;
using static KeyVa.Tests.Transactions.TransactionTests;

namespace KeyVa.Tests.Transactions;

/// <summary>What operators see of transactions under way, and how they end one.</summary>
public sealed class TransactionListTests
{
    private static readonly TransactionOptions Pessimistic = new() { Concurrency = Concurrency.Pessimistic, LockTimeout = TimeSpan.FromMinutes(5), TimeLimit = TimeSpan.FromMinutes(5) };

    [Fact]
    public async Task EachIsDescribedTheOldestFirst()
    {
        var time = new SteppedTime();
        await using Store store = Open(time);
        Assert.Empty(store.ListTransactions());
        Set(store, "a", "1");
        using Transaction one = store.Begin(new TransactionOptions { Name = "nightly", Isolation = IsolationLevel.RepeatableRead, TimeLimit = TimeSpan.FromSeconds(90) });
        time.Advance(TimeSpan.FromSeconds(10));
        using Transaction two = store.Begin(new TransactionOptions { ReadOnly = true, Isolation = IsolationLevel.ReadCommitted });
        one.Put("b"u8, "12345"u8);
        Savepoint savepoint = one.SetSavepoint();
        one.Increment("c"u8);
        one.RollbackTo(savepoint);
        one.Remove("d"u8);
        one.RemoveRange("x"u8, "y"u8);
        IReadOnlyList<TransactionInfo> all = store.ListTransactions();
        Assert.Equal([one.Number, two.Number], all.Select(static info => info.Number));
        Assert.Equal(("nightly", IsolationLevel.RepeatableRead, Concurrency.Optimistic, false, false), (all[0].Name, all[0].Isolation, all[0].Concurrency, all[0].IsReadOnly, all[0].IsCommitting));
        Assert.Equal((10.0, 80.0, 0.0), (all[0].Age.TotalSeconds, all[0].TimeLeft.TotalSeconds, all[1].Age.TotalSeconds));
        Assert.Equal((one.SnapshotVersion, 2, 1, 0), (all[0].SnapshotVersion, all[0].KeysWritten, all[0].RangesRemoved, all[0].LocksHeld));
        Assert.InRange(all[0].Bytes, 5, 1000);
        Assert.Equal((null, true, 0L, 0), (all[1].Name, all[1].IsReadOnly, all[1].SnapshotVersion, all[1].KeysWritten));
        Assert.Equal([one.Number], store.ListTransactions(limit: 1).Select(static info => info.Number));
        one.Rollback();
        two.Commit();
        Assert.Empty(store.ListTransactions());
    }

    [Fact]
    public async Task LocksHeldAndWaitedForAreTold()
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "a", "1");
        using Transaction holder = store.Begin(Pessimistic with { Name = "holder" });
        holder.Put("a"u8, "2"u8);
        holder.Put("b"u8, "2"u8);
        Read(holder, "c");
        Scan(holder, new ScanOptions { From = "m"u8.ToArray(), To = "n"u8.ToArray() });
        using Transaction waiter = store.Begin(Pessimistic);
        waiter.Put("z"u8, "1"u8);
        ValueTask<WriteResult> waiting = waiter.PutAsync(Bytes("a"), Bytes("3"));
        Assert.False(waiting.IsCompleted);
        IReadOnlyList<TransactionInfo> all = store.ListTransactions(locks: 3);
        Assert.Equal((4, null), (all[0].LocksHeld, all[0].WaitsFor));
        Assert.Equal(["m..n shared", "c shared", "b exclusive"], all[0].Locks.Select(Text));
        Assert.Equal((1, "a exclusive"), (all[1].LocksHeld, Text(all[1].WaitsFor!)));
        Assert.Equal(["z exclusive"], all[1].Locks.Select(Text));
        Assert.Equal([$"txn {holder.Number} 'holder'"], all[1].BlockedBy);

        Assert.Equal(Status.Ok, store.EndTransaction(holder.Number));
        Assert.True((await waiting).IsOk);
        Assert.Equal(Status.NotFound, store.EndTransaction(holder.Number));
        TransactionInfo left = Assert.Single(store.ListTransactions());
        Assert.Equal((waiter.Number, 2, null, 0), (left.Number, left.LocksHeld, left.WaitsFor, left.BlockedBy.Count));
        Assert.True(waiter.Commit().IsOk);
    }

    [Fact]
    public async Task OneThatWasEndedTellsItsOwnerSo()
    {
        var time = new SteppedTime();
        await using Store store = Open(time);
        using Transaction txn = store.Begin();
        txn.Put("a"u8, "1"u8);
        Assert.Equal(Status.NotFound, store.EndTransaction(txn.Number + 1));
        Assert.Equal(Status.Ok, store.EndTransaction(txn.Number));
        WriteResult refused = txn.Put("b"u8, "1"u8);
        CommitResult result = txn.Commit();
        Assert.Equal((Status.Expired, Status.Expired), (refused.Status, result.Status));
        Assert.Equal("the transaction was ended by an operator, and rolled back", result.Detail);
        Assert.Null(Get(store, "a"));

        // The next one in its place is not taken for it.
        txn.Dispose();
        using Transaction next = store.Begin(new TransactionOptions { TimeLimit = TimeSpan.FromSeconds(1) });
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal("the transaction's time limit passed, and it was rolled back", next.Commit().Detail);
    }

    [Fact]
    public async Task OneThatWaitsForALockIsEndedToo()
    {
        await using Store store = new StoreFixture().Open();
        using Transaction holder = store.Begin(Pessimistic);
        holder.Put("a"u8, "1"u8);
        using Transaction waiter = store.Begin(Pessimistic);
        ValueTask<WriteResult> waiting = waiter.PutAsync(Bytes("a"), Bytes("3"));
        Assert.Equal(Status.Ok, store.EndTransaction(waiter.Number));
        Assert.Equal(Status.Expired, (await waiting).Status);
        Assert.True(holder.Commit().IsOk);
        Assert.Equal("1", Get(store, "a"));
    }

    [Fact]
    public async Task ACommitOnItsWayIsNotEnded()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        using Transaction txn = store.Begin();
        txn.Put("a"u8, "1"u8);
        var seen = new List<(Status Ended, bool IsCommitting)>();
        fixture.Files.Faults.Before = (_, _) => seen.Add((store.EndTransaction(txn.Number), store.ListTransactions().Single().IsCommitting));
        CommitResult result = txn.Commit();
        fixture.Files.Faults.Before = null;
        Assert.True(result.IsOk, result.Detail);
        Assert.NotEmpty(seen);
        Assert.All(seen, static one => Assert.Equal((Status.Busy, true), one));
        Assert.Equal("1", Get(store, "a"));
    }

    private static Store Open(TimeProvider time) =>
        Store.Open("/data", new StoreOptions(), new StoreEnvironment { FileSystem = new KeyVa.Io.MemoryFileSystem(), Time = time });

    private static string Text(TransactionLock held)
    {
        string from = System.Text.Encoding.ASCII.GetString(held.Range.From.Span);
        string to = held.IsKey ? "" : ".." + System.Text.Encoding.ASCII.GetString(held.Range.To.Span);
        return $"{from}{to} {(held.IsExclusive ? "exclusive" : "shared")}";
    }
}
