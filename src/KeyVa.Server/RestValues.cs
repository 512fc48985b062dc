using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace KeyVa.Server;

/// <summary>
/// One value: GET, HEAD, PUT, PATCH (a merge) and DELETE of <c>/kv/{key}</c>. The body is the value as it is, the entity tag its version.
/// Thread-safe.
/// </summary>
/// <remarks>
/// Reading is synchronous from end to end and copies the value once, out of the engine's memory into Kestrel's output.
/// </remarks>
internal sealed class RestValues(Store store, RequestTracer tracer)
{
    internal const string ModifiedHeader = "KeyVa-Modified";
    internal const string ExpiresHeader = "KeyVa-Expires";
    internal const string VersionHeader = "KeyVa-Version";

    internal static readonly StringValues OctetStream = "application/octet-stream";

    private readonly RestPast _past = new(store);
    private readonly int _maxValueBytes = store.Options.MaxValueBytes;

    /// <summary>Answers GET and HEAD.</summary>
    public Task ReadAsync(HttpContext context, in RestTarget target, bool head)
    {
        if (!TryReadKey(target, RestQuery.GetParameters, out RestKey key, out RestQuery? query, out Problem? problem))
        {
            return problem.WriteAsync(context);
        }

        if (RestAccess.Refuses(context, Level.Read, key, out problem))
        {
            return problem.WriteAsync(context);
        }

        if (query.IsOfPast)
        {
            return _past.ReadAsync(context, key, query, head);
        }

        using RestKey held = key;
        long asked = ReadTimes.Begin(tracer);
        using ValueLease lease = store.Get(key.Span);
        ReadTimes.End(asked, context);
        IHeaderDictionary headers = context.Request.Headers;
        if (headers.IfMatch.Count == 0 && headers.IfNoneMatch.Count == 0)
        {
            return lease.Found ? AnswerAsync(context, lease, head) : Problem.Of(lease.Status).WriteAsync(context);
        }

        return ReadIfAsync(context, lease, head);
    }

    /// <summary>Answers PUT.</summary>
    public Task PutAsync(HttpContext context, in RestTarget target)
    {
        if (!TryReadKey(target, RestQuery.PutParameters, out RestKey key, out RestQuery? query, out Problem? problem))
        {
            return problem.WriteAsync(context);
        }

        if (RestAccess.Refuses(context, Level.Write, key, out problem))
        {
            return problem.WriteAsync(context);
        }

        if (!TryReadCondition(context.Request.Headers, key, out Condition condition, out problem))
        {
            key.Dispose();
            return problem.WriteAsync(context);
        }

        if (!Receipts.TryRead(context.Request.Headers, out Acknowledgement acknowledgement, out problem))
        {
            key.Dispose();
            return problem!.WriteAsync(context);
        }

        return PutAsync(context, key, new WriteOptions { Expiry = query.Expiry, Condition = condition, Acknowledgement = acknowledgement });
    }

    /// <summary>
    /// Answers PATCH: merges the body into the value. Not POST, which any web page may send to any server without asking: a page
    /// cannot send PATCH from elsewhere.
    /// </summary>
    public Task MergeAsync(HttpContext context, in RestTarget target)
    {
        if (!TryReadKey(target, RestQuery.MergeParameters, out RestKey key, out RestQuery? query, out Problem? problem))
        {
            return problem.WriteAsync(context);
        }

        if (RestAccess.Refuses(context, Level.Write, key, out problem))
        {
            return problem.WriteAsync(context);
        }

        string? name = query.Function ?? (MediaType.IsMergePatch(context.Request.ContentType) ? MergeFunction.JsonMergePatch.Name : null);
        MergeFunction? function = name is null ? null : store.MergeFunctions.Find(name, query.FunctionVersion);
        if (function is null)
        {
            problem = Problem.Malformed(name is null
                ? $"PATCH merges the body into the value and needs ?function=, such as ?function=increment, or Content-Type: {MediaType.MergePatch}"
                : store.MergeFunctions.Describe(name, query.FunctionVersion));
        }

        Acknowledgement acknowledgement = default;
        if (function is null || !TryReadCondition(context.Request.Headers, key, out Condition condition, out problem) || !Receipts.TryRead(context.Request.Headers, out acknowledgement, out problem))
        {
            key.Dispose();
            return problem!.WriteAsync(context);
        }

        return MergeAsync(context, key, function, new WriteOptions { Expiry = query.Expiry, Condition = condition, Acknowledgement = acknowledgement });
    }

    /// <summary>Answers DELETE.</summary>
    public Task RemoveAsync(HttpContext context, in RestTarget target)
    {
        if (!TryReadKey(target, RestQuery.KeyParameters, out RestKey key, out _, out Problem? problem))
        {
            return problem.WriteAsync(context);
        }

        if (RestAccess.Refuses(context, Level.Write, key, out problem))
        {
            return problem.WriteAsync(context);
        }

        Acknowledgement acknowledgement = default;
        if (!TryReadCondition(context.Request.Headers, key, out Condition condition, out problem) || !Receipts.TryRead(context.Request.Headers, out acknowledgement, out problem))
        {
            key.Dispose();
            return problem!.WriteAsync(context);
        }

        return RemoveAsync(context, key, condition, acknowledgement);
    }

    private async Task PutAsync(HttpContext context, RestKey key, WriteOptions options)
    {
        using RestKey held = key;
        using RequestBody body = await RequestBody.ReadAsync(context.Request, _maxValueBytes, context.RequestAborted);
        if (body.IsTooLong)
        {
            await Problem.Of(Status.TooLarge, string.Create(
                CultureInfo.InvariantCulture, $"the value is longer than max-value-bytes, {_maxValueBytes}")).WriteAsync(context);
            return;
        }

        // Not cancelled when the client goes away: the write is on its way, and its memory is in use until it is done.
        WriteResult result = await store.UpsertAsync(key.Memory, body.Memory, options, CancellationToken.None);
        HttpObservation.Note(context, result.Times);
        if (!result.IsOk)
        {
            await Problem.Of(result).WriteAsync(context);
            return;
        }

        context.Response.StatusCode = StatusCodes.Status204NoContent;
        Receipts.Add(context.Response.Headers, result.Receipt);
        context.Response.Headers.ETag = EntityTags.Of(result.Version);
    }

    private async Task MergeAsync(HttpContext context, RestKey key, MergeFunction function, WriteOptions options)
    {
        using RestKey held = key;
        using RequestBody body = await RequestBody.ReadAsync(context.Request, _maxValueBytes, context.RequestAborted);
        if (body.IsTooLong)
        {
            await Problem.Of(Status.TooLarge, string.Create(
                CultureInfo.InvariantCulture, $"the operand is longer than max-value-bytes, {_maxValueBytes}")).WriteAsync(context);
            return;
        }

        // Not cancelled when the client goes away, as a put.
        WriteResult result = await store.MergeAsync(key.Memory, function, body.Memory, options, CancellationToken.None);
        HttpObservation.Note(context, result.Times);
        if (!result.IsOk)
        {
            await Problem.Of(result).WriteAsync(context);
            return;
        }

        ReadOnlyMemory<byte> value = result.Merged[0];
        context.Response.Headers.ContentType = OctetStream;
        context.Response.Headers.ContentLength = value.Length;
        Receipts.Add(context.Response.Headers, result.Receipt);
        context.Response.Headers.ETag = EntityTags.Of(result.Version);
        await context.Response.BodyWriter.WriteAsync(value);
    }

    private async Task RemoveAsync(HttpContext context, RestKey key, Condition condition, Acknowledgement acknowledgement)
    {
        using RestKey held = key;
        WriteResult result = await store.RemoveAsync(key.Memory, condition, acknowledgement, CancellationToken.None);
        HttpObservation.Note(context, result.Times);
        if (!result.IsOk)
        {
            await Problem.Of(result).WriteAsync(context);
            return;
        }

        context.Response.StatusCode = StatusCodes.Status204NoContent;
        Receipts.Add(context.Response.Headers, result.Receipt);
        context.Response.Headers[VersionHeader] = result.Version.ToString(CultureInfo.InvariantCulture);
    }

    // A conditional read (RFC 9110, 13.2.2).
    private static Task ReadIfAsync(HttpContext context, in ValueLease lease, bool head)
    {
        IHeaderDictionary headers = context.Request.Headers;
        if (!EntityTags.TryParse("If-Match", headers.IfMatch, weak: false, out EntityTags ifMatch, out Problem? problem)
            || !EntityTags.TryParse("If-None-Match", headers.IfNoneMatch, weak: true, out EntityTags ifNoneMatch, out problem))
        {
            return problem.WriteAsync(context);
        }

        if (lease.Status is not (Status.Ok or Status.NotFound))
        {
            return Problem.Of(lease.Status).WriteAsync(context);
        }

        if (ifMatch.Given && !(lease.Found && ifMatch.Matches(lease.Version)))
        {
            return Problem.Of(new WriteResult { Status = Status.ConditionFailed, CurrentVersion = lease.Version }).WriteAsync(context);
        }

        if (!lease.Found)
        {
            return Problem.Of(Status.NotFound).WriteAsync(context);
        }

        if (ifNoneMatch.Given && ifNoneMatch.Matches(lease.Version))
        {
            context.Response.StatusCode = StatusCodes.Status304NotModified;
            WriteStamps(context.Response.Headers, lease);
            return Task.CompletedTask;
        }

        return AnswerAsync(context, lease, head);
    }

    private static Task AnswerAsync(HttpContext context, in ValueLease lease, bool head)
    {
        HttpResponse response = context.Response;
        IHeaderDictionary headers = response.Headers;
        headers.ContentType = OctetStream;
        headers.ContentLength = lease.Value.Length;
        WriteStamps(headers, lease);
        if (head)
        {
            return Task.CompletedTask;
        }

        // Once the headers are out, the output hands out its real buffer and the value is copied once. Starting ends at
        // once unless somebody hangs on to it; the lease must not wait for that.
        Task started = response.StartAsync();
        if (!started.IsCompletedSuccessfully)
        {
            return AnswerLaterAsync(response, started, lease.Value.ToArray());
        }

        response.BodyWriter.Write(lease.Value);
        return Task.CompletedTask;
    }

    private static async Task AnswerLaterAsync(HttpResponse response, Task started, byte[] value)
    {
        await started;
        response.BodyWriter.Write(value);
    }

    private static void WriteStamps(IHeaderDictionary headers, in ValueLease lease)
    {
        headers.ETag = EntityTags.Of(lease.Version);
        headers[ModifiedHeader] = IsoTime.Format(lease.ModifiedUnixMilliseconds);
        if (lease.ExpiresAtUnixMilliseconds != 0)
        {
            headers[ExpiresHeader] = IsoTime.Format(lease.ExpiresAtUnixMilliseconds);
        }
    }

    private static bool TryReadKey(
        in RestTarget target, string[] parameters, out RestKey key,
        [NotNullWhen(true)] out RestQuery? query, [NotNullWhen(false)] out Problem? problem)
    {
        key = default;
        return RestQuery.TryParse(target.Query, parameters, out query, out problem)
            && RestKey.TryDecode(target.Path[RestFrontDoor.KeyPrefix.Length..], query.Base64, out key, out problem);
    }

    // If-Match and If-None-Match as one condition of the store. Of several entity tags, the one that the key has now is
    // asked for: the store checks again, and versions never come back, so the answer is right whatever happens meanwhile.
    private bool TryReadCondition(
        IHeaderDictionary headers, RestKey key, out Condition condition, [NotNullWhen(false)] out Problem? problem)
    {
        condition = default;
        if (!EntityTags.TryParse("If-Match", headers.IfMatch, weak: false, out EntityTags ifMatch, out problem)
            || !EntityTags.TryParse("If-None-Match", headers.IfNoneMatch, weak: true, out EntityTags ifNoneMatch, out problem))
        {
            return false;
        }

        if (ifNoneMatch.Given && (ifMatch.Given || !ifNoneMatch.IsAny))
        {
            problem = Problem.Malformed("a write takes If-Match, or If-None-Match: * alone");
            return false;
        }

        if (ifNoneMatch.Given)
        {
            condition = Condition.IfAbsent;
        }
        else if (ifMatch.Given)
        {
            condition = ifMatch.IfMatch(ifMatch.HasSeveral ? VersionOf(key) : 0);
        }

        return true;
    }

    private long VersionOf(RestKey key)
    {
        using ValueLease lease = store.Get(key.Span);
        return lease.Version;
    }
}
