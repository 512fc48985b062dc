using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>Writes one stream of sorted messages as a bulk load. Stateless.</summary>
/// <remarks>
/// The thread that runs the call writes to the disk and waits for it, now and then for a sync: a load is one call, and
/// HTTP/2 holds its client back meanwhile.
/// </remarks>
internal static class SortedLoad
{
    /// <summary>Loads the stream to its end; a refused record, or a caller that goes away, leaves nothing.</summary>
    public static async ValueTask<GrpcResult<BulkUpsertResponse>> RunAsync(
        Store store, GrpcGuard guard, BulkUpsertRequest first, GrpcRequestStream<BulkUpsertRequest> requests, GrpcCallContext call)
    {
        using BulkLoader loader = store.BeginBulkLoad();
        for (BulkUpsertRequest? request = first; request is not null; request = await requests.ReadAsync())
        {
            if (guard.Refuses(request, call, out string denied))
            {
                return GrpcRefusal.Of(call, Status.PermissionDenied, denied);
            }

            if (!TryAdd(loader, request, out WriteResult refusal))
            {
                return GrpcRefusal.Of(call, refusal);
            }
        }

        WriteResult result = loader.Complete();
        return result.IsOk
            ? new BulkUpsertResponse { Records = loader.Records, Version = result.Version }
            : GrpcRefusal.Of(call, result);
    }

    private static bool TryAdd(BulkLoader loader, BulkUpsertRequest request, out WriteResult refusal)
    {
        refusal = default;
        for (int i = 0; i < request.Puts.Count; i++)
        {
            Put put = request.Puts[i];
            if (!ProtoBatch.TryReadOptions(put, out WriteOptions options, out string wrong))
            {
                refusal = Refuse(Status.Invalid, $"puts[{i}] {wrong}");
            }
            else if (put.Condition is not null)
            {
                refusal = Refuse(Status.Invalid, $"puts[{i}] has a condition; a sorted stream takes none");
            }
            else if (loader.Add(put.Key.Span, put.Value.Span, options.Expiry) is var status and not Status.Ok)
            {
                refusal = Refuse(status, loader.Detail!);
            }

            if (!refusal.IsOk)
            {
                return false;
            }
        }

        return true;
    }

    private static WriteResult Refuse(Status status, string detail) => new() { Status = status, FailedOperation = -1, Detail = detail };
}
