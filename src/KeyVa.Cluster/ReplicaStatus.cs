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

    /// <summary>How far each other member has the log, as the leader knows; empty elsewhere.</summary>
    public IReadOnlyDictionary<long, long> Progress { get; init; } = new Dictionary<long, long>();

    /// <summary>What stopped it, or null.</summary>
    public string? Failure { get; init; }
}

/// <summary>How a change of the cluster ended. Immutable.</summary>
/// <param name="Status"><see cref="Status.Ok"/>; <see cref="Status.BadNode"/>: another node leads and has to be asked; or why not.</param>
/// <param name="Leader">Who leads, as far as is known; 0: nobody.</param>
/// <param name="Detail">For a person; null when done.</param>
public sealed record ClusterChange(Status Status, long Leader, string? Detail);
