using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>
/// Sends the events of a watch as messages: those that are there go together, up to about 64 KiB, versions whole unless one
/// alone is longer. Waits, without a thread, for events and for a caller that reads slowly. Stateless.
/// </summary>
internal static class WatchMessages
{
    private const int PageBytes = 64 * 1024;
    private const int LongestVersionBytes = 1024 * 1024;
    private const int EventOverhead = 48;

    internal static WatchOptions ToOptions(Wire.WatchRequest request) => new()
    {
        Key = request.Key.Memory,
        Prefix = request.Prefix.Memory,
        From = request.From.Memory,
        To = request.To.Memory,
        StartVersion = request.StartVersion,
        PreviousValues = request.PreviousValues,
        KeysOnly = request.KeysOnly,
    };

    internal static async ValueTask StreamAsync(
        IAsyncEnumerable<WatchEvent> events, GrpcResponseStream<Wire.WatchResponse> responses, CancellationToken cancellation)
    {
        Wire.WatchResponse page = new();
        long bytes = 0;
        await using IAsyncEnumerator<WatchEvent> reader = events.GetAsyncEnumerator(cancellation);
        while (true)
        {
            ValueTask<bool> next = reader.MoveNextAsync();
            if (page.Events.Count > 0 && (!next.IsCompleted || bytes >= (page.More ? LongestVersionBytes : PageBytes)))
            {
                await responses.WriteAsync(page);
                page = new Wire.WatchResponse();
                bytes = 0;
            }

            try
            {
                await next;
            }
            catch (CompactedException compacted)
            {
                await SendAsync(responses, page);
                await responses.WriteAsync(new Wire.WatchResponse { CompactedStartVersion = compacted.StartVersion });
                return;
            }

            WatchEvent told = reader.Current;
            if (told.Kind == WatchEventKind.Progress)
            {
                await SendAsync(responses, page);
                await responses.WriteAsync(new Wire.WatchResponse { Version = told.Version });
                page = new Wire.WatchResponse();
                bytes = 0;
                continue;
            }

            page.Events.Add(ToWire(told));
            page.More = told.HasMore;
            page.Version = told.HasMore ? 0 : told.Version;
            bytes += told.Key.Length + told.To.Length + told.Value.Length + told.PreviousValue.Length + EventOverhead;
        }
    }

    private static ValueTask SendAsync(GrpcResponseStream<Wire.WatchResponse> responses, Wire.WatchResponse page) =>
        page.Events.Count > 0 ? responses.WriteAsync(page) : default;

    private static Wire.WatchEvent ToWire(in WatchEvent told) => new()
    {
        Kind = told.Kind switch
        {
            WatchEventKind.Put => Wire.WatchEvent.Types.Kind.Put,
            WatchEventKind.Remove => Wire.WatchEvent.Types.Kind.Remove,
            _ => Wire.WatchEvent.Types.Kind.RemoveRange,
        },
        Key = UnsafeByteOperations.UnsafeWrap(told.Key),
        To = UnsafeByteOperations.UnsafeWrap(told.To),
        Value = UnsafeByteOperations.UnsafeWrap(told.Value),
        Version = told.Version,
        ModifiedUnixMs = told.ModifiedUnixMilliseconds,
        ExpiresAtUnixMs = told.ExpiresAtUnixMilliseconds,
        PreviousVersion = told.PreviousVersion,
        PreviousValue = UnsafeByteOperations.UnsafeWrap(told.PreviousValue),
    };
}
