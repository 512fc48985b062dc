namespace KeyVa.Indexes;

/// <summary>An index as it is.</summary>
public sealed record IndexInfo
{
    /// <summary>What it is of.</summary>
    public required IndexDefinition Definition { get; init; }

    /// <summary>Whether it answers queries.</summary>
    public IndexState State { get; init; }

    /// <summary>Records that the filling has been through; 0 if it was filled before the store was opened.</summary>
    public long FilledRecords { get; init; }

    /// <summary>Records of the store, estimated: what a filling goes through.</summary>
    public long TotalRecords { get; init; }

    /// <summary>Entries, estimated.</summary>
    public long Entries { get; init; }

    /// <summary>Bytes of its files.</summary>
    public long StorageBytes { get; init; }

    /// <summary>Records that it cannot read and that are in none of its answers; counted up to 10,000.</summary>
    public long Unindexed { get; init; }

    /// <summary>The keys of some of them, 16 at most.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> UnindexedKeys { get; init; } = [];
}

/// <summary>How something that was asked of an index ended.</summary>
public sealed record IndexResult
{
    /// <summary>Ok, or why not.</summary>
    public Status Status { get; init; }

    /// <summary>For a person: what was refused and what to do; null when done.</summary>
    public string? Detail { get; init; }

    /// <summary>After <see cref="IIndexes.CreateAsync"/>: the same index was there already.</summary>
    public bool WasThere { get; init; }

    /// <summary>Whether it was done.</summary>
    public bool IsOk => Status == Status.Ok;
}
