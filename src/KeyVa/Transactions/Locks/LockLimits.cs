namespace KeyVa.Transactions.Locks;

/// <summary>What bounds a <see cref="LockTable"/>.</summary>
internal sealed record LockLimits
{
    /// <summary>How many bytes of key a lock may have for each unit that it counts.</summary>
    public const int BytesPerUnit = 256;

    /// <summary>
    /// The most locks, held or waited for, of all owners together. A lock counts once for each <see cref="BytesPerUnit"/>
    /// bytes of its keys that are begun, so this bounds the memory too: about half a kilobyte each.
    /// </summary>
    public int MaxLocks { get; init; } = 1 << 19;

    /// <summary>The most locks of one owner, counted in the same way.</summary>
    public int MaxLocksPerOwner { get; init; } = 1 << 18;

    /// <summary>The most locks of ranges, of all owners together: every request for a key looks through them.</summary>
    public int MaxRanges { get; init; } = 1 << 12;

    /// <summary>
    /// How many parts the table has, a power of two: keys of different parts share nothing. Requests that wait, and
    /// ranges, take all parts.
    /// </summary>
    public int Stripes { get; init; } = 32;
}
