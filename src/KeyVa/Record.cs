namespace KeyVa;

/// <summary>A key with its value, as it was at one version. The memory is the record's own.</summary>
public readonly struct Record
{
    /// <summary>The key.</summary>
    public ReadOnlyMemory<byte> Key { get; init; }

    /// <summary>The value; empty where only keys were asked for.</summary>
    public ReadOnlyMemory<byte> Value { get; init; }

    /// <summary>The version at which the key was written.</summary>
    public long Version { get; init; }

    /// <summary>When this version was first accepted, in milliseconds since 1970-01-01 UTC.</summary>
    public long ModifiedUnixMilliseconds { get; init; }

    /// <summary>When the key expires, in milliseconds since 1970-01-01 UTC; 0: never.</summary>
    public long ExpiresAtUnixMilliseconds { get; init; }
}

/// <summary>How a read of one key ended.</summary>
public readonly struct ReadResult
{
    /// <summary><see cref="Status.Ok"/>, <see cref="Status.NotFound"/> or a refusal.</summary>
    public Status Status { get; init; }

    /// <summary>The record, if <see cref="Found"/>.</summary>
    public Record Record { get; init; }

    /// <summary>For a person: what was refused and what to do; null otherwise.</summary>
    public string? Detail { get; init; }

    /// <summary>After <see cref="Status.Compacted"/>: everything can be read from this version on; 0: not known.</summary>
    public long BeginsAtVersion { get; init; }

    /// <summary>Whether the key is there.</summary>
    public bool Found => Status == Status.Ok;
}

/// <summary>How a read of several keys ended.</summary>
public readonly struct MultiReadResult
{
    /// <summary><see cref="Status.Ok"/> or a refusal of the whole request.</summary>
    public Status Status { get; init; }

    /// <summary>One for each key asked for, in the same order, all as of one snapshot; null where the key is not there.</summary>
    public IReadOnlyList<Record?> Records { get; init; }

    /// <summary>After <see cref="Status.Compacted"/>: everything can be read from this version on; 0: not known.</summary>
    public long BeginsAtVersion { get; init; }

    /// <summary>For a person: what was refused and what to do; null otherwise.</summary>
    public string? Detail { get; init; }
}
