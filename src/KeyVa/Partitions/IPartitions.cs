namespace KeyVa;

/// <summary>The partitions of a store: the control plane of an embedded store. Thread-safe.</summary>
public interface IPartitions
{
    /// <summary>All partitions, by range.</summary>
    IReadOnlyList<PartitionInfo> List();

    /// <summary>Adds an empty partition for a range that nobody owns.</summary>
    PartitionResult Add(KeyRange range, EngineKind engine = EngineKind.Lsm, bool isVolatile = false);

    /// <summary>Removes a partition with all its data; one that holds keys only if <paramref name="discardData"/>.</summary>
    PartitionResult Remove(long id, bool discardData = false);

    /// <summary>Removes the partition with exactly this range.</summary>
    PartitionResult Remove(KeyRange range, bool discardData = false);

    /// <summary>
    /// Begins to write a consistent copy of a partition to a folder that does not exist or is empty. The copy is a data
    /// folder by itself, that <see cref="Store"/> opens, and contains everything acknowledged before this call.
    /// </summary>
    PartitionSnapshot BeginSnapshot(long id, string directory, CancellationToken cancellation = default);

    /// <summary>
    /// Begins to compact the keys of a range of a partition (empty bounds are open) down to what is alive: what was removed,
    /// overwritten or has expired gives its room back, but for what open snapshots see. Reads and writes go on. Waits for the
    /// journal once; the work is done in the background.
    /// </summary>
    PartitionCompaction BeginCompaction(long id, KeyRange range, CancellationToken cancellation = default);

    /// <summary>
    /// Changes one of a partition's own settings (<see cref="PartitionSettings"/>), durably; in a cluster on all nodes, whichever is asked, as a write. It counts on a node from when it is
    /// applied there, which it is here when this ends. <see cref="Status.Invalid"/>: there is no such setting, or it cannot be that.
    /// </summary>
    ValueTask<PartitionResult> SetAsync(long id, string name, string value, CancellationToken cancellation = default);
}
