using Methods = KeyVa.Protocol.V1.Methods;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>What was, over the wire: a key at a version or time, its versions, rolling back. Stateless.</summary>
internal static class RemotePast
{
    /// <summary>From which version on there is everything, of a refusal for being forgotten.</summary>
    public const string BeginsTrailer = "keyva-begins-at-version";

    /// <summary>A key as it was.</summary>
    public static async ValueTask<ReadResult> GetAtAsync(Connection connection, ReadOnlyMemory<byte> key, AsOf at, CancellationToken cancellation)
    {
        Wire.GetRequest request = ToRequest([key], at);
        Reply<Wire.GetResponse> reply = await connection.CallAsync(Methods.Get, request, isRead: true, cancellation);
        return reply.Message switch
        {
            null => new ReadResult { Status = reply.Status, Detail = reply.Detail, BeginsAtVersion = reply.Number(BeginsTrailer, 0) },
            { Records: [{ Found: true } record] } => new ReadResult { Record = WireRecord.ToRecord(record) },
            { Records: [_] } => new ReadResult { Status = Status.NotFound },
            _ => throw new StoreException($"the server answered with {reply.Message.Records.Count} records for one key"),
        };
    }

    /// <summary>Keys as they were.</summary>
    public static async ValueTask<MultiReadResult> GetAtAsync(Connection connection, IReadOnlyList<ReadOnlyMemory<byte>> keys, AsOf at, CancellationToken cancellation)
    {
        Reply<Wire.GetResponse> reply = await connection.CallAsync(Methods.Get, ToRequest(keys, at), isRead: true, cancellation);
        return reply.Message is { } message
            ? new MultiReadResult { Records = WireRecord.ToRecords(message.Records, keys.Count) }
            : new MultiReadResult { Status = reply.Status, Detail = reply.Detail, BeginsAtVersion = reply.Number(BeginsTrailer, 0), Records = [] };
    }

    /// <summary>The versions of a key.</summary>
    public static async ValueTask<HistoryResult> HistoryAsync(
        Connection connection, ReadOnlyMemory<byte> key, HistoryOptions options, CancellationToken cancellation)
    {
        if (options.Limit is < 1 or > HistoryOptions.MaxLimit)
        {
            // On the wire 0 stands for the usual limit.
            return new HistoryResult { Status = Status.Invalid, Versions = [], Detail = $"the limit must be 1 to {HistoryOptions.MaxLimit}" };
        }

        Wire.HistoryRequest request = new()
        {
            Key = WireRecord.Lend(key),
            FromVersion = options.From,
            ToVersion = options.To,
            Limit = options.Limit,
            Reverse = options.Reverse,
            WithoutValues = options.WithoutValues,
        };
        Reply<Wire.HistoryResponse> reply = await connection.CallAsync(Methods.History, request, isRead: true, cancellation);
        return reply.Message is { } history
            ? new HistoryResult
            {
                Versions = [.. history.Versions.Select(ToVersion)],
                ResumeVersion = history.ResumeVersion,
                BeginsAtVersion = history.BeginsAtVersion,
            }
            : new HistoryResult { Status = reply.Status, Versions = [], Detail = reply.Detail };
    }

    /// <summary>Rolls back what a request names.</summary>
    public static async ValueTask<RollBackResult> RollBackAsync(
        Connection connection, Wire.RevertRequest request, AsOf to, CancellationToken cancellation)
    {
        if (to.Version != 0)
        {
            request.ToVersion = to.Version;
        }
        else if (to.IsSet)
        {
            request.ToUnixMs = to.UnixMilliseconds;
        }

        Reply<Wire.RevertResponse> reply = await connection.CallAsync(Methods.Revert, request, isRead: false, cancellation, isLong: true);
        return reply.Message is { } done
            ? new RollBackResult { Version = done.Version, ToVersion = done.ToVersion, KeysChanged = done.KeysChanged }
            : new RollBackResult { Status = reply.Status, Detail = reply.Detail, BeginsAtVersion = reply.Number(BeginsTrailer, 0) };
    }

    private static KeyVersion ToVersion(Wire.KeyVersion version) => new()
    {
        Version = version.Version,
        ModifiedUnixMilliseconds = version.ModifiedUnixMs,
        IsRemoval = version.Removed,
        Value = version.Value.Memory,
        ExpiresAtUnixMilliseconds = version.ExpiresAtUnixMs,
    };

    private static Wire.GetRequest ToRequest(IReadOnlyList<ReadOnlyMemory<byte>> keys, AsOf at)
    {
        Wire.GetRequest request = new();
        foreach (ReadOnlyMemory<byte> key in keys)
        {
            request.Keys.Add(WireRecord.Lend(key));
        }

        if (at.Version != 0)
        {
            request.AtVersion = at.Version;
        }
        else
        {
            request.AtUnixMs = at.UnixMilliseconds;
        }

        return request;
    }
}
