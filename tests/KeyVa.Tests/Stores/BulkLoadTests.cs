using System.Globalization;
using System.Text;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Partitions;
using KeyVa.Tests.Engines;
using KeyVa.Tests.Engines.Lsm;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Stores;

public sealed class BulkLoadTests
{
    [Fact]
    public async Task ALoadIsVisibleAsAWholeWhenItIsCompleteAndNewerThanWhatWasThere()
    {
        var fixture = new StoreFixture();
        WriteResult done;
        await using (Store store = Open(fixture))
        {
            Set(store, "k00005", "old");
            Set(store, "k00500", "old");
            Set(store, "z", "stays");
            using ScanCursor before = store.Scan(new ScanOptions());
            using (BulkLoader loader = store.BeginBulkLoad())
            {
                for (int i = 0; i < 1000; i++)
                {
                    Assert.Equal(Status.Ok, loader.Add(Bytes($"k{i:D5}"), Bytes($"new {i}")));
                }

                Assert.Equal("old", Get(store, "k00005"));
                Assert.Null(Get(store, "k00001"));
                Assert.Equal(1000, loader.Records);
                done = loader.Complete();
            }

            Assert.True(done.IsOk, done.Detail);
            Assert.Equal("new 5", Get(store, "k00005"));
            using (ValueLease lease = store.Get("k00999"u8))
            {
                Assert.Equal(done.Version, lease.Version);
            }

            Assert.Equal("k00005 k00500 z", Keys(before));
            WriteResult later = Set(store, "k00005", "newest");
            Assert.True(later.Version > done.Version);
            Assert.Equal("newest", Get(store, "k00005"));
            Assert.Empty(Staged(fixture));
        }

        await using Store again = Open(fixture);
        Assert.Equal("newest", Get(again, "k00005"));
        Assert.Equal("new 999", Get(again, "k00999"));
        Assert.Equal("stays", Get(again, "z"));
    }

    [Fact]
    public async Task ALoadIntoAnEmptyRangeGoesToTheLastLevelAndOneOverOthersAboveThem()
    {
        // Jobs do not run: what a compaction makes of the levels afterwards is not asked here.
        var fixture = new StoreFixture();
        await using Store store = Open(fixture, new ManualBackgroundWork());
        Load(store, 0, 400, "first");
        LsmEngine engine = Engine(store);
        Assert.Equal(Superversion.Levels - 1, engine.Versions.Current.DeepestLevel);
        Assert.Empty(engine.Versions.Current.Level0);
        Assert.True(engine.Versions.Current.Deeper[^1].Tables.Length > 1);
        Load(store, 100, 110, "second");
        Assert.Single(engine.Versions.Current.Deeper[^2].Tables);
        Load(store, 500, 600, "third");
        Assert.Equal("second", Get(store, "k00105"));
        Assert.Equal("first", Get(store, "k00110"));
        Assert.Equal("third", Get(store, "k00500"));
        Assert.Empty(engine.Verify(CancellationToken.None));
    }

    [Fact]
    public async Task UnsortedAndRepeatedKeysAreRefusedByNameAndNothingIsLoaded()
    {
        var fixture = new StoreFixture();
        await using Store store = Open(fixture);
        foreach ((string key, string expected) in new[] { ("a", "record 3 of the load: its key 'a' comes before the one added last, 'c'"), ("c", "record 3 of the load: its key 'c' is the one before it") })
        {
            using BulkLoader loader = store.BeginBulkLoad();
            Assert.Equal(Status.Ok, loader.Add("b"u8, "1"u8));
            Assert.Equal(Status.Ok, loader.Add("c"u8, "1"u8));
            Assert.Equal(Status.Invalid, loader.Add(Bytes(key), "1"u8));
            Assert.StartsWith(expected, loader.Detail, StringComparison.Ordinal);
            Assert.Equal(Status.Invalid, loader.Add("x"u8, "1"u8));
            WriteResult result = loader.Complete();
            Assert.Equal(Status.Invalid, result.Status);
            Assert.Equal(loader.Detail, result.Detail);
        }

        Assert.Null(Get(store, "b"));
        Assert.Empty(Staged(fixture));
    }

    [Fact]
    public async Task LimitsHoldAndAnEmptyLoadIsDone()
    {
        var fixture = new StoreFixture(new StoreOptions { MaxValueBytes = 100 });
        await using Store store = Open(fixture);
        using (BulkLoader empty = store.BeginBulkLoad())
        {
            Assert.True(empty.Complete().IsOk);
            Assert.Throws<ObjectDisposedException>(() => empty.Complete());
        }

        using BulkLoader noKey = store.BeginBulkLoad();
        Assert.Equal(Status.Invalid, noKey.Add(default, "1"u8));
        using BulkLoader longKey = store.BeginBulkLoad();
        Assert.Equal(Status.TooLarge, longKey.Add(new byte[Limits.MaxKeyBytes + 1], "1"u8));
        using BulkLoader longValue = store.BeginBulkLoad();
        Assert.Equal(Status.TooLarge, longValue.Add("k"u8, new byte[101]));
        Assert.Contains("max-value-bytes", longValue.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ExpiriesCountFromWhenARecordIsAdded()
    {
        var fixture = new StoreFixture();
        await using Store store = Open(fixture);
        using (BulkLoader loader = store.BeginBulkLoad())
        {
            Assert.Equal(Status.Ok, loader.Add("a"u8, "1"u8, Expiry.InMilliseconds(1000)));
            Assert.Equal(Status.Ok, loader.Add("b"u8, "1"u8));
            Assert.True(loader.Complete().IsOk);
        }

        Assert.Equal("1", Get(store, "a"));
        fixture.Time.Advance(TimeSpan.FromSeconds(2));
        Assert.Null(Get(store, "a"));
        Assert.Equal("1", Get(store, "b"));
    }

    [Fact]
    public async Task ALoadOverSeveralPartitionsIsOneWriteAndTheMemoryEngineTakesBatches()
    {
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false });
        await using (Store store = Open(fixture))
        {
            Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, "k00300"u8.ToArray())).Status);
            Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange("k00600"u8.ToArray(), "k00900"u8.ToArray())).Status);
            Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange("k00300"u8.ToArray(), "k00600"u8.ToArray()), EngineKind.Memory).Status);
            Load(store, 0, 900, "x");
            using ValueLease first = store.Get("k00000"u8);
            using ValueLease last = store.Get("k00899"u8);
            Assert.Equal(first.Version, last.Version);
            Assert.Equal("x", Get(store, "k00450"));

            using BulkLoader beyond = store.BeginBulkLoad();
            Assert.Equal(Status.Ok, beyond.Add("k00899"u8, "y"u8));
            Assert.Equal(Status.BadNode, beyond.Add("k00900"u8, "y"u8));
            Assert.Equal(Status.BadNode, beyond.Complete().Status);
            Assert.Equal("x", Get(store, "k00899"));
        }

        await using Store again = Open(fixture);
        Assert.Equal("x", Get(again, "k00000"));
        Assert.Equal("x", Get(again, "k00599"));
        Assert.Equal("x", Get(again, "k00899"));
    }

    [Fact]
    public async Task ARemovedPartitionRefusesTheLoad()
    {
        var fixture = new StoreFixture();
        await using Store store = Open(fixture);
        using BulkLoader loader = store.BeginBulkLoad();
        Assert.Equal(Status.Ok, loader.Add("a"u8, "1"u8));
        Assert.Equal(Status.Ok, store.Partitions.Remove(1, discardData: true).Status);
        Assert.Equal(Status.BadNode, loader.Complete().Status);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task LoadsAmongOtherWritesAgreeWithAModel(int seed)
    {
        var random = new Random(seed);
        var fixture = new StoreFixture();
        var model = new SortedDictionary<string, string>(StringComparer.Ordinal);
        Store store = Open(fixture);
        try
        {
            for (int step = 0; step < 60; step++)
            {
                for (int i = random.Next(60); i > 0; i--)
                {
                    string key = Key(random.Next(600));
                    if (random.Next(4) == 0)
                    {
                        store.Remove(Bytes(key));
                        model.Remove(key);
                    }
                    else
                    {
                        Set(store, key, $"w{step}");
                        model[key] = $"w{step}";
                    }
                }

                if (random.Next(3) == 0)
                {
                    RandomLoad(store, random, model, $"l{step}");
                }

                if (random.Next(8) == 0)
                {
                    await store.DisposeAsync();
                    store = Open(fixture);
                }

                if (random.Next(4) == 0)
                {
                    string expected = string.Join(' ', model.Select(static pair => $"{pair.Key}={pair.Value}"));
                    Assert.True(expected == Records(store), $"seed {seed}, step {step}: {expected}\n{Records(store)}");
                }
            }

            Assert.Empty(Engine(store).Verify(CancellationToken.None));
            Assert.Empty(Staged(fixture));
        }
        finally
        {
            await store.DisposeAsync();
        }
    }

    [Fact]
    public async Task LoadsSideBySideOverlapAndTheOneWithTheHighestVersionWins()
    {
        var fixture = new StoreFixture();
        await using Store store = Open(fixture);
        var loads = new List<(long Version, int From, int To)>();
        Thread[] threads = [.. Enumerable.Range(0, 4).Select(t => new Thread(() =>
        {
            var random = new Random(t);
            for (int i = 0; i < 6; i++)
            {
                int from = random.Next(300);
                int to = from + 1 + random.Next(200);
                using BulkLoader loader = store.BeginBulkLoad();
                for (int k = from; k < to; k++)
                {
                    loader.Add(Bytes(Key(k)), Bytes(string.Create(CultureInfo.InvariantCulture, $"{t}.{i}")));
                }

                WriteResult result = loader.Complete();
                lock (loads)
                {
                    loads.Add((result.IsOk ? result.Version : -1, from, to));
                }

                Set(store, "x" + t, "1");
            }
        }))];
        Array.ForEach(threads, static thread => thread.Start());
        Array.ForEach(threads, static thread => thread.Join());
        Assert.DoesNotContain(loads, static load => load.Version < 0);
        for (int k = 0; k < 500; k++)
        {
            long expected = loads.Where(load => load.From <= k && k < load.To).Select(static load => load.Version).DefaultIfEmpty(0).Max();
            using ValueLease lease = store.Get(Bytes(Key(k)));
            Assert.Equal(expected, lease.Found ? lease.Version : 0);
        }

        Assert.Empty(Engine(store).Verify(CancellationToken.None));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task LoadsAmongRunningCompactionsKeepTheLevelsInOrder(int seed)
    {
        var fixture = new StoreFixture(new StoreOptions { Durability = Durability.Os });
        await using Store store = Open(fixture);
        var newest = new long[4000];
        bool stop = false;
        var writer = new Thread(() =>
        {
            var random = new Random(seed);
            while (!Volatile.Read(ref stop))
            {
                int key = random.Next(newest.Length);
                Note(newest, key, Set(store, Key(key), new string('w', 40)).Version);
            }
        });
        writer.Start();
        var random = new Random(-seed);
        for (int i = 0; i < 60; i++)
        {
            // Small loads find gaps between the tables of running compactions, large ones overlap everything.
            int from = random.Next(newest.Length);
            int to = Math.Min(newest.Length, from + 1 + random.Next(random.Next(4) == 0 ? 1500 : 8));
            WriteResult result = TryLoad(store, from, to, "loaded");
            Assert.True(result.IsOk, $"seed {seed}: {result.Detail}");
            for (int key = from; key < to; key++)
            {
                Note(newest, key, result.Version);
            }
        }

        Volatile.Write(ref stop, true);
        writer.Join();
        Assert.Null(store.Failure);
        for (int key = 0; key < newest.Length; key++)
        {
            using ValueLease lease = store.Get(Bytes(Key(key)));
            Assert.True((lease.Found ? lease.Version : 0) == newest[key], $"seed {seed}, {Key(key)}: version {lease.Version}, expected {newest[key]}");
        }

        Assert.Empty(Engine(store).Verify(CancellationToken.None));

        static void Note(long[] newest, int key, long version)
        {
            long seen = Volatile.Read(ref newest[key]);
            while (version > seen)
            {
                long found = Interlocked.CompareExchange(ref newest[key], version, seen);
                if (found == seen)
                {
                    return;
                }

                seen = found;
            }
        }
    }

    internal static Store Open(StoreFixture fixture, IBackgroundWork? background = null) => Store.Open(
        StoreFixture.Directory,
        fixture.Options,
        new StoreEnvironment { FileSystem = fixture.Files, Time = fixture.Time, Background = background, Engine = static _ => LsmFixture.SmallOptions });

    internal static LsmEngine Engine(Store store) => (LsmEngine)((PartitionRegistry)store.Partitions).Map.Partitions[0].Engine;

    internal static string Key(int i) => string.Create(CultureInfo.InvariantCulture, $"k{i:D5}");

    internal static WriteResult TryLoad(Store store, int from, int to, string value)
    {
        using BulkLoader loader = store.BeginBulkLoad();
        for (int i = from; i < to; i++)
        {
            loader.Add(Bytes(Key(i)), Bytes(value));
        }

        return loader.Complete();
    }

    internal static IEnumerable<string> Staged(StoreFixture fixture) =>
        fixture.Files.List($"{StoreFixture.Directory}/partitions/1").Where(static name => FileNames.TryParseStaged(name, out _));

    private static void Load(Store store, int from, int to, string value)
    {
        WriteResult result = TryLoad(store, from, to, value);
        Assert.True(result.IsOk, result.Detail);
    }

    private static void RandomLoad(Store store, Random random, SortedDictionary<string, string> model, string value)
    {
        using BulkLoader loader = store.BeginBulkLoad();
        var keys = new SortedSet<string>(StringComparer.Ordinal);
        int from = random.Next(600);
        int span = 1 + random.Next(random.Next(2) == 0 ? 10 : 300);
        for (int i = 1 + random.Next(100); i > 0; i--)
        {
            keys.Add(Key(from + random.Next(span)));
        }

        foreach (string key in keys)
        {
            Assert.Equal(Status.Ok, loader.Add(Bytes(key), Bytes(value)));
        }

        if (random.Next(4) == 0)
        {
            return;
        }

        Assert.True(loader.Complete().IsOk);
        foreach (string key in keys)
        {
            model[key] = value;
        }
    }

    private static string Keys(ScanCursor cursor)
    {
        var text = new StringBuilder();
        while (cursor.MoveNext())
        {
            text.Append(Encoding.UTF8.GetString(cursor.Key)).Append(' ');
        }

        return text.ToString().TrimEnd();
    }

    private static string Records(Store store)
    {
        var text = new StringBuilder();
        using ScanCursor cursor = store.Scan(new ScanOptions());
        while (cursor.MoveNext())
        {
            text.Append(Encoding.UTF8.GetString(cursor.Key)).Append('=').Append(Encoding.UTF8.GetString(cursor.Value)).Append(' ');
        }

        return text.ToString().TrimEnd();
    }
}
