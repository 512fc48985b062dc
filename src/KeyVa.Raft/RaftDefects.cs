namespace KeyVa.Raft;

/// <summary>
/// Errors that a test puts into a group (<see cref="RaftOptions.Defects"/>), to see that the simulation finds them. Each is
/// looked for in one place. docs/testing.md lists the seeds that find them.
/// </summary>
[Flags]
internal enum RaftDefects
{
    None = 0,

    /// <summary>The vote is left out of what is persisted: after a restart a node votes again in the same term.</summary>
    ForgetsVote = 1,

    /// <summary>Entries of earlier terms are committed by counting their replicas (figure 8).</summary>
    CommitsOldTerms = 2,

    /// <summary>A lease is measured at the last tick, not when the read comes: a leader that was paused still reads.</summary>
    LeaseOutlivesPause = 4,

    /// <summary>A snapshot that arrives leaves the membership as it was.</summary>
    SnapshotWithoutMembership = 8,

    /// <summary>An append always cuts the log behind its entries, though they were there already.</summary>
    TruncatesOnStaleAppend = 16,

    /// <summary>A leader answers reads without asking whether it still is one.</summary>
    ReadsWithoutQuorum = 32,

    /// <summary>The membership is changed in one step, however different the majorities are.</summary>
    SkipsJointMembership = 64,

    /// <summary>A follower acknowledges entries before they are on its disk.</summary>
    AcknowledgesUnpersisted = 128,

    /// <summary>A pre-vote is granted whatever the candidate's log holds.</summary>
    PreVotesForStaleLogs = 256,

    /// <summary>A leader goes on reading by lease after it told another to campaign.</summary>
    LeaseOutlivesTransfer = 512,

    /// <summary>A leader that hands over takes back what is not committed, so that the other has everything at once.</summary>
    TakesBackUncommitted = 1024,

    /// <summary>A leader's lease counts on every answer to its heartbeats, whatever the follower promised with it.</summary>
    CountsUnpromised = 2048,
}
