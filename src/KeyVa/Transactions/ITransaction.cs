using KeyVa.Indexes;

namespace KeyVa;

/// <summary>
/// A transaction of an embedded store (<see cref="Transaction"/>) or a remote one. Used by one caller at a time, a call after the
/// other; dispose it, which rolls back what is not committed.
/// </summary>
/// <remarks>
/// Calls after its end: one that its owner has ended throws <see cref="InvalidOperationException"/>; one that was ended by its time
/// limit or to break a deadlock answers with that status.
/// </remarks>
public interface ITransaction : IAsyncDisposable
{
    /// <summary>How it was begun.</summary>
    TransactionOptions Options { get; }

    /// <summary>Reads a key.</summary>
    ValueTask<ReadResult> GetAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default);

    /// <summary>Reads a key that is going to be written: under pessimistic control it is locked as if it were written already.</summary>
    ValueTask<ReadResult> GetForUpdateAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default);

    /// <summary>Reads several keys, at any level as of one moment.</summary>
    ValueTask<MultiReadResult> GetAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, CancellationToken cancellation = default);

    /// <summary>
    /// Goes through the records of a range, with what this transaction has written. Throws <see cref="RefusedException"/> from the
    /// enumeration if the scan is refused or the transaction ends.
    /// </summary>
    IAsyncEnumerable<Record> ScanAsync(ScanOptions options, CancellationToken cancellation = default);

    /// <summary>
    /// Asks a secondary index, with what this transaction has written until now; see <see cref="IStore.QueryAsync"/>. In a serializable transaction the
    /// commit finds what was read of the index unchanged, or ends with <see cref="Status.Conflict"/>.
    /// </summary>
    IAsyncEnumerable<IndexedRecord> QueryAsync(IndexQuery query, CancellationToken cancellation = default);

    /// <summary>Writes a key. A condition is evaluated now, against what this transaction sees; that it still holds is checked when it commits.</summary>
    ValueTask<WriteResult> PutAsync(ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, WriteOptions options = default, CancellationToken cancellation = default);

    /// <summary>
    /// Makes a key's value from the one that it has and an operand, when the transaction commits: over whatever is there then, so it never conflicts,
    /// unless the transaction has read the key too. <see cref="WriteResult.Merged"/> is empty: what it comes to shows when the key is
    /// read. <see cref="Status.MergeRefused"/> from here, a read or the commit, if the function refuses.
    /// </summary>
    ValueTask<WriteResult> MergeAsync(
        ReadOnlyMemory<byte> key, MergeFunction function, ReadOnlyMemory<byte> operand, WriteOptions options = default, CancellationToken cancellation = default);

    /// <summary>Adds to a counter when the transaction commits; see <see cref="MergeAsync"/>.</summary>
    ValueTask<WriteResult> IncrementAsync(ReadOnlyMemory<byte> key, long delta = 1, WriteOptions options = default, CancellationToken cancellation = default);

    /// <summary>Removes a key, without a look whether it is there.</summary>
    ValueTask<WriteResult> RemoveAsync(ReadOnlyMemory<byte> key, Condition condition = default, CancellationToken cancellation = default);

    /// <summary>Removes every key of a range; empty bounds are open.</summary>
    ValueTask<WriteResult> RemoveRangeAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, CancellationToken cancellation = default);

    /// <summary>
    /// Writes the operations of a batch, in their order (a removal of a range takes what operations before it have put, and a
    /// key may come several times): all of them, or none if one is refused, which <see cref="WriteResult.FailedOperation"/> names.
    /// </summary>
    ValueTask<WriteResult> WriteAsync(WriteBatch batch, CancellationToken cancellation = default);

    /// <summary>Marks this point; see <see cref="RollbackToAsync"/>.</summary>
    ValueTask<Savepoint> SetSavepointAsync(CancellationToken cancellation = default);

    /// <summary>Takes back what was written since a savepoint, and the savepoints set since. What was read and locked stays so.</summary>
    ValueTask RollbackToAsync(Savepoint savepoint, CancellationToken cancellation = default);

    /// <summary>Makes everything written happen, or nothing. Cancelling has an effect before the commit is under way only.</summary>
    ValueTask<CommitResult> CommitAsync(CancellationToken cancellation = default);

    /// <summary>Ends the transaction; nothing of it happens.</summary>
    ValueTask RollbackAsync(CancellationToken cancellation = default);
}
