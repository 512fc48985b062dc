using System.Runtime.CompilerServices;
using KeyVa.Protocol.Grpc;
using Methods = KeyVa.Protocol.V1.Methods;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>A watch over gRPC, which goes on over a new connection when it loses one. Stateless: the enumeration holds what there is.</summary>
internal static class RemoteWatch
{
    public static async IAsyncEnumerable<WatchEvent> RunAsync(
        Connection connection, WatchOptions options, [EnumeratorCancellation] CancellationToken cancellation)
    {
        long start = options.StartVersion;
        bool isResumable = false;
        int attempt = 0;
        while (true)
        {
            using GrpcResponses<Wire.WatchResponse> responses = connection.Stream(Methods.Watch, ToRequest(options, start), cancellation);
            while (true)
            {
                Wire.WatchResponse? message = null;
                ServerUnreachableException? lost = null;
                try
                {
                    message = await connection.NextAsync(responses);
                }
                catch (ServerUnreachableException failure) when (isResumable)
                {
                    lost = failure;
                }

                if (message is null)
                {
                    // An end without a word is a server that stops.
                    if (!isResumable || !await connection.PauseAsync(attempt++, cancellation))
                    {
                        throw lost ?? new StoreException("the server ended the watch");
                    }

                    break;
                }

                if (message.CompactedStartVersion != 0)
                {
                    throw new CompactedException(message.CompactedStartVersion);
                }

                for (int i = 0; i < message.Events.Count; i++)
                {
                    bool hasMore = i + 1 < message.Events.Count ? message.Events[i + 1].Version == message.Events[i].Version : message.More;
                    isResumable = !hasMore;
                    yield return ToEvent(message.Events[i], hasMore);
                }

                if (!message.More)
                {
                    bool isNews = message.Events.Count == 0 && (attempt == 0 || message.Version >= start);
                    isResumable = true;
                    start = message.Version + 1;
                    attempt = 0;
                    if (isNews)
                    {
                        yield return new WatchEvent { Version = message.Version };
                    }
                }
            }
        }
    }

    private static Wire.WatchRequest ToRequest(WatchOptions options, long start) => new()
    {
        Key = WireRecord.Lend(options.Key),
        Prefix = WireRecord.Lend(options.Prefix),
        From = WireRecord.Lend(options.From),
        To = WireRecord.Lend(options.To),
        StartVersion = start,
        PreviousValues = options.PreviousValues,
        KeysOnly = options.KeysOnly,
    };

    private static WatchEvent ToEvent(Wire.WatchEvent wire, bool hasMore) => new()
    {
        Kind = wire.Kind switch
        {
            Wire.WatchEvent.Types.Kind.Put => WatchEventKind.Put,
            Wire.WatchEvent.Types.Kind.Remove => WatchEventKind.Remove,
            Wire.WatchEvent.Types.Kind.RemoveRange => WatchEventKind.RemoveRange,
            _ => throw new StoreException($"the server tells of a change of kind {wire.Kind}, which this client does not know; use a newer one"),
        },
        Version = wire.Version,
        HasMore = hasMore,
        Key = wire.Key.Memory,
        To = wire.To.Memory,
        Value = wire.Value.Memory,
        ModifiedUnixMilliseconds = wire.ModifiedUnixMs,
        ExpiresAtUnixMilliseconds = wire.ExpiresAtUnixMs,
        PreviousVersion = wire.PreviousVersion,
        PreviousValue = wire.PreviousValue.Memory,
    };
}
