using KeyVa.Io;

namespace KeyVa.Engines;

/// <summary>Sizes and limits of the engines; defaults follow what RocksDB users would set on a small server.</summary>
internal sealed record EngineOptions
{
    /// <summary>Bytes a memtable takes before it is flushed.</summary>
    public long MemtableBytes { get; init; } = 64L << 20;

    /// <summary>Memtables waiting to be flushed before writers are slowed to a stop.</summary>
    public int MaxImmutableMemtables { get; init; } = 4;

    /// <summary>Uncompressed bytes of a data block.</summary>
    public int BlockBytes { get; init; } = 4096;

    /// <summary>Bits of Bloom filter per key.</summary>
    public int BloomBitsPerKey { get; init; } = 10;

    /// <summary>Bytes of one SSTable on the levels below the first.</summary>
    public long TableBytes { get; init; } = 64L << 20;

    /// <summary>Tables of level 0 that start a compaction.</summary>
    public int Level0Tables { get; init; } = 4;

    /// <summary>Tables of level 0 from which writers are slowed down.</summary>
    public int Level0SlowdownTables { get; init; } = 20;

    /// <summary>Tables of level 0 at which the slowdown is strongest.</summary>
    public int Level0StopTables { get; init; } = 36;

    /// <summary>About the bytes of the first level below level 0; each further level may hold <see cref="LevelMultiplier"/> times as much.</summary>
    public long Level1Bytes { get; init; } = 256L << 20;

    public int LevelMultiplier { get; init; } = 10;

    public CompactionStyle CompactionStyle { get; init; } = CompactionStyle.Leveled;

    /// <summary>Tiered: a run joins a merge if it is at most this many percent larger than all newer ones together.</summary>
    public int TieredSizeRatioPercent { get; init; } = 10;

    /// <summary>Tiered: everything is merged when the newer runs together have this many percent of the oldest one's bytes.</summary>
    public int TieredMaxSizeAmplificationPercent { get; init; } = 200;

    /// <summary>How many threads may work on one compaction; each takes ranges of its keys.</summary>
    public int MaxSubCompactions { get; init; } = 2;

    /// <summary>Bytes per second that all compactions of the store may write together; 0: no limit. Flushes are not counted.</summary>
    public long CompactionBytesPerSecond { get; init; }

    /// <summary>Open SSTable files at most, per store.</summary>
    public int MaxOpenTables { get; init; } = 1000;

    /// <summary>Of the blocks of new tables.</summary>
    public Compression Compression { get; init; }

    /// <summary>Of new tables on the deepest level that has any, where most of the data is; null: as all others.</summary>
    public Compression? BottommostCompression { get; init; }

    /// <summary>How hard Zstandard tries.</summary>
    public int ZstdLevel { get; init; } = 3;

    /// <summary>Bytes of the dictionary that is trained for each table under Zstandard; 0: none.</summary>
    public int ZstdDictionaryBytes { get; init; }

    /// <summary>Where the codecs are.</summary>
    public CompressionLibraries CompressionLibraries { get; init; } = CompressionLibraries.Installed;

    /// <summary>Bytes of journal behind the last checkpoint that start the memory engine's next one.</summary>
    public long CheckpointAfterBytes { get; init; } = 256L << 20;

    /// <summary>The compression of tables that a compaction writes to a level, if this one is the deepest with tables.</summary>
    public Compression CompressionOf(int level, int deepestLevel) =>
        level >= deepestLevel ? BottommostCompression ?? Compression : Compression;
}
