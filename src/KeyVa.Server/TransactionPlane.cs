using KeyVa.Indexes;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Transactions;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The transactions of the gRPC data plane. Thread-safe.</summary>
/// <remarks>
/// What belongs to a transaction does so by its id and its user, never by a connection: whoever has lost one goes on over another. Nothing of
/// a transaction is cancelled when its caller goes away but the wait for the call before.
/// </remarks>
internal sealed class TransactionPlane(Store store, TransactionRegistry transactions, GrpcGuard guard)
{
    /// <summary>Bytes after which a page of a scan is sent.</summary>
    private const int PageBytes = 1 << 20;

    /// <summary>Adds the methods to the data plane.</summary>
    public GrpcService AddTo(GrpcService service) => service
        .Unary(Methods.Begin, guard.Unary<BeginRequest, BeginResponse>(Operation.Other, Begin))
        .Unary(Methods.TxnGet, guard.Unary<TxnGetRequest, GetResponse>(Operation.Get, (request, call) => WithAsync(request.Id, call, one => GetAsync(one, request, call))))
        .Unary(Methods.TxnScan, guard.Unary<TxnScanRequest, ScanResponse>(Operation.Scan, (request, call) => WithAsync(request.Id, call, one => ScanAsync(one, request, call))))
        .Unary(Methods.TxnQuery, guard.Unary<TxnQueryRequest, QueryResponse>(Operation.Scan, (request, call) => WithAsync(request.Id, call, one => QueryAsync(one, request, call))))
        .Unary(Methods.TxnWrite, guard.Unary<TxnWriteRequest, WriteResponse>(Operation.Write, (request, call) => WithAsync(request.Id, call, one => WriteAsync(one, request, call))))
        .Unary(Methods.SetSavepoint, guard.Unary<SetSavepointRequest, SetSavepointResponse>(Operation.Other, (request, call) => WithAsync(request.Id, call, one => SetSavepoint(one, call))))
        .Unary(Methods.RollbackTo, guard.Unary<RollbackToRequest, RollbackToResponse>(Operation.Other, (request, call) => WithAsync(request.Id, call, one => RollbackTo(one, request, call))))
        .Unary(Methods.Commit, guard.Unary<CommitRequest, CommitResponse>(Operation.Commit, CommitAsync))
        .Unary(Methods.Rollback, guard.Unary<RollbackRequest, RollbackResponse>(Operation.Other, RollbackAsync))
        .Unary(Methods.Transact, guard.Unary<TransactRequest, TransactResponse>(Operation.Commit, TransactAsync));

    private ValueTask<GrpcResult<BeginResponse>> Begin(BeginRequest request, GrpcCallContext call)
    {
        if (!ProtoTransaction.TryReadOptions(request, out TransactionOptions options, out string wrong))
        {
            return new(GrpcRefusal.Malformed(call, wrong));
        }

        Guid id = transactions.Begin(options, TransactionIds.OwnerOf(call.HttpContext), out long number);
        return new(new BeginResponse { Id = TransactionIds.Format(id), Number = number, TimeLimitMs = (long)options.TimeLimit.TotalMilliseconds });
    }

    /// <summary>Does a call of a transaction, when those before it are through.</summary>
    private async ValueTask<GrpcResult<T>> WithAsync<T>(string id, GrpcCallContext call, Func<Transaction, ValueTask<GrpcResult<T>>> work)
        where T : class
    {
        using TransactionRegistry.Rental rental = await transactions.RentAsync(TransactionIds.Parse(id), TransactionIds.OwnerOf(call.HttpContext), call.CancellationToken);
        return rental.Transaction is { } transaction ? await work(transaction) : NoTransaction(call);
    }

    private static async ValueTask<GrpcResult<GetResponse>> GetAsync(Transaction transaction, TxnGetRequest request, GrpcCallContext call)
    {
        if (request.Keys.Count is 0 or > DataPlane.MaxGetKeys)
        {
            return request.Keys.Count == 0
                ? GrpcRefusal.Malformed(call, "keys is empty; ask for at least one")
                : GrpcRefusal.Of(call, Status.TooLarge, $"{request.Keys.Count} keys are more than the {DataPlane.MaxGetKeys} that one request may read");
        }

        List<ReadOnlyMemory<byte>> keys = ProtoRecord.Keys(request.Keys);
        MultiReadResult result = await TransactionIds.ReadAsync(transaction, keys, request.ForUpdate);
        if (result.Status != Status.Ok)
        {
            return GrpcRefusal.Of(call, result.Status, result.Detail);
        }

        return ProtoRecord.Of(keys, result);
    }

    private static async ValueTask<GrpcResult<ScanResponse>> ScanAsync(Transaction transaction, TxnScanRequest request, GrpcCallContext call)
    {
        ScanRequest scan = request.Scan ?? new ScanRequest();
        if (scan.Limit < 0)
        {
            return GrpcRefusal.Malformed(call, "limit is negative; 0 is for no limit");
        }

        // Not one more than asked for: what is read must not change until the commit, and what lies behind may.
        using ScanCursor cursor = await transaction.OpenScanAsync(ScanPages.ToOptions(scan) with { Limit = scan.Limit });
        if (cursor.Status != Status.Ok)
        {
            return GrpcRefusal.Of(call, cursor.Status, cursor.Detail);
        }

        ScanResponse page = new();
        long bytes = 0;
        while (cursor.MoveNext())
        {
            Wire.Record record = ProtoRecord.Of(cursor);
            page.Records.Add(record);
            bytes += record.Key.Length + record.Value.Length;
            if (bytes >= PageBytes || page.Records.Count == scan.Limit)
            {
                page.Resume = record.Key;
                break;
            }
        }

        return page;
    }

    private static async ValueTask<GrpcResult<QueryResponse>> QueryAsync(Transaction transaction, TxnQueryRequest request, GrpcCallContext call)
    {
        if (!ProtoIndex.TryRead(request.Query ?? new QueryRequest(), out IndexQuery query, out string wrong))
        {
            return GrpcRefusal.Malformed(call, wrong);
        }

        // As for a scan, not one more than asked for.
        using IndexCursor cursor = await transaction.OpenQueryAsync(query);
        if (cursor.Status != Status.Ok)
        {
            return GrpcRefusal.OfQuery(call, cursor.Status, cursor.Detail);
        }

        QueryResponse page = new();
        long bytes = 0;
        while (cursor.MoveNext())
        {
            bytes += IndexCalls.Add(page, cursor);
            if (bytes >= PageBytes || page.Records.Count == query.Limit)
            {
                page.Resume = Google.Protobuf.ByteString.CopyFrom(cursor.ResumeToken);
                break;
            }
        }

        return page;
    }

    private async ValueTask<GrpcResult<WriteResponse>> WriteAsync(Transaction transaction, TxnWriteRequest request, GrpcCallContext call)
    {
        using WriteBatch batch = new();
        if (!ProtoBatch.TryAdd(batch, request.Operations, out string wrong, store.MergeFunctions))
        {
            return GrpcRefusal.Malformed(call, wrong);
        }

        WriteResult result = await transaction.WriteAsync(batch);
        return result.IsOk
            ? ProtoRecord.Of(result, i => request.Operations[i].KindCase == Wire.Operation.KindOneofCase.Remove, request.Operations.Count)
            : GrpcRefusal.Of(call, result);
    }

    private static ValueTask<GrpcResult<SetSavepointResponse>> SetSavepoint(Transaction transaction, GrpcCallContext call) =>
        TransactionIds.Ended(transaction) is { } ended
            ? new(GrpcRefusal.Of(call, ended.Status, ended.Detail))
            : new(new SetSavepointResponse { Savepoint = transaction.SetSavepoint().Number });

    private static ValueTask<GrpcResult<RollbackToResponse>> RollbackTo(Transaction transaction, RollbackToRequest request, GrpcCallContext call) =>
        TransactionIds.Ended(transaction) is { } ended ? new(GrpcRefusal.Of(call, ended.Status, ended.Detail))
        : TransactionIds.TryRollbackTo(transaction, request.Savepoint) ? new(new RollbackToResponse())
        : new(GrpcRefusal.Malformed(call, TransactionIds.NoSavepoint(request.Savepoint)));

    private async ValueTask<GrpcResult<CommitResponse>> CommitAsync(CommitRequest request, GrpcCallContext call)
    {
        CommitResult? result = await transactions.CommitAsync(TransactionIds.Parse(request.Id), TransactionIds.OwnerOf(call.HttpContext), call.CancellationToken);
        HttpObservation.Note(call.HttpContext, result?.Times);
        return result is not { } done ? NoTransaction(call)
            : done.IsOk ? new CommitResponse { Version = done.Version, Receipt = Receipts.ToMessage(done.Receipt) }
            : GrpcRefusal.Of(call, done);
    }

    private async ValueTask<GrpcResult<RollbackResponse>> RollbackAsync(RollbackRequest request, GrpcCallContext call) =>
        await transactions.RollbackAsync(TransactionIds.Parse(request.Id), TransactionIds.OwnerOf(call.HttpContext), call.CancellationToken) ? new RollbackResponse() : NoTransaction(call);

    private async ValueTask<GrpcResult<TransactResponse>> TransactAsync(TransactRequest request, GrpcCallContext call)
    {
        using OneShot plan = new(store.MergeFunctions);
        if (!ProtoTransaction.TryRead(request, plan, out string wrong))
        {
            return GrpcRefusal.Malformed(call, wrong);
        }

        OneShotResult result = await plan.RunAsync(store);
        HttpObservation.Note(call.HttpContext, result.Commit.Times);
        return result.Refusal is { } refused ? GrpcRefusal.Of(call, refused)
            : result.Commit.IsOk ? ProtoTransaction.Of(result)
            : GrpcRefusal.Of(call, result.Commit);
    }

    private static GrpcStatus NoTransaction(GrpcCallContext call) => GrpcRefusal.Of(call, Status.NotFound, TransactionIds.Unknown);
}
