namespace KeyVa.Partitions;

/// <summary>What applying a command came to.</summary>
internal struct CommandOutcome
{
    public Status Status;

    /// <summary>The operation whose condition failed, or whose merge was refused; or -1.</summary>
    public int FailedOperation;

    /// <summary>The version of that operation's key as it is.</summary>
    public long CurrentVersion;

    /// <summary>Why a merge was refused, or a roll back is not possible; null if neither was.</summary>
    public string? Detail;

    /// <summary>The index that forbids it, if one does.</summary>
    public string? Index;

    /// <summary>The key of the record that has the value already, if it is not one of the same command.</summary>
    public byte[]? OtherKey;

    /// <summary>Removals that found their key.</summary>
    public int RemovedCount;

    /// <summary>Keys that rolling back changed.</summary>
    public long ChangedCount;
}
