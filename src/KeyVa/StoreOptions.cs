namespace KeyVa;

/// <summary>How a store is opened. Immutable; the defaults are the contracts of the product.</summary>
public sealed record StoreOptions
{
    /// <summary>When a write counts as done. Default: <see cref="Durability.Always"/>.</summary>
    public Durability Durability { get; init; } = Durability.Always;

    /// <summary>Between two syncs under <see cref="Durability.Interval"/>. Default: 100 ms.</summary>
    public TimeSpan SyncInterval { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>The engine of the partition over all keys that a new store begins with. Default: <see cref="EngineKind.Lsm"/>.</summary>
    public EngineKind Engine { get; init; } = EngineKind.Lsm;

    /// <summary>Whether a new store begins with one partition over all keys. Default: true.</summary>
    public bool CreateDefaultPartition { get; init; } = true;

    /// <summary>
    /// The first partition has no journal and no files: everything is lost at exit. Memory engine only. Default: false.
    /// </summary>
    public bool Volatile { get; init; }

    /// <summary>The longest value in bytes, 1 to 64 MiB. Default: 1 MiB.</summary>
    public int MaxValueBytes { get; init; } = 1 << 20;

    /// <summary>The largest batch in bytes of keys and values; one of a single operation is bound by the value's limit instead. Default: 1 MiB.</summary>
    public int MaxBatchBytes { get; init; } = 1 << 20;

    /// <summary>Bytes of the block cache that all lsm partitions share. Default: 256 MiB.</summary>
    public long BlockCacheBytes { get; init; } = 256L << 20;

    /// <summary>Bytes a memtable of an lsm partition takes before it is flushed. Default: 64 MiB.</summary>
    public long MemtableBytes { get; init; } = 64L << 20;

    /// <summary>Threads for flushes, compactions and checkpoints. Default: 2.</summary>
    public int BackgroundThreads { get; init; } = 2;

    /// <summary>Writers that may wait for one partition; the next one gets <see cref="Status.Busy"/>. Default: 4096.</summary>
    public int MaxQueuedWrites { get; init; } = 4096;

    /// <summary>Bytes of one journal segment. Default: 64 MiB.</summary>
    public long JournalSegmentBytes { get; init; } = 64L << 20;

    /// <summary>
    /// How often all files are read in the background in search of damage: from the beginning of one pass to that of the next;
    /// the first begins an hour after opening, or an interval if that is shorter. Zero: never. Default: 7 days.
    /// </summary>
    public TimeSpan ScrubInterval { get; init; } = TimeSpan.FromDays(7);

    /// <summary>At most so many bytes per second are read for that, 64 KiB or more. Default: 8 MiB.</summary>
    public long ScrubBytesPerSecond { get; init; } = 8L << 20;

    /// <summary>Past this many bytes of journal, partitions that hold it back are flushed. Default: 1 GiB.</summary>
    public long JournalBudgetBytes { get; init; } = 1L << 30;
}
