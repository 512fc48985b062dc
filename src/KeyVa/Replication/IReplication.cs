using KeyVa.Log;
using KeyVa.Partitions;

namespace KeyVa.Replication;

/// <summary>
/// What replicates a store's partitions to other nodes, where there is such a thing: every partition that is not volatile then gets its
/// log from it, and nothing else is written to the journal for it. Called while the store opens on the opening thread, later from any.
/// </summary>
internal interface IReplication
{
    /// <summary>While opening, in the journal's order: a record of kind <see cref="RecordKind.Replicated"/>.</summary>
    void Recover(in JournalRecord record);

    /// <summary>While opening: the last index of a partition's log that the records so far have had; 0 if there were none.</summary>
    long RecoveredIndex(long partition);

    /// <summary>While opening: everything is read, and nobody uses the store yet.</summary>
    void Opened(PartitionRegistry registry, StoreContext context, Journal journal);

    /// <summary>A partition's writer has something in its queue.</summary>
    void Wake(long partition);

    /// <summary>A partition's engine has everything up to an index in its own synced files. Replication lets the journal's segments go.</summary>
    void DurableAdvanced(long partition, long index);
}
