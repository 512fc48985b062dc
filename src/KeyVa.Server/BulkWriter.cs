using System.Globalization;
using System.Runtime.ExceptionServices;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>
/// Writes one stream of messages, each a batch for itself, several of them at once. Used by one call.
/// </summary>
/// <remarks>
/// 1. Batches enter the partition's queue in the order of the stream and leave it in that order, so a later message wins
///    over an earlier one for the same key.
/// 2. While the window is full nothing is read, and HTTP/2 holds the client back.
/// 3. What was begun is always waited for. After a refused message, those behind it that had begun may be written.
/// </remarks>
internal sealed class BulkWriter(Store store, GrpcGuard guard)
{
    /// <summary>Batches of one stream that are being written at once.</summary>
    internal const int Window = 16;

    /// <summary>How many records of the messages before the refused one were written.</summary>
    internal const string RecordsTrailer = "keyva-records";

    private readonly Queue<(WriteBatch Batch, Task<WriteResult> Write)> _window = new(Window);
    private readonly BulkUpsertResponse _done = new();
    private WriteResult? _refusal;
    private StoreException? _failure;

    /// <summary>Reads and writes the stream to its end, or to the first message that is refused.</summary>
    public async ValueTask<GrpcResult<BulkUpsertResponse>> RunAsync(
        GrpcRequestStream<BulkUpsertRequest> requests, GrpcCallContext call)
    {
        BulkUpsertRequest? request = await requests.ReadAsync();
        if (request is { Sorted: true })
        {
            return await SortedLoad.RunAsync(store, guard, request, requests, call);
        }

        try
        {
            for (; _refusal is null && _failure is null && request is not null; request = await requests.ReadAsync())
            {
                if (guard.Refuses(request, call, out string denied))
                {
                    _refusal = new WriteResult { Status = Status.PermissionDenied, FailedOperation = -1, Detail = denied };
                    break;
                }

                if (!TryBegin(request, out string wrong))
                {
                    _refusal = new WriteResult { Status = Status.Invalid, FailedOperation = -1, Detail = wrong };
                    break;
                }

                while (_window.Count == Window || (_window.TryPeek(out var oldest) && oldest.Write.IsCompleted))
                {
                    await EndOldestAsync();
                }
            }
        }
        finally
        {
            while (_window.Count > 0)
            {
                await EndOldestAsync();
            }
        }

        if (_failure is not null)
        {
            ExceptionDispatchInfo.Throw(_failure);
        }

        if (_refusal is not { } refusal)
        {
            return _done;
        }

        call.ResponseTrailers.Add(RecordsTrailer, _done.Records.ToString(CultureInfo.InvariantCulture));
        return GrpcRefusal.Of(call, refusal);
    }

    private bool TryBegin(BulkUpsertRequest request, out string wrong)
    {
        WriteBatch batch = new();
        if (!ProtoBatch.TryAdd(batch, request.Puts, out wrong))
        {
            batch.Dispose();
            return false;
        }

        _window.Enqueue((batch, store.WriteAsync(batch).AsTask()));
        return true;
    }

    private async ValueTask EndOldestAsync()
    {
        (WriteBatch batch, Task<WriteResult> write) = _window.Dequeue();
        using (batch)
        {
            try
            {
                Count(await write, batch.Count);
            }
            catch (StoreException e)
            {
                _failure ??= e;
            }
        }
    }

    private void Count(in WriteResult result, int records)
    {
        if (_refusal is not null || _failure is not null)
        {
            return;
        }

        if (!result.IsOk)
        {
            _refusal = result;
            return;
        }

        _done.Records += records;
        _done.Version = result.Version;
    }
}
