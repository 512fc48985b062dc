using System.Text;
using KeyVa.Indexes;
using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Indexes;

public sealed class IndexTests
{
    private static readonly IndexDefinition City = new() { Name = "city", Fields = ["c"] };

    [Theory]
    [InlineData(EngineKind.Lsm, false)]
    [InlineData(EngineKind.Memory, false)]
    [InlineData(EngineKind.Memory, true)]
    public async Task AnIndexIsFilledFollowsWritesAndSurvives(EngineKind engine, bool isVolatile)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, Volatile = isVolatile });
        await using (Store store = fixture.Open())
        {
            for (int i = 0; i < 1000; i++)
            {
                Set(store, $"k{i:D4}", Document(i % 7));
            }

            Assert.Equal(Status.NotFound, store.Query(new IndexQuery { Index = "city" }).Status);
            Assert.True((await store.Indexes.CreateAsync(City)).IsOk);
            Assert.True((await store.Indexes.CreateAsync(City)).IsOk);
            Assert.Equal(Status.ConditionFailed, (await store.Indexes.CreateAsync(City with { Unique = true })).Status);
            Assert.True((await store.Indexes.WaitAsync("city")).IsOk);
            Assert.Equal(Enumerable.Range(0, 1000).Where(static i => i % 7 == 3).Select(static i => $"k{i:D4}"), Keys(store, "city", 3));
            Set(store, "k0003", Document(4));
            store.Remove("k0010"u8);
            Set(store, "new", Document(3));
            Assert.Equal([.. Enumerable.Range(11, 989).Where(static i => i % 7 == 3).Select(static i => $"k{i:D4}"), "new"], Keys(store, "city", 3));
            store.RemoveRange("k0000"u8, "k0990"u8);
            Assert.Equal(["k0990", "k0997", "new"], Keys(store, "city", 3));
            IndexInfo info = Assert.Single(await store.Indexes.ListAsync());
            Assert.Equal(IndexState.Ready, info.State);
            Assert.Equal(1000, info.FilledRecords);
        }

        if (isVolatile)
        {
            return;
        }

        await using Store again = fixture.Open();
        Assert.Equal(["k0990", "k0997", "new"], Keys(again, "city", 3));
        Set(again, "newer", Document(3));
        Assert.Equal(["k0990", "k0997", "new", "newer"], Keys(again, "city", 3));
        Assert.Empty(StoreVerification.Run(StoreFixture.Directory, new StoreEnvironment { FileSystem = fixture.Files.Kill() }, null, CancellationToken.None));
    }

    [Fact]
    public async Task QueriesTakeRangesPrefixesLimitsAndTokens()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        Assert.True((await store.Indexes.CreateAsync(new IndexDefinition { Name = "i", Fields = ["a", "b"] })).IsOk);
        Assert.True((await store.Indexes.WaitAsync("i")).IsOk);
        for (int a = 0; a < 4; a++)
        {
            for (int b = 0; b < 4; b++)
            {
                Set(store, $"{a}{b}", $"{{\"a\":{a},\"b\":\"x{b}{(char)('a' + b)}\"}}");
            }
        }

        Assert.Equal("10 11 12 13", Ask(store, new IndexQuery { Index = "i", Equal = [1] }));
        Assert.Equal("13 12 11 10", Ask(store, new IndexQuery { Index = "i", Equal = [1], Reverse = true }));
        Assert.Equal("12", Ask(store, new IndexQuery { Index = "i", Equal = [1, "x2c"] }));
        Assert.Equal("12", Ask(store, new IndexQuery { Index = "i", Equal = [1], Prefix = "x2" }));
        Assert.Equal("20 21 22 23 30 31 32 33", Ask(store, new IndexQuery { Index = "i", From = [2] }));
        Assert.Equal("30 31 32 33", Ask(store, new IndexQuery { Index = "i", From = [2], FromExclusive = true }));
        Assert.Equal("00 01 02 03", Ask(store, new IndexQuery { Index = "i", To = [1] }));
        Assert.Equal("10 11 12 13 20 21", Ask(store, new IndexQuery { Index = "i", From = [1], To = [2, "x1z"] }));
        Assert.Equal("00 01 02 03 10", Ask(store, new IndexQuery { Index = "i", To = [1, "x0a"], ToInclusive = true }));
        Assert.Equal("11 12", Ask(store, new IndexQuery { Index = "i", Equal = [1], From = ["x1"], To = ["x3"] }));
        Assert.Equal("", Ask(store, new IndexQuery { Index = "i", From = [3], To = [1] }));
        Assert.Equal("03 10", Ask(store, new IndexQuery { Index = "i", Limit = 2, After = Token(store, "02") }));
        Assert.Equal("01 00", Ask(store, new IndexQuery { Index = "i", Limit = 2, Reverse = true, After = Token(store, "02") }));
        Assert.Equal("20", Ask(store, new IndexQuery { Index = "i", From = [2], Limit = 1, KeysOnly = true }));
        Assert.Equal(Status.Invalid, store.Query(new IndexQuery { Index = "i", Equal = [1, 2, 3] }).Status);
        Assert.Equal(Status.Invalid, store.Query(new IndexQuery { Index = "i", Prefix = "x", From = [1] }).Status);
        Assert.Equal(Status.Invalid, store.Query(new IndexQuery { Index = "i", Limit = -1 }).Status);
    }

    [Fact]
    public async Task ACursorStandsAtItsSnapshot()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        Assert.True((await store.Indexes.CreateAsync(City)).IsOk);
        Assert.True((await store.Indexes.WaitAsync("city")).IsOk);
        for (int i = 0; i < 10; i++)
        {
            Set(store, $"k{i}", Document(1));
        }

        using IndexCursor cursor = store.Query(new IndexQuery { Index = "city", Equal = [1] });
        store.RemoveRange(default, default);
        Assert.True((await store.Indexes.DropAsync("city")).IsOk);
        int count = 0;
        while (cursor.MoveNext())
        {
            Assert.Equal(Document(1), Encoding.UTF8.GetString(cursor.Value));
            count++;
        }

        Assert.Equal(10, count);
        Assert.Equal(Status.NotFound, store.Query(new IndexQuery { Index = "city" }).Status);
    }

    [Fact]
    public async Task AnExpiredRecordIsInNoAnswer()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        Assert.True((await store.Indexes.CreateAsync(City)).IsOk);
        Assert.True((await store.Indexes.WaitAsync("city")).IsOk);
        Set(store, "a", Document(1), new WriteOptions { Expiry = Expiry.In(TimeSpan.FromSeconds(10)) });
        Set(store, "b", Document(1));
        Assert.Equal(["a", "b"], Keys(store, "city", 1));
        Set(store, "b", Document(1), new WriteOptions { Expiry = Expiry.In(TimeSpan.FromSeconds(20)) });
        fixture.Time.Advance(TimeSpan.FromSeconds(11));
        Assert.Equal(["b"], Keys(store, "city", 1));
        fixture.Time.Advance(TimeSpan.FromSeconds(11));
        Assert.Empty(Keys(store, "city", 1));
    }

    [Fact]
    public async Task AValueThatCannotBeReadIsStoredAndReportedOrRefused()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        Assert.True((await store.Indexes.CreateAsync(City)).IsOk);
        Assert.True((await store.Indexes.WaitAsync("city")).IsOk);
        Assert.True(Set(store, "bad", "no json").IsOk);
        IndexInfo info = Assert.Single(await store.Indexes.ListAsync());
        Assert.Equal(1, info.Unindexed);
        Assert.Equal("bad", Encoding.UTF8.GetString(Assert.Single(info.UnindexedKeys).Span));
        Assert.True((await store.Indexes.CreateAsync(City with { Name = "strict", Strict = true })).IsOk);
        WriteResult refused = Set(store, "worse", "{");
        Assert.Equal(Status.NotIndexable, refused.Status);
        Assert.Contains("'strict'", refused.Detail, StringComparison.Ordinal);
        Assert.Null(Get(store, "worse"));
        Assert.True(Set(store, "bad", Document(1)).IsOk);
        Assert.Equal(0, Assert.Single(await store.Indexes.ListAsync(), static index => index.Definition.Name == "city").Unindexed);
        Assert.True((await store.Indexes.DropAsync("strict")).IsOk);
        Assert.True(Set(store, "worse", "{").IsOk);
    }

    [Fact]
    public async Task AnExtractorIsKnownByItsName()
    {
        var extractor = new IndexExtractor("length", 1, static (_, value, entries) => entries.Add(value.Length));
        var options = new StoreOptions { IndexExtractors = [extractor] };
        var fixture = new StoreFixture(options);
        IndexDefinition definition = new() { Name = "length", Fields = ["bytes"], Extractor = "length", ExtractorVersion = 1 };
        await using (Store store = fixture.Open())
        {
            Assert.Equal(Status.Invalid, (await store.Indexes.CreateAsync(definition with { ExtractorVersion = 2 })).Status);
            Assert.Equal(Status.Invalid, (await store.Indexes.CreateAsync(new IndexDefinition { Name = "j", Fields = ["a"], ExtractorVersion = 2 })).Status);
            Assert.True((await store.Indexes.CreateAsync(definition)).IsOk);
            Assert.True((await store.Indexes.WaitAsync("length")).IsOk);
            Set(store, "a", "1234");
            Set(store, "b", "123");
            Assert.Equal(["b", "a"], Keys(store, new IndexQuery { Index = "length" }));
        }

        StoreException refused = Assert.Throws<StoreException>(() => fixture.Open(new StoreOptions()));
        Assert.Contains("'length'", refused.Message, StringComparison.Ordinal);
        await using Store again = fixture.Open();
        Assert.Equal(["b"], Keys(again, new IndexQuery { Index = "length", Equal = [3] }));
    }

    [Fact]
    public async Task ANewPartitionTakesPart()
    {
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false });
        await using (Store store = fixture.Open())
        {
            Assert.True(store.Partitions.Add(new KeyRange(default, "m"u8.ToArray())).Status == Status.Ok);
            Set(store, "a", Document(1));
            Assert.True((await store.Indexes.CreateAsync(City)).IsOk);
            Assert.True((await store.Indexes.WaitAsync("city")).IsOk);
            Assert.True(store.Partitions.Add(new KeyRange("m"u8.ToArray(), default), EngineKind.Memory).Status == Status.Ok);
            Set(store, "z", Document(1));
            Assert.Equal(["a", "z"], Keys(store, "city", 1));
            WriteBatch batch = new();
            Assert.True(store.Write(batch.Put("b"u8, Bytes(Document(1))).Put("y"u8, Bytes(Document(1)))).IsOk);
            Assert.Equal(["a", "b", "y", "z"], Keys(store, "city", 1));
        }

        await using Store again = fixture.Open();
        Assert.Equal(["a", "b", "y", "z"], Keys(again, "city", 1));
        Assert.True(again.Partitions.Remove(1, discardData: true).Status == Status.Ok);
        Assert.Equal(["y", "z"], Keys(again, "city", 1));
    }

    [Fact]
    public async Task ADroppedIndexLeavesNoFiles()
    {
        var fixture = new StoreFixture();
        await using (Store store = fixture.Open())
        {
            Assert.True((await store.Indexes.CreateAsync(City)).IsOk);
            Assert.True((await store.Indexes.WaitAsync("city")).IsOk);
            Set(store, "a", Document(1));
            Assert.True((await store.Indexes.DropAsync("city")).IsOk);
            Assert.Equal(Status.NotFound, (await store.Indexes.DropAsync("city")).Status);
            Assert.True((await store.Indexes.CreateAsync(City)).IsOk);
            Assert.True((await store.Indexes.WaitAsync("city")).IsOk);
            Assert.Equal(["a"], Keys(store, "city", 1));
        }

        await using (Store store = fixture.Open())
        {
            await IndexSettled.Dropped(store);
            Assert.Equal(["a"], Keys(store, "city", 1));
        }

        Assert.Equal("2", Assert.Single(fixture.Files.List($"{StoreFixture.Directory}/partitions/1/indexes")));
    }

    [Fact]
    public async Task ASnapshotAndARepairedFolderFillTheirIndexesAgain()
    {
        var fixture = new StoreFixture();
        await using (Store store = fixture.Open())
        {
            for (int i = 0; i < 600; i++)
            {
                Set(store, $"k{i}", Document(i % 3));
            }

            Assert.True((await store.Indexes.CreateAsync(City)).IsOk);

            Assert.True((await store.Indexes.WaitAsync("city")).IsOk);
            await store.Partitions.BeginSnapshot(1, "/copy").Completion;
        }

        await using (Store copy = Store.Open("/copy", fixture.Options, new StoreEnvironment { FileSystem = fixture.Files }))
        {
            Assert.True((await copy.Indexes.WaitAsync("city")).IsOk);
            Assert.Equal(200, Keys(copy, "city", 1).Count);
        }

        StoreRepair.Run(StoreFixture.Directory, "/repaired", new StoreEnvironment { FileSystem = fixture.Files }, CancellationToken.None);
        await using Store repaired = Store.Open("/repaired", fixture.Options, new StoreEnvironment { FileSystem = fixture.Files });
        Assert.True((await repaired.Indexes.WaitAsync("city")).IsOk);
        Assert.Equal(200, Keys(repaired, "city", 1).Count);
        Assert.Equal(600, Keys(repaired, new IndexQuery { Index = "city" }).Count);
    }

    [Fact]
    public async Task ABulkLoadGoesThroughTheIndexes()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        using BulkLoader begunBefore = store.BeginBulkLoad();
        Assert.Equal(Status.Ok, begunBefore.Add("a"u8, Bytes(Document(1))));
        Assert.True((await store.Indexes.CreateAsync(City)).IsOk);
        Assert.Equal(Status.Busy, begunBefore.Complete().Status);
        using BulkLoader load = store.BeginBulkLoad();
        Assert.Equal(Status.Ok, load.Add("b"u8, Bytes(Document(1))));
        Assert.True(load.Complete().IsOk);
        Assert.True((await store.Indexes.WaitAsync("city")).IsOk);
        Assert.Equal(["b"], Keys(store, "city", 1));
    }

    internal static string Document(int city) => $"{{\"c\":{city}}}";

    internal static List<string> Keys(Store store, string index, long value) => Keys(store, new IndexQuery { Index = index, Equal = [value] });

    internal static List<string> Keys(Store store, IndexQuery query)
    {
        using IndexCursor cursor = store.Query(query);
        Assert.True(cursor.Status == Status.Ok, cursor.Detail);
        var keys = new List<string>();
        while (cursor.MoveNext())
        {
            keys.Add(Encoding.UTF8.GetString(cursor.Key));
        }

        return keys;
    }

    private static string Ask(Store store, IndexQuery query) => string.Join(' ', Keys(store, query));

    private static byte[] Token(Store store, string key)
    {
        using IndexCursor cursor = store.Query(new IndexQuery { Index = "i" });
        while (cursor.MoveNext())
        {
            if (Encoding.UTF8.GetString(cursor.Key) == key)
            {
                return cursor.ResumeToken.ToArray();
            }
        }

        throw new InvalidOperationException(key);
    }
}
