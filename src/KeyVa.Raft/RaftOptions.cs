namespace KeyVa.Raft;

/// <summary>
/// How a group behaves. All nodes of a group have the same times, since stickiness leans on them. Times are in the
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
    /// How long a follower that waits for nothing may be left without word of what is committed, while nothing else goes to it that would say so. With a
    /// delay, a lone proposer's entry costs each follower one message and not two. Default: 0, it is told at once.
    /// </summary>
    public long CommitDelay { get; init; }

    /// <summary>
    /// Reads by lease, without a round of heartbeats. Off by default: it is safe only while no two clocks of the group differ
    /// in rate by more than <see cref="MaxClockDriftPercent"/>, they go on while the machine sleeps, and never jump. Nodes of a group may differ in this and in
    /// <see cref="ElectionTimeout"/>: a follower with leases promises, in each answer to a heartbeat, to vote for nobody else for its election timeout, and a leader counts on no other.
    /// </summary>
    public bool LeaseReads { get; init; }

    /// <summary>
    /// The longest promise that this node may have made before it began (<see cref="LeaseReads"/>), which it keeps: for so long it votes for nobody. The driver makes durable what it
    /// promises, its election timeout, before it promises.
    /// </summary>
    public long PromisedBefore { get; init; }

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

    /// <summary>
    /// How long after sending a round of heartbeats, by its own clock, a leader may rely on a quorum's answers to it. A time that a clock shows may be older than it says by less than a unit,
    /// here and where the promise is kept.
    /// </summary>
    internal long LeaseLength => ((ElectionTimeout - 1) * 100 / (100 + MaxClockDriftPercent)) - 1;

    /// <summary>What a follower promises with an answer to a heartbeat: for how long it votes for nobody else.</summary>
    internal long Promise => LeaseReads ? ElectionTimeout : 0;

    internal bool Has(RaftDefects defect) => (Defects & defect) != 0;

    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Id, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(HeartbeatInterval, 1);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(ElectionTimeout, HeartbeatInterval);
        ArgumentOutOfRangeException.ThrowIfNegative(CommitDelay);
        ArgumentOutOfRangeException.ThrowIfNegative(MaxClockDriftPercent);
        ArgumentOutOfRangeException.ThrowIfNegative(PromisedBefore);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxInflightMessages, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxPendingReads, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxHeldMessages, 16);
    }
}
