namespace KeyVa.Raft;

/// <summary>
/// How a group behaves. All nodes of a group have the same times, since stickiness and leases lean on them. Times are in the
/// driver's clock units (say, milliseconds): see <see cref="RaftGroup"/>. Immutable.
/// </summary>
public sealed record RaftOptions
{
    /// <summary>This node, above 0.</summary>
    public required long Id { get; init; }

    /// <summary>What election timeouts are drawn from; different on each node, and the same for a replay.</summary>
    public required ulong Seed { get; init; }

    /// <summary>
    /// The minimum election timeout. A follower that hears nothing campaigns after one to two of these; a leader that hears no
    /// quorum for this long steps down; a transfer is given up after it.
    /// </summary>
    public long ElectionTimeout { get; init; } = 1000;

    /// <summary>Between heartbeats. A tenth of the election timeout is usual.</summary>
    public long HeartbeatInterval { get; init; } = 100;

    /// <summary>
    /// Reads by lease, without a round of heartbeats. Off by default: it is safe only while no two clocks of the group differ
    /// in rate by more than <see cref="MaxClockDriftPercent"/>, they go on while the machine sleeps, and never jump.
    /// </summary>
    public bool LeaseReads { get; init; }

    /// <summary>How much faster one node's clock may go than another's, in percent; leases are shorter by that.</summary>
    public int MaxClockDriftPercent { get; init; } = 10;

    /// <summary>Bytes of entries in one append message (one entry may be larger).</summary>
    public int MaxAppendBytes { get; init; } = 1 << 20;

    /// <summary>Append messages on their way to one follower.</summary>
    public int MaxInflightMessages { get; init; } = 256;

    /// <summary>Bytes of entries on their way to one follower.</summary>
    public long MaxInflightBytes { get; init; } = 16 << 20;

    /// <summary>Bytes of proposals that a leader holds uncommitted; more are refused. One proposal alone always passes.</summary>
    public long MaxUncommittedBytes { get; init; } = 64 << 20;

    /// <summary>Bytes of committed entries handed out to be applied at a time.</summary>
    public long MaxApplyBytes { get; init; } = 4 << 20;

    /// <summary>Reads that wait for their round of heartbeats, or for the first commit of a term.</summary>
    public int MaxPendingReads { get; init; } = 4096;

    /// <summary>Messages that wait for the disk; the oldest are dropped beyond, as a network may.</summary>
    public int MaxHeldMessages { get; init; } = 1024;

    internal RaftDefects Defects { get; init; }

    /// <summary>How long after sending a round of heartbeats, by its own clock, a leader may rely on a quorum's answers to it.</summary>
    internal long LeaseLength => ElectionTimeout * 100 / (100 + MaxClockDriftPercent);

    internal bool Has(RaftDefects defect) => (Defects & defect) != 0;

    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Id, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(HeartbeatInterval, 1);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(ElectionTimeout, HeartbeatInterval);
        ArgumentOutOfRangeException.ThrowIfNegative(MaxClockDriftPercent);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxInflightMessages, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxPendingReads, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxHeldMessages, 16);
    }
}
