namespace KeyVa.Partitions;

/// <summary>The moment at which a commit over several partitions becomes visible in all of them.</summary>
internal sealed class PendingCommit(long version)
{
    private bool _decided;

    /// <summary>Everything is applied: readers see it from here on.</summary>
    public void Decide() => Volatile.Write(ref _decided, true);

    /// <summary>What a partition that shows <paramref name="visible"/> shows with this commit.</summary>
    public long Resolve(long visible) => Volatile.Read(ref _decided) ? Math.Max(visible, version) : visible;
}
