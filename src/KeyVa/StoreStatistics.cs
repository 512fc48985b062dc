namespace KeyVa;

/// <summary>The figures of an open store: counters since it was opened, gauges as they stand.</summary>
public sealed record StoreStatistics
{
    /// <summary>Keys of all partitions (see <see cref="PartitionInfo.Keys"/>).</summary>
    public long Keys { get; init; }

    /// <summary>Bytes of their values.</summary>
    public long ValueBytes { get; init; }

    /// <summary>Keys read, found or not.</summary>
    public long Gets { get; init; }

    /// <summary>Keys read and found.</summary>
    public long GetsFound { get; init; }

    /// <summary>Keys written.</summary>
    public long Sets { get; init; }

    /// <summary>Removals, whether the key was there or not.</summary>
    public long Removes { get; init; }

    /// <summary>Scans begun.</summary>
    public long Scans { get; init; }

    /// <summary>Writes that ended with anything but Ok or NotFound.</summary>
    public long Refused { get; init; }

    /// <summary>Latency of reads of one key or several. Embedded calls are sampled.</summary>
    public LatencySummary GetLatency { get; init; }

    /// <summary>Latency of writes, single or batch, until acknowledged.</summary>
    public LatencySummary WriteLatency { get; init; }

    /// <summary>Bytes of the engines' files and the journal.</summary>
    public long StorageBytes { get; init; }

    /// <summary>Bytes of the journal alone.</summary>
    public long JournalBytes { get; init; }

    /// <summary>Syncs of the journal.</summary>
    public long JournalSyncs { get; init; }

    /// <summary>Bytes outside the GC heap held by engines and the block cache.</summary>
    public long MemoryBytes { get; init; }

    /// <summary>What the lsm partitions may use together (see <see cref="StoreOptions.MemoryBudgetBytes"/>). The next four are its parts.</summary>
    public long MemoryBudgetBytes { get; init; }

    /// <summary>Bytes of memtables, written to or waiting for their flush.</summary>
    public long MemtableMemoryBytes { get; init; }

    /// <summary>Bytes of blocks in the cache, those evicted that readers may still see among them.</summary>
    public long CacheMemoryBytes { get; init; }

    /// <summary>Bytes of the indexes and filters of open tables.</summary>
    public long TableMemoryBytes { get; init; }

    /// <summary>Bytes of flushed memtables that readers hold, of buffers of cursors and compactions, and of spare pieces of memtables.</summary>
    public long OtherMemoryBytes { get; init; }

    /// <summary>What stays in the block cache.</summary>
    public BlockCachePolicy CachePolicy { get; init; }

    /// <summary>Bytes that the block cache may have at present; less than its size while memtables need them.</summary>
    public long CacheCapacityBytes { get; init; }

    /// <summary>Blocks that left the cache to make room.</summary>
    public long CacheEvictions { get; init; }

    /// <summary>Tables that were closed to make room.</summary>
    public long TableEvictions { get; init; }

    /// <summary>Blocks found in the block cache.</summary>
    public long CacheHits { get; init; }

    /// <summary>Blocks read from disk.</summary>
    public long CacheMisses { get; init; }

    /// <summary>Snapshots (scans, readers) open now.</summary>
    public int OpenSnapshots { get; init; }

    /// <summary>The oldest version that an open snapshot sees; 0: none is open. What was overwritten since then stays for it.</summary>
    public long OldestSnapshotVersion { get; init; }

    /// <summary>How long the snapshot that was opened first has been open.</summary>
    public TimeSpan OldestSnapshotAge { get; init; }

    /// <summary>Versions that newer ones shadow, in all partitions (see <see cref="PartitionInfo.OlderVersions"/>).</summary>
    public long OlderVersions { get; init; }

    /// <summary>Their bytes.</summary>
    public long OlderVersionBytes { get; init; }

    /// <summary>Bytes read in the background in search of damage.</summary>
    public long ScrubbedBytes { get; init; }

    /// <summary>How often all files have been read through for that.</summary>
    public long ScrubPasses { get; init; }

    /// <summary>Damaged places that were found so; see <see cref="Store.ScrubDamages"/>.</summary>
    public long ScrubDamages { get; init; }

    /// <summary>Whether all files are being read now.</summary>
    public bool IsScrubbing { get; init; }

    /// <summary>Watches open now.</summary>
    public int Watchers { get; init; }

    /// <summary>Bytes of the changes kept for watches.</summary>
    public long WatchHistoryBytes { get; init; }

    /// <summary>Bytes that wait for the readers of watches.</summary>
    public long WatchQueuedBytes { get; init; }

    /// <summary>Changes told to watches.</summary>
    public long WatchEvents { get; init; }

    /// <summary>Watches that ended since changes they needed were not kept any more.</summary>
    public long WatchesCompacted { get; init; }

    /// <summary>How long the store has been open.</summary>
    public TimeSpan Uptime { get; init; }

    /// <summary>The partitions, by range.</summary>
    public IReadOnlyList<PartitionInfo> Partitions { get; init; } = [];
}

/// <summary>Percentiles of a latency, in microseconds, exact to about 3 %; 0 where nothing was measured.</summary>
public readonly record struct LatencySummary(long Count, double P50, double P99, double P999, double Max);
