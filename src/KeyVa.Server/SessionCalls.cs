using System.Security.Cryptography;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Sessions;

namespace KeyVa.Server;

/// <summary>Sessions of clients, as data.proto has them. Thread-safe.</summary>
internal sealed class SessionCalls(Store store)
{
    private const int MostAtOnce = 64;

    /// <summary>Opens sessions, on a node of a cluster.</summary>
    public async ValueTask<GrpcResult<OpenSessionsResponse>> OpenAsync(OpenSessionsRequest request, GrpcCallContext call)
    {
        if (request.Count is < 1 or > MostAtOnce)
        {
            return GrpcRefusal.Malformed(call, $"count is {request.Count}; it must be 1 to {MostAtOnce}");
        }

        OpenSessionsResponse response = new() { ExpiryMs = (long)SessionTable.Expiry.TotalMilliseconds };
        if (!store.IsReplicated)
        {
            return response;
        }

        long[] ids = [.. Enumerable.Range(0, request.Count).Select(static _ => NewId())];
        foreach (WriteResult opened in await Task.WhenAll(ids.Select(store.OpenSessionAsync)))
        {
            if (!opened.IsOk)
            {
                return GrpcRefusal.Of(call, opened);
            }
        }

        response.Ids.AddRange(ids);
        return response;
    }

    /// <summary>The session of a write; none if it has none. False with what is wrong.</summary>
    public static bool TryRead(Session? message, out SessionHead session, out string wrong)
    {
        session = message is null ? default : new SessionHead(message.Id, message.Sequence);
        bool isValid = message is null || (message.Id != 0 && message.Sequence > 0);
        wrong = isValid ? "" : "session has an id of 0, or a sequence below 1";
        return isValid;
    }

    // By chance out of 2^63: no two are alike, nor like one that has ended.
    private static long NewId() => (BitConverter.ToInt64(RandomNumberGenerator.GetBytes(sizeof(long))) & long.MaxValue) | 1;
}
