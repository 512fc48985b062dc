using KeyVa.Indexes;

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
    /// <summary>The secondary indexes: to create, list, wait for and drop them.</summary>
    IIndexes Indexes { get; }

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
    /// Asks a secondary index, at one snapshot: goes through the records it finds in the order of the index. Throws
    /// <see cref="RefusedException"/> from the enumeration if the query is refused: there is no such index (<see cref="Status.NotFound"/>), it is being
    /// filled (<see cref="Status.NotReady"/>), or it has not so many fields (<see cref="Status.Invalid"/>).
    /// </summary>
    IAsyncEnumerable<IndexedRecord> QueryAsync(IndexQuery query, CancellationToken cancellation = default);

    /// <summary>
    /// Follows the changes of a key, a prefix or a range, in commit order, none left out and none twice. The first event is a
    /// <see cref="WatchEventKind.Progress"/>: from its version on everything will be told. To resume, watch from the version behind
    /// the last event. Throws from the enumeration <see cref="RefusedException"/> if it is refused, <see cref="CompactedException"/>
    /// if the changes that come next are not kept any more.
    /// </summary>
    IAsyncEnumerable<WatchEvent> WatchAsync(WatchOptions options, CancellationToken cancellation = default);

    /// <summary>
    /// Reads a key as it was at a version or time; <see cref="Status.Compacted"/> if that has been forgotten. As of a time, a value that had expired
    /// then is not there; as of a version it is, and says when it expires.
    /// </summary>
    ValueTask<ReadResult> GetAtAsync(ReadOnlyMemory<byte> key, AsOf at, CancellationToken cancellation = default);

    /// <summary>
    /// Reads several keys as they were at a version or time: at one moment, since what was then does not change any more.
    /// <see cref="Status.Compacted"/> if that has been forgotten of one of them.
    /// </summary>
    ValueTask<MultiReadResult> GetAtAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, AsOf at, CancellationToken cancellation = default);

    /// <summary>Lists the versions of a key that are still there, newest first unless asked for the reverse.</summary>
    ValueTask<HistoryResult> HistoryAsync(ReadOnlyMemory<byte> key, HistoryOptions? options = null, CancellationToken cancellation = default);

    /// <summary>
    /// Brings the keys of a range back to what they were at a version or time, also across partitions: by new puts and removals, all at one new
    /// version. Values come back with their expiry, unless it is past. Nothing changes and it ends with <see cref="Status.Compacted"/>
    /// if that has been forgotten. Other writes to the same partitions wait until it is done; readers do not.
    /// </summary>
    ValueTask<RollBackResult> RollBackAsync(KeyRange range, AsOf to, CancellationToken cancellation = default);

    /// <summary>Brings a key back to what it was at a version or time (a time is exact here).</summary>
    ValueTask<RollBackResult> RollBackAsync(ReadOnlyMemory<byte> key, AsOf to, CancellationToken cancellation = default);

    /// <summary>Brings the keys of a partition back to what they were; <see cref="Status.NotFound"/> if there is none with this number.</summary>
    ValueTask<RollBackResult> RollBackAsync(long partition, AsOf to, CancellationToken cancellation = default);

    /// <summary>
    /// Begins a transaction; dispose it. Throws <see cref="RefusedException"/> if there are too many
    /// (<see cref="Status.Busy"/>). <see cref="StoreTransactions.TransactAsync"/> begins, commits and does the work again after a conflict.
    /// </summary>
    ValueTask<ITransaction> BeginAsync(TransactionOptions? options = null, CancellationToken cancellation = default);
}
