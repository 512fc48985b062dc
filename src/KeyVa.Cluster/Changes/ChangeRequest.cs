namespace KeyVa.Cluster.Changes;

/// <summary>What is wanted of whoever leads a partition.</summary>
internal enum ChangeKind : byte
{
    /// <summary>Nothing but to hear how far its members are.</summary>
    Tell = 1,

    /// <summary>A node that gets the log, and votes once it has what the others have.</summary>
    Add = 2,

    /// <summary>A node that is no member any more.</summary>
    Remove = 3,

    /// <summary>Another leader.</summary>
    Transfer = 4,
}

/// <summary>What came of asking. Asked again, a leader goes on from what is there: so a change may be asked for by anybody, and as often as one likes.</summary>
internal enum ChangeOutcome : byte
{
    /// <summary>It is as it was asked for, and committed.</summary>
    Done = 1,

    /// <summary>It has begun, or another one is under way: ask again.</summary>
    Pending = 2,

    /// <summary>The node that is added gets the log, and lacks much of it: ask again.</summary>
    CatchingUp = 3,

    /// <summary>The same, by a copy of the partition's files.</summary>
    ReceivingSnapshot = 4,

    /// <summary>The node that is to lead does not vote.</summary>
    NotVoter = 5,

    /// <summary>The node that is to go is the last voter.</summary>
    LastVoter = 6,

    /// <summary>The partition has as many members as it can have.</summary>
    TooManyMembers = 7,

    /// <summary>The node that was asked does not lead.</summary>
    NotLeader = 8,
}

/// <summary>A change of one partition's members. Immutable.</summary>
internal readonly record struct ChangeRequest(ChangeKind Kind, long Node);

/// <summary>How far a member has the log, as its leader knows. Immutable.</summary>
internal readonly record struct MemberProgress(long Node, long Match);

/// <summary>What a node that was asked for a change says. Immutable.</summary>
/// <param name="Outcome">What came of it.</param>
/// <param name="Leader">Who leads, as far as the node knows; 0: nobody.</param>
/// <param name="CommitIndex">Up to where it knows the log to be committed.</param>
/// <param name="Members">How far the others are; empty unless it leads.</param>
internal readonly record struct ChangeAnswer(ChangeOutcome Outcome, long Leader, long CommitIndex, IReadOnlyList<MemberProgress> Members);
