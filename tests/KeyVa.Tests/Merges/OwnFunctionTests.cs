using KeyVa.Tests.Stores;
using KeyVa.Tests.Transactions;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Merges;

/// <summary>Functions that a program registers: called, missed by name when the journal holds them, and what their bugs do.</summary>
public sealed class OwnFunctionTests
{
    private static readonly StoreOptions Plain = new() { JournalSegmentBytes = 1 << 20, BlockCacheBytes = 1 << 20 };

    [Fact]
    public async Task EachVersionIsCalledByItself()
    {
        var fixture = new StoreFixture(Plain with { MergeFunctions = [new Reverse(), new Reverse(2)] });
        await using Store store = fixture.Open();
        store.Merge("k"u8, new Reverse(), "ab"u8);
        store.Merge("k"u8, new Reverse(2), "cd"u8);
        Assert.Equal("badc", Get(store, "k"));
        WriteResult refused = store.Merge("k"u8, new Reverse(), default);
        Assert.Equal((Status.MergeRefused, "reverse: there is nothing to turn"), (refused.Status, refused.Detail));
        Assert.Equal("badc", Get(store, "k"));
        WriteResult unknown = store.Merge("k"u8, new Reverse(3), "x"u8);
        Assert.Equal((Status.Unsupported, 0), (unknown.Status, unknown.FailedOperation));
        Assert.Contains("'reverse' version 3", unknown.Detail, StringComparison.Ordinal);
        using var batch = new WriteBatch();
        unknown = await store.WriteAsync(batch.Increment("n"u8).Merge("k"u8, new Throwing(false), "x"u8));
        Assert.Equal((Status.Unsupported, 1), (unknown.Status, unknown.FailedOperation));
        Assert.Null(Get(store, "n"));
    }

    [Theory]
    [InlineData(EngineKind.Lsm, 1)]
    [InlineData(EngineKind.Memory, 1)]
    [InlineData(EngineKind.Lsm, 2)]
    public async Task AnOpeningWithoutAFunctionOfTheJournalIsRefusedByName(EngineKind engine, int partitions)
    {
        var fixture = new StoreFixture(Plain with { Engine = engine, CreateDefaultPartition = partitions == 1, MergeFunctions = [new Reverse(4)] });
        await using (Store store = fixture.Open())
        {
            PartitionedStore.Split(store, engine, partitions, "m");
            using var batch = new WriteBatch();
            Assert.True(store.Write(batch.Merge("a"u8, new Reverse(4), "ab"u8).Merge("z"u8, new Reverse(4), "yz"u8)).IsOk);
        }

        foreach (MergeFunction[] functions in new MergeFunction[][] { [], [new Reverse()], [new Reverse(5), new Throwing(false)] })
        {
            StoreException refused = Assert.Throws<StoreException>(() => fixture.Open(fixture.Options with { MergeFunctions = functions }));
            Assert.Contains("'reverse' version 4", refused.Message, StringComparison.Ordinal);
            Assert.Contains("StoreOptions.MergeFunctions", refused.Message, StringComparison.Ordinal);
        }

        await using Store again = fixture.Open();
        Assert.Equal(("ba", "zy"), (Get(again, "a"), Get(again, "z")));
    }

    [Fact]
    public async Task ARepairNeedsTheFunctionsToo()
    {
        var fixture = new StoreFixture(Plain with { MergeFunctions = [new Reverse(2)] });
        await using (Store store = fixture.Open())
        {
            store.Merge("a"u8, new Reverse(2), "ab"u8);
            store.Increment("n"u8, 3);
            store.Increment("n"u8, 4);
            Set(store, "t", "text");
            Assert.Equal(Status.MergeRefused, store.Increment("t"u8).Status);
        }

        var environment = new StoreEnvironment { FileSystem = fixture.Files, Time = fixture.Time };
        StoreException refused = Assert.Throws<StoreException>(() => StoreRepair.Run(StoreFixture.Directory, "/missed", environment, CancellationToken.None));
        Assert.Contains("'reverse' version 2", refused.Message, StringComparison.Ordinal);
        RepairReport report = StoreRepair.Run(StoreFixture.Directory, "/repaired", environment, CancellationToken.None, new KeyVa.Merges.MergeRegistry([new Reverse(2)]));
        Assert.Empty(report.Losses);
        await using Store again = Store.Open("/repaired", Plain, environment);
        Assert.Equal(("ba", "7", "text"), (Get(again, "a"), Get(again, "n"), Get(again, "t")));
    }

    [Fact]
    public async Task AFunctionThatThrowsStopsItsPartitionAndNothingIsPublished()
    {
        var fixture = new StoreFixture(Plain with { CreateDefaultPartition = false, MergeFunctions = [new Throwing(true)] });
        await using (Store store = fixture.Open())
        {
            PartitionedStore.Split(store, EngineKind.Lsm, 2, "m");
            Set(store, "a", "1");
            using var batch = new WriteBatch();
            WriteResult failed = store.Write(batch.Put("a"u8, "2"u8).Merge("b"u8, new Throwing(true), "x"u8));
            Assert.Equal(Status.Failed, failed.Status);
            Assert.Contains("the merge function 'my.own_function-2' version 1 threw FormatException: no such day", failed.Detail, StringComparison.Ordinal);
            Assert.Equal(("1", (string?)null), (Get(store, "a"), Get(store, "b")));
            Assert.Equal(Status.Failed, Set(store, "a", "3").Status);
            Assert.Contains("my.own_function-2", store.Failure!.Message, StringComparison.Ordinal);
            Assert.True(Set(store, "z", "3").IsOk);
        }

        StoreException again = Assert.Throws<StoreException>(() => fixture.Open());
        Assert.Contains("threw FormatException", again.Message, StringComparison.Ordinal);
        await using Store mended = fixture.Open(fixture.Options with { MergeFunctions = [new Throwing(false)] });
        Assert.Equal(("2", "x", "3"), (Get(mended, "a"), Get(mended, "b"), Get(mended, "z")));
    }

    [Fact]
    public async Task AFunctionThatThrowsBeforeACommitIsLoggedFailsThatCommitAlone()
    {
        var fixture = new StoreFixture(Plain with { CreateDefaultPartition = false, MergeFunctions = [new Throwing(true)] });
        await using Store store = fixture.Open();
        PartitionedStore.Split(store, EngineKind.Lsm, 2, "m");
        using var batch = new WriteBatch();
        WriteResult failed = store.Write(batch.Put("z"u8, "2"u8).Merge("b"u8, new Throwing(true), "x"u8));
        Assert.Equal(Status.Failed, failed.Status);
        Assert.True(Set(store, "z", "3").IsOk && Set(store, "b", "3").IsOk);
    }

    [Theory]
    [InlineData("increment", 1)]
    [InlineData("set-union", 2)]
    [InlineData("", 1)]
    [InlineData("Upper", 1)]
    [InlineData("with space", 1)]
    [InlineData("ok", 0)]
    [InlineData("a.very.long.name.of.more.than.sixty-four.letters.which.nobody.needs", 1)]
    public void ABadNameOrVersionIsRefusedWhenOpening(string name, int version)
    {
        var fixture = new StoreFixture(Plain with { MergeFunctions = [new Named(name, version)] });
        StoreException refused = Assert.Throws<StoreException>(() => fixture.Open());
        Assert.Contains($"'{name}' version {version}", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AFunctionIsRegisteredOnce()
    {
        var fixture = new StoreFixture(Plain with { MergeFunctions = [new Named("a"), new Named("a", 2), new Named("a")] });
        Assert.Contains("'a' version 1 is registered twice", Assert.Throws<StoreException>(() => fixture.Open()).Message, StringComparison.Ordinal);
    }
}
