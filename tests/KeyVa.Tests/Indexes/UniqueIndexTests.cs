using System.Text;
using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Indexes;

public sealed class UniqueIndexTests
{
    private static readonly IndexDefinition Mail = new() { Name = "mail", Fields = ["m"], Unique = true };

    [Theory]
    [InlineData(1, EngineKind.Lsm)]
    [InlineData(1, EngineKind.Memory)]
    [InlineData(2, EngineKind.Lsm)]
    public async Task AValueIsTakenOnce(int partitions, EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false });
        await using Store store = Open(fixture, partitions, engine);
        Assert.True(Set(store, "a", Document("x")).IsOk);
        WriteResult refused = Set(store, "z", Document("x"));
        Assert.Equal(Status.NotUnique, refused.Status);
        Assert.Contains("'mail'", refused.Detail, StringComparison.Ordinal);
        Assert.Contains("'a'", refused.Detail, StringComparison.Ordinal);
        Assert.Null(Get(store, "z"));
        Assert.True(Set(store, "a", Document("x")).IsOk);
        Assert.True((await store.UpsertAsync(Bytes("z"), Bytes(Document("y")))).IsOk);
        Assert.Equal(Status.NotUnique, (await store.UpsertAsync(Bytes("z"), Bytes(Document("x")))).Status);

        // Two records may swap their values, and a value may go from one to another, in one batch; two of one value may not come in one.
        Assert.True(Write(store, ("a", "y"), ("z", "x")).IsOk);
        Assert.Equal(Document("y"), Get(store, "a"));
        WriteResult twice = Write(store, ("b", "new"), ("y", "new"));
        Assert.Equal(Status.NotUnique, twice.Status);
        Assert.Null(Get(store, "b"));
        using var move = new WriteBatch();
        Assert.True((await store.WriteAsync(move.Remove("a"u8).Put("y"u8, Bytes(Document("y"))))).IsOk);
        using var range = new WriteBatch();
        Assert.True(store.Write(range.RemoveRange("y"u8, default).Put("c"u8, Bytes(Document("y"))).Put("d"u8, Bytes(Document("x")))).IsOk);
        Assert.Equal(Status.NotUnique, Set(store, "z", Document("y")).Status);
        Assert.True(store.Remove("c"u8).IsOk);
        Assert.True(Set(store, "z", Document("y")).IsOk);

        // A null is no value.
        Assert.True(Set(store, "n1", "{\"m\":null}").IsOk);
        Assert.True(Set(store, "n2", "{}").IsOk);
    }

    [Fact]
    public async Task AnExpiredRecordGivesItsValueBack()
    {
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false });
        await using Store store = Open(fixture, 2, EngineKind.Lsm);
        Assert.True(Set(store, "a", Document("x"), new WriteOptions { Expiry = Expiry.In(TimeSpan.FromSeconds(5)) }).IsOk);
        Assert.Equal(Status.NotUnique, Set(store, "b", Document("x")).Status);
        Assert.Equal(Status.NotUnique, Set(store, "z", Document("x")).Status);
        fixture.Time.Advance(TimeSpan.FromSeconds(6));
        Assert.True(Set(store, "z", Document("x")).IsOk);
        Assert.Equal(Status.NotUnique, Set(store, "b", Document("x")).Status);
        Assert.Equal(Status.NotUnique, Set(store, "a", Document("x")).Status);
    }

    [Theory]
    [InlineData("a", "b")]
    [InlineData("a", "z")]
    public async Task WhatIsThereTwiceEndsTheCreation(string one, string other)
    {
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false });
        await using Store store = Open(fixture, 2, EngineKind.Lsm, create: false);
        Set(store, one, Document("x"));
        Set(store, other, Document("x"));
        for (int i = 0; i < 600; i++)
        {
            Set(store, $"k{i}", Document($"{i}"));
        }

        Assert.True((await store.Indexes.CreateAsync(Mail)).IsOk);
        IndexResult result = await store.Indexes.WaitAsync("mail");
        Assert.Equal(Status.NotUnique, result.Status);
        Assert.Contains($"'{one}'", result.Detail, StringComparison.Ordinal);
        Assert.Contains($"'{other}'", result.Detail, StringComparison.Ordinal);
        await IndexSettled.Dropped(store);
        Assert.True(Set(store, "y", Document("x")).IsOk);
        Assert.Equal(Status.NotUnique, (await store.Indexes.WaitAsync("mail")).Status);
    }

    /// <summary>A wait that comes late found neither the index nor the reason, in the moment between the catalog's change and the note of it.</summary>
    [Fact]
    public async Task TheReasonStandsBeforeTheIndexIsGone()
    {
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false });
        await using Store store = Open(fixture, 1, EngineKind.Memory, create: false);
        Set(store, "a", Document("x"));
        Set(store, "b", Document("x"));
        var indexes = (StoreIndexes)store.Indexes;
        var seen = new List<(IndexState? State, bool HasReason)>();
        fixture.Files.Faults.Before = (operation, path) =>
        {
            if (operation == FileOperation.Rename && path.Contains("CATALOG", StringComparison.Ordinal))
            {
                seen.Add((indexes.List().SingleOrDefault()?.State, indexes.ReasonOf("mail") is not null));
            }
        };
        Assert.True((await store.Indexes.CreateAsync(Mail)).IsOk);
        Assert.Equal(Status.NotUnique, (await store.Indexes.WaitAsync("mail")).Status);
        await IndexSettled.Dropped(store);
        fixture.Files.Faults.Before = null;

        // Created, given up, taken away: at each the catalog still says what was before.
        Assert.Equal([(null, false), (IndexState.Building, true), (IndexState.Dropping, true)], seen);
        store.Remove(Bytes("b"));
        Assert.True((await store.Indexes.CreateAsync(Mail)).IsOk);
        Assert.True((await store.Indexes.WaitAsync("mail")).IsOk);
        Assert.True((await store.Indexes.DropAsync("mail")).IsOk);
        Assert.Equal(Status.NotFound, (await store.Indexes.WaitAsync("mail")).Status);
    }

    [Fact]
    public void TheNewestReasonsAreKept()
    {
        var reasons = new GivenUpIndexes();
        for (int i = 0; i < GivenUpIndexes.Most + 1; i++)
        {
            reasons.Note($"i{i}", new IndexResult { Status = Status.NotUnique, Detail = $"{i}" });
            reasons.Note("again", new IndexResult { Status = Status.NotUnique, Detail = $"{i}" });
        }

        Assert.Null(reasons.Find("i1"));
        Assert.Equal("2", reasons.Find("i2")?.Detail);
        Assert.Equal($"{GivenUpIndexes.Most}", reasons.Find("again")?.Detail);
        reasons.Forget("i2");
        reasons.Forget("i2");
        Assert.Null(reasons.Find("i2"));
        reasons.Note("last", new IndexResult { Status = Status.NotUnique });
        Assert.NotNull(reasons.Find("i3"));
        reasons.Note("behind", new IndexResult { Status = Status.NotUnique });
        Assert.Null(reasons.Find("i3"));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task EightThreadsTakeEachValueOnce(int partitions)
    {
        const int Values = 200;
        const int Threads = 8;
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false });
        await using Store store = Open(fixture, partitions, EngineKind.Lsm);
        int[] won = new int[Values];
        int unexpected = 0;
        Thread[] threads = [.. Enumerable.Range(0, Threads).Select(thread => new Thread(() =>
        {
            for (int i = 0; i < Values; i++)
            {
                string key = $"{(thread % 2 == 0 ? 'a' : 'z')}{thread}-{i}";
                Status status = thread % 3 == 0
                    ? store.UpsertAsync(Bytes(key), Bytes(Document($"{i}"))).AsTask().GetAwaiter().GetResult().Status
                    : thread % 3 == 1 ? Write(store, (key, $"{i}"), ($"m{key}", $"own {key}")).Status : Set(store, key, Document($"{i}")).Status;
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
        for (int i = 0; i < Values; i++)
        {
            Assert.Single(IndexTests.Keys(store, new IndexQuery { Index = "mail", Equal = [$"{i}"] }));
        }
    }

    private static Store Open(StoreFixture fixture, int partitions, EngineKind engine, bool create = true)
    {
        Store store = fixture.Open();
        if (partitions == 1)
        {
            Assert.Equal(Status.Ok, store.Partitions.Add(KeyRange.All, engine).Status);
        }
        else
        {
            Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, "m"u8.ToArray()), engine).Status);
            Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange("m"u8.ToArray(), default), EngineKind.Memory).Status);
        }

        if (create)
        {
            Assert.True(store.Indexes.CreateAsync(Mail).AsTask().GetAwaiter().GetResult().IsOk);
            Assert.True(store.Indexes.WaitAsync("mail").AsTask().GetAwaiter().GetResult().IsOk);
        }

        return store;
    }

    private static string Document(string mail) => $"{{\"m\":\"{mail}\"}}";

    private static WriteResult Write(Store store, params (string Key, string Mail)[] records)
    {
        using var batch = new WriteBatch();
        foreach ((string key, string mail) in records)
        {
            batch.Put(Encoding.UTF8.GetBytes(key), Encoding.UTF8.GetBytes(Document(mail)));
        }

        return store.Write(batch);
    }
}
