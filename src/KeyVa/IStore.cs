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
    /// Begins a transaction; dispose it. Throws <see cref="RefusedException"/> if there are too many
    /// (<see cref="Status.Busy"/>). <see cref="StoreTransactions.TransactAsync"/> begins, commits and does the work again after a conflict.
    /// </summary>
    ValueTask<ITransaction> BeginAsync(TransactionOptions? options = null, CancellationToken cancellation = default);
}
