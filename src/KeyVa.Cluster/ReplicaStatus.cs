namespace KeyVa.Cluster;

/// <summary>How one node sees one replicated partition. Immutable.</summary>
public sealed record ReplicaStatus
{
    /// <summary>The partition.</summary>
    public required long Partition { get; init; }

    /// <summary>The node that says so.</summary>
    public required long Node { get; init; }

    /// <summary>What it is: leader, candidate, follower, learner, stopped.</summary>
    public required string Role { get; init; }

    /// <summary>Who leads, as far as it knows; 0: nobody.</summary>
    public required long Leader { get; init; }

    /// <summary>Whether the partition is silent: nobody asks anything of it, and it sends no heartbeats.</summary>
    public bool IsSilent { get; init; }

    /// <summary>Whether it leads and holds a lease: it would answer a read that comes now without asking the others.</summary>
    public bool HasLease { get; init; }

    /// <summary>The latest term that it has seen.</summary>
    public required long Term { get; init; }

    /// <summary>The end of its log.</summary>
    public required long LastIndex { get; init; }

    /// <summary>Up to where it knows the log to be committed.</summary>
    public required long CommitIndex { get; init; }

    /// <summary>Up to where its state is.</summary>
    public required long AppliedIndex { get; init; }

    /// <summary>Who votes.</summary>
    public required IReadOnlyList<long> Voters { get; init; }

    /// <summary>Who gets the log without a vote.</summary>
    public required IReadOnlyList<long> Learners { get; init; }

    /// <summary>How far each other member has the log, as the leader knows; empty if this node does not lead and the leader was not asked, or did not say.</summary>
    public IReadOnlyDictionary<long, long> Progress { get; init; } = new Dictionary<long, long>();

    /// <summary>What stopped it, or null.</summary>
    public string? Failure { get; init; }
}

/// <summary>How a change of the cluster ended. Immutable.</summary>
/// <param name="Status"><see cref="Status.Ok"/>: it is done in all partitions; or why not in the first where it is not.</param>
/// <param name="Leader">Who leads that partition, or the first, as far as is known; 0: nobody.</param>
/// <param name="Detail">For a person; null when done.</param>
public sealed record ClusterChange(Status Status, long Leader, string? Detail)
{
    /// <summary>How it ended in each partition.</summary>
    public IReadOnlyList<PartitionChange> Partitions { get; init; } = [];
}

/// <summary>How a change of the cluster ended in one partition. Immutable.</summary>
/// <param name="Partition">The partition.</param>
/// <param name="Status"><see cref="Status.Ok"/>: it is done; <see cref="Status.Unavailable"/>: it may be done yet, and the same again goes on with it; or why not.</param>
/// <param name="Leader">Who leads, as far as is known; 0: nobody.</param>
/// <param name="Detail">For a person; null when done.</param>
public sealed record PartitionChange(long Partition, Status Status, long Leader, string? Detail);
