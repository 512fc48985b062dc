using System.Globalization;
using KeyVa.Indexes;

namespace KeyVa.Measurements;

/// <summary>
/// The metrics of a store, from its figures: the one place that says which there are. The meter of an embedded store, and whatever a server
/// publishes, show this list. Stateless.
/// </summary>
internal static class StoreMetrics
{
    private static readonly KeyValuePair<string, string>[] NoLabels = [];

    /// <summary>Adds all; those of one family come together.</summary>
    public static void Add(List<Metric> list, StoreStatistics statistics, IReadOnlyList<IndexInfo> indexes)
    {
        AddStore(list, statistics);
        TransactionMetrics.Add(list, statistics);
        AddStoreLatency(list, statistics);
        AddPartitions(list, statistics.Partitions);
        EngineMetrics.Add(list, statistics.Partitions);
        IndexMetrics.Add(list, indexes);
    }

    /// <summary>One metric of each kind there is, whatever a store has.</summary>
    public static List<Metric> Catalogue()
    {
        PartitionInfo partition = new() { Id = 1, Range = KeyRange.All, Engine = EngineKind.Lsm, Lsm = new LsmStatistics { Levels = [new LevelStatistics()] } };
        IndexInfo index = new() { Definition = new IndexDefinition { Name = "by-city", Fields = ["city"] } };
        List<Metric> list = [];
        Add(list, new StoreStatistics { Partitions = [partition] }, [index]);
        return list;
    }

    private static void AddStore(List<Metric> list, StoreStatistics statistics)
    {
        Gauge(list, "keyva_keys", "Keys of all partitions: exact on the memory engine, estimated on lsm.", statistics.Keys);
        Gauge(list, "keyva_value_bytes", "Bytes of all values: exact on the memory engine, estimated on lsm.", statistics.ValueBytes);
        Counter(list, "keyva_gets_total", "Keys read, found or not.", statistics.Gets);
        Counter(list, "keyva_gets_found_total", "Keys read and found.", statistics.GetsFound);
        Counter(list, "keyva_sets_total", "Keys written.", statistics.Sets);
        Counter(list, "keyva_deletes_total", "Removals, whether the key was there or not.", statistics.Removes);
        Counter(list, "keyva_scans_total", "Scans begun.", statistics.Scans);
        Counter(list, "keyva_refused_total", "Writes refused: conditions, limits, a full disk or queue.", statistics.Refused);
        Gauge(list, "keyva_storage_bytes", "Bytes on disk: the files of the engines and the journal.", statistics.StorageBytes);
        Gauge(list, "keyva_journal_bytes", "Bytes of the journal alone.", statistics.JournalBytes);
        Counter(list, "keyva_journal_syncs_total", "Syncs of the journal.", statistics.JournalSyncs);
        Gauge(list, "keyva_memory_bytes", "Bytes outside the GC heap held by engines and the block cache.", statistics.MemoryBytes);
        AddMemory(list, statistics);
        Counter(list, "keyva_cache_hits_total", "Blocks found in the block cache.", statistics.CacheHits);
        Counter(list, "keyva_cache_misses_total", "Blocks read from disk.", statistics.CacheMisses);
        long lookups = statistics.CacheHits + statistics.CacheMisses;
        Gauge(list, "keyva_cache_hit_ratio", "Share of blocks found in the block cache since the start; 0 before the first.",
            lookups == 0 ? 0 : (double)statistics.CacheHits / lookups);
        Counter(list, "keyva_cache_evictions_total", "Blocks that left the block cache to make room.", statistics.CacheEvictions);
        Counter(list, "keyva_table_evictions_total", "Open tables that were closed to make room.", statistics.TableEvictions);
        list.Add(new Metric(
            new MetricFamily("keyva_cache_policy", MetricKind.Gauge, "1, with the policy of the block cache as its label."),
            1,
            Labels("policy", statistics.CachePolicy == BlockCachePolicy.Clock ? "clock" : "s3-fifo")));
        Gauge(list, "keyva_open_snapshots", "Snapshots (scans, readers) open now.", statistics.OpenSnapshots);
        Gauge(list, "keyva_oldest_snapshot_version", "The oldest version that an open snapshot sees; 0: none is open.", statistics.OldestSnapshotVersion);
        Gauge(list, "keyva_oldest_snapshot_seconds", "How long the snapshot that was opened first has been open.", statistics.OldestSnapshotAge.TotalSeconds);
        Gauge(list, "keyva_older_versions", "Versions that newer ones shadow: retained, seen by snapshots, or not given up yet.", statistics.OlderVersions);
        Gauge(list, "keyva_older_version_bytes", "Bytes of these: exact on the memory engine, values alone and estimated on lsm.", statistics.OlderVersionBytes);
        Counter(list, "keyva_scrubbed_bytes_total", "Bytes read in the background in search of damage.", statistics.ScrubbedBytes);
        Counter(list, "keyva_scrub_passes_total", "Times all files were read through for that.", statistics.ScrubPasses);
        Gauge(list, "keyva_scrub_damages", "Damaged places found so; the log names file and offset.", statistics.ScrubDamages);
        Gauge(list, "keyva_scrub_running", "1 while all files are being read.", statistics.IsScrubbing ? 1 : 0);
        Gauge(list, "keyva_watchers", "Watches open now.", statistics.Watchers);
        Gauge(list, "keyva_watch_history_bytes", "Bytes of the changes kept for watches.", statistics.WatchHistoryBytes);
        Gauge(list, "keyva_watch_queued_bytes", "Bytes that wait for the readers of watches.", statistics.WatchQueuedBytes);
        Counter(list, "keyva_watch_events_total", "Changes told to watches.", statistics.WatchEvents);
        Counter(list, "keyva_watches_compacted_total", "Watches that ended since changes they needed were not kept any more.", statistics.WatchesCompacted);
        Gauge(list, "keyva_partitions", "Partitions.", statistics.Partitions.Count);
        Gauge(list, "keyva_uptime_seconds", "Seconds since the store was opened.", statistics.Uptime.TotalSeconds);
    }

    private static void AddMemory(List<Metric> list, StoreStatistics statistics)
    {
        Gauge(list, "keyva_memory_budget_bytes", "What the lsm partitions may use together, outside the GC heap.", statistics.MemoryBudgetBytes);
        MetricFamily family = new("keyva_memory_used_bytes", MetricKind.Gauge, "What they use of it, by kind.");
        list.Add(new Metric(family, statistics.MemtableMemoryBytes, Labels("kind", "memtables")));
        list.Add(new Metric(family, statistics.CacheMemoryBytes, Labels("kind", "cache")));
        list.Add(new Metric(family, statistics.TableMemoryBytes, Labels("kind", "tables")));
        list.Add(new Metric(family, statistics.OtherMemoryBytes, Labels("kind", "other")));
        Gauge(list, "keyva_cache_capacity_bytes", "Bytes the block cache may have at present.", statistics.CacheCapacityBytes);
    }

    private static void AddStoreLatency(List<Metric> list, StoreStatistics statistics)
    {
        MetricFamily family = new(
            "keyva_latency_seconds", MetricKind.Summary, "Latency inside the store, without the front doors.");
        foreach ((string operation, LatencySummary latency) in
            new[] { ("get", statistics.GetLatency), ("write", statistics.WriteLatency) })
        {
            Quantiles(list, family, Labels("operation", operation), latency);
        }
    }

    private static void AddPartitions(List<Metric> list, IReadOnlyList<PartitionInfo> partitions)
    {
        PerPartition(list, partitions, "keyva_partition_keys", "Keys.", static partition => partition.Keys);
        PerPartition(list, partitions, "keyva_partition_value_bytes", "Bytes of the values.", static partition => partition.ValueBytes);
        PerPartition(list, partitions, "keyva_partition_storage_bytes", "Bytes of the engine's files.", static partition => partition.StorageBytes);
        PerPartition(list, partitions, "keyva_partition_memory_bytes", "Bytes in memory outside the block cache.", static partition => partition.MemoryBytes);
        PerPartition(list, partitions, "keyva_partition_queued_writes", "Calls that wait for the writer.", static partition => partition.QueuedWrites);
        PerPartition(list, partitions, "keyva_partition_older_versions", "Versions that newer ones shadow.", static partition => partition.OlderVersions);
        PerPartition(list, partitions, "keyva_partition_history_from_version", "Everything can be read as of this version and later ones.", static partition => partition.HistoryFromVersion);
        PerPartition(list, partitions, "keyva_partition_applied_index", "Index of the last command group applied.", static partition => partition.AppliedIndex);
        PerPartition(list, partitions, "keyva_partition_durable_index", "Index of the last group that the engine's files contain.", static partition => partition.DurableIndex);
    }

    private static void PerPartition(
        List<Metric> list, IReadOnlyList<PartitionInfo> partitions, string name, string help, Func<PartitionInfo, double> value)
    {
        MetricFamily family = new(name, MetricKind.Gauge, help);
        foreach (PartitionInfo partition in partitions)
        {
            list.Add(new Metric(family, value(partition), Labels("partition", partition.Id.ToString(CultureInfo.InvariantCulture))));
        }
    }

    /// <summary>The percentiles of a latency, and how many it counts.</summary>
    internal static void Quantiles(
        List<Metric> list, MetricFamily family, KeyValuePair<string, string>[] labels, LatencySummary latency)
    {
        const double Micro = 1e-6;
        list.Add(new Metric(family, latency.P50 * Micro, [.. labels, new("quantile", "0.5")]));
        list.Add(new Metric(family, latency.P99 * Micro, [.. labels, new("quantile", "0.99")]));
        list.Add(new Metric(family, latency.P999 * Micro, [.. labels, new("quantile", "0.999")]));
        list.Add(new Metric(family, latency.Count, labels, "_count"));
    }

    internal static void Gauge(List<Metric> list, string name, string help, double value) =>
        list.Add(new Metric(new MetricFamily(name, MetricKind.Gauge, help), value, NoLabels));

    internal static void Counter(List<Metric> list, string name, string help, double value) =>
        list.Add(new Metric(new MetricFamily(name, MetricKind.Counter, help), value, NoLabels));

    internal static KeyValuePair<string, string>[] Labels(string name, string value) => [new(name, value)];
}
