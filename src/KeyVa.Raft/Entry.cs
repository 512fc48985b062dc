namespace KeyVa.Raft;

/// <summary>What an entry of the log is for.</summary>
public enum EntryKind : byte
{
    /// <summary>Bytes for the state machine.</summary>
    Command = 0,

    /// <summary>Nothing: a leader begins its term with one, since it may count replicas only for entries of its own term (§5.4.2, §8).</summary>
    Empty = 1,

    /// <summary>A membership (<see cref="MembershipEncoding"/>), in force from the moment it is in the log (§6).</summary>
    Membership = 2,
}

/// <summary>
/// One entry of the replicated log. Immutable. <see cref="Data"/> is never copied by the core: whoever hands bytes in leaves
/// them alone from then on.
/// </summary>
public readonly record struct Entry(long Term, long Index, EntryKind Kind, ReadOnlyMemory<byte> Data)
{
    /// <summary>What an entry counts against bounds of bytes beyond its data.</summary>
    public const int OverheadBytes = 32;

    /// <summary>What it counts in all.</summary>
    public int Size => Data.Length + OverheadBytes;

    /// <summary>Term and index.</summary>
    public LogPosition Position => new(Term, Index);
}
