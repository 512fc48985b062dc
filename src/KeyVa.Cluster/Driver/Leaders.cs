using System.Collections.Concurrent;
using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>Who leads each partition, as this node's loop knew it last. Noted by the loop alone, read by any thread.</summary>
internal sealed class Leaders
{
    private readonly ConcurrentDictionary<long, long> _leaders = new();

    /// <summary>The node that leads a partition; <see cref="NodeId.None"/>: none that is known.</summary>
    public long Of(long partition) => _leaders.GetValueOrDefault(partition, NodeId.None);

    /// <summary>The loop's: has a replica's leader known to others.</summary>
    public void Note(Replica replica)
    {
        long leader = replica.Failure is null ? replica.Group.Leader : NodeId.None;
        if (Of(replica.Partition) != leader)
        {
            _leaders[replica.Partition] = leader;
        }
    }
}
