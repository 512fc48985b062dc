namespace KeyVa;

/// <summary>One level of an lsm partition: what it holds, and what compactions into it have done since the store was opened.</summary>
public sealed record LevelStatistics
{
    /// <summary>0: tables as they were flushed; 6: the last one.</summary>
    public int Level { get; init; }

    /// <summary>Tables.</summary>
    public int Tables { get; init; }

    /// <summary>Tables that a compaction is reading now.</summary>
    public int CompactingTables { get; init; }

    /// <summary>Bytes of the tables.</summary>
    public long Bytes { get; init; }

    /// <summary>Bytes the level may have; 0 where that is not decided by bytes.</summary>
    public long TargetBytes { get; init; }

    /// <summary>How much it is in need of a compaction; from 1 on it gets one.</summary>
    public double Score { get; init; }

    /// <summary>Entries: values and tombstones, old versions among them.</summary>
    public long Entries { get; init; }

    /// <summary>Tombstones among the entries.</summary>
    public long Tombstones { get; init; }

    /// <summary>Compactions that wrote to this level.</summary>
    public long Compactions { get; init; }

    /// <summary>Compactions that only moved tables here.</summary>
    public long Moves { get; init; }

    /// <summary>Bytes that compactions read from levels above this one.</summary>
    public long BytesFromAbove { get; init; }

    /// <summary>Bytes that compactions read from this level to merge with those from above.</summary>
    public long BytesFromLevel { get; init; }

    /// <summary>Bytes written to this level, by flushes (level 0) and compactions.</summary>
    public long BytesWritten { get; init; }

    /// <summary>Time that compactions to this level took.</summary>
    public TimeSpan CompactionTime { get; init; }

    /// <summary>Bytes written for each byte that came from above; 0 before the first.</summary>
    public double WriteAmplification => BytesFromAbove == 0 ? 0 : (double)BytesWritten / BytesFromAbove;
}

/// <summary>The tree of an lsm partition: gauges as they stand, counters since the store was opened.</summary>
public sealed record LsmStatistics
{
    /// <summary>The levels, from 0 on.</summary>
    public IReadOnlyList<LevelStatistics> Levels { get; init; } = [];

    /// <summary>Bytes of memory that memtables have, the active one and those that wait to be flushed.</summary>
    public long MemtableBytes { get; init; }

    /// <summary>Memtables that wait to be flushed.</summary>
    public int ImmutableMemtables { get; init; }

    /// <summary>Bytes that compactions which are due now have to read at least.</summary>
    public long PendingCompactionBytes { get; init; }

    /// <summary>Compactions under way.</summary>
    public int RunningCompactions { get; init; }

    /// <summary>Bytes that flushes have written.</summary>
    public long BytesFlushed { get; init; }

    /// <summary>Bytes that compactions have written.</summary>
    public long BytesCompacted { get; init; }

    /// <summary>Writes that had to wait because flushes or compactions were behind.</summary>
    public long Stalls { get; init; }

    /// <summary>How long they waited in all.</summary>
    public TimeSpan Stalled { get; init; }

    /// <summary>Reads of one key that got as far as the tables, of which one in 256 is looked at closely: those that were.</summary>
    public long SampledReads { get; init; }

    /// <summary>Tables whose keys span the key, in the sampled reads.</summary>
    public long SampledTables { get; init; }

    /// <summary>Data blocks searched in the sampled reads.</summary>
    public long SampledBlocks { get; init; }

    /// <summary>Tables that the Bloom filter ruled out in the sampled reads.</summary>
    public long SampledFiltered { get; init; }

    /// <summary>Data blocks searched in vain in the sampled reads: the Bloom filter's false positives.</summary>
    public long SampledFalsePositives { get; init; }

    /// <summary>Bytes written to tables for each byte flushed; 0 before the first flush.</summary>
    public double WriteAmplification => BytesFlushed == 0 ? 0 : (double)(BytesFlushed + BytesCompacted) / BytesFlushed;

    /// <summary>Data blocks searched per read that got as far as the tables; 0 before the first sample.</summary>
    public double ReadAmplification => SampledReads == 0 ? 0 : (double)SampledBlocks / SampledReads;

    /// <summary>Share of tables without the key that the Bloom filter ruled out; 1 is best, 0 before the first sample.</summary>
    public double BloomUsefulRatio =>
        SampledFiltered + SampledFalsePositives == 0 ? 0 : (double)SampledFiltered / (SampledFiltered + SampledFalsePositives);
}
