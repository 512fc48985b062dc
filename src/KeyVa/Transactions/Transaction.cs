using System.Runtime.CompilerServices;
using KeyVa.Indexes;
using KeyVa.Merges;
using KeyVa.Partitions;
using KeyVa.Transactions;
using KeyVa.Transactions.Locks;

namespace KeyVa;

/// <summary>
/// A transaction of an embedded store (<see cref="Store.Begin"/>): reads, writes that only it sees, and a commit that makes
/// them happen together or not at all. One caller at a time; dispose it, which rolls back what is not committed.
/// </summary>
/// <remarks>
/// The synchronous calls take and give spans. A lease of a value that this transaction has written is valid until its next write.
/// Calls after its end: <see cref="InvalidOperationException"/> if its owner has ended it; the status
/// <see cref="Status.Expired"/> or <see cref="Status.Deadlock"/> if the store has.
/// </remarks>
public sealed class Transaction : ITransaction, IAttempt, IDisposable
{
    private TransactionBody? _body;

    internal Transaction(TransactionBody body)
    {
        _body = body;
        Options = body.Options;
        Number = body.Number;
    }

    /// <inheritdoc/>
    public TransactionOptions Options { get; }

    /// <summary>Its number among the transactions of the store since it was opened: what errors call it.</summary>
    public long Number { get; }

    /// <summary>The version of the snapshot it reads at; 0 if its level has none.</summary>
    public long SnapshotVersion => Body.At < 0 ? 0 : Body.At;

    /// <summary>Whether it goes on: neither committed, nor rolled back by its owner or the store.</summary>
    public bool IsActive => _body is { IsActive: true };

    /// <summary>The body that runs, or that the store has ended; throws if its owner has ended it.</summary>
    private TransactionBody Body
    {
        get
        {
            TransactionBody? body = _body;
            if (body is null || (!body.IsActive && body.EndStatus == Status.Ok))
            {
                ThrowEnded();
            }

            return body!;
        }
    }

    /// <summary>Reads a key without a copy; dispose the lease soon. The status says if the transaction has ended or waited too long.</summary>
    public ValueLease Get(scoped ReadOnlySpan<byte> key)
    {
        TransactionBody body = Body;
        return TransactionReads.Get(body, key, body.At, forUpdate: false);
    }

    /// <summary>
    /// Reads a key that is going to be written, and must not change until the commit, at any level. Under pessimistic control
    /// it is locked as if it were written already, and its newest value is read.
    /// </summary>
    public ValueLease GetForUpdate(scoped ReadOnlySpan<byte> key)
    {
        TransactionBody body = Body;
        return TransactionReads.Get(body, key, body.At, forUpdate: true);
    }

    /// <summary>Reads a key into a buffer. Status Ok with <paramref name="length"/> beyond the buffer's: it was too small, nothing was copied.</summary>
    public Status TryGet(ReadOnlySpan<byte> key, Span<byte> destination, out int length)
    {
        using ValueLease lease = Get(key);
        length = lease.Value.Length;
        lease.Value.TryCopyTo(destination);
        return lease.Status;
    }

    /// <summary>Reads several keys, as of one moment (at read uncommitted: one after the other).</summary>
    public MultiReadResult Get(IReadOnlyList<ReadOnlyMemory<byte>> keys)
    {
        MultiReadResult result = MultiReads.Get(Body, keys, out ValueTask closed);
        if (!closed.IsCompletedSuccessfully)
        {
            closed.AsTask().GetAwaiter().GetResult();
            result = MultiReads.Get(Body, keys, out _);
        }

        return result;
    }

    /// <summary>
    /// Opens a cursor over a range, with what this transaction has written and writes on meanwhile; check its
    /// <see cref="ScanCursor.Status"/>. Dispose it before the transaction. It throws <see cref="RefusedException"/> if the
    /// transaction has ended.
    /// </summary>
    public ScanCursor Scan(ScanOptions options) => TransactionScans.Open(Body, options);

    /// <summary>
    /// Asks a secondary index at this transaction's snapshot (a new one for each call, if its level has none), with what the transaction has
    /// written until now; check the cursor's <see cref="IndexCursor.Status"/>. At <see cref="IsolationLevel.Serializable"/> the commit
    /// finds what was read of the index unchanged, or ends with <see cref="Status.Conflict"/>; no locks are taken. Dispose it before the transaction.
    /// </summary>
    public IndexCursor Query(IndexQuery query) => TransactionQueries.Open(Body, query);

    /// <summary>As <see cref="Query"/>, without blocking while the snapshot waits for writes under way.</summary>
    public ValueTask<IndexCursor> OpenQueryAsync(IndexQuery query, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        return TransactionQueries.OpenAsync(Body, query);
    }

    /// <summary>
    /// Writes a key. A condition is evaluated now, against what this transaction sees, and checked again by the commit. The
    /// result has no version: that comes with the commit.
    /// </summary>
    public WriteResult Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, WriteOptions options = default) =>
        TransactionWrites.Put(Body, key, value, options);

    /// <summary>
    /// Makes a key's value from the one that it has and an operand, when the transaction commits: over whatever is there then, so it never conflicts, unless
    /// the transaction has read the key too. What it comes to shows when the key is read. Over what this transaction has written itself it is done at once. Without an
    /// expiry a key that is there keeps its own. <see cref="Status.MergeRefused"/> from here, a read or the commit, if the function refuses.
    /// </summary>
    public WriteResult Merge(ReadOnlySpan<byte> key, MergeFunction function, ReadOnlySpan<byte> operand, WriteOptions options = default)
    {
        ArgumentNullException.ThrowIfNull(function);
        return TransactionMerges.Merge(Body, key, function, operand, options);
    }

    /// <summary>Adds to a counter when the transaction commits; see <see cref="Merge"/>.</summary>
    public WriteResult Increment(ReadOnlySpan<byte> key, long delta = 1, WriteOptions options = default)
    {
        Span<byte> text = stackalloc byte[IncrementMerge.MaxDigits];
        return Merge(key, MergeFunction.Increment, IncrementMerge.Operand(delta, text), options);
    }

    /// <summary>Removes a key, without a look whether it is there (unless a condition asks for one).</summary>
    public WriteResult Remove(ReadOnlySpan<byte> key, Condition condition = default) => TransactionWrites.Remove(Body, key, condition);

    /// <summary>
    /// Removes every key from <paramref name="from"/> (inclusive) up to <paramref name="to"/> (exclusive), those included that
    /// this transaction has put; an empty bound is open. It takes what is there when the transaction commits.
    /// </summary>
    public WriteResult RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to) => TransactionWrites.RemoveRange(Body, from, to);

    /// <summary>Marks this point; see <see cref="RollbackTo"/>.</summary>
    public Savepoint SetSavepoint() => Body.SetSavepoint();

    /// <summary>
    /// Takes back what was written since a savepoint, and the savepoints set since; the savepoint stays. What was read and
    /// locked stays so.
    /// </summary>
    public void RollbackTo(Savepoint savepoint)
    {
        if (!TryRollbackTo(savepoint))
        {
            throw new ArgumentException($"the transaction has no savepoint {savepoint.Number}", nameof(savepoint));
        }
    }

    /// <summary>Makes everything written happen, or nothing, and waits until it is as durable as the store promises.</summary>
    public CommitResult Commit() => TransactionCommit.Run(Body);

    /// <summary>Ends the transaction; nothing of it happens. One that has ended is left alone.</summary>
    public void Rollback() => _body?.End(_body.State, Status.Ok);

    /// <inheritdoc/>
    public async ValueTask<ReadResult> GetAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default) =>
        await ReadAsync(key, false, cancellation).ConfigureAwait(false);

    /// <inheritdoc/>
    public async ValueTask<ReadResult> GetForUpdateAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default) =>
        await ReadAsync(key, true, cancellation).ConfigureAwait(false);

    /// <inheritdoc/>
    public async ValueTask<MultiReadResult> GetAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(keys);
        cancellation.ThrowIfCancellationRequested();
        TransactionBody body = Body;
        foreach (ReadOnlyMemory<byte> key in keys)
        {
            if (await PrepareAsync(key, body.LocksReads ? body.ReadMode : 0).ConfigureAwait(false) is var status && status != Status.Ok)
            {
                return new MultiReadResult { Status = status, Detail = body.Detail, Records = [] };
            }
        }

        return Get(keys);
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<Record> ScanAsync(ScanOptions options, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        using ScanCursor cursor = await TransactionScans.OpenAsync(Body, options).ConfigureAwait(false);
        if (cursor.Status != Status.Ok)
        {
            throw new RefusedException(cursor.Status, cursor.Detail ?? "the scan was refused");
        }

        while (cursor.MoveNext())
        {
            cancellation.ThrowIfCancellationRequested();
            yield return StoreReads.Copy(cursor);
        }
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<IndexedRecord> QueryAsync(IndexQuery query, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        using IndexCursor cursor = await OpenQueryAsync(query, cancellation).ConfigureAwait(false);
        foreach (IndexedRecord record in IndexedRecord.All(cursor, cancellation))
        {
            yield return record;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<WriteResult> PutAsync(ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, WriteOptions options = default, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        Status status = await PrepareAsync(key, LockMode.Exclusive).ConfigureAwait(false);
        return status == Status.Ok ? Put(key.Span, value.Span, options) : TransactionWrites.Refused(Body, status);
    }

    /// <inheritdoc/>
    public async ValueTask<WriteResult> MergeAsync(
        ReadOnlyMemory<byte> key, MergeFunction function, ReadOnlyMemory<byte> operand, WriteOptions options = default, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        Status status = await PrepareAsync(key, LockMode.Exclusive).ConfigureAwait(false);
        return status == Status.Ok ? Merge(key.Span, function, operand.Span, options) : TransactionWrites.Refused(Body, status);
    }

    /// <inheritdoc/>
    public ValueTask<WriteResult> IncrementAsync(ReadOnlyMemory<byte> key, long delta = 1, WriteOptions options = default, CancellationToken cancellation = default) =>
        MergeAsync(key, MergeFunction.Increment, IncrementMerge.Operand(delta), options, cancellation);

    /// <inheritdoc/>
    public async ValueTask<WriteResult> RemoveAsync(ReadOnlyMemory<byte> key, Condition condition = default, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        Status status = await PrepareAsync(key, LockMode.Exclusive).ConfigureAwait(false);
        return status == Status.Ok ? Remove(key.Span, condition) : TransactionWrites.Refused(Body, status);
    }

    /// <inheritdoc/>
    public async ValueTask<WriteResult> RemoveRangeAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        TransactionBody body = Body;
        if (body.IsPessimistic && !new KeyRange(from, to).IsEmpty)
        {
            Status status = await body.LockAsync(from.Span, to.Span, isRange: true, LockMode.Exclusive).ConfigureAwait(false);
            if (status != Status.Ok)
            {
                return TransactionWrites.Refused(body, status);
            }
        }

        return RemoveRange(from.Span, to.Span);
    }

    /// <inheritdoc/>
    public ValueTask<WriteResult> WriteAsync(WriteBatch batch, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(batch);
        return TransactionBatch.ApplyAsync(this, Body, batch, cancellation);
    }

    /// <inheritdoc/>
    public ValueTask<Savepoint> SetSavepointAsync(CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        return ValueTask.FromResult(SetSavepoint());
    }

    /// <inheritdoc/>
    public ValueTask RollbackToAsync(Savepoint savepoint, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        RollbackTo(savepoint);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask<CommitResult> CommitAsync(CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        return TransactionCommit.RunAsync(Body);
    }

    /// <inheritdoc/>
    public ValueTask RollbackAsync(CancellationToken cancellation = default)
    {
        Rollback();
        return default;
    }

    /// <summary>Rolls back what is not committed.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _body, null) is { } body)
        {
            body.End(body.State, Status.Ok);
            if (body.IsEnded)
            {
                LiveTransactions.Return(body);
            }
        }
    }

    /// <summary>Rolls back what is not committed.</summary>
    public ValueTask DisposeAsync()
    {
        Dispose();
        return default;
    }

    /// <summary>How it stands when its work is done: null if it is to be committed, Ok if the work has rolled it back.</summary>
    internal CommitResult? EndOfWork() => _body switch
    {
        null => new CommitResult { Status = Status.Ok },
        { IsActive: true, MissedLock: true } body => new CommitResult { Status = Status.LockTimeout, Detail = body.Detail },
        { IsActive: true } => null,
        { } body => new CommitResult { Status = body.EndStatus, Detail = body.Detail },
    };

    /// <summary>As <see cref="SetSavepoint"/>, any number of times: nothing is kept of it.</summary>
    internal WriteSet.Mark Mark() => Body.Writes.Here();

    /// <summary>As <see cref="RollbackTo"/>. No savepoint was set since.</summary>
    internal void TakeBackTo(in WriteSet.Mark mark) => Body.TakeBackTo(mark);

    /// <summary>As <see cref="RollbackTo"/>; false if there is no such savepoint.</summary>
    internal bool TryRollbackTo(Savepoint savepoint) => Body.TryRollBackTo(savepoint);

    CommitResult? IAttempt.EndOfWork() => EndOfWork();

    /// <summary>As <see cref="Scan"/>, without blocking the thread.</summary>
    internal ValueTask<ScanCursor> OpenScanAsync(ScanOptions options) => TransactionScans.OpenAsync(Body, options);

    /// <summary>Whether a condition holds of a key, now and at the commit: ConditionFailed if not now.</summary>
    internal async ValueTask<WriteResult> CheckAsync(ReadOnlyMemory<byte> key, Condition condition, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        Status status = await PrepareAsync(key, LockMode.Exclusive).ConfigureAwait(false);
        long current = 0;
        if (status == Status.Ok)
        {
            status = TransactionReads.Check(Body, key.Span, condition, out current);
        }

        return status switch
        {
            Status.Ok => new WriteResult { FailedOperation = -1 },
            Status.ConditionFailed => Refusals.ConditionFailed(0, current),
            _ => TransactionWrites.Refused(Body, status),
        };
    }

    internal static InvalidOperationException Ended() =>
        new("the transaction has been committed, rolled back or disposed; begin another one");

    private static void ThrowEnded() => throw Ended();

    private async ValueTask<ReadResult> ReadAsync(ReadOnlyMemory<byte> key, bool forUpdate, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        TransactionBody body = Body;
        Status status = await PrepareAsync(key, forUpdate ? LockMode.Exclusive : body.LocksReads ? body.ReadMode : 0).ConfigureAwait(false);
        if (status != Status.Ok)
        {
            return new ReadResult { Status = status, Detail = body.Detail };
        }

        using ValueLease lease = forUpdate ? GetForUpdate(key.Span) : Get(key.Span);
        return lease.Status > Status.NotFound && body.Detail is { } detail
            ? new ReadResult { Status = lease.Status, Detail = detail }
            : StoreReads.Copy(key, lease);
    }

    /// <summary>Waits for the lock of a key and until it can be read; what follows does not wait.</summary>
    internal async ValueTask<Status> PrepareAsync(ReadOnlyMemory<byte> key, LockMode mode)
    {
        TransactionBody body = Body;
        if (key.Length is 0 or > Limits.MaxKeyBytes)
        {
            return Status.Ok;
        }

        if (body.IsPessimistic && mode != 0)
        {
            Status status = await body.LockAsync(key.Span, default, isRange: false, mode).ConfigureAwait(false);
            if (status != Status.Ok)
            {
                return status;
            }
        }

        await TransactionReads.WaitUntilClosed(body, key.Span).ConfigureAwait(false);
        return Status.Ok;
    }
}
