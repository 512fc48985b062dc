namespace KeyVa.Raft;

/// <summary>
/// What a snapshot of the state machine stands for (§7): everything up to <paramref name="Index"/>, whose entry has
/// <paramref name="Term"/>, and the membership in force there. The state itself is moved by the driver. Immutable.
/// </summary>
public sealed record SnapshotMetadata(long Index, long Term, Membership Membership)
{
    /// <summary>The first index that an initial snapshot leaves to the log.</summary>
    public const long InitialIndex = 1;

    /// <summary>What a node that knows nothing begins with: no members, so it never campaigns.</summary>
    public static SnapshotMetadata None { get; } = new(0, 0, Membership.Empty);

    /// <summary>
    /// How a group begins: each of its first members opens its log with this. As index 1 is in no log, a node that joins
    /// later gets a snapshot, and with it the membership.
    /// </summary>
    public static SnapshotMetadata Initial(Membership membership) => new(InitialIndex, 1, membership);

    /// <summary>Term and index of the last entry that it contains.</summary>
    public LogPosition Position => new(Term, Index);
}
