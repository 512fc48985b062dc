namespace KeyVa.Partitions;

/// <summary>What applying a command came to.</summary>
internal struct CommandOutcome
{
    public Status Status;

    /// <summary>The operation whose condition failed, or whose merge was refused; or -1.</summary>
    public int FailedOperation;

    /// <summary>The version of that operation's key as it is.</summary>
    public long CurrentVersion;

    /// <summary>Why a merge was refused; null if none was.</summary>
    public string? Detail;

    /// <summary>Removals that found their key.</summary>
    public int RemovedCount;

    /// <summary>Keys that rolling back changed.</summary>
    public long ChangedCount;
}
