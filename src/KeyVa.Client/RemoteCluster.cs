namespace KeyVa.Client;

/// <summary>How one node sees its cluster. Immutable.</summary>
/// <param name="Cluster">The cluster's name.</param>
/// <param name="Node">The node that was asked.</param>
/// <param name="Nodes">The nodes that it knows.</param>
/// <param name="Replicas">Its replicas, by partition.</param>
/// <param name="Failure">Why it has not the partitions that others have; empty: it has, or has not heard of any.</param>
public sealed record ClusterView(string Cluster, long Node, IReadOnlyList<ClusterNodeView> Nodes, IReadOnlyList<ReplicaView> Replicas, string Failure);

/// <summary>A node as another knows it; an empty address is not known. Immutable.</summary>
/// <param name="Node">Its number.</param>
/// <param name="Peer">Where it listens for the other nodes.</param>
/// <param name="Rest">Where it listens for REST.</param>
/// <param name="Data">Where its gRPC data plane is.</param>
/// <param name="Control">Where its gRPC control plane is.</param>
/// <param name="Resp">Where it listens for Redis clients.</param>
public sealed record ClusterNodeView(long Node, string Peer, string Rest, string Data, string Control, string Resp);

/// <summary>A replica of a partition, as its node sees it. Immutable.</summary>
/// <param name="Partition">The partition.</param>
/// <param name="Role">leader, follower, learner, candidate or stopped.</param>
/// <param name="Leader">Who leads; 0: nobody, as far as the node knows.</param>
/// <param name="Term">The latest term.</param>
/// <param name="LastIndex">The end of the log.</param>
/// <param name="CommitIndex">Up to where it is committed.</param>
/// <param name="AppliedIndex">Up to where the node's state is.</param>
/// <param name="Voters">Who votes.</param>
/// <param name="Learners">Who gets the log without a vote.</param>
/// <param name="Progress">How far each other member has the log, as the leader knows; empty if it did not say at once.</param>
/// <param name="Failure">Why the replica has stopped; empty if it has not.</param>
public sealed record ReplicaView(
    long Partition, string Role, long Leader, long Term, long LastIndex, long CommitIndex, long AppliedIndex,
    IReadOnlyList<long> Voters, IReadOnlyList<long> Learners, IReadOnlyDictionary<long, long> Progress, string Failure)
{
    /// <summary>Whether the node leads and would answer a linearizable read now without asking the others.</summary>
    public bool HasLease { get; init; }
}

/// <summary>How a change of a cluster ended. Immutable.</summary>
/// <param name="IsDone">It is done in all partitions. If not, the same again goes on with those where it is not.</param>
/// <param name="Detail">Why not; empty if it is done.</param>
/// <param name="Partitions">How it ended in each partition.</param>
public sealed record ClusterChangeView(bool IsDone, string Detail, IReadOnlyList<PartitionChangeView> Partitions);

/// <summary>How a change of a cluster ended in one partition. Immutable.</summary>
/// <param name="Partition">The partition.</param>
/// <param name="IsDone">Whether it is done. If not, it may be yet.</param>
/// <param name="Leader">Who leads; 0: nobody, as far as is known.</param>
/// <param name="Detail">Why it is not done; empty if it is.</param>
public sealed record PartitionChangeView(long Partition, bool IsDone, long Leader, string Detail);
