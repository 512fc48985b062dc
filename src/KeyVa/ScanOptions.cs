namespace KeyVa;

/// <summary>Which records to go through. The default is all, in key order.</summary>
public sealed record ScanOptions
{
    /// <summary>Only keys that begin with this; combines with <see cref="From"/> and <see cref="To"/>.</summary>
    public ReadOnlyMemory<byte> Prefix { get; init; }

    /// <summary>The first key of the range, inclusive; empty: open.</summary>
    public ReadOnlyMemory<byte> From { get; init; }

    /// <summary>The end of the range, exclusive; empty: open.</summary>
    public ReadOnlyMemory<byte> To { get; init; }

    /// <summary>The most records to return; 0: all.</summary>
    public long Limit { get; init; }

    /// <summary>From the end of the range to its beginning.</summary>
    public bool Reverse { get; init; }

    /// <summary>Continue behind this key: the key of the last record of an earlier scan with the same options.</summary>
    public ReadOnlyMemory<byte> After { get; init; }

    /// <summary>
    /// The range as it was at a version or time; refused with <see cref="Status.Compacted"/> if that has been forgotten. As of a time, what
    /// had expired then is left out; as of a version nothing is, and records say when they expire. Default: now.
    /// </summary>
    public AsOf At { get; init; }

    /// <summary>Leave the values out.</summary>
    public bool KeysOnly { get; init; }

    /// <summary>
    /// Whether what is read from the disk goes into the block cache. False for a scan over much that nobody else will ask for
    /// soon: it leaves the cache to others. Default: true.
    /// </summary>
    public bool FillCache { get; init; } = true;

    /// <summary>
    /// Accept the engine's own order where a partition is not ordered (memory engine); without it such a scan is refused
    /// with <see cref="Status.Unsupported"/>. From, To, Prefix and Reverse are then not possible on such a partition.
    /// </summary>
    public bool Unordered { get; init; }
}
