namespace KeyVa.Commits;

/// <summary>Names a commit over several partitions of a cluster.</summary>
/// <param name="Node">The node that coordinates it.</param>
/// <param name="Number">A number that this node gives once, in all its lives; above 0.</param>
internal readonly record struct TransactionId(long Node, long Number) : IComparable<TransactionId>
{
    public int CompareTo(TransactionId other) => Node != other.Node ? Node.CompareTo(other.Node) : Number.CompareTo(other.Number);
}
