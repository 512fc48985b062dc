using KeyVa.Engines;
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
        long hits = 0;
        long misses = 0;
        Epochs.Enter();
        try
        {
            foreach (Partition partition in registry.Map.Partitions)
            {
                partitions.Add(partition.Describe());
                EngineStatistics engine = partition.Engine.GetStatistics();
                hits += engine.CacheHits;
                misses += engine.CacheMisses;
            }
        }
        finally
        {
            Epochs.Exit();
        }

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
            CacheHits = hits,
            CacheMisses = misses,
            OpenSnapshots = context.Snapshots.Count,
            Uptime = uptime,
            Partitions = partitions,
        };
    }
}
