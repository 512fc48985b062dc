using System.Globalization;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Watches;

/// <summary>Watches from before the changes that are kept in memory: they are told what the engines retain.</summary>
public sealed class WatchRetainedTests
{
    private static readonly StoreOptions Retaining = new()
    {
        Durability = Durability.Os,
        RetainVersionsFor = TimeSpan.FromHours(1),
        WatchHistoryBytes = 64 << 10,
        WatchProgressInterval = TimeSpan.FromMilliseconds(20),
        MemtableBytes = 1 << 16,
        JournalSegmentBytes = 1 << 20,
    };

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task AWatchFromTheBeginningIsToldEverythingAfterARestart(EngineKind engine)
    {
        var fixture = new Stores.StoreFixture(Retaining with { Engine = engine });
        await using (Store store = fixture.Open())
        {
            Set(store, "a", "1");
            Set(store, "b", "2");
            Set(store, "a", "3");
            store.Remove("b"u8);
            store.Remove("none"u8);
            using var batch = new WriteBatch();
            store.Write(batch.Put("c"u8, "4"u8).Put("d"u8, "5"u8).Remove("a"u8));
            store.Increment("n"u8, 7);
            store.RemoveRange("c"u8, "d"u8);
            Set(store, "c", "6");
            await store.CompactAsync(KeyRange.All);
        }

        string removed = engine == EngineKind.Lsm ? "-[c,d)" : "-c";
        await using Store again = fixture.Open();
        await using WatchReader all = await WatchReader.OpenAsync(again, "", 1);
        string[] told = (await all.NextAsync(10)).Split(' ');
        Assert.Equal(["a=1", "b=2", "a=3", "-b"], told[..4]);
        Assert.Equal(["-a", "c=4", "d=5"], told[4..7].Select(static one => one.TrimEnd('+')).Order(StringComparer.Ordinal));
        Assert.Equal([true, true, false], told[4..7].Select(static one => one.EndsWith('+')));
        Assert.Equal(["n=7", removed, "c=6"], told[7..]);
        Set(again, "e", "live");
        Assert.Equal("e=live", await all.NextAsync(1));
        await using WatchReader key = await WatchReader.OpenAsync(again, new WatchOptions { Key = Bytes("c"), StartVersion = 2, PreviousValues = true });
        List<string> seen = [];
        for (int i = 0; i < 3; i++)
        {
            WatchEvent one = await key.NextAsync();
            seen.Add($"{WatchReader.Show(one)}<{(one.PreviousVersion < 0 ? "?" : one.PreviousVersion == 0 ? "none" : WatchReader.Text(one.PreviousValue))}");
        }

        Assert.Equal(["c=4<none", engine == EngineKind.Lsm ? "-c<?" : "-c<4", "c=6<none"], seen);
    }

    [Theory]
    [InlineData(EngineKind.Lsm, 1)]
    [InlineData(EngineKind.Memory, 2)]
    public async Task RandomWritesAreToldInCommitOrderToWhoComesLateAndHops(EngineKind engine, int seed)
    {
        var fixture = new Stores.StoreFixture(Retaining with { CreateDefaultPartition = false });
        var random = new Random(seed);
        var expected = new List<(long Version, string[] Changes)>();
        Store store = fixture.Open();
        EngineKind other = engine == EngineKind.Lsm ? EngineKind.Memory : EngineKind.Lsm;
        store.Partitions.Add(new KeyRange(default, Bytes("k30")), engine);
        store.Partitions.Add(new KeyRange(Bytes("k30"), Bytes("k60")), other);
        store.Partitions.Add(new KeyRange(Bytes("k60"), default), engine);
        for (int i = 0; i < 3000; i++)
        {
            Write(store, random, expected, i);
            if (i % 1000 == 999)
            {
                await store.CompactAsync(KeyRange.All);
                await store.DisposeAsync();
                store = fixture.Open();
            }
        }

        await using (store)
        {
            foreach (WatchOptions options in new WatchOptions[] { new(), new() { Prefix = Bytes("k2") }, new() { From = Bytes("k25"), To = Bytes("k65") }, new() { Key = Bytes("k31") } })
            {
                List<string> wanted = [];
                foreach ((long version, string[] changes) in expected)
                {
                    wanted.AddRange(changes.Where(change => options.Range.Contains(Bytes(change.TrimStart('-').Split('=')[0]))).Order(StringComparer.Ordinal).Select(change => $"{version} {change}"));
                }

                Assert.Equal(wanted, await FollowAsync(store, options, random, expected[^1].Version));
            }
        }
    }

    [Fact]
    public async Task WhatIsForgottenIsToldAsCompacted()
    {
        var fixture = new Stores.StoreFixture(Retaining);
        await using Store store = fixture.Open();
        for (int i = 0; i < 100; i++)
        {
            Set(store, $"k{i % 3}", $"{i}");
        }

        await using WatchReader early = await WatchReader.OpenAsync(store, "", 1);
        Assert.Equal("k0=0", await early.NextAsync(1));
        fixture.Time.Advance(TimeSpan.FromHours(2));
        long last = Set(store, "k0", "end").Version;
        Assert.Equal(Status.Ok, (await store.CompactAsync(KeyRange.All)).Status);
        await using WatchReader late = await WatchReader.OpenAsync(store, "", 1);
        CompactedException gone = await Assert.ThrowsAsync<CompactedException>(() => late.NextAsync());
        Assert.InRange(gone.StartVersion, 2, last + 1);
        await using WatchReader next = await WatchReader.OpenAsync(store, "", gone.StartVersion);
        Set(store, "k0", "more");
        while (WatchReader.Show(await next.NextAsync()) != "k0=more")
        {
        }
    }

    [Fact]
    public async Task APartitionThatWasRemovedLeavesNoGapUntold()
    {
        var fixture = new Stores.StoreFixture(Retaining);
        await using (Store store = fixture.Open())
        {
            Set(store, "a", "1");
            long removed = Set(store, "b", "2").Version;
            Assert.Equal(Status.Ok, store.Partitions.Remove(1, discardData: true).Status);
            Assert.Equal(Status.Ok, store.Partitions.Add(KeyRange.All).Status);
            Set(store, "c", "3");
            await using WatchReader gap = await WatchReader.OpenAsync(store, "", removed);
            Assert.InRange((await Assert.ThrowsAsync<CompactedException>(() => gap.NextAsync())).StartVersion, removed + 1, removed + 2);
        }

        await using Store again = fixture.Open();
        await using WatchReader late = await WatchReader.OpenAsync(again, "", 2);
        await Assert.ThrowsAsync<CompactedException>(() => late.NextAsync());
        await using WatchReader behind = await WatchReader.OpenAsync(again, "", 3);
        Assert.Equal("c=3", await behind.NextAsync(1));
    }

    [Theory]
    [InlineData(EngineKind.Lsm, false)]
    [InlineData(EngineKind.Lsm, true)]
    [InlineData(EngineKind.Memory, false)]
    [InlineData(EngineKind.Memory, true)]
    public async Task AVersionThatIsLargerThanAllBoundsIsToldWhole(EngineKind engine, bool removes)
    {
        const int Count = KeyVa.Watches.VersionCollection.MaxChanges + 500;
        var fixture = new Stores.StoreFixture(Retaining with { Engine = engine, MaxBatchBytes = 16 << 20 });
        await using Store store = fixture.Open();
        Set(store, "k000000", "before");
        using (var batch = new WriteBatch())
        {
            for (int i = removes ? 1 : 0; i < Count; i++)
            {
                batch.Put(Bytes($"k{i:D6}"), Bytes($"{i}"));
            }

            if (removes)
            {
                batch.Remove("k000000"u8);
            }

            Assert.True(store.Write(batch).IsOk);
        }

        Set(store, "k000001", "after");
        await using WatchReader reader = await WatchReader.OpenAsync(store, "", 1);
        Assert.Equal("k000000=before", await reader.NextAsync(1));
        var keys = new HashSet<string>();
        for (int i = 0; i < Count; i++)
        {
            WatchEvent told = await reader.NextAsync();
            Assert.Equal((2L, i < Count - 1), (told.Version, told.HasMore));
            Assert.Equal(removes && WatchReader.Text(told.Key) == "k000000" ? WatchEventKind.Remove : WatchEventKind.Put, told.Kind);
            keys.Add(WatchReader.Text(told.Key));
        }

        Assert.Equal(Count, keys.Count);
        Assert.Equal("k000001=after", await reader.NextAsync(1));
    }

    [Fact]
    public async Task ABulkLoadOfThePastIsToldToo()
    {
        var fixture = new Stores.StoreFixture(Retaining);
        await using Store store = fixture.Open();
        Set(store, "a", "1");
        using (BulkLoader loader = store.BeginBulkLoad())
        {
            for (int i = 0; i < 100; i++)
            {
                Assert.Equal(Status.Ok, loader.Add(Bytes($"k{i:D3}"), Bytes($"{i}")));
            }

            Assert.True(loader.Complete().IsOk);
        }

        Set(store, "k000", "after");
        await using WatchReader reader = await WatchReader.OpenAsync(store, "", 1);
        Assert.Equal("a=1", await reader.NextAsync(1));
        for (int i = 0; i < 100; i++)
        {
            Assert.Equal($"k{i:D3}={i}{(i < 99 ? "+" : "")}", WatchReader.Show(await reader.NextAsync()));
        }

        Assert.Equal("k000=after", await reader.NextAsync(1));
    }

    private static void Write(Store store, Random random, List<(long Version, string[] Changes)> expected, int i)
    {
        string Key() => $"k{random.Next(90):D2}";
        string value = i.ToString(CultureInfo.InvariantCulture);
        switch (random.Next(8))
        {
            case 0:
                using (var batch = new WriteBatch())
                {
                    string[] keys = [.. Enumerable.Range(0, random.Next(1, 6)).Select(_ => Key()).Distinct()];
                    for (int k = 0; k < keys.Length; k++)
                    {
                        _ = k % 3 == 2 ? batch.Remove(Bytes(keys[k])) : batch.Put(Bytes(keys[k]), Bytes(value));
                    }

                    WriteResult written = store.Write(batch);
                    expected.Add((written.Version, [.. keys.Index()
                        .Where(one => one.Index % 3 != 2 || written.Removed.Span[one.Index])
                        .Select(one => one.Index % 3 == 2 ? $"-{one.Item}" : $"{one.Item}={value}")]));
                }

                break;
            case 1:
                string removed = Key();
                WriteResult result = store.Remove(Bytes(removed));
                if (result.IsOk)
                {
                    expected.Add((result.Version, [$"-{removed}"]));
                }

                break;
            case 2:
                using (Transaction txn = store.Begin())
                {
                    string one = Key();
                    string two = Key();
                    txn.Put(Bytes(one), Bytes(value));
                    txn.Put(Bytes(two), Bytes(value));
                    expected.Add((txn.Commit().Version, [.. new[] { one, two }.Distinct().Select(key => $"{key}={value}")]));
                }

                break;
            default:
                string put = Key();
                expected.Add((Set(store, put, value).Version, [$"{put}={value}"]));
                break;
        }
    }

    /// <summary>Reads from the first version up to one, leaving now and then and coming back behind what was seen.</summary>
    private static async Task<List<string>> FollowAsync(Store store, WatchOptions options, Random random, long last)
    {
        List<string> seen = [];
        List<string> version = [];
        long start = 1;
        while (start <= last)
        {
            int left = random.Next(500, 3000);
            await foreach (WatchEvent one in store.WatchAsync(options with { StartVersion = start }))
            {
                if (one.Kind == WatchEventKind.Progress)
                {
                    start = Math.Max(start, one.Version + 1);
                    if (one.Version >= last)
                    {
                        break;
                    }

                    continue;
                }

                Assert.True(one.Version >= start, $"version {one.Version} after {start - 1}");
                version.Add($"{one.Version} {WatchReader.Show(one).TrimEnd('+')}");
                if (!one.HasMore)
                {
                    seen.AddRange(version.Order(StringComparer.Ordinal));
                    version.Clear();
                    start = one.Version + 1;
                    if (--left <= 0 || one.Version >= last)
                    {
                        break;
                    }
                }
            }
        }

        return seen;
    }
}
