namespace KeyVa.Raft;

/// <summary>What a message is. The numbers are what travels.</summary>
public enum MessageKind : byte
{
    /// <summary>Would you vote for me in <see cref="Message.Term"/>, if I asked?</summary>
    PreVote = 1,

    /// <summary>The answer; granted unless <see cref="Message.Reject"/>.</summary>
    PreVoteReply = 2,

    /// <summary>RequestVote (figure 2): <see cref="Message.Index"/> and <see cref="Message.LogTerm"/> are the candidate's last entry.</summary>
    Vote = 3,

    /// <summary>The answer; granted unless <see cref="Message.Reject"/>.</summary>
    VoteReply = 4,

    /// <summary>AppendEntries: <see cref="Message.Index"/> and <see cref="Message.LogTerm"/> are the entry before <see cref="Message.Entries"/>.</summary>
    Append = 5,

    /// <summary>
    /// Everything up to <see cref="Message.Index"/> is durable here; or, if <see cref="Message.Reject"/>, the entry at that index is not the one
    /// meant, and <see cref="Message.HintIndex"/> with <see cref="Message.HintTerm"/> is the last that may be.
    /// </summary>
    AppendReply = 6,

    /// <summary>No entries; <see cref="Message.Context"/> is the round. Small and of one size, so that a driver can pack those of many groups.</summary>
    Heartbeat = 7,

    /// <summary>
    /// The answer, with the same round; <see cref="Message.HintIndex"/> is for how long, from the heartbeat's arrival on, the sender votes for nobody else. 0: it makes no such promise.
    /// </summary>
    HeartbeatReply = 8,

    /// <summary>InstallSnapshot. The driver moves the state and hands this in when it is all there.</summary>
    InstallSnapshot = 9,

    /// <summary>Campaign at once (dissertation, §3.10).</summary>
    TimeoutNow = 10,

    /// <summary>A follower's read, for the leader to confirm.</summary>
    Read = 11,

    /// <summary>The answer: <see cref="Message.Index"/>, or <see cref="Message.Reject"/>.</summary>
    ReadReply = 12,
}

/// <summary>One message between two nodes of a group. Which fields matter, its kind says. Immutable.</summary>
public readonly record struct Message
{
    /// <summary>What it is.</summary>
    public required MessageKind Kind { get; init; }

    /// <summary>Whom it is for.</summary>
    public required long To { get; init; }

    /// <summary>Who sends it.</summary>
    public long From { get; init; }

    /// <summary>The sender's term; of a pre-vote and its grant the term that would follow.</summary>
    public long Term { get; init; }

    /// <summary>The term of the entry at <see cref="Index"/>.</summary>
    public long LogTerm { get; init; }

    /// <summary>An index of the log.</summary>
    public long Index { get; init; }

    /// <summary>How far the leader has committed, as far as this follower may know.</summary>
    public long Commit { get; init; }

    /// <summary>Whether the answer is no.</summary>
    public bool Reject { get; init; }

    /// <summary>A vote that the leader itself asked for: stickiness does not apply.</summary>
    public bool Force { get; init; }

    /// <summary>A heartbeat after which none will come until something happens.</summary>
    public bool Quiesce { get; init; }

    /// <summary>See <see cref="MessageKind.AppendReply"/> and <see cref="MessageKind.HeartbeatReply"/>.</summary>
    public long HintIndex { get; init; }

    /// <summary>See <see cref="MessageKind.AppendReply"/>.</summary>
    public long HintTerm { get; init; }

    /// <summary>A round of heartbeats, or a read's context.</summary>
    public long Context { get; init; }

    /// <summary>The entries to append. The receiver keeps this memory: it must not be used again.</summary>
    public ReadOnlyMemory<Entry> Entries { get; init; }

    /// <summary>The snapshot to install.</summary>
    public SnapshotMetadata? Snapshot { get; init; }
}
