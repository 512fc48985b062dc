namespace KeyVa;

/// <summary>
/// A KeyVa store, embedded (<see cref="Store"/>) or remote (KeyVa.Client's RemoteStore). Keys have 1 byte to 8 KiB, values
/// 0 bytes to 1 MiB unless configured otherwise. Expected outcomes are in the results; exceptions are
/// <see cref="StoreException"/> for failures of disk or network and <see cref="OperationCanceledException"/>.
/// All members are thread-safe. Memory given to a call must not change until the call is done. Cancelling a write gives
/// up waiting for it; whether it happened is then unknown.
/// </summary>
public interface IStore : IAsyncDisposable
{
    /// <summary>Reads a key. Linearizable.</summary>
    ValueTask<ReadResult> GetAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default);

    /// <summary>Reads several keys at one snapshot that contains every write that finished before.</summary>
    ValueTask<MultiReadResult> GetAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, CancellationToken cancellation = default);

    /// <summary>Writes a key.</summary>
    ValueTask<WriteResult> UpsertAsync(ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, WriteOptions options = default, CancellationToken cancellation = default);

    /// <summary>
    /// Makes a key's value from the one that it has and an operand, when the write is applied: it never conflicts with another. <see cref="WriteResult.Merged"/>
    /// has the value that it came to; <see cref="Status.MergeRefused"/> if the function refuses, and then nothing has changed. Without an expiry a key
    /// that is there keeps its own.
    /// </summary>
    ValueTask<WriteResult> MergeAsync(
        ReadOnlyMemory<byte> key, MergeFunction function, ReadOnlyMemory<byte> operand, WriteOptions options = default, CancellationToken cancellation = default);

    /// <summary>Adds to a counter, which is there from its first increment on; <see cref="WriteResult.MergedNumber"/> is what it came to.</summary>
    ValueTask<WriteResult> IncrementAsync(ReadOnlyMemory<byte> key, long delta = 1, WriteOptions options = default, CancellationToken cancellation = default);

    /// <summary>Removes a key; <see cref="Status.NotFound"/> if it was not there.</summary>
    ValueTask<WriteResult> RemoveAsync(ReadOnlyMemory<byte> key, Condition condition = default, CancellationToken cancellation = default);

    /// <summary>
    /// Removes every key from <paramref name="from"/> (inclusive) up to <paramref name="to"/> (exclusive), also across
    /// partitions, at one version; an empty bound is open. It does not look which keys are there, and ends with Ok;
    /// <see cref="Status.Invalid"/> if the range ends where or before it begins.
    /// </summary>
    ValueTask<WriteResult> RemoveRangeAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, CancellationToken cancellation = default);

    /// <summary>Writes a batch: all of it at one version, or nothing, also across partitions.</summary>
    ValueTask<WriteResult> WriteAsync(WriteBatch batch, CancellationToken cancellation = default);

    /// <summary>
    /// Goes through the records of a range in key order, at one snapshot. Throws <see cref="RefusedException"/> from the
    /// enumeration if the scan is refused.
    /// </summary>
    IAsyncEnumerable<Record> ScanAsync(ScanOptions options, CancellationToken cancellation = default);

    /// <summary>
    /// Follows the changes of a key, a prefix or a range, in commit order, none left out and none twice. The first event is a
    /// <see cref="WatchEventKind.Progress"/>: from its version on everything will be told. To resume, watch from the version behind
    /// the last event. Throws from the enumeration <see cref="RefusedException"/> if it is refused, <see cref="CompactedException"/>
    /// if the changes that come next are not kept any more.
    /// </summary>
    IAsyncEnumerable<WatchEvent> WatchAsync(WatchOptions options, CancellationToken cancellation = default);
}
