using System.Globalization;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>
/// A range: <c>GET /kv</c> lists it, streamed as JSON or protobuf at one snapshot; <c>DELETE /kv</c> removes it. Thread-safe.
/// </summary>
/// <remarks>
/// A client that reads slowly holds a snapshot and a connection, never a thread. A failure after the first byte breaks
/// the connection off, since a list that merely ends would look complete.
/// </remarks>
internal sealed class RestList(Store store)
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
            ? RemoveAsync(context, range)
            : Problem.Malformed("the range " + wrong).WriteAsync(context);
    }

    // Not cancelled when the client goes away: the write is on its way.
    private async Task RemoveAsync(HttpContext context, KeyRange range)
    {
        WriteResult result = await store.RemoveRangeAsync(range.From, range.To, CancellationToken.None);
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
        using ScanCursor cursor = await store.OpenScanAsync(ToOptions(query, limit, at), context.RequestAborted);
        if (cursor.Status != Status.Ok)
        {
            await Problem.Past(cursor.Status, cursor.Detail, cursor.BeginsAtVersion).WriteAsync(context);
            return;
        }

        // What fails in the first block still gets a proper answer.
        bool found = cursor.MoveNext();
        using ListWriter writer = await StartAsync(context, query);
        await StreamAsync(writer, cursor, found, query.Limit, context.RequestAborted);
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
    internal static async ValueTask<ListWriter> StartAsync(HttpContext context, RestQuery query)
    {
        HttpResponse response = context.Response;
        bool protobuf = MediaType.AcceptsProtobuf(context.Request.Headers.Accept);
        response.ContentType = protobuf ? MediaType.Protobuf : RestJson.ContentType;
        await response.StartAsync(context.RequestAborted);
        return protobuf
            ? new ProtoListWriter(response.BodyWriter)
            : new JsonListWriter(response.BodyWriter, query.KeysOnly, query.Base64);
    }

    private static async Task StreamAsync(
        ListWriter writer, ScanCursor cursor, bool found, long limit, CancellationToken cancellation)
    {
        byte[]? resume = null;
        for (long count = 1; found; count++)
        {
            writer.Add(cursor);
            if (count == limit)
            {
                byte[] last = cursor.Key.ToArray();
                resume = cursor.MoveNext() ? last : null;
                break;
            }

            if (!await writer.SendAsync(cancellation))
            {
                return;
            }

            found = cursor.MoveNext();
        }

        writer.End(resume);
    }
}
