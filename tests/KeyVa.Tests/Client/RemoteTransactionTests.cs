using System.Text;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Client;

/// <summary>Transactions over the interface, embedded and remote alike, and what only a remote one can meet.</summary>
public sealed class RemoteTransactionTests : IAsyncLifetime
{
    private static readonly TransactionOptions Pessimistic = new() { Concurrency = Concurrency.Pessimistic, LockTimeout = TimeSpan.FromSeconds(30) };

    private TestServer _server = null!;
    private RemoteStore _remote = null!;

    public async Task InitializeAsync()
    {
        _server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os, LockTimeout = TimeSpan.FromMinutes(1) });
        _remote = _server.Connect();
    }

    public async Task DisposeAsync()
    {
        await _remote.DisposeAsync();
        await _server.DisposeAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task WhatATransactionWritesItSeesAndOthersSeeAtItsCommit(bool remote)
    {
        IStore store = Store(remote);
        for (int i = 0; i < 5; i++)
        {
            await store.UpsertAsync(Bytes($"k{i}"), Bytes("old"));
        }

        await using ITransaction transaction = await store.BeginAsync(new TransactionOptions { Name = "test" });
        Assert.True((await transaction.PutAsync(Bytes("k1"), Bytes("new"))).IsOk);
        Assert.True((await transaction.RemoveAsync(Bytes("k2"))).IsOk);
        Savepoint savepoint = await transaction.SetSavepointAsync();
        Assert.Equal(1, savepoint.Number);
        using (WriteBatch batch = new())
        {
            batch.RemoveRange(Bytes("k3"), Bytes("k4")).Put(Bytes("k5"), Bytes("five")).Remove(Bytes("k0")).Remove(Bytes("none")).Check(Bytes("k1"), Condition.IfPresent);
            WriteResult written = await transaction.WriteAsync(batch);
            Assert.Equal((Status.Ok, -1), (written.Status, written.FailedOperation));
            Assert.Equal([true, false, true, false, false], written.Removed.ToArray());
        }

        Assert.Equal(["k1=new", "k4=old", "k5=five"], await ScanAsync(transaction));
        await transaction.RollbackToAsync(savepoint);
        Assert.Equal(["k0=old", "k1=new", "k3=old", "k4=old"], await ScanAsync(transaction));
        await Assert.ThrowsAsync<ArgumentException>(async () => await transaction.RollbackToAsync(Savepoint.FromNumber(7)));
        MultiReadResult many = await transaction.GetAsync([Bytes("k1"), Bytes("k2"), Bytes("k3")]);
        Assert.Equal([true, false, true], many.Records.Select(one => one is not null));
        Assert.Equal("old", Encoding.UTF8.GetString((await store.GetAsync(Bytes("k1"))).Record.Value.Span));
        CommitResult committed = await transaction.CommitAsync();
        Assert.True(committed.IsOk, committed.Detail);
        Assert.Equal(committed.Version, (await store.GetAsync(Bytes("k1"))).Record.Version);
        Assert.False((await store.GetAsync(Bytes("k2"))).Found);
        await Assert.ThrowsAsync<InvalidOperationException>(async () => await transaction.GetAsync(Bytes("k1")));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ABatchThatIsRefusedLeavesNothingInTheTransaction(bool remote)
    {
        IStore store = Store(remote);
        await using ITransaction transaction = await store.BeginAsync();
        await transaction.PutAsync(Bytes("a"), Bytes("1"));
        using WriteBatch batch = new();
        batch.Put(Bytes("a"), Bytes("2")).Put(Bytes("b"), Bytes("2")).Put(Bytes("a"), Bytes("3"), new WriteOptions { Condition = Condition.IfAbsent });
        WriteResult refused = await transaction.WriteAsync(batch);
        Assert.Equal((Status.ConditionFailed, 2), (refused.Status, refused.FailedOperation));
        Assert.Equal(["a=1"], await ScanAsync(transaction));
        Assert.Equal(Status.ConditionFailed, (await transaction.PutAsync(Bytes("a"), Bytes("3"), new WriteOptions { Condition = Condition.IfAbsent })).Status);
        Assert.True((await transaction.CommitAsync()).IsOk);
        Assert.False((await store.GetAsync(Bytes("b"))).Found);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AConflictNamesItsKeyAndTransactAsyncDoesTheWorkAgain(bool remote)
    {
        IStore store = Store(remote);
        await store.UpsertAsync(Bytes("n"), Bytes("0"));
        await using (ITransaction transaction = await store.BeginAsync())
        {
            await transaction.GetAsync(Bytes("n"));
            await transaction.PutAsync(Bytes("m"), Bytes("x"));
            await store.UpsertAsync(Bytes("n"), Bytes("0"));
            CommitResult conflict = await transaction.CommitAsync();
            Assert.Equal((Status.Conflict, "n"), (conflict.Status, Encoding.UTF8.GetString(conflict.ConflictKey.Span)));
            Assert.Contains("'n'", conflict.Detail, StringComparison.Ordinal);
        }

        const int Workers = 8;
        const int Rounds = 20;
        CommitResult[] results = await Task.WhenAll(Enumerable.Range(0, Workers).Select(_ => Task.Run(async () =>
        {
            CommitResult last = default;
            for (int i = 0; i < Rounds; i++)
            {
                last = await StoreTransactions.TransactAsync(store, async transaction =>
                {
                    int n = int.Parse(Encoding.UTF8.GetString((await transaction.GetAsync(Bytes("n"))).Record.Value.Span));
                    await transaction.PutAsync(Bytes("n"), Bytes($"{n + 1}"));
                });
                Assert.True(last.IsOk, last.Detail);
            }

            return last;
        })));
        Assert.Equal($"{Workers * Rounds}", Encoding.UTF8.GetString((await store.GetAsync(Bytes("n"))).Record.Value.Span));
        Assert.All(results, result => Assert.True(result.Version > 0));
        Assert.Equal(0, _server.Server.Store.GetStatistics().LiveTransactions);
    }

    [Fact]
    public async Task ADeadlockNamesItsRing()
    {
        await using ITransaction one = await _remote.BeginAsync(Pessimistic with { Name = "one" });
        await using ITransaction two = await _remote.BeginAsync(Pessimistic with { Name = "zwei ü" });
        await one.PutAsync(Bytes("a"), Bytes("1"));
        await two.PutAsync(Bytes("b"), Bytes("2"));
        ValueTask<WriteResult> first = one.PutAsync(Bytes("b"), Bytes("1"));
        WriteResult second = await two.PutAsync(Bytes("a"), Bytes("2"));
        WriteResult[] both = [await first, second];
        WriteResult victim = both.Single(result => !result.IsOk);
        Assert.Equal(Status.Deadlock, victim.Status);
        Assert.Contains("'one'", victim.Detail, StringComparison.Ordinal);
        Assert.Contains("'zwei ü'", victim.Detail, StringComparison.Ordinal);
        CommitResult[] commits = [await one.CommitAsync(), await two.CommitAsync()];
        Assert.Equal([Status.Ok, Status.Deadlock], commits.Select(commit => commit.Status).Order());
        Assert.Equal(1, _server.Server.Store.GetStatistics().Deadlocks);
    }

    [Fact]
    public async Task ATransactionLeftAloneEndsAtItsLimitAndItsLocksAreFree()
    {
        // The put comes in time on a machine that is busy with others, too.
        await using ITransaction left = await _remote.BeginAsync(Pessimistic with { TimeLimit = TimeSpan.FromSeconds(5) });
        Assert.True((await left.PutAsync(Bytes("a"), Bytes("never"))).IsOk);

        // Waits until the lock is free, which nobody but the time limit sees to.
        Assert.True((await _remote.UpsertAsync(Bytes("a"), Bytes("mine"))).IsOk);
        Assert.Equal(Status.Expired, (await left.GetAsync(Bytes("a"))).Status);
        Assert.Equal(Status.Expired, (await left.CommitAsync()).Status);
        Assert.Equal("mine", Encoding.UTF8.GetString((await _remote.GetAsync(Bytes("a"))).Record.Value.Span));
    }

    [Fact]
    public async Task AServerThatWasStartedAgainKnowsNothingOfATransaction()
    {
        await using ITransaction transaction = await _remote.BeginAsync();
        await transaction.PutAsync(Bytes("a"), Bytes("never"));
        await _server.StopAsync();
        await _server.RestartAsync();
        ReadResult read = await transaction.GetAsync(Bytes("a"));
        Assert.Equal(Status.Expired, read.Status);
        Assert.Contains("the server was started since", read.Detail, StringComparison.Ordinal);
        Assert.Equal(Status.Expired, (await transaction.CommitAsync()).Status);
        Assert.False((await _remote.GetAsync(Bytes("a"))).Found);
    }

    [Fact]
    public async Task AScanOfManyPagesReadsAsFarAsItIsAskedFor()
    {
        for (int i = 0; i < 40; i++)
        {
            Assert.True(_server.Server.Store.Upsert(Bytes($"p{i:00}"), new byte[100_000]).IsOk);
        }

        await using ITransaction transaction = await _remote.BeginAsync();
        List<string> keys = [];
        await foreach (Record record in transaction.ScanAsync(new ScanOptions { Limit = 31, Reverse = true }))
        {
            keys.Add(Encoding.UTF8.GetString(record.Key.Span));
        }

        Assert.Equal(Enumerable.Range(9, 31).Reverse().Select(i => $"p{i:00}"), keys);
        await transaction.PutAsync(Bytes("x"), Bytes("1"));

        // Behind the last record that was read: no conflict.
        await _remote.UpsertAsync(Bytes("p08"), Bytes("changed"));
        CommitResult result = await transaction.CommitAsync();
        Assert.True(result.IsOk, result.Detail);
    }

    [Fact]
    public async Task AConditionalBatchDoesOneOfTwo()
    {
        await _remote.UpsertAsync(Bytes("a"), Bytes("1"));
        ConditionalBatch batch = new ConditionalBatch()
            .If(Bytes("a"), Condition.IfValue(Bytes("1"))).If(Bytes("b"), Condition.IfAbsent)
            .Put(Bytes("b"), Bytes("2")).Get(Bytes("b")).Remove(Bytes("a")).Get(Bytes("a"))
            .Otherwise().Get(Bytes("b")).RemoveRange(Bytes("b"), default).Get(Bytes("b"));
        ConditionalResult first = await _remote.TransactAsync(batch);
        Assert.Equal((Status.Ok, true, 2), (first.Status, first.Succeeded, first.Records.Count));
        Assert.Equal("2", Encoding.UTF8.GetString(first.Records[0].Value!.Value.Value.Span));
        Assert.Null(first.Records[1].Value);
        Assert.Equal(first.Version, (await _remote.GetAsync(Bytes("b"))).Record.Version);
        ConditionalResult second = await _remote.TransactAsync(batch);
        Assert.Equal((Status.Ok, false), (second.Status, second.Succeeded));
        Assert.Equal([true, false], second.Records.Select(one => one.Value is not null));
        ConditionalResult refused = await _remote.TransactAsync(new ConditionalBatch().Get(Bytes("a"))
            .Put(Bytes("c"), Bytes("1")).Put(Bytes("d"), Bytes("1"), new WriteOptions { Condition = Condition.IfPresent }));
        Assert.Equal((Status.ConditionFailed, 2), (refused.Status, refused.FailedStep));
        Assert.Equal(0, _server.Server.Store.GetStatistics().LiveTransactions);
        Assert.Empty((await _remote.GetAsync([Bytes("b"), Bytes("c")])).Records.OfType<Record>());
    }

    [Fact]
    public async Task ABatchChecksKeysThatItDoesNotWrite()
    {
        await _remote.UpsertAsync(Bytes("a"), Bytes("1"));
        using WriteBatch batch = new();
        batch.Check(Bytes("a"), Condition.IfPresent).Put(Bytes("b"), Bytes("1")).Remove(Bytes("none"));
        WriteResult held = await _remote.WriteAsync(batch);
        Assert.True(held.IsOk, held.Detail);
        Assert.Equal([false, false, false], held.Removed.ToArray());
        batch.Clear();
        batch.Put(Bytes("b"), Bytes("2")).Check(Bytes("a"), Condition.IfAbsent);
        WriteResult refused = await _remote.WriteAsync(batch);
        Assert.Equal((Status.ConditionFailed, 1), (refused.Status, refused.FailedOperation));
    }

    [Fact]
    public async Task OptionsTravel()
    {
        await using ITransaction reader = await _remote.BeginAsync(new TransactionOptions { ReadOnly = true });
        Assert.Equal(Status.Invalid, (await reader.PutAsync(Bytes("a"), Bytes("1"))).Status);
        await using ITransaction writer = await _remote.BeginAsync();
        await writer.PutAsync(Bytes("dirty"), Bytes("1"));
        await using ITransaction dirty = await _remote.BeginAsync(new TransactionOptions { Isolation = IsolationLevel.ReadUncommitted });
        Assert.True((await dirty.GetAsync(Bytes("dirty"))).Found);
        await using ITransaction holder = await _remote.BeginAsync(Pessimistic);
        Assert.Equal(Status.NotFound, (await holder.GetForUpdateAsync(Bytes("held"))).Status);
        await using ITransaction hasty = await _remote.BeginAsync(Pessimistic with { LockTimeout = TimeSpan.Zero });
        Assert.Equal(Status.LockTimeout, (await hasty.PutAsync(Bytes("held"), Bytes("1"))).Status);
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            async () => await _remote.BeginAsync(new TransactionOptions { Name = new string('x', 65) }));
        Assert.Equal(Status.Invalid, refused.Status);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task MergesAreDoneAtTheCommitAndSeenBefore(bool remote)
    {
        IStore store = Store(remote);
        await store.UpsertAsync(Bytes("n"), Bytes("1"));
        await store.UpsertAsync(Bytes("t"), Bytes("words"));
        await using ITransaction blind = await store.BeginAsync();
        await using ITransaction seeing = await store.BeginAsync();
        WriteResult merged = await blind.IncrementAsync(Bytes("n"), 4);
        Assert.Equal((Status.Ok, 0), (merged.Status, merged.Merged.Count));
        using (WriteBatch batch = new())
        {
            batch.Put(Bytes("own"), Bytes("x")).Increment(Bytes("n"), 5).Merge(Bytes("log"), MergeFunction.Append, Bytes("a;"));
            Assert.True((await seeing.WriteAsync(batch)).IsOk);
        }

        using (WriteBatch batch = new())
        {
            batch.Put(Bytes("p"), Bytes("x")).Increment(Bytes("own"));
            WriteResult refused = await seeing.WriteAsync(batch);
            Assert.Equal((Status.MergeRefused, 1), (refused.Status, refused.FailedOperation));
            Assert.Equal(Status.NotFound, (await seeing.GetAsync(Bytes("p"))).Status);
        }

        Assert.Equal("6", Text((await seeing.GetAsync(Bytes("n"))).Record));
        List<string> seen = [];
        await foreach (Record record in seeing.ScanAsync(new ScanOptions()))
        {
            seen.Add($"{Encoding.UTF8.GetString(record.Key.Span)}={Text(record)}");
        }

        Assert.Equal(["log=a;", "n=6", "own=x", "t=words"], seen);
        Assert.True((await blind.CommitAsync()).IsOk);
        CommitResult conflict = await seeing.CommitAsync();
        Assert.Equal((Status.Conflict, "n"), (conflict.Status, Encoding.UTF8.GetString(conflict.ConflictKey.Span)));
        Assert.Equal("5", Text((await store.GetAsync(Bytes("n"))).Record));
        await using ITransaction wrong = await store.BeginAsync();
        Assert.True((await wrong.MergeAsync(Bytes("t"), MergeFunction.Increment, Bytes("1"))).IsOk);
        Assert.Equal(Status.MergeRefused, (await wrong.GetAsync(Bytes("t"))).Status);
        RefusedException failure = await Assert.ThrowsAsync<RefusedException>(async () => await wrong.ScanAsync(new ScanOptions()).ToListAsync());
        Assert.Equal(Status.MergeRefused, failure.Status);
        CommitResult over = await wrong.CommitAsync();
        Assert.Equal(Status.MergeRefused, over.Status);
        Assert.Contains("'t': increment: ", over.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AnOperatorListsTransactionsAndEndsOne()
    {
        await using RemoteControl control = _server.ConnectControl();
        await using ITransaction one = await _remote.BeginAsync(Pessimistic with { Name = "one", Isolation = IsolationLevel.RepeatableRead });
        await using ITransaction two = await _remote.BeginAsync(Pessimistic);
        Assert.True((await one.PutAsync(Bytes("a"), Bytes("1"))).IsOk);
        Assert.True((await one.RemoveRangeAsync(Bytes("m"), Bytes("n"))).IsOk);
        Task<WriteResult> waits = two.IncrementAsync(Bytes("a")).AsTask();
        IReadOnlyList<TransactionInfo> all = await control.ListTransactionsAsync();
        while (all[1].WaitsFor is null)
        {
            all = await control.ListTransactionsAsync();
        }

        Assert.Equal(("one", IsolationLevel.RepeatableRead, Concurrency.Pessimistic, 1, 1, 2), (all[0].Name, all[0].Isolation, all[0].Concurrency, all[0].KeysWritten, all[0].RangesRemoved, all[0].LocksHeld));
        Assert.Equal(["m/n", "a"], all[0].Locks.Select(static held => Encoding.UTF8.GetString(held.Range.From.Span) + (held.IsKey ? "" : "/" + Encoding.UTF8.GetString(held.Range.To.Span))));
        Assert.Equal((true, "a"), (all[1].WaitsFor!.IsExclusive, Encoding.UTF8.GetString(all[1].WaitsFor!.Range.From.Span)));
        Assert.Equal([$"txn {((RemoteTransaction)one).Number} 'one'"], all[1].BlockedBy);
        await control.EndTransactionAsync(all[0].Number);
        Assert.True((await waits).IsOk);
        CommitResult over = await one.CommitAsync();
        Assert.Equal((Status.Expired, "the transaction was ended by an operator, and rolled back"), (over.Status, over.Detail));
        RefusedException failure = await Assert.ThrowsAsync<RefusedException>(async () => await control.EndTransactionAsync(all[0].Number));
        Assert.Equal(Status.NotFound, failure.Status);
        Assert.True((await two.CommitAsync()).IsOk);
        await Assert.ThrowsAsync<RefusedException>(async () => await control.ListTransactionsAsync(limit: -1));
        Assert.Empty(await control.ListTransactionsAsync());
    }

    [Fact]
    public async Task AOneShotMerges()
    {
        ConditionalBatch batch = new ConditionalBatch().Merge(Bytes("m"), MergeFunction.Increment, Bytes("2")).Merge(Bytes("m"), MergeFunction.Max, Bytes("9")).Get(Bytes("m"));
        ConditionalResult result = await _remote.TransactAsync(batch);
        Assert.Equal(Status.Ok, result.Status);
        Assert.Equal("9", Text(result.Records[0].Value!.Value));
    }

    private static string Text(Record record) => Encoding.UTF8.GetString(record.Value.Span);

    private IStore Store(bool remote) => remote ? _remote : _server.Server.Store;

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private static async Task<List<string>> ScanAsync(ITransaction transaction)
    {
        List<string> records = [];
        await foreach (Record record in transaction.ScanAsync(new ScanOptions()))
        {
            records.Add($"{Encoding.UTF8.GetString(record.Key.Span)}={Encoding.UTF8.GetString(record.Value.Span)}");
        }

        return records;
    }
}
