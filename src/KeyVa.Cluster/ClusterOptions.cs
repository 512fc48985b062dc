namespace KeyVa.Cluster;

/// <summary>How a node takes part in a cluster. Immutable.</summary>
public sealed record ClusterOptions
{
    /// <summary>What the cluster is called; nodes of another name are no peers. 1 to 64 characters.</summary>
    public required string Name { get; init; }

    /// <summary>This node's number, 1 or more; unique in the cluster for ever: a node whose folder was lost comes back under another one.</summary>
    public required long Node { get; init; }

    /// <summary>
    /// The nodes that are known, by number, this one among them: where each listens for its peers. Those given at the first start are the first
    /// members, unless the node <see cref="Joins"/>; later starts go by what the cluster has agreed on, and addresses given here replace those that are known.
    /// </summary>
    public required IReadOnlyDictionary<long, ClusterPeer> Peers { get; init; }

    /// <summary>The address to listen on for peers, where it is not the one that they are told: an IP address, or <c>*</c> for all. Null: that one.</summary>
    public string? ListenHost { get; init; }

    /// <summary>The file with this node's keys (<c>keyva keygen</c>); null: none, and peers must be on loopback.</summary>
    public string? KeyFile { get; init; }

    /// <summary>At the first start: the node becomes a member when it is added (<see cref="ClusterNode.AddNodeAsync"/>), and begins with an empty folder.</summary>
    public bool Joins { get; init; }

    /// <summary>The shortest time without a word from the leader after which a node asks to be elected; the same on all nodes. 50 ms to 1 minute.</summary>
    public TimeSpan ElectionTimeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>
    /// Whether partitions of which nobody asks anything fall silent: the nodes then tell each other that they live, and not each partition's leader that it
    /// leads. A leader's death is noticed as soon as before.
    /// </summary>
    public bool FallsSilent { get; init; } = true;

    /// <summary>
    /// Whether a leader answers linearizable reads without asking the others while it holds a lease, and this node promises other leaders what theirs need. Safe only where no two nodes' clocks differ in
    /// rate by more than <see cref="MaxClockDriftPercent"/>, none is set or jumps, and no machine goes on with a clock that stood still (a virtual machine that was frozen and resumed). Off by default.
    /// </summary>
    public bool LeaseReads { get; init; }

    /// <summary>How much faster one node's clock may go than another's, in percent; leases are shorter by that. 1 to 100; 10 by default.</summary>
    public int MaxClockDriftPercent { get; init; } = 10;

    /// <summary>How long a write waits for a leader, or for its result, before it is given up.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(10);
}
