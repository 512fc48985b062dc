namespace KeyVa;

/// <summary>A snapshot of a partition being written to a folder. Thread-safe.</summary>
public sealed class PartitionSnapshot
{
    private readonly TaskCompletionSource<PartitionSnapshotResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _bytesDone;
    private long _bytesTotal;

    internal PartitionSnapshot()
    {
    }

    /// <summary>Bytes written or linked so far.</summary>
    public long BytesDone => Volatile.Read(ref _bytesDone);

    /// <summary>Bytes the snapshot will have, as far as known yet.</summary>
    public long BytesTotal => Volatile.Read(ref _bytesTotal);

    /// <summary>Ends when everything is synced; fails with a <see cref="StoreException"/>.</summary>
    public Task<PartitionSnapshotResult> Completion => _completion.Task;

    internal void Report(long bytesDone, long bytesTotal)
    {
        Volatile.Write(ref _bytesTotal, bytesTotal);
        Volatile.Write(ref _bytesDone, bytesDone);
    }

    internal void Complete(PartitionSnapshotResult result) => _completion.SetResult(result);

    internal void Fail(Exception failure) => _completion.SetException(failure);
}

/// <summary>What a snapshot holds: everything up to this version, which the log knows as this index.</summary>
public readonly record struct PartitionSnapshotResult(Status Status, long Version, long Index, string? Detail);
