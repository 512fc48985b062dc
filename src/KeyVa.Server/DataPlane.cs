using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Sessions;
using KeyVa.Transactions;

namespace KeyVa.Server;

/// <summary>The gRPC data plane: data.proto on the store. Thread-safe.</summary>
/// <remarks>
/// Writes are not cancelled when their caller goes away: they are on their way to the disk, and their memory is in use.
/// </remarks>
internal sealed class DataPlane(Store store, TransactionRegistry transactions, GrpcGuard guard, TimeProvider clock)
{
    /// <summary>Keys that one request may read: every value is in memory at once.</summary>
    internal const int MaxGetKeys = RestBatches.MaxGetKeys;

    // Messages carry tags, lengths, conditions and expiries beside keys and values.
    private const int MessageFactor = 2;
    private const int MessageSlackBytes = 1 << 20;

    /// <summary>The service, to be served.</summary>
    public GrpcService ToService()
    {
        long largest = Math.Max(store.Options.MaxBatchBytes, store.Options.MaxValueBytes);
        GrpcServiceOptions options = new()
        {
            MaxReceiveBytes = (int)Math.Max(
                (largest * MessageFactor) + MessageSlackBytes, GrpcServiceOptions.DefaultMaxReceiveBytes),
        };
        PastCalls past = new(store);
        IndexCalls indexes = new(store, clock);
        return new TransactionPlane(store, transactions, guard).AddTo(new GrpcService(Methods.DataPlane, options))
            .Unary(Methods.History, guard.Unary<HistoryRequest, HistoryResponse>(Operation.Scan, past.HistoryAsync))
            .Unary(Methods.Revert, guard.Unary<RevertRequest, RevertResponse>(Operation.Other, past.RollBackAsync))
            .Unary(Methods.ListIndexes, guard.Unary<ListIndexesRequest, ListIndexesResponse>(Operation.Other, indexes.ListAsync))
            .ServerStreaming(Methods.WaitIndex, guard.ServerStreaming<WaitIndexRequest, IndexProgress>(Operation.Other, indexes.WaitAsync))
            .ServerStreaming(Methods.Query, guard.ServerStreaming<QueryRequest, QueryResponse>(Operation.Scan, indexes.QueryAsync))
            .Unary(Methods.OpenSessions, guard.Unary<OpenSessionsRequest, OpenSessionsResponse>(Operation.Other, new SessionCalls(store).OpenAsync))
            .Unary(Methods.Get, guard.Unary<GetRequest, GetResponse>(Operation.Get, GetAsync))
            .Unary(Methods.Upsert, guard.Unary<UpsertRequest, WriteResponse>(Operation.Upsert, UpsertAsync))
            .Unary(Methods.Remove, guard.Unary<RemoveRequest, WriteResponse>(Operation.Remove, RemoveAsync))
            .Unary(Methods.Write, guard.Unary<WriteRequest, WriteResponse>(Operation.Write, WriteAsync))
            .ServerStreaming(Methods.Scan, guard.ServerStreaming<ScanRequest, ScanResponse>(Operation.Scan, ScanAsync))
            .ServerStreaming(Methods.Watch, guard.ServerStreaming<WatchRequest, WatchResponse>(Operation.Other, WatchAsync))
            .ClientStreaming(
                Methods.BulkUpsert,
                guard.ClientStreaming<BulkUpsertRequest, BulkUpsertResponse>(
                    Operation.BulkUpsert, (requests, call) => new BulkWriter(store, guard).RunAsync(requests, call)));
    }

    private ValueTask<GrpcResult<GetResponse>> GetAsync(GetRequest request, GrpcCallContext call)
    {
        if (request.Keys.Count != 1 || request.AtCase != GetRequest.AtOneofCase.None)
        {
            return GetManyAsync(request, call);
        }

        ByteString key = request.Keys[0];
        long asked = ReadTimes.Begin(guard.Tracer);
        using ValueLease lease = store.Get(key.Span);
        ReadTimes.End(asked, call.HttpContext);
        return lease.Status is Status.Ok or Status.NotFound
            ? new(new GetResponse { Records = { ProtoRecord.Of(key, lease) } })
            : new(GrpcRefusal.Of(call, lease.Status, null));
    }

    private async ValueTask<GrpcResult<GetResponse>> GetManyAsync(GetRequest request, GrpcCallContext call)
    {
        if (request.Keys.Count == 0)
        {
            return GrpcRefusal.Malformed(call, "keys is empty; ask for at least one");
        }

        if (request.Keys.Count > MaxGetKeys)
        {
            return GrpcRefusal.Of(
                call, Status.TooLarge, $"{request.Keys.Count} keys are more than the {MaxGetKeys} that one request may read");
        }

        if (request.AtCase != GetRequest.AtOneofCase.None)
        {
            return await PastCalls.GetAsync(store, request, call);
        }

        List<ReadOnlyMemory<byte>> keys = ProtoRecord.Keys(request.Keys);
        MultiReadResult result = await store.GetAsync(keys, call.CancellationToken);
        if (result.Status != Status.Ok)
        {
            return GrpcRefusal.Of(call, result.Status, result.Detail);
        }

        return ProtoRecord.Of(keys, result);
    }

    private async ValueTask<GrpcResult<WriteResponse>> UpsertAsync(UpsertRequest request, GrpcCallContext call)
    {
        if (!Receipts.TryRead(request.Acknowledgement, out Acknowledgement acknowledgement, out string unclear)
            || !SessionCalls.TryRead(request.Session, out SessionHead session, out unclear))
        {
            return GrpcRefusal.Malformed(call, unclear);
        }

        if (request.Puts.Count == 1 && !session.IsSet)
        {
            Put put = request.Puts[0];
            return ProtoBatch.TryReadOptions(put, out WriteOptions options, out string refused)
                ? Answer(await store.UpsertAsync(put.Key.Memory, put.Value.Memory, options with { Acknowledgement = acknowledgement }), call)
                : GrpcRefusal.Malformed(call, "puts[0] " + refused);
        }

        using WriteBatch batch = new() { Acknowledgement = acknowledgement, Session = session };
        return ProtoBatch.TryAdd(batch, request.Puts, out string wrong)
            ? Answer(await store.WriteAsync(batch), call)
            : GrpcRefusal.Malformed(call, wrong);
    }

    private async ValueTask<GrpcResult<WriteResponse>> RemoveAsync(RemoveRequest request, GrpcCallContext call)
    {
        if (!Receipts.TryRead(request.Acknowledgement, out Acknowledgement acknowledgement, out string unclear)
            || !SessionCalls.TryRead(request.Session, out SessionHead session, out unclear))
        {
            return GrpcRefusal.Malformed(call, unclear);
        }

        using WriteBatch batch = new() { Acknowledgement = acknowledgement, Session = session };
        return ProtoBatch.TryAdd(batch, request.Removals, out string wrong)
            ? Answer(await store.WriteAsync(batch), call, static _ => true, request.Removals.Count)
            : GrpcRefusal.Malformed(call, wrong);
    }

    private async ValueTask<GrpcResult<WriteResponse>> WriteAsync(WriteRequest request, GrpcCallContext call)
    {
        if (!Receipts.TryRead(request.Acknowledgement, out Acknowledgement acknowledgement, out string unclear)
            || !SessionCalls.TryRead(request.Session, out SessionHead session, out unclear))
        {
            return GrpcRefusal.Malformed(call, unclear);
        }

        using WriteBatch batch = new() { Acknowledgement = acknowledgement, Session = session };
        return ProtoBatch.TryAdd(batch, request.Operations, out string wrong, store.MergeFunctions)
            ? Answer(
                await store.WriteAsync(batch), call,
                i => request.Operations[i].KindCase == Protocol.V1.Operation.KindOneofCase.Remove, request.Operations.Count)
            : GrpcRefusal.Malformed(call, wrong);
    }

    // NotFound is the answer to a single removal that found nothing: the caller asked for the key to be gone, and it is.
    private static GrpcResult<WriteResponse> Answer(
        in WriteResult result, GrpcCallContext call, Func<int, bool>? isRemoval = null, int operations = 0)
    {
        HttpObservation.Note(call.HttpContext, result.Times);
        return result.Status is Status.Ok or Status.NotFound
            ? ProtoRecord.Of(result, isRemoval, operations)
            : GrpcRefusal.Of(call, result);
    }

    private async ValueTask<GrpcStatus> WatchAsync(
        WatchRequest request, GrpcResponseStream<WatchResponse> responses, GrpcCallContext call)
    {
        try
        {
            await WatchMessages.StreamAsync(store.WatchAsync(WatchMessages.ToOptions(request)), responses, call.CancellationToken);
            return GrpcStatus.Ok;
        }
        catch (StoreClosedException closed)
        {
            return new GrpcStatus(GrpcStatusCode.Unavailable, closed.Message);
        }
    }

    private async ValueTask<GrpcStatus> ScanAsync(
        ScanRequest request, GrpcResponseStream<ScanResponse> responses, GrpcCallContext call)
    {
        if (request.Limit < 0)
        {
            return GrpcRefusal.Malformed(call, "limit is negative; 0 is for no limit");
        }

        AsOf at = AsOf.Now;
        if (request.AtCase != ScanRequest.AtOneofCase.None
            && !PastMoment.TryRead(request.HasAtVersion ? request.AtVersion : null, request.HasAtUnixMs ? request.AtUnixMs : null, out at, out string wrong))
        {
            return GrpcRefusal.Malformed(call, wrong);
        }

        using ScanCursor cursor = await store.OpenScanAsync(ScanPages.ToOptions(request) with { At = at }, call.CancellationToken);
        if (cursor.Status != Status.Ok)
        {
            return GrpcRefusal.Past(call, cursor.Status, cursor.Detail, cursor.BeginsAtVersion);
        }

        await ScanPages.StreamAsync(cursor, request.Limit, responses);
        return GrpcStatus.Ok;
    }
}
