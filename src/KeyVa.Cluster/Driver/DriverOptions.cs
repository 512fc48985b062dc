using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>How a node takes part in its groups. Times in milliseconds, the same on all nodes of a cluster. Immutable.</summary>
internal sealed record DriverOptions
{
    /// <summary>This node's number, above 0; never given to another again.</summary>
    public required long Node { get; init; }

    /// <summary>What frames of this cluster carry, so that nodes of two clusters do not take each other for peers.</summary>
    public required ulong Cluster { get; init; }

    /// <summary>Who the voters are where a group begins here; empty: this node joins a group, and learns of it from its leader.</summary>
    public IReadOnlyList<long> FirstVoters { get; init; } = [];

    public long ElectionTimeout { get; init; } = 1000;

    public long HeartbeatInterval { get; init; } = 100;

    /// <summary>Whether this node reads by lease where it leads, and promises other leaders what theirs need (docs/replication.md, Leases).</summary>
    public bool LeaseReads { get; init; }

    /// <summary>How much faster one node's clock may go than another's, in percent.</summary>
    public int MaxClockDriftPercent { get; init; } = 10;

    /// <summary>The longest that this node may have promised in an earlier life to vote for nobody else.</summary>
    public long PromisedBefore { get; init; }

    /// <summary>Whether a group that this node leads falls silent when nobody has asked anything of it for an election timeout and nobody lacks anything.</summary>
    public bool FallsSilent { get; init; } = true;

    /// <summary>How long a request waits for a leader, or for its entry to be applied.</summary>
    public long RequestTimeout { get; init; } = 10_000;

    /// <summary>How long a commit over several partitions is left to its coordinator before those who lead the partitions end it.</summary>
    public long InDoubtAfter => 2 * ElectionTimeout;

    /// <summary>Bytes of applied entries that stay in memory for followers that were away for a moment.</summary>
    public long RetainedBytes { get; init; } = 32 << 20;

    /// <summary>Bytes of frames that have come and were not looked at; more are dropped.</summary>
    public long MaxInboxBytes { get; init; } = 64 << 20;

    /// <summary>Where all randomness comes from.</summary>
    public required ulong Seed { get; init; }

    /// <summary>None but in a test of the tests.</summary>
    internal RaftDefects RaftDefects { get; init; }

    /// <summary>None but in a test of the tests.</summary>
    internal DriverDefects Defects { get; init; }

    /// <summary>Hears of each entry that is applied, by partition; for tests.</summary>
    internal Action<long, Entry>? Applied { get; init; }

    /// <summary>Hears of each message that leaves, by partition; for tests.</summary>
    internal Action<long, Message>? Sent { get; init; }

    internal bool Has(DriverDefects defect) => (Defects & defect) != 0;

    /// <summary>How long followers where nobody waits may be left without word of what is committed; null: a twentieth of the heartbeat interval.</summary>
    public long? CommitDelay { get; init; }

    internal RaftOptions ToRaft(long partition) => new()
    {
        Id = Node,
        Seed = unchecked(Seed + ((ulong)partition * 0x9e3779b97f4a7c15)),
        ElectionTimeout = ElectionTimeout,
        HeartbeatInterval = HeartbeatInterval,
        CommitDelay = CommitDelay ?? (HeartbeatInterval / 20),
        LeaseReads = LeaseReads,
        MaxClockDriftPercent = MaxClockDriftPercent,
        PromisedBefore = PromisedBefore,
        Defects = RaftDefects,
    };
}
