namespace KeyVa;

/// <summary>A manual compaction of a partition under way. Thread-safe.</summary>
public sealed class PartitionCompaction
{
    private readonly TaskCompletionSource<CompactionResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationToken _cancellation;
    private long _bytesRead;
    private long _bytesWritten;

    internal PartitionCompaction(CancellationToken cancellation)
    {
        _cancellation = cancellation;

        // What has been compacted stays so; the step under way comes to its end.
        cancellation.UnsafeRegister(static (compaction, token) => ((PartitionCompaction)compaction!)._completion.TrySetCanceled(token), this);
    }

    /// <summary>Bytes of tables read so far.</summary>
    public long BytesRead => Volatile.Read(ref _bytesRead);

    /// <summary>Bytes of tables written so far.</summary>
    public long BytesWritten => Volatile.Read(ref _bytesWritten);

    /// <summary>Ends when everything is compacted; fails with a <see cref="StoreException"/>, or as cancelled.</summary>
    public Task<CompactionResult> Completion => _completion.Task;

    internal bool IsCancelled => _cancellation.IsCancellationRequested;

    internal void Report(long read, long written)
    {
        Interlocked.Add(ref _bytesRead, read);
        Interlocked.Add(ref _bytesWritten, written);
    }

    internal void Complete(Status status, string? detail) =>
        _completion.TrySetResult(new CompactionResult(status, BytesRead, BytesWritten, detail));

    internal void Fail(StoreException failure) => _completion.TrySetException(failure);
}

/// <summary>How a manual compaction ended.</summary>
/// <param name="Status">Ok, or NotFound if there is no such partition.</param>
/// <param name="BytesRead">Bytes of tables read.</param>
/// <param name="BytesWritten">Bytes of tables written.</param>
/// <param name="Detail">For a person: why not; null when done.</param>
public readonly record struct CompactionResult(Status Status, long BytesRead, long BytesWritten, string? Detail);
