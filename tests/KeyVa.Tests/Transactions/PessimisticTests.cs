using KeyVa.Tests.Stores;
using KeyVa.Transactions;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Transactions;

public sealed class PessimisticTests
{
    private static readonly TransactionOptions Pessimistic = new() { Concurrency = Concurrency.Pessimistic };

    [Fact]
    public async Task AWriteOutsideWaitsForTheLockAndGivesUpInTime()
    {
        await using Store store = new StoreFixture(new StoreOptions { LockTimeout = TimeSpan.FromMilliseconds(30) }).Open();
        using (Transaction txn = store.Begin(Pessimistic with { Name = "holder" }))
        {
            Assert.True(txn.Put("a"u8, "1"u8).IsOk);
            WriteResult refused = Set(store, "a", "2");
            Assert.Equal(Status.LockTimeout, refused.Status);
            Assert.Contains("holder", refused.Detail, StringComparison.Ordinal);
            Assert.Equal(Status.LockTimeout, (await store.UpsertAsync(Bytes("a"), Bytes("2"))).Status);
            Assert.Equal(Status.LockTimeout, store.RemoveRange(default, "b"u8).Status);
            Assert.True(Set(store, "b", "2").IsOk);
            Assert.True((await store.UpsertAsync(Bytes("c"), Bytes("2"))).IsOk);
            Assert.Null(Get(store, "a"));
            using Transaction optimistic = store.Begin();
            optimistic.Put("a"u8, "3"u8);
            CommitResult result = optimistic.Commit();
            Assert.Equal(Status.LockTimeout, result.Status);
            using Transaction other = store.Begin(Pessimistic);
            Assert.Equal(Status.LockTimeout, other.Get("a"u8).Status);
            Assert.True(other.IsActive);
            Assert.True(txn.Commit().IsOk);
        }

        Assert.True(Set(store, "a", "2").IsOk);
        Assert.False(store.Locks!.HasLocks);
    }

    [Fact]
    public async Task AWriteThatWaitsGoesOnWhenTheLockIsReleased()
    {
        await using Store store = new StoreFixture(new StoreOptions { LockTimeout = TimeSpan.FromHours(1) }).Open();
        Transaction txn = store.Begin(Pessimistic);
        Assert.Equal(Status.NotFound, txn.Get("a"u8).Status);
        ValueTask<WriteResult> plain = store.UpsertAsync(Bytes("a"), Bytes("outside"));
        Assert.False(plain.IsCompleted);
        txn.Put("a"u8, "inside"u8);
        Assert.True(txn.Commit().IsOk);
        WriteResult result = await plain;
        Assert.True(result.IsOk, result.Detail);
        Assert.Equal("outside", Get(store, "a"));
        txn.Dispose();
    }

    [Fact]
    public async Task ADeadlockEndsOneOfThemAndNamesTheRing()
    {
        await using Store store = new StoreFixture(new StoreOptions { LockTimeout = TimeSpan.FromHours(1) }).Open();
        using Transaction first = store.Begin(Pessimistic with { Name = "first" });
        using Transaction second = store.Begin(Pessimistic with { Name = "second" });
        first.Put("a"u8, new byte[100]);
        second.Put("b"u8, "1"u8);
        ValueTask<WriteResult> waiting = first.PutAsync(Bytes("b"), Bytes("1"));
        Assert.False(waiting.IsCompleted);
        WriteResult refused = second.Put("a"u8, "1"u8);
        Assert.Equal(Status.Deadlock, refused.Status);
        Assert.Contains("first", refused.Detail, StringComparison.Ordinal);
        Assert.True((await waiting).IsOk);
        Assert.False(second.IsActive);
        Assert.Equal(Status.Deadlock, second.Get("a"u8).Status);
        Assert.Equal(Status.Deadlock, second.Commit().Status);
        Assert.True(first.Commit().IsOk);
        Assert.Equal("1", Get(store, "b"));
    }

    [Fact]
    public async Task AnExpiredTransactionLetsItsLocksGo()
    {
        var time = new SteppedTime();
        await using Store store = Store.Open("/data", new StoreOptions { LockTimeout = TimeSpan.FromHours(1) }, new StoreEnvironment { FileSystem = new KeyVa.Io.MemoryFileSystem(), Time = time });
        using Transaction abandoned = store.Begin(Pessimistic with { TimeLimit = TimeSpan.FromSeconds(5) });
        using Transaction waits = store.Begin(Pessimistic with { TimeLimit = TimeSpan.FromSeconds(5) });
        abandoned.Put("a"u8, "1"u8);
        waits.Put("b"u8, "1"u8);
        ValueTask<WriteResult> plain = store.UpsertAsync(Bytes("a"), Bytes("2"));
        ValueTask<ReadResult> read = waits.GetAsync(Bytes("a"));
        Assert.False(plain.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(6));
        Assert.True((await plain).IsOk);
        Assert.Equal(Status.Expired, (await read).Status);
        Assert.Equal(Status.Expired, abandoned.Commit().Status);
        Assert.False(store.Locks!.HasLocks);
        Assert.Equal("2", Get(store, "a"));
        Assert.Null(Get(store, "b"));
    }

    [Fact]
    public async Task ARangeThatWasReadTakesNoNewKeys()
    {
        await using Store store = new StoreFixture(new StoreOptions { LockTimeout = TimeSpan.FromMilliseconds(30) }).Open();
        using Transaction txn = store.Begin(Pessimistic);
        Assert.Equal("", TransactionTests.Scan(txn, new ScanOptions { From = Bytes("b"), To = Bytes("d") }));
        Assert.Equal(Status.LockTimeout, Set(store, "c", "phantom").Status);
        Assert.True(Set(store, "d", "beside").IsOk);
        txn.Put("c"u8, "own"u8);
        Assert.True(txn.Commit().IsOk);
        Assert.Equal("own", Get(store, "c"));
    }

    [Fact]
    public async Task ARegistryHoldsTransactionsByIdentity()
    {
        await using Store store = new StoreFixture().Open();
        var registry = new TransactionRegistry(store);
        Guid id = registry.Begin(Pessimistic, "ada", out _);
        TransactionRegistry.Rental rental = await registry.RentAsync(id, "ada", default);
        rental.Transaction!.Put("a"u8, "1"u8);
        ValueTask<TransactionRegistry.Rental> second = registry.RentAsync(id, "ada", default);
        Assert.False(second.IsCompleted);

        // To others it is not there: they do not wait for it, either.
        Assert.Null((await registry.RentAsync(id, "bob", default)).Transaction);
        Assert.Null(await registry.CommitAsync(id, "bob", default));
        Assert.False(await registry.RollbackAsync(id, "", default));
        Assert.True(rental.Transaction.Commit().IsOk);
        registry.End(id, rental);
        rental.Dispose();
        using TransactionRegistry.Rental late = await second;
        Assert.Null(late.Transaction);

        Assert.Null((await registry.RentAsync(id, "ada", default)).Transaction);
        Assert.Null((await registry.RentAsync(Guid.NewGuid(), "ada", default)).Transaction);
        Assert.Equal(0, registry.Count);
        Assert.Equal("1", Get(store, "a"));
    }
}
