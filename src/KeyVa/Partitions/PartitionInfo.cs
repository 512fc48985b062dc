namespace KeyVa;

/// <summary>A partition of a store as it stands.</summary>
public sealed record PartitionInfo
{
    /// <summary>The partition's number, never used again.</summary>
    public required long Id { get; init; }

    /// <summary>The keys it owns.</summary>
    public required KeyRange Range { get; init; }

    /// <summary>The engine that holds its state.</summary>
    public required EngineKind Engine { get; init; }

    /// <summary>Whether everything in it is lost at exit.</summary>
    public bool Volatile { get; init; }

    /// <summary>Index of the last command group applied.</summary>
    public long AppliedIndex { get; init; }

    /// <summary>Index of the last command group that the engine's own files contain; the journal holds the rest.</summary>
    public long DurableIndex { get; init; }

    /// <summary>Keys: exact on the memory engine, estimated on lsm.</summary>
    public long Keys { get; init; }

    /// <summary>Bytes of the values: exact on the memory engine, estimated on lsm.</summary>
    public long ValueBytes { get; init; }

    /// <summary>
    /// Versions that newer ones of their keys shadow: retained, seen by open snapshots, or not given up yet. Exact on the memory
    /// engine, estimated on lsm.
    /// </summary>
    public long OlderVersions { get; init; }

    /// <summary>Their bytes: keys and values on the memory engine, values on lsm (estimated).</summary>
    public long OlderVersionBytes { get; init; }

    /// <summary>Everything can be read as it was at this version and later ones.</summary>
    public long HistoryFromVersion { get; init; }

    /// <summary>Bytes of the engine's files.</summary>
    public long StorageBytes { get; init; }

    /// <summary>Bytes held in memory outside the block cache.</summary>
    public long MemoryBytes { get; init; }

    /// <summary>Its own settings.</summary>
    public PartitionSettings Settings { get; init; } = PartitionSettings.None;

    /// <summary>Calls that wait for the partition's writer.</summary>
    public int QueuedWrites { get; init; }

    /// <summary>The figures of its tree; null if the engine is another, or the information came from a server.</summary>
    public LsmStatistics? Lsm { get; init; }
}

/// <summary>How a change of partitions ended.</summary>
public readonly struct PartitionResult
{
    /// <summary><see cref="Status.Ok"/>; <see cref="Status.NotFound"/>, <see cref="Status.Invalid"/> (a bad or overlapping range) or <see cref="Status.ConditionFailed"/> (not empty).</summary>
    public Status Status { get; init; }

    /// <summary>The partition added or removed.</summary>
    public PartitionInfo? Partition { get; init; }

    /// <summary>For a person: what was refused and what to do; null when done.</summary>
    public string? Detail { get; init; }
}
