using System.Globalization;
using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>
/// <c>GET /watch</c>: changes as server-sent events (WHATWG HTML, section 9.2). The id of an event is its version, on the last event
/// of each version only, so that a reader which reconnects with Last-Event-ID gets versions whole. Thread-safe.
/// </summary>
internal sealed class RestWatch(Store store, UserStore users)
{
    private const string ContentType = "text/event-stream";
    private const string LastEventId = "Last-Event-ID";

    /// <summary>Answers GET.</summary>
    public Task StreamAsync(HttpContext context, in RestTarget target)
    {
        if (!RestQuery.TryParse(target.Query, RestQuery.WatchParameters, out RestQuery? query, out Problem? problem))
        {
            return problem.WriteAsync(context);
        }

        long version = query.Version;
        string? resume = context.Request.Headers[LastEventId];
        if (!string.IsNullOrEmpty(resume))
        {
            if (!long.TryParse(resume, NumberStyles.None, CultureInfo.InvariantCulture, out long last) || last == long.MaxValue)
            {
                return Problem.Malformed($"{LastEventId} is '{resume}'; allowed is: the id of an event of an earlier answer").WriteAsync(context);
            }

            version = last + 1;
        }

        return StreamAsync(context, query, new WatchOptions
        {
            Key = query.Key,
            Prefix = query.Prefix,
            From = query.From,
            To = query.To,
            StartVersion = version,
            PreviousValues = query.Previous,
            KeysOnly = query.KeysOnly,
        });
    }

    private async Task StreamAsync(HttpContext context, RestQuery query, WatchOptions options)
    {
        if (RestAccess.Refuses(context, rights => KeyChecks.Watch(options, rights), out Problem? denied))
        {
            await denied.WriteAsync(context);
            return;
        }

        // A watch may last for days: whoever loses the right to it loses the watch.
        bool MayStill() => KeyChecks.Watch(options, Caller.Of(context).AsOf(users.Current).Data);
        using IDisposable following = users.OnChange(() =>
        {
            if (!MayStill())
            {
                context.Abort();
            }
        });
        if (!MayStill())
        {
            // Changed before anybody would have told.
            context.Abort();
            return;
        }

        await using IAsyncEnumerator<WatchEvent> reader = store.WatchAsync(options, context.RequestAborted).GetAsyncEnumerator(context.RequestAborted);

        // The first event is there at once, or the watch is refused: that still gets a proper answer.
        await reader.MoveNextAsync();
        HttpResponse response = context.Response;
        response.ContentType = ContentType;
        response.Headers.CacheControl = "no-store";
        EventWriter writer = new(response.BodyWriter, query.Base64, options);
        writer.Add(reader.Current);
        try
        {
            while (true)
            {
                ValueTask<bool> next = reader.MoveNextAsync();
                if ((!next.IsCompleted || writer.IsLong) && !await writer.SendAsync(context.RequestAborted))
                {
                    return;
                }

                await next;
                writer.Add(reader.Current);
            }
        }
        catch (CompactedException compacted)
        {
            writer.AddCompacted(compacted);
            await writer.SendAsync(context.RequestAborted);
        }
        catch (StoreClosedException)
        {
            // The answer ends; a reader that comes back goes on where it was.
        }
    }

    /// <summary>Writes events. Used by one thread at a time.</summary>
    private sealed class EventWriter(PipeWriter output, bool base64, WatchOptions options)
    {
        private const int FlushBytes = 64 * 1024;

        private long _told = -1;
        private long _pending;

        /// <summary>Whether so much is written that it should be sent.</summary>
        public bool IsLong => _pending >= FlushBytes;

        public void Add(in WatchEvent told)
        {
            if (told.Kind == WatchEventKind.Progress && told.Version == _told)
            {
                Write(": nothing new\n\n"u8);
                return;
            }

            Begin(told.Kind switch
            {
                WatchEventKind.Put => "put",
                WatchEventKind.Remove => "remove",
                WatchEventKind.RemoveRange => "remove-range",
                _ => "progress",
            }, told.HasMore ? -1 : told.Version);
            using (Utf8JsonWriter json = new(output, RestJson.WriterOptions))
            {
                json.WriteStartObject();
                WriteBody(json, told);
                json.WriteEndObject();
                json.Flush();
                _pending += json.BytesCommitted;
            }

            Write("\n\n"u8);
        }

        public void AddCompacted(CompactedException compacted)
        {
            // With its id a reader that merely reconnects goes on behind the gap, of which it has been told.
            Begin("compacted", compacted.StartVersion - 1);
            using (Utf8JsonWriter json = new(output, RestJson.WriterOptions))
            {
                json.WriteStartObject();
                json.WriteNumber("startVersion"u8, compacted.StartVersion);
                json.WriteString("detail"u8, compacted.Message);
                json.WriteEndObject();
            }

            Write("\n\n"u8);
        }

        /// <summary>Sends what was written; false when the client is gone. Waits while the client is slow.</summary>
        public async ValueTask<bool> SendAsync(CancellationToken cancellation)
        {
            _pending = 0;
            FlushResult flushed = await output.FlushAsync(cancellation);
            return !flushed.IsCompleted && !flushed.IsCanceled;
        }

        private void WriteBody(Utf8JsonWriter json, in WatchEvent told)
        {
            switch (told.Kind)
            {
                case WatchEventKind.Progress:
                    json.WriteNumber("version"u8, told.Version);
                    return;
                case WatchEventKind.RemoveRange:
                    RestJson.WriteBytes(json, "from"u8, "from64"u8, told.Key.Span, base64);
                    RestJson.WriteBytes(json, "to"u8, "to64"u8, told.To.Span, base64);
                    break;
                default:
                    RestJson.WriteKey(json, told.Key.Span, base64);
                    break;
            }

            if (told.Kind == WatchEventKind.Put && !options.KeysOnly)
            {
                RestJson.WriteValue(json, told.Value.Span, base64);
            }

            RestJson.WriteStamps(json, told.Version, told.ModifiedUnixMilliseconds, told.ExpiresAtUnixMilliseconds);
            if (options.PreviousValues && told.PreviousVersion != WatchEvent.UnknownVersion)
            {
                json.WriteNumber("previousVersion"u8, told.PreviousVersion);
                if (told.PreviousVersion > 0 && !options.KeysOnly)
                {
                    RestJson.WriteBytes(json, "previous"u8, "previous64"u8, told.PreviousValue.Span, base64);
                }
            }

            if (told.HasMore)
            {
                json.WriteBoolean("more"u8, true);
            }
        }

        private void Begin(string kind, long id)
        {
            Write(Encoding.UTF8.GetBytes(id < 0
                ? $"event: {kind}\ndata: "
                : string.Create(CultureInfo.InvariantCulture, $"event: {kind}\nid: {id}\ndata: ")));
            _told = id < 0 ? _told : id;
        }

        private void Write(ReadOnlySpan<byte> bytes)
        {
            bytes.CopyTo(output.GetSpan(bytes.Length));
            output.Advance(bytes.Length);
            _pending += bytes.Length;
        }
    }
}
