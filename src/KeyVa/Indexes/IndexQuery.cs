namespace KeyVa.Indexes;

/// <summary>
/// Asks an index for records: those whose fields begin with the values of <see cref="Equal"/>, and whose further fields lie between
/// <see cref="From"/> and <see cref="To"/> or begin with <see cref="Prefix"/>; in the order of the index.
/// </summary>
public sealed record IndexQuery
{
    /// <summary>The index's name.</summary>
    public required string Index { get; init; }

    /// <summary>What the first fields are; as many as wanted, up to all.</summary>
    public IReadOnlyList<IndexValue> Equal { get; init; } = [];

    /// <summary>Where the fields behind those begin; empty: with the first value there is.</summary>
    public IReadOnlyList<IndexValue> From { get; init; } = [];

    /// <summary>Leaves out what has exactly the values of <see cref="From"/>.</summary>
    public bool FromExclusive { get; init; }

    /// <summary>Where the fields behind those of <see cref="Equal"/> end; empty: with the last value there is.</summary>
    public IReadOnlyList<IndexValue> To { get; init; } = [];

    /// <summary>Leaves what has exactly the values of <see cref="To"/> in; otherwise the range ends before it.</summary>
    public bool ToInclusive { get; init; }

    /// <summary>The beginning of the string in the field behind those of <see cref="Equal"/>; null: anything. Not together with a range.</summary>
    public string? Prefix { get; init; }

    /// <summary>From the last to the first.</summary>
    public bool Reverse { get; init; }

    /// <summary>At most so many; 0: all.</summary>
    public long Limit { get; init; }

    /// <summary>Goes on behind this place (see <see cref="IndexCursor.ResumeToken"/>); empty: at the beginning.</summary>
    public ReadOnlyMemory<byte> After { get; init; }

    /// <summary>The records are not read: only keys and the indexed values are given, which is faster.</summary>
    public bool KeysOnly { get; init; }
}
