namespace KeyVa;

/// <summary>An embedded store: one data folder, opened by one process. Thread-safe.</summary>
public sealed class Store : IStore
{
    private Store()
    {
    }

    /// <summary>
    /// Opens the store in a folder, created if missing. Throws <see cref="StoreException"/> if the folder is in use,
    /// is no store, has an unknown format version, or is damaged (<see cref="CorruptionException"/>).
    /// </summary>
    public static Store Open(string path, StoreOptions? options = null) => throw new NotSupportedException();

    /// <summary>The partitions.</summary>
    public IPartitions Partitions => throw new NotSupportedException();

    /// <summary>The options the store was opened with.</summary>
    public StoreOptions Options => throw new NotSupportedException();

    /// <summary>The data folder.</summary>
    public string Path => throw new NotSupportedException();

    /// <summary>What opening found and mended (a cut journal tail, for example), for the log; empty: nothing.</summary>
    public IReadOnlyList<string> RecoveryNotes => throw new NotSupportedException();

    /// <summary>What stopped the store from taking writes (a failed sync, damage), or null.</summary>
    public StoreException? Failure => throw new NotSupportedException();

    /// <summary>Reads a key without a copy; dispose the lease soon.</summary>
    public ValueLease Get(scoped ReadOnlySpan<byte> key) => throw new NotSupportedException();

    /// <summary>Reads a key into a buffer. Status Ok with <paramref name="length"/> beyond the buffer's: it was too small, nothing was copied.</summary>
    public Status TryGet(ReadOnlySpan<byte> key, Span<byte> destination, out int length) => throw new NotSupportedException();

    /// <summary>Writes a key and waits until it is as durable as the store promises.</summary>
    public WriteResult Upsert(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, WriteOptions options = default) => throw new NotSupportedException();

    /// <summary>Removes a key; <see cref="Status.NotFound"/> if it was not there.</summary>
    public WriteResult Remove(ReadOnlySpan<byte> key, Condition condition = default) => throw new NotSupportedException();

    /// <summary>Writes a batch: all of it at one version, or nothing.</summary>
    public WriteResult Write(WriteBatch batch) => throw new NotSupportedException();

    /// <summary>Opens a cursor over a range at one snapshot; check its <see cref="ScanCursor.Status"/>.</summary>
    public ScanCursor Scan(ScanOptions options) => throw new NotSupportedException();

    /// <summary>The store's figures.</summary>
    public StoreStatistics GetStatistics() => throw new NotSupportedException();

    /// <inheritdoc/>
    public ValueTask<ReadResult> GetAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default) => throw new NotSupportedException();

    /// <inheritdoc/>
    public ValueTask<MultiReadResult> GetAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, CancellationToken cancellation = default) => throw new NotSupportedException();

    /// <inheritdoc/>
    public ValueTask<WriteResult> UpsertAsync(ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, WriteOptions options = default, CancellationToken cancellation = default) => throw new NotSupportedException();

    /// <inheritdoc/>
    public ValueTask<WriteResult> RemoveAsync(ReadOnlyMemory<byte> key, Condition condition = default, CancellationToken cancellation = default) => throw new NotSupportedException();

    /// <inheritdoc/>
    public ValueTask<WriteResult> WriteAsync(WriteBatch batch, CancellationToken cancellation = default) => throw new NotSupportedException();

    /// <inheritdoc/>
    public IAsyncEnumerable<Record> ScanAsync(ScanOptions options, CancellationToken cancellation = default) => throw new NotSupportedException();

    /// <summary>Closes the store: waits for writes under way, syncs the journal, stops background work.</summary>
    public ValueTask DisposeAsync() => throw new NotSupportedException();
}
