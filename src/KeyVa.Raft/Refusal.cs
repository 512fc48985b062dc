namespace KeyVa.Raft;

/// <summary>Why a group did not take a request. Nothing has happened, but for <see cref="Abandoned"/>.</summary>
public enum Refusal : byte
{
    /// <summary>It took it.</summary>
    None = 0,

    /// <summary>This node does not lead; <see cref="RaftGroup.Leader"/> says who does, if it knows.</summary>
    NotLeader,

    /// <summary>Leadership is being handed over.</summary>
    Transferring,

    /// <summary>The bound on uncommitted bytes is reached: come again when some have been committed.</summary>
    TooMuchUncommitted,

    /// <summary>Another change of the membership is not committed yet, or the leader has not committed anything in its term.</summary>
    ChangeInProgress,

    /// <summary>The membership asked for is the present one, or has no voter.</summary>
    NoChange,

    /// <summary>The node asked for does not vote.</summary>
    NotVoter,

    /// <summary>The bound on reads that wait is reached.</summary>
    TooManyReads,

    /// <summary>The node asked for has answered nothing for an election timeout.</summary>
    NotAnswering,

    /// <summary>A leader was heard of within the election timeout.</summary>
    LeaderIsAlive,

    /// <summary>A read that was taken and cannot be answered, since leadership was lost.</summary>
    Abandoned,
}

/// <summary>
/// What became of a proposal. It was taken if <paramref name="Refusal"/> is none: then it will be applied as it was proposed if, and
/// only if, the entry applied at <paramref name="Index"/> has <paramref name="Term"/>. Of several, the index is the first's.
/// </summary>
public readonly record struct Proposed(Refusal Refusal, long Term, long Index);

/// <summary>
/// A linearizable read: once everything up to <paramref name="Index"/> is applied here, the state may be read for it.
/// </summary>
public readonly record struct ConfirmedRead(long Context, long Index, Refusal Refusal);

/// <summary>What a node is at the moment.</summary>
public enum Role : byte
{
    /// <summary>It follows, or waits.</summary>
    Follower = 0,

    /// <summary>It asks whether an election would be won, without a new term (Ongaro's dissertation, §9.6).</summary>
    PreCandidate,

    /// <summary>It asks for votes in a new term.</summary>
    Candidate,

    /// <summary>It leads.</summary>
    Leader,
}
