using KeyVa.Io;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Watches;

public sealed class WatchRestartTests
{
    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task AWatchResumesAfterARestartWhereChangesAreAlwaysKept(EngineKind engine)
    {
        var fixture = new Stores.StoreFixture(new StoreOptions { Engine = engine, WatchHistoryAlways = true });
        long seen;
        await using (Store store = fixture.Open())
        {
            await using WatchReader reader = await WatchReader.OpenAsync(store, "");
            Set(store, "a", "1");
            Set(store, "b", "2");
            seen = (await reader.NextAsync()).Version;
            store.RemoveRange("a"u8, "b"u8);
        }

        await using Store again = fixture.Open();
        Set(again, "c", "3");
        await using WatchReader resumed = await WatchReader.OpenAsync(again, "", seen + 1);
        Assert.Equal("b=2 -[a,b) c=3", await resumed.NextAsync(3));
    }

    [Fact]
    public async Task WhereTheyAreNotARestartIsToldAsCompacted()
    {
        var fixture = new Stores.StoreFixture();
        WriteResult last;
        await using (Store store = fixture.Open())
        {
            Set(store, "a", "1");
            last = Set(store, "b", "2");
        }

        await using Store again = fixture.Open();
        await using WatchReader reader = await WatchReader.OpenAsync(again, "", last.Version);
        Assert.Equal(last.Version + 1, (await Assert.ThrowsAsync<CompactedException>(() => reader.NextAsync())).StartVersion);
        await using WatchReader next = await WatchReader.OpenAsync(again, "", last.Version + 1);
        Set(again, "c", "3");
        Assert.Equal("c=3", await next.NextAsync(1));
    }

    /// <summary>
    /// With durability always, what a watcher was told survives every crash, power loss included: the reader resumes where it was, and state
    /// and events agree.
    /// </summary>
    [Theory]
    [InlineData(EngineKind.Lsm, false)]
    [InlineData(EngineKind.Memory, false)]
    [InlineData(EngineKind.Lsm, true)]
    public async Task NoEventIsOfAWriteThatACrashTakesBack(EngineKind engine, bool powerLoss)
    {
        // Much: a watcher that a busy machine does not run for a second or two is not left behind by those who write meanwhile.
        var fixture = new Stores.StoreFixture(new StoreOptions { Engine = engine, WatchHistoryAlways = true, WatchHistoryBytes = 256 << 20 });
        var told = new Dictionary<string, string>();
        long start = 0;
        for (int round = 0; round < 6; round++)
        {
            var random = new Random(round);
            Store store = fixture.Open();
            using var stop = new CancellationTokenSource();
            int wanted = random.Next(5, 40);
            var enough = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Task reading = Task.Run(async () =>
            {
                int count = 0;
                await foreach (WatchEvent one in store.WatchAsync(new WatchOptions { StartVersion = start }, stop.Token))
                {
                    if (one.Kind == WatchEventKind.Put)
                    {
                        told[WatchReader.Text(one.Key)] = WatchReader.Text(one.Value);
                    }

                    start = one.Version + 1;
                    if (++count >= wanted)
                    {
                        enough.TrySetResult();
                    }
                }
            });
            using var halt = new CancellationTokenSource();
            Thread[] writers = [.. Enumerable.Range(0, 3).Select(w => new Thread(() =>
            {
                for (int i = 0; !halt.IsCancellationRequested; i++)
                {
                    Set(store, $"k{w}-{i % 20}", $"{round}-{i}");
                }
            }))];
            Array.ForEach(writers, writer => writer.Start());
            await enough.Task.WaitAsync(TimeSpan.FromMinutes(2));

            // All that the watcher was told up to here was told before the machine fails.
            MemoryFileSystem after = powerLoss ? fixture.Files.Crash(random.Next()) : fixture.Files.Kill();
            await halt.CancelAsync();
            Array.ForEach(writers, writer => writer.Join());
            await Xunit.Record.ExceptionAsync(async () => await store.DisposeAsync());
            await stop.CancelAsync();
            await Xunit.Record.ExceptionAsync(() => reading);
            fixture.Files = after;
            await using Store again = fixture.Open();
            await using WatchReader resumed = await WatchReader.OpenAsync(again, new WatchOptions { StartVersion = start });
            long end = Set(again, "end", $"{round}").Version;
            for (WatchEvent one = await resumed.NextAsync(); one.Version < end; one = await resumed.NextAsync())
            {
                told[WatchReader.Text(one.Key)] = WatchReader.Text(one.Value);
            }

            told["end"] = $"{round}";
            start = end + 1;
            foreach ((string key, string value) in told)
            {
                Assert.True(Get(again, key) == value, $"round {round}: {key} is {Get(again, key)}, the watcher was told {value}");
            }
        }
    }

    [Fact]
    public async Task ABulkLoadIsToldAsOneVersionAndWhoComesLaterIsToldToBeginBehindIt()
    {
        var fixture = new Stores.StoreFixture(new StoreOptions { CreateDefaultPartition = false, WatchHistoryAlways = true, Durability = Durability.Os });
        await using Store store = fixture.Open();
        store.Partitions.Add(new KeyRange(default, Bytes("k01000")), EngineKind.Lsm);
        store.Partitions.Add(new KeyRange(Bytes("k01000"), default), EngineKind.Lsm);
        Set(store, "k00005", "old");
        await using WatchReader all = await WatchReader.OpenAsync(store, "");
        await using WatchReader prefix = await WatchReader.OpenAsync(store, "k009");
        await using WatchReader key = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("k00005") });
        await using WatchReader beside = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("k1") });
        long before = Set(store, "k00001", "before").Version;
        WriteResult load;
        using (BulkLoader loader = store.BeginBulkLoad())
        {
            for (int i = 0; i < 2000; i++)
            {
                Assert.Equal(Status.Ok, loader.Add(Bytes($"k{i:D5}"), Bytes($"{i}")));
            }

            load = loader.Complete();
            Assert.True(load.IsOk, load.Detail);
        }

        Set(store, "k00005", "after");
        Set(store, "k1", "beside");
        Assert.Equal("k00001=before", await all.NextAsync(1));
        for (int i = 0; i < 2000; i++)
        {
            WatchEvent told = await all.NextAsync();
            Assert.Equal($"k{i:D5}={i}{(i < 1999 ? "+" : "")}", WatchReader.Show(told));
            Assert.Equal(load.Version, told.Version);
        }

        Assert.Equal("k00005=after k1=beside", await all.NextAsync(2));
        for (int i = 900; i < 1000; i++)
        {
            Assert.Equal(load.Version, (await prefix.NextAsync()).Version);
        }

        Assert.Equal("k00005=5 k00005=after", await key.NextAsync(2));
        Assert.Equal("k1=beside", await beside.NextAsync(1));
        Assert.Equal(0, store.GetStatistics().OpenSnapshots);
        await using WatchReader late = await WatchReader.OpenAsync(store, "", before);
        Assert.Equal("k00001=before", await late.NextAsync(1));
        Assert.Equal(load.Version + 1, (await Assert.ThrowsAsync<CompactedException>(() => late.NextAsync())).StartVersion);
        await using WatchReader behind = await WatchReader.OpenAsync(store, "", load.Version + 1);
        Assert.Equal("k00005=after", await behind.NextAsync(1));
    }
}
