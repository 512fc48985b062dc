using KeyVa.Cluster;

namespace KeyVa.Server.Resp;

/// <summary>The newest write of one connection in each partition, where partitions are replicated. One thread at a time.</summary>
internal sealed class WrittenReceipts
{
    private readonly Dictionary<long, WriteReceipt> _newest = [];

    /// <summary>How many replicas beside the leader were known to have every write when it was answered.</summary>
    public int Certain => _newest.Count == 0 ? 0 : Math.Max(0, _newest.Values.Min(static receipt => receipt.Replicas) - 1);

    public void Note(in WriteResult result) => Note(result.Receipt, result.PartReceipts);

    public void Note(in CommitResult result) => Note(result.Receipt, result.PartReceipts);

    /// <summary>What has to be on disk; of a connection that has written nothing, nothing in every partition.</summary>
    public WriteReceipt[] Of(ClusterNode cluster) => _newest.Count > 0 ? [.. _newest.Values] : [.. cluster.Partitions.Select(static partition => new WriteReceipt { Partition = partition })];

    public void Clear() => _newest.Clear();

    private void Note(in WriteReceipt receipt, IReadOnlyList<WriteReceipt>? parts)
    {
        Note(receipt);
        if (parts is not null)
        {
            foreach (WriteReceipt part in parts)
            {
                Note(part);
            }
        }
    }

    private void Note(in WriteReceipt receipt)
    {
        if (receipt.IsSet && (!_newest.TryGetValue(receipt.Partition, out WriteReceipt before) || receipt.Index > before.Index || receipt.Term > before.Term))
        {
            _newest[receipt.Partition] = receipt;
        }
    }
}
