using System.Text;
using KeyVa.Client;
using KeyVa.Indexes;
using Xunit;

namespace KeyVa.Tests.Client;

/// <summary>Secondary indexes through <see cref="IStore"/>: the same, embedded and remote.</summary>
public sealed class RemoteIndexTests
{
    private static readonly IndexDefinition ByCity = new() { Name = "by-city", Fields = ["city", "age"] };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnIndexIsMadeAskedAndDropped(bool isRemote)
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });
        await using RemoteStore remote = server.Connect();
        IStore store = isRemote ? remote : server.Server.Store;
        await FillAsync(store);
        IndexResult result = await store.Indexes.CreateAsync(ByCity);
        Assert.Equal((Status.Ok, false), (result.Status, result.WasThere));
        Assert.Equal(Status.Ok, (await store.Indexes.WaitAsync("by-city")).Status);
        result = await store.Indexes.CreateAsync(ByCity);
        Assert.Equal((Status.Ok, true), (result.Status, result.WasThere));
        Assert.Equal(Status.ConditionFailed, (await store.Indexes.CreateAsync(ByCity with { Unique = true })).Status);

        IndexInfo index = Assert.Single(await store.Indexes.ListAsync());
        Assert.Equal((IndexState.Ready, 5L, 1L), (index.State, index.FilledRecords, index.Unindexed));
        Assert.Equal(["city", "age"], index.Definition.Fields);
        Assert.Equal("bad", Text(Assert.Single(index.UnindexedKeys)));
        Assert.Equal("by-city", (await store.Indexes.FindAsync("by-city"))!.Definition.Name);
        Assert.Null(await store.Indexes.FindAsync("none"));

        Assert.Equal(["bo", "ada", "eve"], await KeysAsync(store, new IndexQuery { Index = "by-city", Equal = ["Oslo"] }));
        Assert.Equal(["ada"], await KeysAsync(store, new IndexQuery { Index = "by-city", Equal = ["Oslo", 30] }));
        Assert.Equal(["ada", "eve"], await KeysAsync(store, new IndexQuery { Index = "by-city", Equal = ["Oslo"], From = [30], To = [40.5], ToInclusive = true }));
        Assert.Equal(["eve"], await KeysAsync(store, new IndexQuery { Index = "by-city", Equal = ["Oslo"], From = [30], FromExclusive = true }));
        Assert.Equal(["eve", "ada"], await KeysAsync(store, new IndexQuery { Index = "by-city", Prefix = "Os", Reverse = true, Limit = 2 }));
        Assert.Equal(["cy", "bo", "ada", "eve"], await KeysAsync(store, new IndexQuery { Index = "by-city", Prefix = "" }));
        Assert.Empty(await KeysAsync(store, new IndexQuery { Index = "by-city", Equal = [IndexValue.Null] }));

        List<IndexedRecord> all = await ListAsync(store, new IndexQuery { Index = "by-city" });
        Assert.Equal("{\"city\":\"Bergen\",\"age\":7}", Text(all[0].Record.Value));
        Assert.Equal(["\"Oslo\"", "40.5"], all[3].Fields.Select(static field => field.ToString()));
        Assert.True(all[0].Record.Version > 0 && all[0].Record.ModifiedUnixMilliseconds > 0);
        Assert.Equal(["ada", "eve"], await KeysAsync(store, new IndexQuery { Index = "by-city", After = all[1].ResumeToken }));
        all = await ListAsync(store, new IndexQuery { Index = "by-city", KeysOnly = true, After = all[1].ResumeToken, Reverse = true });
        Assert.Equal(("cy", 0), (Text(Assert.Single(all).Record.Key), all[0].Record.Value.Length));

        Assert.Equal(Status.Ok, (await store.Indexes.DropAsync("by-city")).Status);
        Assert.Equal(Status.NotFound, (await store.Indexes.DropAsync("by-city")).Status);
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => KeysAsync(store, new IndexQuery { Index = "by-city" }));
        Assert.Equal((Status.NotFound, "there is no index 'by-city'"), (refused.Status, refused.Message));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task WhatCannotBeIsRefused(bool isRemote)
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });
        await using RemoteStore remote = server.Connect();
        IStore store = isRemote ? remote : server.Server.Store;
        await FillAsync(store);
        IndexResult result = await store.Indexes.CreateAsync(ByCity with { Fields = ["a..b"] });
        Assert.Equal(Status.Invalid, result.Status);
        Assert.Contains("the path 'a..b' cannot be read at character", result.Detail, StringComparison.Ordinal);
        Assert.Equal(Status.Invalid, (await store.Indexes.CreateAsync(ByCity with { Name = "with space" })).Status);
        Assert.Equal(Status.Invalid, (await store.Indexes.CreateAsync(ByCity with { Fields = [] })).Status);
        result = await store.Indexes.CreateAsync(ByCity with { Extractor = "none", ExtractorVersion = 1 });
        Assert.Contains("without version 1 of the extractor 'none'", result.Detail, StringComparison.Ordinal);
        Assert.Equal(Status.NotFound, (await store.Indexes.WaitAsync("none")).Status);
        Assert.True((await store.Indexes.CreateAsync(new IndexDefinition { Name = "one", Fields = ["city"], Unique = true })).IsOk);
        result = await store.Indexes.WaitAsync("one");
        Assert.Equal(Status.NotUnique, result.Status);
        Assert.Contains("'ada'", result.Detail, StringComparison.Ordinal);

        Assert.True((await store.Indexes.CreateAsync(new IndexDefinition { Name = "age", Fields = ["age"], Unique = true })).IsOk);
        Assert.True((await store.Indexes.WaitAsync("age")).IsOk);
        WriteResult write = await store.UpsertAsync(Bytes("dan"), Bytes("{\"age\":30}"));
        Assert.Equal((Status.NotUnique, "the unique index 'age' has the value already, for key 'ada'"), (write.Status, write.Detail));
        Assert.True((await store.Indexes.CreateAsync(new IndexDefinition { Name = "strict", Fields = ["zip"], Strict = true })).IsOk);
        Assert.True((await store.Indexes.WaitAsync("strict")).IsOk);
        Assert.Equal(Status.NotIndexable, (await store.UpsertAsync(Bytes("dan"), Bytes("{\"zip\":[]}"))).Status);

        IndexQuery query = new() { Index = "age" };
        foreach ((IndexQuery wrong, string detail) in new[]
        {
            (query with { Equal = [1, 2] }, "the query names 2 values, the index 'age' has 1 fields"),
            (query with { Prefix = "x", From = [1] }, "a query has a prefix or a range, not both"),
            (query with { Limit = -1 }, "the limit is negative"),
        })
        {
            RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => KeysAsync(store, wrong));
            Assert.Equal((Status.Invalid, detail), (refused.Status, refused.Message));
        }

        for (int i = 0; (result = await store.Indexes.CreateAsync(new IndexDefinition { Name = $"i{i}", Fields = ["x"] })).IsOk; i++)
        {
            Assert.InRange(i, 0, 64);
        }

        Assert.Equal((Status.TooLarge, "a store has at most 64 indexes"), (result.Status, result.Detail));
    }

    [Fact]
    public async Task ARemoteWaitTellsHowFarItIs()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });
        await using RemoteStore store = server.Connect();
        await FillAsync(store);
        Assert.True((await store.Indexes.CreateAsync(ByCity)).IsOk);
        IndexReport last = default;
        await foreach (IndexReport report in store.Indexes.FollowAsync("by-city"))
        {
            Assert.InRange(report.FilledRecords, last.FilledRecords, 5);
            last = report;
        }

        Assert.Equal((5L, true), (last.FilledRecords, last.Done));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task TransactionsAskIndexes(bool isRemote)
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });
        await using RemoteStore remote = server.Connect();
        IStore store = isRemote ? remote : server.Server.Store;
        await FillAsync(store);
        Assert.True((await store.Indexes.CreateAsync(ByCity)).IsOk);
        Assert.True((await store.Indexes.WaitAsync("by-city")).IsOk);
        IndexQuery oslo = new() { Index = "by-city", Equal = ["Oslo"] };
        await using (ITransaction txn = await store.BeginAsync())
        {
            await txn.PutAsync(Bytes("new"), Bytes("{\"city\":\"Oslo\",\"age\":35}"));
            await txn.RemoveAsync(Bytes("bo"));
            Assert.Equal(["ada", "new", "eve"], await InAsync(txn, oslo));
            Assert.Equal(["eve", "new"], await InAsync(txn, oslo with { Reverse = true, Limit = 2 }));
            RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => InAsync(txn, oslo with { Index = "none" }));
            Assert.Equal((Status.NotFound, "there is no index 'none'"), (refused.Status, refused.Message));
            Assert.True((await txn.CommitAsync()).IsOk);
        }

        await using (ITransaction txn = await store.BeginAsync())
        {
            Assert.Equal(["ada", "new", "eve"], await InAsync(txn, oslo));
            await txn.PutAsync(Bytes("count"), Bytes("3"));
            Assert.True((await store.UpsertAsync(Bytes("late"), Bytes("{\"city\":\"Oslo\",\"age\":99}"))).IsOk);
            CommitResult result = await txn.CommitAsync();
            Assert.Equal((Status.Conflict, "another has changed what the index 'by-city' has shown to the transaction", 0), (result.Status, result.Detail, result.ConflictKey.Length));
        }

        // Several pages of one query.
        string pad = new('x', 300_000);
        for (int i = 0; i < 6; i++)
        {
            Assert.True((await store.UpsertAsync(Bytes($"p{i}"), Bytes($"{{\"city\":\"Rome\",\"age\":{i},\"pad\":\"{pad}\"}}"))).IsOk);
        }

        await using ITransaction pages = await store.BeginAsync(new TransactionOptions { Isolation = IsolationLevel.RepeatableRead });
        Assert.Equal(["p0", "p1", "p2", "p3", "p4"], await InAsync(pages, new IndexQuery { Index = "by-city", Equal = ["Rome"], Limit = 5 }));

        static async Task<string[]> InAsync(ITransaction txn, IndexQuery query)
        {
            List<string> keys = [];
            await foreach (IndexedRecord record in txn.QueryAsync(query))
            {
                keys.Add(Text(record.Record.Key));
            }

            return [.. keys];
        }
    }

    [Fact]
    public async Task LargeAnswersComeInPages()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });
        await using RemoteStore store = server.Connect();
        Assert.True((await store.Indexes.CreateAsync(new IndexDefinition { Name = "n", Fields = ["n"] })).IsOk);
        using WriteBatch batch = new();
        for (int i = 0; i < 500; i++)
        {
            batch.Put(Bytes($"k{i:D4}"), Bytes($"{{\"n\":{500 - i},\"pad\":\"{new string('x', 1000)}\"}}"));
        }

        Assert.True((await store.WriteAsync(batch)).IsOk);
        Assert.True((await store.Indexes.WaitAsync("n")).IsOk);
        List<IndexedRecord> all = await ListAsync(store, new IndexQuery { Index = "n" });
        Assert.Equal(Enumerable.Range(0, 500).Reverse().Select(static i => $"k{i:D4}"), all.Select(static one => Text(one.Record.Key)));
        all = await ListAsync(store, new IndexQuery { Index = "n", Limit = 200, After = all[299].ResumeToken });
        Assert.Equal(("k0199", "k0000"), (Text(all[0].Record.Key), Text(all[^1].Record.Key)));
    }

    private static async Task FillAsync(IStore store)
    {
        using WriteBatch batch = new();
        batch.Put(Bytes("ada"), Bytes("{\"city\":\"Oslo\",\"age\":30}"))
            .Put(Bytes("bo"), Bytes("{\"city\":\"Oslo\",\"age\":-1e2}"))
            .Put(Bytes("cy"), Bytes("{\"city\":\"Bergen\",\"age\":7}"))
            .Put(Bytes("eve"), Bytes("{\"city\":\"Oslo\",\"age\":40.50}"))
            .Put(Bytes("bad"), Bytes("no JSON"));
        Assert.True((await store.WriteAsync(batch)).IsOk);
    }

    private static async Task<string[]> KeysAsync(IStore store, IndexQuery query) =>
        [.. (await ListAsync(store, query)).Select(static one => Text(one.Record.Key))];

    private static async Task<List<IndexedRecord>> ListAsync(IStore store, IndexQuery query)
    {
        List<IndexedRecord> records = [];
        await foreach (IndexedRecord record in store.QueryAsync(query))
        {
            records.Add(record);
        }

        return records;
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);
}
