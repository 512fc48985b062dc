using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Watches;

/// <summary>Random writers beside watchers; what each watcher was told is held against what the writers know.</summary>
public sealed class WatchModelTests
{
    private const int Writers = 4;
    private const int WritesEach = 1500;
    private const int Keys = 60;

    [Theory]
    [InlineData(EngineKind.Lsm, Durability.Os, 1)]
    [InlineData(EngineKind.Memory, Durability.Os, 2)]
    [InlineData(EngineKind.Lsm, Durability.Always, 3)]
    public async Task EveryWatcherIsToldAllOfItsChangesInCommitOrderVersionsWhole(EngineKind engine, Durability durability, int seed)
    {
        var fixture = new Stores.StoreFixture(new StoreOptions
        {
            CreateDefaultPartition = false,
            Durability = durability,
            WatchHistoryBytes = 64 << 20,
            WatchProgressInterval = TimeSpan.FromMilliseconds(10),
        });
        await using Store store = fixture.Open();
        EngineKind other = engine == EngineKind.Lsm ? EngineKind.Memory : EngineKind.Lsm;
        string[] bounds = ["", "k15", "k30", "k45", ""];
        for (int i = 0; i + 1 < bounds.Length; i++)
        {
            Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(Bytes(bounds[i]), Bytes(bounds[i + 1])), i == 2 ? other : engine).Status);
        }

        var done = new ConcurrentDictionary<long, string[]>();
        using var stop = new CancellationTokenSource();
        WatchOptions[] watched =
        [
            new(),
            new() { Prefix = Bytes("k2") },
            new() { From = Bytes("k10"), To = Bytes("k40") },
            new() { Key = Bytes("k31") },
            new() { MaxQueuedEvents = 4 },
            new() { Prefix = Bytes("k2"), MaxQueuedEvents = 1 },
        ];
        Task<List<WatchEvent>>[] watchers = [.. watched.Select((options, i) => Follow(store, options, i % 2 == 1, seed + i, stop.Token))];
        Thread[] threads = [.. Enumerable.Range(0, Writers).Select(w => new Thread(() => Write(store, new Random((seed * 100) + w), done)))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        long last = store.Upsert("k31"u8, "end"u8).Version;
        done[last] = ["k31=end"];
        Set(store, "k25", "end");
        stop.CancelAfter(TimeSpan.FromMinutes(2));
        for (int i = 0; i < watchers.Length; i++)
        {
            Check(await watchers[i], watched[i], done, last, $"seed {seed}, watcher {i}");
        }
    }

    [Fact]
    public void AnIntervalTreeFindsWhatGoingThroughAllFinds()
    {
        for (int seed = 1; seed <= 20; seed++)
        {
            var random = new Random(seed);
            var tree = new KeyVa.Watches.IntervalTree();
            var nodes = new List<KeyVa.Watches.IntervalNode>();
            for (int step = 0; step < 400; step++)
            {
                if (nodes.Count == 0 || random.Next(3) > 0)
                {
                    KeyRange range = RandomRange(random);
                    var target = new KeyVa.Watches.WatchTarget(range, false, false, false);
                    var node = new KeyVa.Watches.IntervalNode(new KeyVa.Watches.Watcher(step, target, new WatchOptions(), null!), range, (uint)random.Next());
                    tree.Add(node);
                    nodes.Add(node);
                }
                else
                {
                    int at = random.Next(nodes.Count);
                    tree.Remove(nodes[at]);
                    nodes.RemoveAt(at);
                }

                Assert.Equal(nodes.Count, tree.Check());
                byte[] key = RandomKey(random);
                KeyRange asked = RandomRange(random);
                var found = new List<KeyVa.Watches.Watcher>();
                tree.Containing(key, found);
                Assert.True(found.Select(w => w.Id).Order().SequenceEqual(nodes.Where(n => n.Range.Contains(key)).Select(n => n.Watcher.Id).Order()), $"seed {seed}, step {step}");
                found.Clear();
                tree.Overlapping(asked.From.Span, asked.To.Span, found);
                Assert.True(found.Select(w => w.Id).Order().SequenceEqual(nodes.Where(n => n.Range.Overlaps(asked)).Select(n => n.Watcher.Id).Order()), $"seed {seed}, step {step}");
            }
        }
    }

    private static byte[] RandomKey(Random random) => Bytes(random.Next(300).ToString("D3", CultureInfo.InvariantCulture)[..random.Next(1, 4)]);

    private static KeyRange RandomRange(Random random)
    {
        while (true)
        {
            var range = new KeyRange(random.Next(8) == 0 ? default : RandomKey(random), random.Next(8) == 0 ? default : RandomKey(random));
            if (!range.IsEmpty)
            {
                return range;
            }
        }
    }

    /// <summary>Reads until the last write; one that hops leaves again and again and comes back behind what it has seen.</summary>
    private static async Task<List<WatchEvent>> Follow(Store store, WatchOptions options, bool hops, int seed, CancellationToken stop)
    {
        var random = new Random(seed);
        var told = new List<WatchEvent>();
        long start = 0;
        while (true)
        {
            int left = hops ? random.Next(1, 200) : int.MaxValue;
            await foreach (WatchEvent one in store.WatchAsync(options with { StartVersion = start }, stop))
            {
                if (one.Kind != WatchEventKind.Progress)
                {
                    told.Add(one);
                    if (!one.HasMore && WatchReader.Text(one.Value) == "end")
                    {
                        return told;
                    }
                }

                start = one.HasMore ? start : one.Version + 1;
                if (left-- <= 0 && !one.HasMore)
                {
                    break;
                }
            }
        }
    }

    private static void Write(Store store, Random random, ConcurrentDictionary<long, string[]> done)
    {
        for (int i = 0; i < WritesEach; i++)
        {
            string value = random.Next(1_000_000).ToString(CultureInfo.InvariantCulture);
            if (random.Next(4) == 0)
            {
                using var batch = new WriteBatch();
                var told = new List<string>();
                for (int k = random.Next(Keys); k < Keys && told.Count < 6; k += random.Next(1, 15))
                {
                    bool isPut = random.Next(4) > 0;
                    _ = isPut ? batch.Put(Bytes(Key(k)), Bytes(value)) : batch.Remove(Bytes(Key(k)), blind: true);
                    told.Add(isPut ? $"{Key(k)}={value}" : $"-{Key(k)}");
                }

                WriteResult result = store.Write(batch);
                Assert.True(result.IsOk, result.Detail);
                done[result.Version] = [.. told];
            }
            else if (random.Next(5) == 0)
            {
                string key = Key(random.Next(Keys));
                WriteResult result = store.Remove(Bytes(key));
                if (result.IsOk)
                {
                    done[result.Version] = [$"-{key}"];
                }
            }
            else
            {
                string key = Key(random.Next(Keys));
                Condition condition = random.Next(3) == 0 ? Condition.IfAbsent : default;
                WriteResult result = Set(store, key, value, new WriteOptions { Condition = condition });
                if (result.IsOk)
                {
                    done[result.Version] = [$"{key}={value}"];
                }
            }
        }
    }

    private static string Key(int k) => $"k{k:D2}";

    private static void Check(List<WatchEvent> told, WatchOptions options, ConcurrentDictionary<long, string[]> done, long last, string who)
    {
        KeyRange range = options.Range;
        List<string> expected = [];
        foreach ((long version, string[] changes) in done.OrderBy(pair => pair.Key))
        {
            // Parts of a batch come partition by partition: their order within the version is not asked for.
            expected.AddRange(changes.Where(change => range.Contains(Encoding.UTF8.GetBytes(change.TrimStart('-').Split('=')[0])))
                .Order(StringComparer.Ordinal).Select(change => $"{version} {change}"));
        }

        List<string> seen = [];
        long before = 0;
        foreach (IGrouping<long, WatchEvent> version in told.Where(one => one.Version <= last).GroupBy(one => one.Version))
        {
            Assert.True(version.Key > before, $"{who}: version {version.Key} after {before}");
            before = version.Key;
            Assert.True(version.SkipLast(1).All(one => one.HasMore) && !version.Last().HasMore, $"{who}: version {version.Key} is torn");
            seen.AddRange(version.Select(one => WatchReader.Show(one).TrimEnd('+')).Order(StringComparer.Ordinal).Select(change => $"{version.Key} {change}"));
        }

        for (int i = 0; i < Math.Max(expected.Count, seen.Count); i++)
        {
            Assert.True(i < expected.Count && i < seen.Count && expected[i] == seen[i], $"{who}, event {i} of {expected.Count}: expected '{expected.ElementAtOrDefault(i)}', told '{seen.ElementAtOrDefault(i)}'");
        }
    }
}
