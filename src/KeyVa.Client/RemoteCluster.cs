namespace KeyVa.Client;

/// <summary>How one node sees its cluster. Immutable.</summary>
/// <param name="Cluster">The cluster's name.</param>
/// <param name="Node">The node that was asked.</param>
/// <param name="Nodes">The nodes that it knows.</param>
/// <param name="Replicas">Its replicas, by partition.</param>
public sealed record ClusterView(string Cluster, long Node, IReadOnlyList<ClusterNodeView> Nodes, IReadOnlyList<ReplicaView> Replicas);

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
/// <param name="Progress">How far each other member has the log; empty unless the node leads.</param>
/// <param name="Failure">Why the replica has stopped; empty if it has not.</param>
public sealed record ReplicaView(
    long Partition, string Role, long Leader, long Term, long LastIndex, long CommitIndex, long AppliedIndex,
    IReadOnlyList<long> Voters, IReadOnlyList<long> Learners, IReadOnlyDictionary<long, long> Progress, string Failure);
