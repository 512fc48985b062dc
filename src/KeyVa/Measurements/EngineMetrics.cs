using System.Globalization;

namespace KeyVa.Measurements;

/// <summary>The figures of lsm partitions, by partition and by level. Stateless.</summary>
internal static class EngineMetrics
{
    private static readonly Figure<LsmStatistics>[] OfTrees =
    [
        new("memtable_bytes", MetricKind.Gauge, "Bytes of memory that memtables have.", static tree => tree.MemtableBytes),
        new("immutable_memtables", MetricKind.Gauge, "Memtables that wait to be flushed.", static tree => tree.ImmutableMemtables),
        new("pending_compaction_bytes", MetricKind.Gauge, "Bytes that compactions which are due have to read at least.", static tree => tree.PendingCompactionBytes),
        new("running_compactions", MetricKind.Gauge, "Compactions under way.", static tree => tree.RunningCompactions),
        new("flushed_bytes_total", MetricKind.Counter, "Bytes of tables that flushes have written.", static tree => tree.BytesFlushed),
        new("compacted_bytes_total", MetricKind.Counter, "Bytes of tables that compactions have written.", static tree => tree.BytesCompacted),
        new("write_amplification", MetricKind.Gauge, "Bytes written to tables and value files for each byte flushed, since the start.", static tree => tree.WriteAmplification),
        new("value_files", MetricKind.Gauge, "Files with values that are separated from their keys.", static tree => tree.ValueFiles),
        new("value_file_bytes", MetricKind.Gauge, "Bytes of the value files.", static tree => tree.ValueFileBytes),
        new("value_garbage_bytes", MetricKind.Gauge, "Bytes of the value files that no table leads to any more.", static tree => tree.ValueGarbageBytes),
        new("value_flushed_bytes_total", MetricKind.Counter, "Bytes of value files that flushes have written.", static tree => tree.ValueBytesFlushed),
        new("value_moved_bytes_total", MetricKind.Counter, "Bytes of value files that compactions have written, so that files with garbage could go.", static tree => tree.ValueBytesMoved),
        new("stalls_total", MetricKind.Counter, "Writes that had to wait because flushes or compactions were behind.", static tree => tree.Stalls),
        new("stall_seconds_total", MetricKind.Counter, "How long they waited in all.", static tree => tree.Stalled.TotalSeconds),
        new("sampled_reads_total", MetricKind.Counter, "Reads of one key that got as far as the tables and were looked at: one in 256.", static tree => tree.SampledReads),
        new("sampled_tables_total", MetricKind.Counter, "Tables whose keys span the key, in the sampled reads.", static tree => tree.SampledTables),
        new("sampled_blocks_total", MetricKind.Counter, "Data blocks searched in the sampled reads.", static tree => tree.SampledBlocks),
        new("bloom_useful_total", MetricKind.Counter, "Tables that the Bloom filter ruled out in the sampled reads.", static tree => tree.SampledFiltered),
        new("bloom_false_positives_total", MetricKind.Counter, "Data blocks searched in vain in the sampled reads.", static tree => tree.SampledFalsePositives),
        new("bloom_useful_ratio", MetricKind.Gauge, "Share of tables without the key that the Bloom filter ruled out; 0 before the first sample.", static tree => tree.BloomUsefulRatio),
        new("read_amplification", MetricKind.Gauge, "Data blocks searched per read that got as far as the tables; 0 before the first sample.", static tree => tree.ReadAmplification),
    ];

    private static readonly Figure<LevelStatistics>[] OfLevels =
    [
        new("tables", MetricKind.Gauge, "Tables of the level.", static level => level.Tables),
        new("compacting_tables", MetricKind.Gauge, "Tables of the level that a compaction is reading.", static level => level.CompactingTables),
        new("bytes", MetricKind.Gauge, "Bytes of the level.", static level => level.Bytes),
        new("target_bytes", MetricKind.Gauge, "Bytes the level may have; 0 where bytes do not decide.", static level => level.TargetBytes),
        new("score", MetricKind.Gauge, "How much the level is in need of a compaction; from 1 on it gets one.", static level => level.Score),
        new("entries", MetricKind.Gauge, "Entries of the level, tombstones and old versions among them.", static level => level.Entries),
        new("tombstones", MetricKind.Gauge, "Tombstones of the level.", static level => level.Tombstones),
        new("compactions_total", MetricKind.Counter, "Compactions that wrote to the level.", static level => level.Compactions),
        new("moves_total", MetricKind.Counter, "Compactions that only moved tables to the level.", static level => level.Moves),
        new("read_above_bytes_total", MetricKind.Counter, "Bytes that compactions read from above the level.", static level => level.BytesFromAbove),
        new("read_level_bytes_total", MetricKind.Counter, "Bytes that compactions read from the level itself.", static level => level.BytesFromLevel),
        new("written_bytes_total", MetricKind.Counter, "Bytes that flushes and compactions wrote to the level.", static level => level.BytesWritten),
        new("write_amplification", MetricKind.Gauge, "Bytes written for each byte that came from above.", static level => level.WriteAmplification),
        new("compaction_seconds_total", MetricKind.Counter, "Time that compactions to the level took.", static level => level.CompactionTime.TotalSeconds),
    ];

    public static void Add(List<Metric> list, IReadOnlyList<PartitionInfo> partitions)
    {
        (string Id, LsmStatistics Tree)[] trees =
        [
            .. partitions.Where(partition => partition.Lsm is not null)
                .Select(partition => (partition.Id.ToString(CultureInfo.InvariantCulture), partition.Lsm!)),
        ];
        if (trees.Length > 0)
        {
            AddTrees(list, trees);
            AddLevels(list, trees);
        }
    }

    private static void AddTrees(List<Metric> list, (string Id, LsmStatistics Tree)[] trees)
    {
        foreach (Figure<LsmStatistics> figure in OfTrees)
        {
            MetricFamily family = new("keyva_engine_" + figure.Name, figure.Kind, figure.Help);
            foreach ((string id, LsmStatistics tree) in trees)
            {
                list.Add(new Metric(family, figure.Value(tree), [new("partition", id)]));
            }
        }
    }

    private static void AddLevels(List<Metric> list, (string Id, LsmStatistics Tree)[] trees)
    {
        foreach (Figure<LevelStatistics> figure in OfLevels)
        {
            MetricFamily family = new("keyva_level_" + figure.Name, figure.Kind, figure.Help);
            foreach ((string id, LsmStatistics tree) in trees)
            {
                foreach (LevelStatistics level in tree.Levels)
                {
                    list.Add(new Metric(family, figure.Value(level), [new("level", level.Level.ToString(CultureInfo.InvariantCulture)), new("partition", id)]));
                }
            }
        }
    }

    /// <summary>A metric without its prefix, and where its value stands.</summary>
    private readonly record struct Figure<T>(string Name, MetricKind Kind, string Help, Func<T, double> Value);
}
