namespace KeyVa.Partitions;

/// <summary>What applying a command came to.</summary>
internal struct CommandOutcome
{
    public Status Status;

    /// <summary>The operation whose condition failed, or -1.</summary>
    public int FailedOperation;

    /// <summary>The version of that operation's key as it is.</summary>
    public long CurrentVersion;

    /// <summary>Removals that found their key.</summary>
    public int RemovedCount;

    /// <summary>Keys that rolling back changed.</summary>
    public long ChangedCount;
}
