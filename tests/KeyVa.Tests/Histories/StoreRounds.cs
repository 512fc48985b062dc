using System.Globalization;
using KeyVa.Io;

namespace KeyVa.Tests.Histories;

/// <summary>
/// A store on a disk in memory, used in rounds, each of which ends in a crash: at a file operation in its midst if it comes
/// that far, at its end otherwise. Power fails where writes are synced before they are acknowledged; elsewhere only the process dies.
/// </summary>
internal sealed class StoreRounds(int seed, EngineKind engine, Durability durability, string[]? borders = null, Defects defects = Defects.None)
{
    private const string Directory = "/data";

    private readonly Random _random = new(seed);
    private readonly ManualResetEventSlim _never = new();
    private MemoryFileSystem _files = new();

    /// <summary>How long each file operation of a round takes, beside what it does: what is under way meanwhile is seen more often.</summary>
    public TimeSpan OperationTime { get; init; }

    /// <summary>The seeds to run: KEYVA_SEED alone, as many as KEYVA_HISTORY_SEEDS says, or a few.</summary>
    public static IEnumerable<int> Seeds(int few) =>
        Number("KEYVA_SEED") is { } seed ? [seed] : Enumerable.Range(0, Number("KEYVA_HISTORY_SEEDS") ?? few);

    public override string ToString() => $"seed {seed}, {engine}, {durability}{(borders is null ? "" : $", {borders.Length + 1} partitions")}";

    /// <summary>Where a history that fails is kept.</summary>
    public string Keep(string history)
    {
        string file = Path.Combine(Path.GetTempPath(), $"keyva-history-{engine}-{durability}-{seed}.txt");
        File.WriteAllText(file, history);
        return file;
    }

    /// <summary>One round on an open store, and the crash: at one of the first <paramref name="within"/> file operations.</summary>
    public async Task CrashAsync(int within, Func<Store, Task> round)
    {
        Store store = Open();
        MemoryFileSystem disk = _files;
        MemoryFileSystem? left = null;
        int crashed = 0;
        int lossSeed = _random.Next();
        int countdown = _random.Next(1, within);
        disk.Faults.Before = (_, _) =>
        {
            if (OperationTime > TimeSpan.Zero)
            {
                _never.Wait(OperationTime);
            }

            if (Interlocked.Decrement(ref countdown) == 0 && Interlocked.Exchange(ref crashed, 1) == 0)
            {
                Volatile.Write(ref left, Crash(disk, lossSeed));
            }
        };
        await round(store);
        disk.Faults.Before = null;
        if (Interlocked.Exchange(ref crashed, 1) == 0)
        {
            left = Crash(disk, lossSeed);
        }

        // A thread of the store's own may be in the middle of the crash.
        SpinWait.SpinUntil(() => Volatile.Read(ref left) is not null);
        _files = left!;
        await AbandonAsync(store);
    }

    /// <summary>A last round, and a clean close.</summary>
    public async Task FinishAsync(Func<Store, Task> round)
    {
        await using Store store = Open();
        await round(store);
    }

    /// <summary>A power loss at the end of a round, whatever the durability promises.</summary>
    public async Task LosePowerAsync(Func<Store, Task> round)
    {
        Store store = Open();
        await round(store);
        _files = _files.Crash(_random.Next());
        await AbandonAsync(store);
    }

    public static async Task AbandonAsync(IAsyncDisposable dead)
    {
        try
        {
            await dead.DisposeAsync();
        }
        catch (StoreException)
        {
            // Its disk is dead; what matters is that its threads and memory are gone.
        }
    }

    private static int? Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out int number) ? number : null;

    private MemoryFileSystem Crash(MemoryFileSystem files, int lossSeed) => durability == Durability.Always ? files.Crash(lossSeed) : files.Kill();

    /// <summary>Those that are missing: a crash may have come in between.</summary>
    private void AddPartitions(Store store, string[] borders)
    {
        byte[][] ends = [[], .. borders.Select(System.Text.Encoding.ASCII.GetBytes), []];
        for (int i = store.Partitions.List().Count; i < ends.Length - 1; i++)
        {
            store.Partitions.Add(new KeyRange(ends[i], ends[i + 1]), engine);
        }
    }

    private Store Open()
    {
        Store store = Store.Open(
            Directory,
            new StoreOptions
            {
                Engine = engine,
                CreateDefaultPartition = borders is null,
                Durability = durability,
                MemtableBytes = 1 << 14,
                JournalSegmentBytes = 1 << 16,
                JournalBudgetBytes = 1 << 19,
                BlockCacheBytes = 1 << 16,
            },
            new StoreEnvironment { FileSystem = _files, Defects = defects });
        if (borders is not null && store.Partitions.List().Count <= borders.Length)
        {
            AddPartitions(store, borders);
        }

        return store;
    }
}
