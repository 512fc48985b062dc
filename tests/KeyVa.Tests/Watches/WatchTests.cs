using KeyVa.Io;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Watches;

public sealed class WatchTests
{
    [Theory]
    [InlineData(EngineKind.Lsm, Durability.Always)]
    [InlineData(EngineKind.Memory, Durability.Os)]
    public async Task EachChangeIsToldOnceAndWhatChangesNothingIsNot(EngineKind engine, Durability durability)
    {
        var fixture = new Stores.StoreFixture(new StoreOptions { Engine = engine, Durability = durability });
        await using Store store = fixture.Open();
        Set(store, "a", "before");
        await using WatchReader all = await WatchReader.OpenAsync(store, "");
        await using WatchReader prefix = await WatchReader.OpenAsync(store, "ab");
        await using WatchReader key = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("ab") });
        await using WatchReader range = await WatchReader.OpenAsync(store, new WatchOptions { From = Bytes("ab\0"), To = Bytes("b") });
        Set(store, "a", "1");
        Set(store, "a", "never", new WriteOptions { Condition = Condition.IfAbsent });
        WriteResult put = Set(store, "ab", "2", new WriteOptions { Expiry = Expiry.InMilliseconds(1000) });
        Assert.Equal(Status.NotFound, store.Remove("none"u8).Status);
        store.Remove("abc"u8, blind: true);
        using (var batch = new WriteBatch())
        {
            batch.Put("abd"u8, "3"u8).Put("b"u8, "4"u8).Remove("ab"u8);
            Assert.True(store.Write(batch).IsOk);
        }

        Assert.Equal("a=1 ab=2 -abc", await all.NextAsync(3));
        Assert.Equal("abd=3+ b=4+ -ab", await all.NextAsync(3));
        WatchEvent told = await prefix.NextAsync();
        Assert.Equal("ab=2", WatchReader.Show(told));
        Assert.Equal(put.Version, told.Version);
        Assert.Equal(fixture.Time.UnixMilliseconds, told.ModifiedUnixMilliseconds);
        Assert.Equal(fixture.Time.UnixMilliseconds + 1000, told.ExpiresAtUnixMilliseconds);
        Assert.Equal(WatchEvent.UnknownVersion, told.PreviousVersion);
        Assert.Equal("-abc abd=3+ -ab", await prefix.NextAsync(3));
        Assert.Equal("ab=2 -ab", await key.NextAsync(2));
        Assert.Equal("-abc abd=3", await range.NextAsync(2));
        Assert.Equal(4, store.GetStatistics().Watchers);
    }

    [Fact]
    public async Task ARemovedRangeIsOneEventAheadOfThePutsOfItsBatchAndCutToWhatIsWatched()
    {
        await using Store store = TwoPartitions(new Stores.StoreFixture());
        await using WatchReader all = await WatchReader.OpenAsync(store, "");
        await using WatchReader prefix = await WatchReader.OpenAsync(store, "k");
        await using WatchReader key = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("k5") });
        await using WatchReader beside = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("x") });
        using (var batch = new WriteBatch())
        {
            batch.Put("k5"u8, "new"u8).RemoveRange("c"u8, "p"u8);
            Assert.True(store.Write(batch).IsOk);
        }

        Set(store, "x", "1");
        string parts = await all.NextAsync(3);
        Assert.True(parts is "-[c,m)+ -[m,p)+ k5=new" or "-[m,p)+ -[c,m)+ k5=new", parts);
        Assert.Equal("-[k,l)+ k5=new", await prefix.NextAsync(2));
        Assert.Equal("-k5+ k5=new", await key.NextAsync(2));
        Assert.Equal("x=1", await beside.NextAsync(1));
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task WhatAChangeReplacedIsToldToThoseWhoAskForIt(EngineKind engine)
    {
        await using Store store = new Stores.StoreFixture(new StoreOptions { Engine = engine }).Open();
        WriteResult first = Set(store, "a", "1");
        await using WatchReader plain = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("a") });
        await using WatchReader previous = await WatchReader.OpenAsync(store, new WatchOptions { Prefix = Bytes("a"), PreviousValues = true });
        Set(store, "a", "2");
        Set(store, "ab", "new");
        store.Remove("a"u8);
        store.RemoveRange("a"u8, "b"u8);
        WatchEvent told = await previous.NextAsync();
        Assert.Equal((first.Version, "1"), (told.PreviousVersion, WatchReader.Text(told.PreviousValue)));
        long second = told.Version;
        Assert.Equal(0, (await previous.NextAsync()).PreviousVersion);
        told = await previous.NextAsync();
        Assert.Equal((WatchEventKind.Remove, second, "2"), (told.Kind, told.PreviousVersion, WatchReader.Text(told.PreviousValue)));
        Assert.Equal(WatchEvent.UnknownVersion, (await previous.NextAsync()).PreviousVersion);
        Assert.Equal(WatchEvent.UnknownVersion, (await plain.NextAsync()).PreviousVersion);
    }

    [Fact]
    public async Task AWatchResumesBehindTheLastEventAndOneThatAsksForTooMuchIsToldWhereToBegin()
    {
        await using Store store = new Stores.StoreFixture(new StoreOptions { WatchHistoryBytes = 64 << 10, Durability = Durability.Os }).Open();
        await using WatchReader keeper = await WatchReader.OpenAsync(store, "");
        long third = 0;
        for (int i = 1; i <= 10; i++)
        {
            WriteResult put = Set(store, $"k{i}", $"{i}");
            third = i == 3 ? put.Version : third;
        }

        await using (WatchReader resumed = await WatchReader.OpenAsync(store, "k", third + 1))
        {
            Assert.Equal(third, resumed.Begun);
            Assert.Equal("k4=4 k5=5 k6=6 k7=7 k8=8 k9=9 k10=10", await resumed.NextAsync(7));
            Set(store, "k11", "11");
            Assert.Equal("k11=11", await resumed.NextAsync(1));
        }

        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => WatchReader.OpenAsync(store, "k", third + 10));
        Assert.Equal(Status.Invalid, refused.Status);
        byte[] value = new byte[1000];
        var versions = new List<long>();
        for (int i = 0; i < 500; i++)
        {
            versions.Add(store.Upsert(Bytes($"v{i}"), value).Version);
        }

        await using WatchReader late = await WatchReader.OpenAsync(store, "", third);
        CompactedException gone = await Assert.ThrowsAsync<CompactedException>(() => late.NextAsync());
        Assert.InRange(gone.StartVersion, versions[300], versions[^1]);
        await using WatchReader again = await WatchReader.OpenAsync(store, "", gone.StartVersion);
        for (long version = gone.StartVersion; version <= versions[^1]; version++)
        {
            Assert.Equal(version, (await again.NextAsync()).Version);
        }

        // One version earlier is gone: the number was not too high.
        await using WatchReader tooEarly = await WatchReader.OpenAsync(store, "", gone.StartVersion - 1);
        Assert.Equal(gone.StartVersion, (await Assert.ThrowsAsync<CompactedException>(() => tooEarly.NextAsync())).StartVersion);
        Assert.Equal(2, store.GetStatistics().WatchesCompacted);
    }

    [Fact]
    public async Task ASlowReaderCostsAFixedAmountOfMemoryAndMissesNothingThatIsKept()
    {
        var options = new StoreOptions { Durability = Durability.Os, WatchHistoryBytes = 8 << 20, WatchQueueBytes = 1 << 20 };
        await using Store store = new Stores.StoreFixture(options).Open();
        var bound = new WatchOptions { MaxQueuedEvents = 16, MaxQueuedBytes = 64 << 10 };
        var slow = new List<WatchReader>();
        for (int i = 0; i < 50; i++)
        {
            slow.Add(await WatchReader.OpenAsync(store, bound));
        }

        byte[] value = new byte[200];
        for (int i = 0; i < 20_000; i++)
        {
            store.Upsert(Bytes($"k{i % 100}"), value);
            if (i % 1000 == 0)
            {
                StoreStatistics now = store.GetStatistics();
                Assert.True(now.WatchQueuedBytes < (1 << 20) + (50 * 1024), $"{now.WatchQueuedBytes} bytes wait");
                Assert.True(now.WatchHistoryBytes <= (8 << 20) + (512 << 10), $"{now.WatchHistoryBytes} bytes are kept");
            }
        }

        long version = slow[0].Begun;
        for (int i = 0; i < 20_000; i++)
        {
            Assert.Equal(++version, (await slow[0].NextAsync()).Version);
        }

        // Now what the others need goes; they end with their queue and then the word where to begin.
        for (int i = 0; i < 60_000; i++)
        {
            store.Upsert(Bytes($"k{i % 100}"), value);
        }

        long second = slow[1].Begun;
        CompactedException gone = await Assert.ThrowsAsync<CompactedException>(async () =>
        {
            while (true)
            {
                Assert.Equal(++second, (await slow[1].NextAsync()).Version);
            }
        });
        Assert.True(gone.StartVersion > second);
        foreach (WatchReader reader in slow)
        {
            await reader.DisposeAsync();
        }

        Assert.Equal(0, store.GetStatistics().WatchQueuedBytes);
        Assert.Equal(0, store.GetStatistics().Watchers);
    }

    [Fact]
    public async Task AnEventIsNotToldBeforeItsWriteIsAsDurableAsPromised()
    {
        var fixture = new Stores.StoreFixture();
        await using Store store = fixture.Open();
        using var cancel = new CancellationTokenSource();
        await using WatchReader reader = await WatchReader.OpenAsync(store, new WatchOptions(), cancel.Token);
        using var entered = new ManualResetEventSlim();
        using var hold = new ManualResetEventSlim();
        fixture.Files.Faults.Before = (operation, path) =>
        {
            if (operation == FileOperation.SyncData && path.EndsWith(".journal", StringComparison.Ordinal))
            {
                entered.Set();
                hold.Wait();
            }
        };
        ValueTask<WriteResult> write = store.UpsertAsync(Bytes("a"), Bytes("1"));
        entered.Wait();
        Assert.False(SpinWait.SpinUntil(reader.HasNext, 50));
        fixture.Files.Faults.Before = null;
        hold.Set();
        Assert.True((await write).IsOk);
        Assert.Equal("a=1", await reader.NextAsync(1));
        await cancel.CancelAsync();
    }

    [Fact]
    public async Task AFailedSyncEndsTheWatchAndTellsNothingOfWhatItLost()
    {
        var fixture = new Stores.StoreFixture();
        Store store = fixture.Open();
        await using WatchReader reader = await WatchReader.OpenAsync(store, "");
        Set(store, "a", "1");
        fixture.Files.Faults.FailNext(FileOperation.SyncData, path: ".journal");
        Assert.Equal(Status.Failed, Set(store, "a", "lost").Status);
        StoreException end = await Assert.ThrowsAnyAsync<StoreException>(async () =>
        {
            while (true)
            {
                Assert.Equal("a=1", WatchReader.Show(await reader.NextAsync()));
            }
        });
        Assert.Contains("journal", end.Message, StringComparison.Ordinal);
        Assert.Equal(Status.Failed, (await Assert.ThrowsAsync<RefusedException>(() => WatchReader.OpenAsync(store, ""))).Status);
        await Xunit.Record.ExceptionAsync(async () => await store.DisposeAsync());
    }

    [Fact]
    public async Task AnIdleWatchSaysHowFarItIsWhileOthersWrite()
    {
        var options = new StoreOptions { WatchProgressInterval = TimeSpan.FromMilliseconds(20) };
        await using Store store = TwoPartitions(new Stores.StoreFixture(options));
        await using WatchReader reader = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("a") });
        WriteResult other = Set(store, "z", "1");
        WatchEvent told = await reader.AnyAsync();
        while (told.Version < other.Version)
        {
            Assert.Equal(WatchEventKind.Progress, told.Kind);
            told = await reader.AnyAsync();
        }

        Assert.Equal(other.Version, told.Version);
    }

    [Fact]
    public async Task PartitionsComeAndGoUnderAWatch()
    {
        var fixture = new Stores.StoreFixture(new StoreOptions { CreateDefaultPartition = false });
        await using Store store = fixture.Open();
        Assert.Equal(Status.BadNode, (await Assert.ThrowsAsync<RefusedException>(() => WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("a") }))).Status);
        await using WatchReader all = await WatchReader.OpenAsync(store, "");
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, Bytes("m")), EngineKind.Lsm).Status);
        Set(store, "a", "1");
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(Bytes("m"), default), EngineKind.Memory).Status);
        Set(store, "z", "2");
        Assert.Equal("a=1 z=2", await all.NextAsync(2));
        await using WatchReader left = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("a") });
        await using WatchReader right = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("z") });
        Assert.Equal(Status.Ok, store.Partitions.Remove(new KeyRange(Bytes("m"), default), discardData: true).Status);
        Set(store, "a", "3");
        Assert.Equal("a=3", await left.NextAsync(1));
        Assert.Equal(Status.BadNode, (await Assert.ThrowsAsync<RefusedException>(() => right.NextAsync())).Status);
        Assert.Equal(Status.BadNode, (await Assert.ThrowsAsync<RefusedException>(() => all.NextAsync())).Status);
    }

    [Fact]
    public async Task TheNumberOfWatchesIsBoundedAndClosingTheStoreEndsThem()
    {
        Store store = new Stores.StoreFixture(new StoreOptions { MaxWatchers = 2 }).Open();
        await using WatchReader one = await WatchReader.OpenAsync(store, "a");
        await using (WatchReader two = await WatchReader.OpenAsync(store, "a"))
        {
            Assert.Equal(Status.Busy, (await Assert.ThrowsAsync<RefusedException>(() => WatchReader.OpenAsync(store, "a"))).Status);
        }

        await using WatchReader three = await WatchReader.OpenAsync(store, "a");
        await store.DisposeAsync();
        await Assert.ThrowsAsync<StoreClosedException>(() => one.NextAsync());
        await Assert.ThrowsAsync<StoreClosedException>(() => three.NextAsync());
        await Assert.ThrowsAsync<StoreClosedException>(() => WatchReader.OpenAsync(store, "a"));
    }

    [Fact]
    public async Task WhatCannotBeWatchedIsRefusedAndCancellingEndsAWatch()
    {
        await using Store store = new Stores.StoreFixture().Open();
        foreach (WatchOptions wrong in new[]
        {
            new WatchOptions { Key = Bytes("a"), Prefix = Bytes("a") },
            new WatchOptions { Prefix = Bytes("a"), From = Bytes("a") },
            new WatchOptions { From = Bytes("b"), To = Bytes("a") },
            new WatchOptions { StartVersion = -1 },
            new WatchOptions { MaxQueuedEvents = 0 },
        })
        {
            Assert.Equal(Status.Invalid, (await Assert.ThrowsAsync<RefusedException>(() => WatchReader.OpenAsync(store, wrong))).Status);
        }

        using var cancel = new CancellationTokenSource();
        WatchReader reader = await WatchReader.OpenAsync(store, new WatchOptions(), cancel.Token);
        Task<WatchEvent> waiting = reader.NextAsync();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        await reader.DisposeAsync();
        Assert.Equal(0, store.GetStatistics().Watchers);
    }

    [Fact]
    public async Task WritersCopyNoMoreWhenNobodyWatches()
    {
        await using Store store = new Stores.StoreFixture(new StoreOptions { WatchLinger = TimeSpan.Zero }).Open();
        for (int round = 0; round < 3; round++)
        {
            await using (WatchReader reader = await WatchReader.OpenAsync(store, ""))
            {
                Set(store, "a", $"{round}");
                Assert.Equal($"a={round}", await reader.NextAsync(1));
                Assert.True(store.GetStatistics().WatchHistoryBytes > 0);
            }

            Assert.True(SpinWait.SpinUntil(() => store.GetStatistics().WatchHistoryBytes == 0, TimeSpan.FromMinutes(1)));
            Set(store, "a", "unheard");
            Assert.Equal(0, store.GetStatistics().WatchHistoryBytes);
        }
    }

    [Fact]
    public async Task TenThousandWatchersCostAPutNoWorkOfTheirOwn()
    {
        const int Watchers = 10_000;
        await using Store store = new Stores.StoreFixture(new StoreOptions { Engine = EngineKind.Memory, Volatile = true, WatchHistoryBytes = 64 << 20 }).Open();
        var readers = new WatchReader[Watchers];
        for (int i = 0; i < Watchers; i++)
        {
            readers[i] = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes($"key{i:D6}") });
        }

        byte[] value = new byte[100];
        byte[][] keys = [.. Enumerable.Range(0, Watchers).Select(i => Bytes($"key{i:D6}"))];
        long allocated = 0;
        for (int round = 0; round < 3; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            foreach (byte[] key in keys)
            {
                store.Upsert(key, value);
            }

            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        }

        // A put allocates nothing on its thread, but for a chunk's object now and then: nothing is done for each watcher there.
        Assert.True(allocated < Watchers * 8, $"{Watchers} puts allocated {allocated} bytes");
        for (int i = 0; i < Watchers; i += 97)
        {
            for (int round = 0; round < 3; round++)
            {
                Assert.Equal($"key{i:D6}", WatchReader.Text((await readers[i].NextAsync()).Key));
            }
        }

        foreach (WatchReader reader in readers)
        {
            await reader.DisposeAsync();
        }

        Assert.Equal(0, store.GetStatistics().Watchers);
    }

    private static Store TwoPartitions(Stores.StoreFixture fixture)
    {
        Store store = fixture.Open(fixture.Options with { CreateDefaultPartition = false });
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, Bytes("m")), EngineKind.Lsm).Status);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(Bytes("m"), default), EngineKind.Memory).Status);
        return store;
    }
}
