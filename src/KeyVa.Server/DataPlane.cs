using System.Diagnostics;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The gRPC data plane: data.proto on the store. Thread-safe.</summary>
internal sealed class DataPlane(Store store, RequestMeter meter, FailureLog failures)
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
        return new GrpcService(GrpcMethods.DataPlane, options)
            .Unary(GrpcMethods.Get, GetAsync)
            .Unary(GrpcMethods.Upsert, UpsertAsync)
            .Unary(GrpcMethods.Remove, RemoveAsync)
            .Unary(GrpcMethods.Write, WriteAsync)
            .ServerStreaming(GrpcMethods.Scan, ScanAsync)
            .ClientStreaming(GrpcMethods.BulkUpsert, BulkUpsertAsync);
    }

    private ValueTask<GrpcResult<GetResponse>> GetAsync(GetRequest request, GrpcCallContext call)
    {
        if (request.Keys.Count != 1)
        {
            return GetManyAsync(request, call);
        }

        long started = Stopwatch.GetTimestamp();
        ByteString key = request.Keys[0];
        try
        {
            using ValueLease lease = store.Get(key.Span);
            if (lease.Status is not (Status.Ok or Status.NotFound))
            {
                return new(GrpcRefusal.Of(call, lease.Status, null));
            }

            return new(new GetResponse { Records = { ProtoRecord.Of(key, lease) } });
        }
        catch (StoreException e)
        {
            return new(GrpcRefusal.Failed(call, e, failures));
        }
        finally
        {
            meter.Record(Operation.Get, started);
        }
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

        long started = Stopwatch.GetTimestamp();
        try
        {
            List<ReadOnlyMemory<byte>> keys = ProtoRecord.Keys(request.Keys);
            MultiReadResult result = await store.GetAsync(keys, call.CancellationToken);
            if (result.Status != Status.Ok)
            {
                return GrpcRefusal.Of(call, result.Status, result.Detail);
            }

            GetResponse response = new();
            for (int i = 0; i < keys.Count; i++)
            {
                response.Records.Add(ProtoRecord.Of(keys[i], result.Records[i]));
            }

            return response;
        }
        catch (StoreException e)
        {
            return GrpcRefusal.Failed(call, e, failures);
        }
        finally
        {
            meter.Record(Operation.Get, started);
        }
    }

    private async ValueTask<GrpcResult<WriteResponse>> UpsertAsync(UpsertRequest request, GrpcCallContext call)
    {
        if (request.Puts.Count == 1)
        {
            Put put = request.Puts[0];
            return ProtoBatch.TryReadOptions(put, out WriteOptions options, out string refused)
                ? await AnswerAsync(store.UpsertAsync(put.Key.Memory, put.Value.Memory, options), Operation.Upsert, call)
                : GrpcRefusal.Malformed(call, "puts[0] " + refused);
        }

        using WriteBatch batch = new();
        return ProtoBatch.TryAdd(batch, request.Puts, out string wrong)
            ? await AnswerAsync(store.WriteAsync(batch), Operation.Upsert, call)
            : GrpcRefusal.Malformed(call, wrong);
    }

    private async ValueTask<GrpcResult<WriteResponse>> RemoveAsync(RemoveRequest request, GrpcCallContext call)
    {
        using WriteBatch batch = new();
        return ProtoBatch.TryAdd(batch, request.Removals, out string wrong)
            ? await AnswerAsync(store.WriteAsync(batch), Operation.Remove, call, static _ => true, request.Removals.Count)
            : GrpcRefusal.Malformed(call, wrong);
    }

    private async ValueTask<GrpcResult<WriteResponse>> WriteAsync(WriteRequest request, GrpcCallContext call)
    {
        using WriteBatch batch = new();
        return ProtoBatch.TryAdd(batch, request.Operations, out string wrong)
            ? await AnswerAsync(
                store.WriteAsync(batch), Operation.Write, call,
                i => request.Operations[i].KindCase == Protocol.V1.Operation.KindOneofCase.Remove, request.Operations.Count)
            : GrpcRefusal.Malformed(call, wrong);
    }

    // Writes are not cancelled when the caller goes away: they are on their way to the disk, and their memory is in use.
    private async ValueTask<GrpcResult<WriteResponse>> AnswerAsync(
        ValueTask<WriteResult> write, Operation operation, GrpcCallContext call, Func<int, bool>? isRemoval = null, int operations = 0)
    {
        long started = Stopwatch.GetTimestamp();
        try
        {
            WriteResult result = await write;
            return result.Status switch
            {
                Status.Ok => ProtoRecord.Of(result, isRemoval, operations),
                // A single removal that found nothing: the caller asked for the key to be gone, and it is.
                Status.NotFound => ProtoRecord.Of(result, isRemoval, operations),
                _ => GrpcRefusal.Of(call, result),
            };
        }
        catch (StoreException e)
        {
            return GrpcRefusal.Failed(call, e, failures);
        }
        finally
        {
            meter.Record(operation, started);
        }
    }

    private async ValueTask<GrpcStatus> ScanAsync(
        ScanRequest request, GrpcResponseStream<ScanResponse> responses, GrpcCallContext call)
    {
        if (request.Limit < 0)
        {
            return GrpcRefusal.Malformed(call, "limit is negative; 0 is for no limit");
        }

        long started = Stopwatch.GetTimestamp();
        try
        {
            using ScanCursor cursor = await store.OpenScanAsync(ScanPages.ToOptions(request), call.CancellationToken);
            if (cursor.Status != Status.Ok)
            {
                return GrpcRefusal.Of(call, cursor.Status, cursor.Detail);
            }

            await ScanPages.StreamAsync(cursor, request.Limit, responses);
            return GrpcStatus.Ok;
        }
        catch (StoreException e)
        {
            return GrpcRefusal.Failed(call, e, failures);
        }
        finally
        {
            meter.Record(Operation.Scan, started);
        }
    }

    private async ValueTask<GrpcResult<BulkUpsertResponse>> BulkUpsertAsync(
        GrpcRequestStream<BulkUpsertRequest> requests, GrpcCallContext call)
    {
        long started = Stopwatch.GetTimestamp();
        try
        {
            return await new BulkWriter(store).RunAsync(requests, call);
        }
        catch (StoreException e)
        {
            return GrpcRefusal.Failed(call, e, failures);
        }
        finally
        {
            meter.Record(Operation.BulkUpsert, started);
        }
    }
}
