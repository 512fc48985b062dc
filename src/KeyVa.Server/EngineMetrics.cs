using System.Globalization;

namespace KeyVa.Server;

/// <summary>The figures of lsm partitions, by partition and by level. Stateless.</summary>
internal static class EngineMetrics
{
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
            AddReads(list, trees);
            AddLevels(list, trees);
        }
    }

    private static void AddTrees(List<Metric> list, (string Id, LsmStatistics Tree)[] trees)
    {
        Tree(list, trees, "memtable_bytes", MetricKind.Gauge, "Bytes of memory that memtables have.", static tree => tree.MemtableBytes);
        Tree(list, trees, "immutable_memtables", MetricKind.Gauge, "Memtables that wait to be flushed.", static tree => tree.ImmutableMemtables);
        Tree(list, trees, "pending_compaction_bytes", MetricKind.Gauge, "Bytes that compactions which are due have to read at least.", static tree => tree.PendingCompactionBytes);
        Tree(list, trees, "running_compactions", MetricKind.Gauge, "Compactions under way.", static tree => tree.RunningCompactions);
        Tree(list, trees, "flushed_bytes_total", MetricKind.Counter, "Bytes that flushes have written.", static tree => tree.BytesFlushed);
        Tree(list, trees, "compacted_bytes_total", MetricKind.Counter, "Bytes that compactions have written.", static tree => tree.BytesCompacted);
        Tree(list, trees, "write_amplification", MetricKind.Gauge, "Bytes written to tables for each byte flushed, since the start.", static tree => tree.WriteAmplification);
        Tree(list, trees, "stalls_total", MetricKind.Counter, "Writes that had to wait because flushes or compactions were behind.", static tree => tree.Stalls);
        Tree(list, trees, "stall_seconds_total", MetricKind.Counter, "How long they waited in all.", static tree => tree.Stalled.TotalSeconds);
    }

    private static void AddReads(List<Metric> list, (string Id, LsmStatistics Tree)[] trees)
    {
        Tree(list, trees, "sampled_reads_total", MetricKind.Counter, "Reads of one key that got as far as the tables and were looked at: one in 256.", static tree => tree.SampledReads);
        Tree(list, trees, "sampled_tables_total", MetricKind.Counter, "Tables whose keys span the key, in the sampled reads.", static tree => tree.SampledTables);
        Tree(list, trees, "sampled_blocks_total", MetricKind.Counter, "Data blocks searched in the sampled reads.", static tree => tree.SampledBlocks);
        Tree(list, trees, "bloom_useful_total", MetricKind.Counter, "Tables that the Bloom filter ruled out in the sampled reads.", static tree => tree.SampledFiltered);
        Tree(list, trees, "bloom_false_positives_total", MetricKind.Counter, "Data blocks searched in vain in the sampled reads.", static tree => tree.SampledFalsePositives);
        Tree(list, trees, "bloom_useful_ratio", MetricKind.Gauge, "Share of tables without the key that the Bloom filter ruled out; 0 before the first sample.", static tree => tree.BloomUsefulRatio);
        Tree(list, trees, "read_amplification", MetricKind.Gauge, "Data blocks searched per read that got as far as the tables; 0 before the first sample.", static tree => tree.ReadAmplification);
    }

    private static void AddLevels(List<Metric> list, (string Id, LsmStatistics Tree)[] trees)
    {
        Level(list, trees, "tables", MetricKind.Gauge, "Tables of the level.", static level => level.Tables);
        Level(list, trees, "compacting_tables", MetricKind.Gauge, "Tables of the level that a compaction is reading.", static level => level.CompactingTables);
        Level(list, trees, "bytes", MetricKind.Gauge, "Bytes of the level.", static level => level.Bytes);
        Level(list, trees, "target_bytes", MetricKind.Gauge, "Bytes the level may have; 0 where bytes do not decide.", static level => level.TargetBytes);
        Level(list, trees, "score", MetricKind.Gauge, "How much the level is in need of a compaction; from 1 on it gets one.", static level => level.Score);
        Level(list, trees, "entries", MetricKind.Gauge, "Entries of the level, tombstones and old versions among them.", static level => level.Entries);
        Level(list, trees, "tombstones", MetricKind.Gauge, "Tombstones of the level.", static level => level.Tombstones);
        Level(list, trees, "compactions_total", MetricKind.Counter, "Compactions that wrote to the level.", static level => level.Compactions);
        Level(list, trees, "moves_total", MetricKind.Counter, "Compactions that only moved tables to the level.", static level => level.Moves);
        Level(list, trees, "read_above_bytes_total", MetricKind.Counter, "Bytes that compactions read from above the level.", static level => level.BytesFromAbove);
        Level(list, trees, "read_level_bytes_total", MetricKind.Counter, "Bytes that compactions read from the level itself.", static level => level.BytesFromLevel);
        Level(list, trees, "written_bytes_total", MetricKind.Counter, "Bytes that flushes and compactions wrote to the level.", static level => level.BytesWritten);
        Level(list, trees, "write_amplification", MetricKind.Gauge, "Bytes written for each byte that came from above.", static level => level.WriteAmplification);
        Level(list, trees, "compaction_seconds_total", MetricKind.Counter, "Time that compactions to the level took.", static level => level.CompactionTime.TotalSeconds);
    }

    private static void Tree(
        List<Metric> list, (string Id, LsmStatistics Tree)[] trees, string name, MetricKind kind, string help, Func<LsmStatistics, double> value)
    {
        MetricFamily family = new("keyva_engine_" + name, kind, help);
        foreach ((string id, LsmStatistics tree) in trees)
        {
            list.Add(new Metric(family, value(tree), [new("partition", id)]));
        }
    }

    private static void Level(
        List<Metric> list, (string Id, LsmStatistics Tree)[] trees, string name, MetricKind kind, string help, Func<LevelStatistics, double> value)
    {
        MetricFamily family = new("keyva_level_" + name, kind, help);
        foreach ((string id, LsmStatistics tree) in trees)
        {
            foreach (LevelStatistics level in tree.Levels)
            {
                list.Add(new Metric(family, value(level), [new("level", level.Level.ToString(CultureInfo.InvariantCulture)), new("partition", id)]));
            }
        }
    }
}
