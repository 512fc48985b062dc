namespace KeyVa;

/// <summary>Which versions of a key to list. The default is all that are there, newest first.</summary>
public sealed record HistoryOptions
{
    /// <summary>Bytes of values in one answer, about; the rest is for the next one.</summary>
    internal const long MaxBytes = 16L << 20;

    /// <summary>The most versions in one answer that may be asked for.</summary>
    public const int MaxLimit = 10_000;

    /// <summary>The oldest version to list; 0: open.</summary>
    public long From { get; init; }

    /// <summary>The newest version to list; 0: open.</summary>
    public long To { get; init; }

    /// <summary>The most versions in one answer, 1 to <see cref="MaxLimit"/>. Default: 1000.</summary>
    public int Limit { get; init; } = 1000;

    /// <summary>Oldest first.</summary>
    public bool Reverse { get; init; }

    /// <summary>Leave the values out.</summary>
    public bool WithoutValues { get; init; }
}

/// <summary>One version of a key: what was put, or that it was removed. The memory is its own.</summary>
public readonly record struct KeyVersion
{
    /// <summary>The version at which the key was written or removed.</summary>
    public long Version { get; init; }

    /// <summary>When that was first accepted, in milliseconds since 1970-01-01 UTC.</summary>
    public long ModifiedUnixMilliseconds { get; init; }

    /// <summary>Whether the key was removed, alone or with a range.</summary>
    public bool IsRemoval { get; init; }

    /// <summary>The value; empty for a removal, and where values were left out.</summary>
    public ReadOnlyMemory<byte> Value { get; init; }

    /// <summary>When it expires, in milliseconds since 1970-01-01 UTC; 0: never.</summary>
    public long ExpiresAtUnixMilliseconds { get; init; }
}

/// <summary>What is known of a key's past.</summary>
public readonly record struct HistoryResult
{
    /// <summary><see cref="Status.Ok"/> (also if nothing is known) or a refusal.</summary>
    public Status Status { get; init; }

    /// <summary>The versions, newest first unless it was asked for the reverse.</summary>
    public IReadOnlyList<KeyVersion> Versions { get; init; }

    /// <summary>If there are more: the next answer's <see cref="HistoryOptions.To"/> (in reverse: <see cref="HistoryOptions.From"/>); 0: there are not.</summary>
    public long ResumeVersion { get; init; }

    /// <summary>Everything is known from this version on; what was overwritten or removed before it may be missing.</summary>
    public long BeginsAtVersion { get; init; }

    /// <summary>For a person: why it was refused; null otherwise.</summary>
    public string? Detail { get; init; }
}

/// <summary>How rolling back ended.</summary>
public readonly record struct RollBackResult
{
    /// <summary><see cref="Status.Ok"/>, or why nothing was changed.</summary>
    public Status Status { get; init; }

    /// <summary>The version at which all of it happened; 0 unless it did.</summary>
    public long Version { get; init; }

    /// <summary>The version that was rolled back to.</summary>
    public long ToVersion { get; init; }

    /// <summary>Keys that were put or removed for it; those that were as they had been do not count.</summary>
    public long KeysChanged { get; init; }

    /// <summary>For a person: why it was refused; null otherwise.</summary>
    public string? Detail { get; init; }
}
