namespace KeyVa.Raft;

/// <summary>
/// What a node must not forget beside its log (figure 2, persistent state): its term, and whom it voted for in that
/// term, <see cref="NodeId.None"/> if nobody. The commit index is not part of it: it is learned again.
/// </summary>
public readonly record struct HardState(long Term, long Vote);

/// <summary>Nodes are numbers above 0, unique for ever: a node whose disk was lost comes back under another one.</summary>
public static class NodeId
{
    /// <summary>No node.</summary>
    public const long None = 0;
}
