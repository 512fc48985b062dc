using KeyVa.Engines;

namespace KeyVa.Simulation;

/// <summary>One option with a value: its name and value for the report, and how to set it.</summary>
internal sealed record DrawnOption(string Name, string Value, Func<StoreOptions, StoreOptions> Store, Func<EngineOptions, EngineOptions> Engine)
{
    public override string ToString() => $"{Name}={Value}";
}

/// <summary>
/// The options of one opening of a store, drawn by chance. <see cref="Options"/> is the one place where options stand:
/// a new one is a new line there.
/// </summary>
internal sealed class OptionSet(IReadOnlyList<DrawnOption> drawn)
{
    /// <summary>Out of so many openings, an option keeps its default in one.</summary>
    private const int DefaultOneIn = 3;

    private static readonly Func<Random, DrawnOption>[] Options =
    [
        Store("durability", static r => (Durability)r.Next(3), static (o, v) => o with { Durability = v }),
        Store("sync-interval", static r => TimeSpan.FromMilliseconds(1 << r.Next(16)), static (o, v) => o with { SyncInterval = v }),
        Store("memory-budget", static r => 8L << 20 << r.Next(4), static (o, v) => o with { MemoryBudgetBytes = v }),
        Store("block-cache", static r => 1L << r.Next(10, 20), static (o, v) => o with { BlockCacheBytes = v }),
        Store("cache-policy", static r => (BlockCachePolicy)r.Next(2), static (o, v) => o with { BlockCachePolicy = v }),
        Store("memtable", static r => 1L << r.Next(10, 17), static (o, v) => o with { MemtableBytes = v }),
        Store("separate-values", static r => r.Next(3) == 0 ? 0 : 64 << r.Next(5), static (o, v) => o with { SeparateValuesFrom = v }),
        Store("retain-for", static r => TimeSpan.FromMilliseconds(1 << r.Next(24)), static (o, v) => o with { RetainVersionsFor = v }),
        Store("retain-versions", static r => r.Next(6), static (o, v) => o with { RetainVersions = v }),
        Store("compression", static r => (Compression)r.Next(4), static (o, v) => o with { Compression = v }),
        Store("bottommost", static r => (Compression?)r.Next(4), static (o, v) => o with { BottommostCompression = v }),
        Store("zstd-level", static r => r.Next(1, 7), static (o, v) => o with { ZstdLevel = v }),
        Store("compaction", static r => (CompactionStyle)r.Next(2), static (o, v) => o with { Compaction = v }),
        Store("compaction-rate", static r => 1L << r.Next(22, 28), static (o, v) => o with { CompactionBytesPerSecond = v }),
        Store("background-threads", static r => r.Next(1, 5), static (o, v) => o with { BackgroundThreads = v }),
        Store("journal-segment", static r => 1L << r.Next(12, 20), static (o, v) => o with { JournalSegmentBytes = v }),
        Store("journal-budget", static r => 1L << r.Next(14, 22), static (o, v) => o with { JournalBudgetBytes = v }),
        Store("queued-writes", static r => r.Next(16, 100), static (o, v) => o with { MaxQueuedWrites = v }),
        Engine("zstd-dictionary", static r => 256 << r.Next(5), static (o, v) => o with { ZstdDictionaryBytes = v, Compression = Compression.Zstandard }),
        Engine("block", static r => 1 << r.Next(6, 15), static (o, v) => o with { BlockBytes = v }),
        Engine("bloom-bits", static r => r.Next(1, 24), static (o, v) => o with { BloomBitsPerKey = v }),
        Engine("immutable-memtables", static r => r.Next(1, 6), static (o, v) => o with { MaxImmutableMemtables = v }),
        Engine("table", static r => 1L << r.Next(10, 17), static (o, v) => o with { TableBytes = v }),
        Engine("level-0-tables", static r => r.Next(1, 6), static (o, v) => o with { Level0Tables = v }),
        Engine("level-1", static r => 1L << r.Next(11, 18), static (o, v) => o with { Level1Bytes = v }),
        Engine("level-multiplier", static r => r.Next(2, 11), static (o, v) => o with { LevelMultiplier = v }),
        Engine("tiered-ratio", static r => r.Next(0, 100), static (o, v) => o with { TieredSizeRatioPercent = v }),
        Engine("tiered-amplification", static r => r.Next(20, 400), static (o, v) => o with { TieredMaxSizeAmplificationPercent = v }),
        Engine("sub-compactions", static r => r.Next(1, 5), static (o, v) => o with { MaxSubCompactions = v }),
        Engine("open-tables", static r => r.Next(1, 20), static (o, v) => o with { MaxOpenTables = v }),
        Engine("checkpoint-after", static r => 1L << r.Next(10, 17), static (o, v) => o with { CheckpointAfterBytes = v }),
    ];

    // Sizes as the options' defaults have them would never flush, and take a journal of 64 MiB for each opening.
    private static readonly StoreOptions SmallStore = new()
    {
        Durability = Durability.Os,
        CreateDefaultPartition = false,
        MaxValueBytes = OperationGenerator.MaxValueBytes,
        MemtableBytes = 16 << 10,
        BlockCacheBytes = 64 << 10,
        JournalSegmentBytes = 64 << 10,
        JournalBudgetBytes = 256 << 10,
    };

    private static readonly EngineOptions SmallEngine = new() { TableBytes = 8 << 10, Level1Bytes = 16 << 10, CheckpointAfterBytes = 16 << 10 };

    /// <summary>The names of all options.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Options.Select(static option => option(new Random(0)).Name)];

    public IReadOnlyList<DrawnOption> Drawn { get; } = drawn;

    public StoreOptions StoreOptions => Drawn.Aggregate(SmallStore, static (options, one) => one.Store(options));

    public static OptionSet Draw(Random random) =>
        new([.. Options.Where(_ => random.Next(DefaultOneIn) > 0).Select(option => option(random))]);

    /// <summary>What the store asks for, and the sizes that it offers no option for.</summary>
    public EngineOptions Apply(EngineOptions asked) => Drawn.Aggregate(
        asked with { TableBytes = SmallEngine.TableBytes, Level1Bytes = SmallEngine.Level1Bytes, CheckpointAfterBytes = SmallEngine.CheckpointAfterBytes },
        static (options, one) => one.Engine(options));

    public override string ToString() => Drawn.Count == 0 ? "defaults" : string.Join(' ', Drawn);

    private static Func<Random, DrawnOption> Store<T>(string name, Func<Random, T> draw, Func<StoreOptions, T, StoreOptions> set) => random =>
    {
        T value = draw(random);
        return new DrawnOption(name, $"{value}", options => set(options, value), static options => options);
    };

    private static Func<Random, DrawnOption> Engine<T>(string name, Func<Random, T> draw, Func<EngineOptions, T, EngineOptions> set) => random =>
    {
        T value = draw(random);
        return new DrawnOption(name, $"{value}", static options => options, options => set(options, value));
    };
}
