namespace KeyVa.Cluster.Driver;

/// <summary>
/// What a leader knows of an entry that somebody wants to be told of before it is committed: where it stands, and who has it on disk.
/// </summary>
/// <param name="Term">The leader's term, and the entry's.</param>
/// <param name="Group">The number of the group at the node that waits for it.</param>
/// <param name="Index">The entry's index.</param>
/// <param name="Version">Of its first command.</param>
/// <param name="IsOnLeader">Whether the leader itself has it on disk.</param>
/// <param name="Others">How many voters beside the leader have.</param>
internal readonly record struct EarlyReply(long Term, long Group, long Index, long Version, bool IsOnLeader, byte Others)
{
    /// <summary>As far as it came, as a receipt.</summary>
    public WriteReceipt ToReceipt(long partition) => new()
    {
        Partition = partition,
        Term = Term,
        Index = Index,
        Class = !IsOnLeader ? AcknowledgementClass.Default : Others == 0 ? AcknowledgementClass.Async : AcknowledgementClass.SemiSync,
        Replicas = (byte)(Others + (IsOnLeader ? 1 : 0)),
    };
}
