using KeyVa.Replication;

namespace KeyVa.Cluster.Driver;

/// <summary>A group of this node's callers on its way: waiting, proposed here, or handed to the leader. Owned by its replica.</summary>
internal sealed class OwnGroup(ReplicatedGroup requests, long number, long deadline) : ICountWaiter
{
    public ReplicatedGroup Requests { get; } = requests;

    /// <summary>Its place among this node's groups, in the order in which they came.</summary>
    public long Order { get; } = number;

    /// <summary>A step that ends what others wait for: it does not wait behind those.</summary>
    public bool IsUrgent { get; init; }

    /// <summary>
    /// What the group is called on all nodes, beside this node's number. Another for each time that it is handed over: a refusal that comes twice, or late, must not be taken
    /// for that of the next time.
    /// </summary>
    public long Number { get; set; } = number;

    /// <summary>When its callers are told that it took too long.</summary>
    public long Deadline { get; } = deadline;

    /// <summary>0: its callers are answered when it is applied; else one more than the voters beside the leader that must have it before.</summary>
    public byte Early => Requests.Early;

    /// <summary>How far it came, as the leader has told.</summary>
    public EarlyReply Reached { get; set; }

    /// <summary>The term of the leader that has it. If an entry of a later term is applied first, it will never be.</summary>
    public long Term { get; set; }

    /// <summary>The number of the frame that took it to its holder.</summary>
    public ulong Frame { get; set; }

    /// <summary>Who has it; this node itself if it was proposed here.</summary>
    public long Holder { get; set; }

    /// <summary>It is applied here, and its callers wait for more replicas than are certain.</summary>
    void ICountWaiter.Complete(byte others) => Requests.CompleteCounted((byte)(1 + others), others + 1 >= Early);
}
