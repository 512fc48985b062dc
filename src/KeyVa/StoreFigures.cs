using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Log;
using KeyVa.Measurements;
using KeyVa.Partitions;

namespace KeyVa;

/// <summary>Gathers a store's figures from its parts.</summary>
internal static class StoreFigures
{
    public static StoreStatistics Collect(
        PartitionRegistry registry,
        Journal journal,
        StoreContext context,
        StoreCounters counters,
        LatencySummary gets,
        LatencySummary writes,
        TimeSpan uptime)
    {
        var partitions = new List<PartitionInfo>();
        Epochs.Enter();
        try
        {
            foreach (Partition partition in registry.Map.Partitions)
            {
                partitions.Add(partition.Describe());
            }
        }
        finally
        {
            Epochs.Exit();
        }

        BlockCache cache = context.BlockCache;
        (long oldestVersion, TimeSpan oldestAge) = context.Snapshots.Oldest;
        Watches.WatchFigures watches = context.Watches.Figures;
        return new StoreStatistics
        {
            Keys = partitions.Sum(p => p.Keys),
            ValueBytes = partitions.Sum(p => p.ValueBytes),
            Gets = counters.Sum(Counter.Gets),
            GetsFound = counters.Sum(Counter.GetsFound),
            Sets = counters.Sum(Counter.Sets),
            Removes = counters.Sum(Counter.Removes),
            Scans = counters.Sum(Counter.Scans),
            Refused = counters.Sum(Counter.Refused),
            GetLatency = gets,
            WriteLatency = writes,
            StorageBytes = partitions.Sum(p => p.StorageBytes) + journal.Bytes,
            JournalBytes = journal.Bytes,
            JournalSyncs = journal.Syncs,
            MemoryBytes = partitions.Sum(p => p.MemoryBytes) + context.BlockCache.UsedBytes,
            MemoryBudgetBytes = cache.Memory.Bytes,
            MemtableMemoryBytes = cache.Memory.Memtables,
            CacheMemoryBytes = cache.UsedBytes + cache.RetiredBytes,
            TableMemoryBytes = cache.Memory.Used(MemoryKind.Tables),
            OtherMemoryBytes = cache.Memory.Other,
            CachePolicy = cache.Policy,
            CacheCapacityBytes = cache.Capacity,
            CacheEvictions = cache.Evictions,
            TableEvictions = cache.Tables.Evictions,
            CacheHits = cache.Hits,
            CacheMisses = cache.Misses,
            OpenSnapshots = context.Snapshots.Count,
            OldestSnapshotVersion = oldestVersion,
            OldestSnapshotAge = oldestAge,
            OlderVersions = partitions.Sum(p => p.OlderVersions),
            OlderVersionBytes = partitions.Sum(p => p.OlderVersionBytes),
            Watchers = watches.Watchers,
            WatchHistoryBytes = watches.HistoryBytes,
            WatchQueuedBytes = watches.QueuedBytes,
            WatchEvents = watches.Told,
            WatchesCompacted = watches.Compacted,
            Uptime = uptime,
            Partitions = partitions,
        };
    }
}
