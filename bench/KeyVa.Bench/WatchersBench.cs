using System.Diagnostics;
using System.Globalization;

namespace KeyVa.Bench;

/// <summary>
/// What a put costs beside 10,000 open watchers on distinct keys, against a store that nobody watches; rounds take turns.
/// </summary>
internal sealed class WatchersBench(BenchOptions options)
{
    private const int Watchers = 10_000;
    private const double AskedRatio = 1.2;
    private const int SyncedShare = 50;

    private static readonly TimeSpan DrainPatience = TimeSpan.FromMinutes(2);

    /// <summary>The measured section, and whether the ratios were kept.</summary>
    public (Section Section, bool Passed) Run()
    {
        Section section = new("Watchers", askedRatio: 0);
        long puts = Math.Min(options.Records, 1_000_000);
        section.Conditions.Add(("watched keys", string.Create(CultureInfo.InvariantCulture,
            $"{puts:N0} puts of one thread, each of a key that one of {Watchers:N0} watchers waits for; every watcher reads its events meanwhile")));
        section.Conditions.Add(("other keys", "the same of keys that nobody waits for"));
        section.Conditions.Add(("synced", string.Create(CultureInfo.InvariantCulture, $"1/{SyncedShare} as many, durability always")));
        Table table = new("Cost of a put", ["workload", "without, µs", $"with {Watchers:N0} watchers, µs", "ratio", "asked", "events told", "compacted", "kept"]);
        bool passed = true;
        foreach ((string name, bool watched, KeyVa.Durability durability) in new[]
        {
            ("watched keys", true, KeyVa.Durability.Os), ("other keys", false, KeyVa.Durability.Os), ("watched keys, synced", true, KeyVa.Durability.Always),
        })
        {
            passed &= Measure(table, name, watched, durability, durability == KeyVa.Durability.Always ? puts / SyncedShare : puts).GetAwaiter().GetResult();
        }

        section.Tables.Add(table);
        section.Note($"asked for: a ratio of at most {AskedRatio.ToString(CultureInfo.InvariantCulture)}; every event of a watched key is told, no watcher is left behind for good");
        return (section, passed);
    }

    private async Task<bool> Measure(Table table, string name, bool watched, KeyVa.Durability durability, long puts)
    {
        using DataFolder plainFolder = new(options.Data, "watchers-without");
        using DataFolder watchedFolder = new(options.Data, "watchers-with");
        await using Store plain = Open(plainFolder, durability);
        await using Store busy = Open(watchedFolder, durability);
        using CancellationTokenSource stop = new();
        Task[] readers = await OpenWatchers(busy, stop.Token);
        List<double> without = [];
        List<double> with = [];
        long expected = 0;
        for (int round = -1; round < options.Rounds; round++)
        {
            double a = Put(plain, watched, puts, round);
            double b = Put(busy, watched, puts, round);
            expected += watched ? puts : 0;
            Drain(busy, expected);
            if (round >= 0)
            {
                // The first one warms up.
                without.Add(a);
                with.Add(b);
            }
        }

        StoreStatistics figures = busy.GetStatistics();
        await stop.CancelAsync();
        await Task.WhenAll(readers);
        double ratio = Median(with) / Median(without);
        bool kept = ratio <= AskedRatio && figures.WatchEvents == expected && figures.WatchesCompacted == 0;
        table.Add(name, Median(without), Median(with), ratio, AskedRatio, figures.WatchEvents, figures.WatchesCompacted, kept ? "yes" : "NO");
        return kept;
    }

    private Store Open(DataFolder folder, KeyVa.Durability durability) => Store.Open(folder.Path, new StoreOptions
    {
        Durability = durability,
        BlockCacheBytes = options.BlockCacheBytes,
        MemtableBytes = options.MemtableBytes,
    });

    private async Task<Task[]> OpenWatchers(Store store, CancellationToken stop)
    {
        var readers = new Task[Watchers];
        for (int i = 0; i < Watchers; i++)
        {
            byte[] key = Keys.NewBuffer(options.KeyBytes);
            Keys.Write(key, (ulong)i);
            IAsyncEnumerator<WatchEvent> events = store.WatchAsync(new WatchOptions { Key = key }, stop).GetAsyncEnumerator(stop);
            await events.MoveNextAsync();
            readers[i] = Read(events, stop);
        }

        return readers;
    }

    private static async Task Read(IAsyncEnumerator<WatchEvent> events, CancellationToken stop)
    {
        await using (events)
        {
            try
            {
                while (await events.MoveNextAsync())
                {
                }
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                // The end of the measurement.
            }
            catch (CompactedException)
            {
                // Counted by the store.
            }
        }
    }

    /// <summary>Microseconds for each put.</summary>
    private double Put(Store store, bool watched, long puts, int round)
    {
        Values values = new(Values.NewPool(options.ValueBytes, options.Seed), options.ValueBytes, 0);
        byte[] key = Keys.NewBuffer(options.KeyBytes);
        Random random = new((int)options.Seed + round);
        long begun = Stopwatch.GetTimestamp();
        for (long i = 0; i < puts; i++)
        {
            Keys.Write(key, (ulong)(watched ? random.Next(Watchers) : Watchers + random.Next(Watchers)));
            if (!store.Upsert(key, values.Next()).IsOk)
            {
                throw new InvalidOperationException("a put was refused");
            }
        }

        return Stopwatch.GetElapsedTime(begun).TotalMicroseconds / puts;
    }

    /// <summary>So that one round does not take the processor from the next.</summary>
    private static void Drain(Store store, long expected) =>
        SpinWait.SpinUntil(() => store.GetStatistics() is var now && (now.WatchEvents >= expected || now.WatchesCompacted > 0), DrainPatience);

    private static double Median(List<double> rounds) => rounds.Order().ElementAt((rounds.Count - 1) / 2);
}
