namespace KeyVa.Partitions;

/// <summary>
/// Where snapshots of several partitions stand if those are replicated: at the newest version that is visible in any of them. So they see all that was acknowledged, and need not
/// wait for the partition that is furthest; the others are brought up to it (<see cref="PartitionWriter.WaitUntilClosed"/>). Thread-safe.
/// </summary>
internal sealed class NewestVisible(PartitionRegistry registry) : ISnapshotSource
{
    public long SnapshotVersion
    {
        get
        {
            long newest = 0;
            foreach (Partition partition in registry.Map.Partitions)
            {
                newest = Math.Max(newest, partition.Engine.VisibleVersion);
            }

            return newest;
        }
    }

    /// <summary>The lowest: what has expired by it is of no use to anybody.</summary>
    public long SnapshotStamp
    {
        get
        {
            long oldest = long.MaxValue;
            foreach (Partition partition in registry.Map.Partitions)
            {
                oldest = Math.Min(oldest, partition.Engine.VisibleStamp);
            }

            return oldest == long.MaxValue ? 0 : oldest;
        }
    }
}
