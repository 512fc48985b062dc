using System.Runtime.CompilerServices;
using KeyVa.Indexes;
using KeyVa.Merges;
using KeyVa.Partitions;
using KeyVa.Protocol.Grpc;
using KeyVa.Transactions;
using Methods = KeyVa.Protocol.V1.Methods;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>
/// A transaction on a server (<see cref="RemoteStore.BeginAsync"/>). One caller at a time, a call after the other; dispose it, which
/// rolls back what is not committed. It belongs to its id, not to a connection: after a lost connection it goes on, until its
/// time limit. A server that was started again knows nothing of it: every call then ends with <see cref="Status.Expired"/>.
/// </summary>
/// <remarks>A commit whose answer is lost throws <see cref="ServerUnreachableException"/>: whether it happened is unknown.</remarks>
public sealed class RemoteTransaction : ITransaction, IAttempt
{
    /// <summary>What it is that was not found, if not the transaction.</summary>
    private const string NotFoundTrailer = "keyva-not-found";

    private readonly Connection _connection;
    private bool _isOver;
    private bool _missedLock;
    private CommitResult? _ended;

    internal RemoteTransaction(Connection connection, TransactionOptions options, Wire.BeginResponse begun)
    {
        _connection = connection;
        Options = options;
        Id = begun.Id;
        Number = begun.Number;
    }

    /// <inheritdoc/>
    public TransactionOptions Options { get; }

    /// <summary>What names it to the server, over every front door: whoever knows it may use the transaction.</summary>
    public string Id { get; }

    /// <summary>Its number on the server: what errors call it.</summary>
    public long Number { get; }

    /// <inheritdoc/>
    public ValueTask<ReadResult> GetAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default) => GetAsync(key, false, cancellation);

    /// <inheritdoc/>
    public ValueTask<ReadResult> GetForUpdateAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default) => GetAsync(key, true, cancellation);

    /// <inheritdoc/>
    public async ValueTask<MultiReadResult> GetAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(keys);
        Wire.TxnGetRequest request = new() { Id = Id };
        foreach (ReadOnlyMemory<byte> key in keys)
        {
            request.Keys.Add(WireRecord.Lend(key));
        }

        Reply<Wire.GetResponse> reply = await CallAsync(Methods.TxnGet, request, isRead: true, cancellation);
        return reply.Message is { } message
            ? new MultiReadResult { Records = WireRecord.ToRecords(message.Records, keys.Count) }
            : new MultiReadResult { Status = reply.Status, Detail = reply.Detail, Records = [] };
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<Record> ScanAsync(ScanOptions options, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        Wire.ScanRequest scan = WireRecord.ToScan(options);
        while (true)
        {
            Wire.TxnScanRequest request = new() { Id = Id, Scan = scan };
            Reply<Wire.ScanResponse> reply = await CallAsync(Methods.TxnScan, request, isRead: true, cancellation);
            if (reply.Message is not { } page)
            {
                throw new RefusedException(reply.Status, reply.Detail ?? "the scan was refused");
            }

            foreach (Wire.Record record in page.Records)
            {
                yield return WireRecord.ToRecord(record);
            }

            bool isDone = scan.Limit > 0 && (scan.Limit -= page.Records.Count) <= 0;
            if (isDone || page.Resume.IsEmpty)
            {
                yield break;
            }

            scan.After = page.Resume;
        }
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<IndexedRecord> QueryAsync(IndexQuery query, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(query);
        Wire.QueryRequest rest = WireIndex.ToRequest(query);
        while (true)
        {
            Reply<Wire.QueryResponse> reply = await CallAsync(Methods.TxnQuery, new Wire.TxnQueryRequest { Id = Id, Query = rest }, isRead: true, cancellation);
            if (reply.Message is not { } page)
            {
                throw new RefusedException(reply.Status, reply.Detail ?? "the query was refused");
            }

            foreach (Wire.IndexedRecord record in page.Records)
            {
                yield return WireIndex.ToRecord(record);
            }

            bool isDone = rest.Limit > 0 && (rest.Limit -= page.Records.Count) <= 0;
            if (isDone || page.Resume.IsEmpty)
            {
                yield break;
            }

            rest.After = page.Resume;
        }
    }

    /// <inheritdoc/>
    public ValueTask<WriteResult> PutAsync(
        ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, WriteOptions options = default, CancellationToken cancellation = default)
    {
        if (options.Acknowledgement.Early > 0)
        {
            return ValueTask.FromResult(AcknowledgementRules.InTransaction);
        }

        Wire.Put put = WireRecord.ToPut(
            WireRecord.Lend(key), WireRecord.Lend(value), options.Expiry, WireRecord.ToCondition(options.Condition));
        return WriteAsync(new Wire.Operation { Put = put }, cancellation);
    }

    /// <inheritdoc/>
    public async ValueTask<WriteResult> MergeAsync(
        ReadOnlyMemory<byte> key, MergeFunction function, ReadOnlyMemory<byte> operand, WriteOptions options = default, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(function);
        using WriteBatch batch = new() { Acknowledgement = options.Acknowledgement };
        return await WriteAsync(batch.Merge(key.Span, function, operand.Span, options with { Acknowledgement = default }), cancellation);
    }

    /// <inheritdoc/>
    public ValueTask<WriteResult> IncrementAsync(ReadOnlyMemory<byte> key, long delta = 1, WriteOptions options = default, CancellationToken cancellation = default) =>
        MergeAsync(key, MergeFunction.Increment, IncrementMerge.Operand(delta), options, cancellation);

    /// <inheritdoc/>
    public ValueTask<WriteResult> RemoveAsync(ReadOnlyMemory<byte> key, Condition condition = default, CancellationToken cancellation = default)
    {
        Wire.Removal removal = new() { Key = WireRecord.Lend(key), Condition = WireRecord.ToCondition(condition), Blind = true };
        return WriteAsync(new Wire.Operation { Remove = removal }, cancellation);
    }

    /// <inheritdoc/>
    public ValueTask<WriteResult> RemoveRangeAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, CancellationToken cancellation = default)
    {
        Wire.RangeRemoval range = new() { From = WireRecord.Lend(from), To = WireRecord.Lend(to), All = from.IsEmpty && to.IsEmpty };
        return WriteAsync(new Wire.Operation { RemoveRange = range }, cancellation);
    }

    /// <inheritdoc/>
    public async ValueTask<WriteResult> WriteAsync(WriteBatch batch, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (batch.Acknowledgement.Early > 0)
        {
            return AcknowledgementRules.InTransaction;
        }

        Wire.TxnWriteRequest request = new() { Id = Id };
        WireBatch.AddTo(request.Operations, batch);
        Reply<Wire.WriteResponse> reply = await CallAsync(Methods.TxnWrite, request, isRead: false, cancellation);
        WriteResult result = RemoteStore.ToResult(reply);
        return reply.Message is null || !batch.Commands.HasRemovals ? result : result with { Removed = WireBatch.Removed(batch, reply.Message) };
    }

    /// <inheritdoc/>
    public async ValueTask<Savepoint> SetSavepointAsync(CancellationToken cancellation = default)
    {
        Reply<Wire.SetSavepointResponse> reply = await CallAsync(Methods.SetSavepoint, new Wire.SetSavepointRequest { Id = Id }, isRead: false, cancellation);
        return reply.Message is { } set
            ? Savepoint.FromNumber(set.Savepoint)
            : throw new RefusedException(reply.Status, reply.Detail ?? "the savepoint was refused");
    }

    /// <inheritdoc/>
    public async ValueTask RollbackToAsync(Savepoint savepoint, CancellationToken cancellation = default)
    {
        Wire.RollbackToRequest request = new() { Id = Id, Savepoint = savepoint.Number };
        Reply<Wire.RollbackToResponse> reply = await CallAsync(Methods.RollbackTo, request, isRead: false, cancellation);
        if (reply.Message is null)
        {
            throw reply.Status == Status.Invalid
                ? new ArgumentException(reply.Detail, nameof(savepoint))
                : new RefusedException(reply.Status, reply.Detail ?? "the roll back was refused");
        }
    }

    /// <inheritdoc/>
    public async ValueTask<CommitResult> CommitAsync(CancellationToken cancellation = default)
    {
        Reply<Wire.CommitResponse> reply = await CallAsync(Methods.Commit, new Wire.CommitRequest { Id = Id }, isRead: false, cancellation);
        _isOver = true;
        return reply.Message is { } done ? new CommitResult { Version = done.Version, Receipt = WireReceipt.Of(done.Receipt) } : ToCommit(reply.Status, reply.Detail, reply.Trailers);
    }

    /// <inheritdoc/>
    public async ValueTask RollbackAsync(CancellationToken cancellation = default)
    {
        if (_isOver)
        {
            return;
        }

        // An id that the server does not know is over already.
        await CallAsync(Methods.Rollback, new Wire.RollbackRequest { Id = Id }, isRead: true, cancellation);
        _isOver = true;
    }

    /// <summary>Rolls back what is not committed; if the server cannot be reached, it does so itself at the time limit.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_isOver)
        {
            return;
        }

        try
        {
            await RollbackAsync();
        }
        catch (StoreException)
        {
            // Not reached: the time limit ends it.
        }

        _isOver = true;
    }

    CommitResult? IAttempt.EndOfWork() => _isOver ? new CommitResult()
        : _ended ?? (_missedLock ? new CommitResult { Status = Status.LockTimeout, Detail = "a lock was not to be had in time" } : null);

    /// <summary>A refused commit, with the key of its conflict.</summary>
    internal static CommitResult ToCommit(Status status, string? detail, GrpcMetadata trailers) => new()
    {
        Status = status,
        Detail = detail,
        ConflictKey = status == Status.Conflict ? trailers.GetBytes("keyva-conflict-key-bin") : default(ReadOnlyMemory<byte>),
    };

    private async ValueTask<ReadResult> GetAsync(ReadOnlyMemory<byte> key, bool forUpdate, CancellationToken cancellation)
    {
        Wire.TxnGetRequest request = new() { Id = Id, Keys = { WireRecord.Lend(key) }, ForUpdate = forUpdate };
        Reply<Wire.GetResponse> reply = await CallAsync(Methods.TxnGet, request, isRead: true, cancellation);
        if (reply.Message is not { } message)
        {
            return new ReadResult { Status = reply.Status, Detail = reply.Detail };
        }

        return WireRecord.ToRecords(message.Records, 1)[0] is { } record
            ? new ReadResult { Record = record }
            : new ReadResult { Status = Status.NotFound };
    }

    private async ValueTask<WriteResult> WriteAsync(Wire.Operation operation, CancellationToken cancellation)
    {
        Wire.TxnWriteRequest request = new() { Id = Id, Operations = { operation } };
        WriteResult result = RemoteStore.ToResult(await CallAsync(Methods.TxnWrite, request, isRead: false, cancellation));
        return result with { FailedOperation = result.Status == Status.ConditionFailed ? 0 : -1 };
    }

    /// <summary>A call of this transaction; the id that the server does not know any more comes back as Expired.</summary>
    private async ValueTask<Reply<TResponse>> CallAsync<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, TRequest request, bool isRead, CancellationToken cancellation)
        where TRequest : class, Google.Protobuf.IMessage<TRequest>
        where TResponse : class, Google.Protobuf.IMessage<TResponse>
    {
        if (_isOver)
        {
            throw new InvalidOperationException("the transaction has been committed, rolled back or disposed; begin another one");
        }

        Reply<TResponse> reply = await _connection.CallAsync(method, request, isRead, cancellation, waits: Options.LockTimeout);
        if (reply.Message is null && reply.Status == Status.NotFound && reply.Trailers.Get(NotFoundTrailer) is null)
        {
            reply = reply with { Status = Status.Expired };
        }

        _missedLock |= reply.Status == Status.LockTimeout;
        if (reply.Status is Status.Expired or Status.Deadlock)
        {
            _ended = new CommitResult { Status = reply.Status, Detail = reply.Detail };
        }

        return reply;
    }
}
