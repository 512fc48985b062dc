using System.Text;
using KeyVa.Indexes;
using KeyVa.Protocol.V1;
using Microsoft.AspNetCore.Http;
using IndexValue = KeyVa.Indexes.IndexValue;

namespace KeyVa.Server;

/// <summary>
/// Secondary indexes over REST: <c>GET /indexes</c>, <c>GET, PUT, DELETE /indexes/{name}</c>, and queries, <c>GET /indexes/{name}/records</c>. Thread-safe.
/// </summary>
internal sealed class RestIndexes(Store store)
{
    internal const string Prefix = "/indexes/";

    private const string RecordsSuffix = "/records";
    private const int MaxBodyBytes = 64 * 1024;

    /// <summary>Answers GET /indexes.</summary>
    public async Task ListAsync(HttpContext context)
    {
        ListIndexesResponse response = new();
        response.Indexes.AddRange((await store.Indexes.ListAsync(context.RequestAborted)).Select(ProtoIndex.Of));
        await RestBatches.AnswerAsync(context, response, static (json, message) =>
        {
            json.WriteStartArray("indexes");
            foreach (Protocol.V1.Index index in message.Indexes)
            {
                json.WriteStartObject();
                JsonIndex.Write(json, index);
                json.WriteEndObject();
            }

            json.WriteEndArray();
        });
    }

    /// <summary>Answers what is below /indexes/.</summary>
    public Task RouteAsync(HttpContext context, in RestTarget target, out Operation operation)
    {
        ReadOnlySpan<char> rest = target.Path[Prefix.Length..];
        bool isQuery = rest.EndsWith(RecordsSuffix);
        string name = Uri.UnescapeDataString(isQuery ? rest[..^RecordsSuffix.Length] : rest);
        string methods = RestRoutes.MethodsOf(isQuery ? RestRoutes.Indexed : RestRoutes.Index);
        string method = context.Request.Method;
        operation = isQuery ? Operation.Scan : Operation.Other;
        if (name.Contains('/', StringComparison.Ordinal) || name.Length == 0)
        {
            return RestFrontDoor.RefuseAsync(context, target.Path.ToString());
        }

        if (!methods.Split(", ").Contains(method))
        {
            return Problem.MethodNotAllowed(method, methods).WriteAsync(context);
        }

        string[] known = isQuery ? RestQuery.IndexedParameters : HttpMethods.IsGet(method) ? RestQuery.IndexParameters : [];
        if (!RestQuery.TryParse(target.Query, known, out RestQuery? query, out Problem? problem))
        {
            return problem.WriteAsync(context);
        }

        return isQuery ? QueryAsync(context, name, query)
            : HttpMethods.IsPut(method) ? CreateAsync(context, name)
            : HttpMethods.IsDelete(method) ? DropAsync(context, name)
            : DescribeAsync(context, name, query.Wait);
    }

    /// <summary>Whether what is below /indexes/ is a query.</summary>
    internal static bool IsQuery(ReadOnlySpan<char> path) => path.EndsWith(RecordsSuffix);

    /// <summary>The index that a path of a query names, <c>/indexes/{name}/records</c>; false if it is none.</summary>
    internal static bool TryReadQueried(string path, out string name)
    {
        bool isQuery = path.StartsWith(Prefix, StringComparison.Ordinal) && path.EndsWith(RecordsSuffix, StringComparison.Ordinal)
            && path.Length > Prefix.Length + RecordsSuffix.Length;
        name = isQuery ? Uri.UnescapeDataString(path[Prefix.Length..^RecordsSuffix.Length]) : "";
        return isQuery;
    }

    /// <summary>What a query asks for, one record more than its limit; false with what is wrong.</summary>
    internal static bool TryRead(string name, RestQuery query, out IndexQuery asked, out Problem? problem)
    {
        asked = new IndexQuery
        {
            Index = name,
            FromExclusive = query.FromExclusive,
            ToInclusive = query.ToInclusive,
            Reverse = query.Reverse,
            Limit = query.Limit is 0 or long.MaxValue ? 0 : query.Limit + 1,
            After = query.After,
            KeysOnly = query.KeysOnly,
        };
        if (!TryReadValues("equal", query.Equal, out List<IndexValue> equal, out problem)
            || !TryReadValues("from", query.From, out List<IndexValue> from, out problem)
            || !TryReadValues("to", query.To, out List<IndexValue> to, out problem))
        {
            return false;
        }

        if (!System.Text.Unicode.Utf8.IsValid(query.Prefix))
        {
            problem = Problem.Malformed("prefix is no valid Unicode text");
            return false;
        }

        asked = asked with { Equal = equal, From = from, To = to, Prefix = query.HasPrefix ? Encoding.UTF8.GetString(query.Prefix) : null };
        return true;
    }

    private static bool TryReadValues(string parameter, byte[] text, out List<IndexValue> values, out Problem? problem)
    {
        values = [];
        problem = null;
        if (text.Length > 0 && !IndexValueJson.TryReadTuple(text, out values, out string wrong))
        {
            problem = Problem.Malformed($"{parameter} is '{Encoding.UTF8.GetString(text)}', which {wrong}; such as {parameter}=\"Oslo\" or {parameter}=[\"Oslo\",30], percent-encoded");
            return false;
        }

        return true;
    }

    private async Task QueryAsync(HttpContext context, string name, RestQuery query)
    {
        if (!TryRead(name, query, out IndexQuery asked, out Problem? problem))
        {
            await problem!.WriteAsync(context);
            return;
        }

        using IndexCursor cursor = await store.OpenQueryAsync(asked, context.RequestAborted);
        if (cursor.Status != Status.Ok)
        {
            await Problem.Index(cursor.Status, cursor.Detail).WriteAsync(context);
            return;
        }

        // What fails in the first block still gets a proper answer.
        bool found = cursor.MoveNext();
        using ListWriter<IndexCursor> writer = await StartAsync(context, query);
        await RestList.StreamAsync(writer, cursor, found, static at => at.MoveNext(), static at => at.ResumeToken.ToArray(), query.Limit, context.RequestAborted);
    }

    /// <summary>Begins the answer to a query.</summary>
    internal static async ValueTask<ListWriter<IndexCursor>> StartAsync(HttpContext context, RestQuery query) =>
        await RestList.StartAsync(context)
            ? new ProtoIndexWriter(context.Response.BodyWriter)
            : new JsonIndexWriter(context.Response.BodyWriter, query.KeysOnly);

    private async Task CreateAsync(HttpContext context, string name)
    {
        IndexDefinition definition;
        if (!MediaType.IsJson(context.Request.ContentType))
        {
            await Problem.Http(
                StatusCodes.Status415UnsupportedMediaType, "Unknown media type",
                $"Content-Type is '{context.Request.ContentType}'; allowed is: {RestJson.ContentType}").WriteAsync(context);
            return;
        }

        using (RequestBody body = await RequestBody.ReadAsync(context.Request, MaxBodyBytes, context.RequestAborted))
        {
            if (body.IsTooLong)
            {
                await Problem.Of(Status.TooLarge, $"the body is longer than a definition can be, {MaxBodyBytes} bytes").WriteAsync(context);
                return;
            }

            if (!JsonIndex.TryRead(body.Memory.Span, name, out definition, out string wrong))
            {
                await Problem.Malformed(wrong).WriteAsync(context);
                return;
            }
        }

        // Not cancelled when the client goes away: it is on its way.
        IndexResult result = await store.Indexes.CreateAsync(definition, CancellationToken.None);
        if (!result.IsOk)
        {
            await Problem.Index(result.Status, result.Detail).WriteAsync(context);
            return;
        }

        context.Response.StatusCode = result.WasThere ? StatusCodes.Status200OK : StatusCodes.Status201Created;
        context.Response.Headers.Location = Prefix + name;
        await DescribeAsync(context, name, TimeSpan.Zero);
    }

    private async Task DropAsync(HttpContext context, string name)
    {
        IndexResult result = await store.Indexes.DropAsync(name, CancellationToken.None);
        if (!result.IsOk)
        {
            await Problem.Index(result.Status, result.Detail).WriteAsync(context);
            return;
        }

        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    private async Task DescribeAsync(HttpContext context, string name, TimeSpan wait)
    {
        IndexResult result = await WaitAsync(name, wait, context.RequestAborted);
        IndexInfo? index = result.IsOk ? await store.Indexes.FindAsync(name, context.RequestAborted) : null;
        if (index is null)
        {
            await Problem.Index(result.IsOk ? Status.NotFound : result.Status, result.Detail ?? $"there is no index '{name}'").WriteAsync(context);
            return;
        }

        await RestBatches.AnswerAsync(context, ProtoIndex.Of(index), static (json, message) => JsonIndex.Write(json, message));
    }

    /// <summary>Waits until the index is ready, never longer than told; it is refused if there is none, or none any more.</summary>
    private async ValueTask<IndexResult> WaitAsync(string name, TimeSpan wait, CancellationToken cancellation)
    {
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        ValueTask<IndexResult> end = store.Indexes.WaitAsync(name, patience.Token);
        if (end.IsCompleted)
        {
            return await end;
        }

        patience.CancelAfter(wait);
        try
        {
            return await end;
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return new IndexResult();
        }
    }
}
