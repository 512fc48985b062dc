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

    /// <summary>
    /// Commits a batch whose parts lie in several replicated partitions, all or nothing, at one version. The parts rise by partition, and are the commit's from here on; the batch
    /// must not change before the task ends.
    /// </summary>
    Task<WriteResult> CommitAsync(CommandBuilder command, IReadOnlyList<CommitPart> parts);

    /// <summary>
    /// Ends with Ok once a replicated partition has reached a version: everything up to it is visible here, and nothing at or below it can come any more.
    /// Otherwise than Ok: nobody leads, or what stopped the partition.
    /// </summary>
    Task<WriteResult> ReachAsync(long partition, long version);

    /// <summary>How many vote in a replicated partition, as far as this node knows; 0: it does not.</summary>
    Task<int> CountVotersAsync(long partition);

    /// <summary>A partition's engine has everything up to an index in its own synced files. Replication lets the journal's segments go.</summary>
    void DurableAdvanced(long partition, long index);
}
