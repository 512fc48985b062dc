namespace KeyVa.Bench;

/// <summary>What a thread does in its loop.</summary>
internal enum Work
{
    PutSequential,
    PutShuffled,
    PutRandom,
    PutSync,
    PutPaced,
    GetRandom,
    GetMissing,
    ScanForward,
    ScanReverse,
    SeekRandom,
    GetWhileWriting,
    DeleteShuffled,
    Mix95,
    YcsbLoad,
    YcsbA,
    YcsbB,
    YcsbC,
    YcsbD,
    YcsbE,
    YcsbF,
    PutNew,
    GetNew,
}

/// <summary>
/// One measured workload. <see cref="Conditions"/> is what is equal for both sides of a ratio, and is printed. The names
/// and their meaning follow db_bench where it has them; the differences are stated.
/// </summary>
internal sealed record Workload(string Name, Work Work, string Conditions)
{
    /// <summary>Records that one seek reads.</summary>
    public const int SeekRecords = 10;

    /// <summary>How often a scan goes over the whole data set, so that it runs long enough to be measured.</summary>
    public const int ScanPasses = 3;

    /// <summary>Whether it starts on flushed data and after all background work: reads are not measured against compactions.</summary>
    public bool Settled { get; init; } = true;

    /// <summary>Whether the store is as settled after it as before.</summary>
    public bool OnlyReads => Work is Work.GetRandom or Work.GetMissing or Work.ScanForward or Work.ScanReverse or Work.SeekRandom or Work.YcsbC;

    /// <summary>Whether its amplification and memory are measured; it is settled afterwards.</summary>
    public bool Fill { get; init; }

    /// <summary>The ratio asked of KeyVa to the better RocksDB.</summary>
    public double AskedRatio { get; init; } = 1.0;

    /// <summary>Its operations as a share of the records: operations = records x numerator / denominator.</summary>
    public (int Numerator, int Denominator) Share { get; init; } = (1, 1);

    /// <summary>The most operations, so that a large data set is not read for hours.</summary>
    public long MaxOperations { get; init; } = long.MaxValue;

    public long Operations(long records) => Math.Min(MaxOperations, records * Share.Numerator / Share.Denominator);
}

/// <summary>Workloads that run one after the other over the same data, which starts empty.</summary>
internal sealed record Phase(string Name, bool Sync, IReadOnlyList<Workload> Workloads)
{
    private const double Ahead = 1.5;

    private static readonly Workload Fillrandom = new(
        "fillrandom",
        Work.PutShuffled,
        "empty store, every record once in one shuffled order, threads take equal parts of it")
    { Settled = false, Fill = true, AskedRatio = Ahead };

    /// <summary>The engine on disk. The first workload of a phase makes the data of those behind it.</summary>
    public static IReadOnlyList<Phase> Engine { get; } =
    [
        new("fillseq", Sync: false,
        [
            new("fillseq", Work.PutSequential, "empty store, every record once in key order, threads take equal ranges (db_bench: every thread the same keys)")
            {
                Settled = false,
                Fill = true,
                AskedRatio = Ahead,
            },
        ]),
        new("random", Sync: false,
        [
            Fillrandom,
            new("readrandom", Work.GetRandom, "after fillrandom, a flush and the compactions it leads to; keys drawn at random, all are there"),
            new("readmissing", Work.GetMissing, "as readrandom; no key is there, all lie between keys that are"),
            new("readseq", Work.ScanForward, "as readrandom; three passes in key order, key and value touched, threads take equal ranges (db_bench: one pass, every thread from the start)")
            {
                Share = (Workload.ScanPasses, 1),
                AskedRatio = Ahead,
            },
            new("readreverse", Work.ScanReverse, "as readseq, from the end")
            {
                Share = (Workload.ScanPasses, 1),
            },
            new("seekrandom", Work.SeekRandom, "as readrandom; a new iterator for each operation, seek, read 10 records")
            {
                Share = (1, 5),
            },
            new("readwhilewriting", Work.GetWhileWriting, "as readrandom, beside one more thread that overwrites at the stated rate; reads are counted"),
            new("overwrite", Work.PutRandom, "after all reads, a flush and compactions; keys drawn at random, all are there") { Fill = true },
            new("deleterandom", Work.DeleteShuffled, "after overwrite, a flush and compactions; every key once, shuffled (db_bench: drawn at random); nobody looks whether the key is there (KeyVa: blind removals)"),
        ]),
        new("sync", Sync: true,
        [
            new("fillsync", Work.PutSync, "empty store, every put synced to disk before it returns, for a fixed time; random keys")
            {
                Settled = false,
                AskedRatio = Ahead,
            },
        ]),
        new("ycsb", Sync: false,
        [
            new("ycsb-load", Work.YcsbLoad, "empty store, every record once, keys hashed") { Settled = false },
            Ycsb("ycsb-a", Work.YcsbA, "50 % reads, 50 % updates, scrambled zipfian 0.99"),
            Ycsb("ycsb-b", Work.YcsbB, "95 % reads, 5 % updates, scrambled zipfian 0.99"),
            Ycsb("ycsb-c", Work.YcsbC, "reads alone, scrambled zipfian 0.99"),
            Ycsb("ycsb-f", Work.YcsbF, "50 % reads, 50 % read, change and write, scrambled zipfian 0.99"),
            Ycsb("ycsb-d", Work.YcsbD, "95 % reads of the latest, 5 % inserts"),
            Ycsb("ycsb-e", Work.YcsbE, "95 % scans of 1 to 100 records (uniform) from a scrambled zipfian key, 5 % inserts") with { Share = (1, 20) },
        ]),
    ];

    /// <summary>Everything in memory, nothing durable.</summary>
    public static IReadOnlyList<Phase> Memory { get; } =
    [
        new("memory", Sync: false,
        [
            Fillrandom with { Fill = false },
            new("readrandom", Work.GetRandom, "after fillrandom; keys drawn at random, all are there") { Share = (2, 1) },
            new("readmissing", Work.GetMissing, "as readrandom; no key is there") { Share = (2, 1) },
            new("mix95", Work.Mix95, "as readrandom; of 20 operations 19 read and one overwrites, at random") { Share = (2, 1) },
            new("deleterandom", Work.DeleteShuffled, "after mix95; every key once, shuffled"),
        ]),
    ];

    /// <summary>The phases with the workloads that were asked for, and the fill they need.</summary>
    public static IEnumerable<Phase> Select(IReadOnlyList<Phase> phases, IReadOnlyList<string>? names)
    {
        if (names is null)
        {
            return phases;
        }

        string? unknown = names.FirstOrDefault(name => !phases.Any(phase => phase.Workloads.Any(w => w.Name == name)));
        return unknown is not null
            ? throw new UsageException($"no workload is called '{unknown}' here")
            : phases
                .Where(phase => phase.Workloads.Any(w => names.Contains(w.Name)))
                .Select(phase => phase with
                {
                    Workloads = [.. phase.Workloads.Where((w, index) => index == 0 || names.Contains(w.Name))],
                });
    }

    private static Workload Ycsb(string name, Work work, string conditions) =>
        new(name, work, "after the load and the one before it, a flush and compactions; " + conditions) { Share = (1, 4) };
}
