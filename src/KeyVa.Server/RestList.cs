using System.Globalization;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>
/// A range: <c>GET /kv</c> lists it, streamed as JSON or protobuf at one snapshot; <c>DELETE /kv</c> removes it. Thread-safe.
/// </summary>
/// <remarks>
/// A client that reads slowly holds a snapshot and a connection, never a thread. A failure after the first byte breaks
/// the connection off, since a list that merely ends would look complete.
/// </remarks>
internal sealed class RestList(Store store, RequestTracer tracer)
{
    /// <summary>Answers GET.</summary>
    public Task ReadAsync(HttpContext context, in RestTarget target) =>
        RestQuery.TryParse(target.Query, RestQuery.ListParameters, out RestQuery? query, out Problem? problem)
            ? ReadAsync(context, query)
            : problem.WriteAsync(context);

    /// <summary>Answers DELETE.</summary>
    public Task RemoveAsync(HttpContext context, in RestTarget target)
    {
        if (!RestQuery.TryParse(target.Query, RestQuery.RemoveParameters, out RestQuery? query, out Problem? problem))
        {
            return problem.WriteAsync(context);
        }

        IHeaderDictionary headers = context.Request.Headers;
        if (headers.IfMatch.Count > 0 || headers.IfNoneMatch.Count > 0)
        {
            return Problem.Malformed("a range has no entity tag: If-Match and If-None-Match go with one key").WriteAsync(context);
        }

        return RangeBounds.TryRead(query.Prefix, query.From, query.To, query.All, out KeyRange range, out string wrong)
            ? RestAccess.Refuses(context, rights => rights.AllowsRange(Level.Write, range.From.Span, range.To.Span), out problem) ? problem.WriteAsync(context) : RemoveAsync(context, range)
            : Problem.Malformed("the range " + wrong).WriteAsync(context);
    }

    // Not cancelled when the client goes away: the write is on its way.
    private async Task RemoveAsync(HttpContext context, KeyRange range)
    {
        WriteResult result = await store.RemoveRangeAsync(range.From, range.To, CancellationToken.None);
        HttpObservation.Note(context, result.Times);
        if (!result.IsOk)
        {
            await Problem.Of(result).WriteAsync(context);
            return;
        }

        context.Response.StatusCode = StatusCodes.Status204NoContent;
        context.Response.Headers[RestValues.VersionHeader] = result.Version.ToString(CultureInfo.InvariantCulture);
    }

    private async Task ReadAsync(HttpContext context, RestQuery query)
    {
        if (!query.TryReadMoment(out AsOf at, out Problem? problem))
        {
            await problem.WriteAsync(context);
            return;
        }

        // One more than asked for tells whether there is more.
        long limit = query.Limit is 0 or long.MaxValue ? 0 : query.Limit + 1;
        ScanOptions options = ToOptions(query, limit, at);
        if (RestAccess.Refuses(context, rights => KeyChecks.Range(options, rights), out problem))
        {
            await problem.WriteAsync(context);
            return;
        }

        long asked = ReadTimes.Begin(tracer);
        using ScanCursor cursor = await store.OpenScanAsync(options, context.RequestAborted);
        if (cursor.Status != Status.Ok)
        {
            await Problem.Past(cursor.Status, cursor.Detail, cursor.BeginsAtVersion).WriteAsync(context);
            return;
        }

        // What fails in the first block still gets a proper answer.
        bool found = cursor.MoveNext();
        ReadTimes.End(asked, context);
        using ListWriter<ScanCursor> writer = await StartAsync(context, query);
        await StreamAsync(writer, cursor, found, static at => at.MoveNext(), static at => at.Key.ToArray(), query.Limit, context.RequestAborted);
    }

    /// <summary>What a query asks for.</summary>
    internal static ScanOptions ToOptions(RestQuery query, long limit, AsOf at = default) => new()
    {
        Prefix = query.Prefix,
        From = query.From,
        To = query.To,
        After = query.After,
        At = at,
        Reverse = query.Reverse,
        KeysOnly = query.KeysOnly,
        Unordered = query.Unordered,
        Limit = limit,
    };

    /// <summary>Begins the answer.</summary>
    internal static async ValueTask<ListWriter<ScanCursor>> StartAsync(HttpContext context, RestQuery query)
    {
        bool protobuf = await StartAsync(context);
        return protobuf
            ? new ProtoScanWriter(context.Response.BodyWriter)
            : new JsonScanWriter(context.Response.BodyWriter, query.KeysOnly, query.Base64);
    }

    /// <summary>Begins the answer to a list, and tells whether it is to be protobuf.</summary>
    internal static async ValueTask<bool> StartAsync(HttpContext context)
    {
        HttpResponse response = context.Response;
        bool protobuf = MediaType.AcceptsProtobuf(context.Request.Headers.Accept);
        response.ContentType = protobuf ? MediaType.Protobuf : RestJson.ContentType;
        await response.StartAsync(context.RequestAborted);
        return protobuf;
    }

    /// <summary>
    /// Sends what a cursor goes through, and where it goes on behind the limit (0: there is none). It waits while the client reads slowly, and ends when it is gone.
    /// </summary>
    /// <param name="writer">The answer, which has begun.</param>
    /// <param name="cursor">What is read, one record further than the limit.</param>
    /// <param name="found">Whether it stands on a record.</param>
    /// <param name="next">Moves it.</param>
    /// <param name="place">Where it stands, to go on behind it.</param>
    /// <param name="limit">The most records; 0: all.</param>
    /// <param name="cancellation">The client is gone.</param>
    internal static async Task StreamAsync<TCursor>(
        ListWriter<TCursor> writer, TCursor cursor, bool found, Func<TCursor, bool> next, Func<TCursor, byte[]> place, long limit, CancellationToken cancellation)
    {
        byte[]? resume = null;
        for (long count = 1; found; count++)
        {
            writer.Add(cursor);
            if (count == limit)
            {
                byte[] last = place(cursor);
                resume = next(cursor) ? last : null;
                break;
            }

            if (!await writer.SendAsync(cancellation))
            {
                return;
            }

            found = next(cursor);
        }

        writer.End(resume);
    }
}
