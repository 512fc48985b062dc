using System.Text.Json;
using KeyVa.Protocol.V1;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>
/// What was: <c>GET /kv/{key}?version=</c> or <c>?time=</c>, <c>GET /history/{key}</c>, and going back to it,
/// <c>POST /kv:rollback</c>. Thread-safe.
/// </summary>
/// <remarks>
/// The history is a resource of its own and not <c>/kv/{key}/history</c>, which is the key <c>…/history</c>.
/// </remarks>
internal sealed class RestPast(Store store)
{
    internal const string HistoryPrefix = "/history/";

    // A key may be as long as eight times its bytes in JSON, twice that for a range.
    private const int MaxBodyBytes = 256 * 1024;

    /// <summary>Answers GET and HEAD of a key as it was; disposes the key.</summary>
    public async Task ReadAsync(HttpContext context, RestKey key, RestQuery query, bool head)
    {
        using RestKey held = key;
        IHeaderDictionary headers = context.Request.Headers;
        if (!query.TryReadMoment(out AsOf at, out Problem? problem)
            || !EntityTags.TryParse("If-Match", headers.IfMatch, weak: false, out EntityTags ifMatch, out problem)
            || !EntityTags.TryParse("If-None-Match", headers.IfNoneMatch, weak: true, out EntityTags ifNoneMatch, out problem))
        {
            await problem.WriteAsync(context);
            return;
        }

        ReadResult result = await store.GetAtAsync(key.Memory, at, context.RequestAborted);
        if (result.Status is not (Status.Ok or Status.NotFound))
        {
            await Problem.Past(result.Status, result.Detail, result.BeginsAtVersion).WriteAsync(context);
            return;
        }

        KeyVa.Record record = result.Record;
        if (ifMatch.Given && !(result.Found && ifMatch.Matches(record.Version)))
        {
            await Problem.Of(new WriteResult { Status = Status.ConditionFailed, CurrentVersion = record.Version }).WriteAsync(context);
            return;
        }

        if (!result.Found)
        {
            await Problem.Of(Status.NotFound, "the key was not there then").WriteAsync(context);
            return;
        }

        WriteStamps(context.Response.Headers, record);
        if (ifNoneMatch.Given && ifNoneMatch.Matches(record.Version))
        {
            context.Response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }

        context.Response.Headers.ContentType = RestValues.OctetStream;
        context.Response.Headers.ContentLength = record.Value.Length;
        if (!head)
        {
            await context.Response.BodyWriter.WriteAsync(record.Value);
        }
    }

    /// <summary>Answers GET /history/{key}.</summary>
    public Task HistoryAsync(HttpContext context, in RestTarget target) =>
        RestQuery.TryParse(target.Query, RestQuery.HistoryParameters, out RestQuery? query, out Problem? problem)
            && RestKey.TryDecode(target.Path[HistoryPrefix.Length..], query.Base64, out RestKey key, out problem)
            ? RestAccess.Refuses(context, Level.Read, key, out problem) ? problem.WriteAsync(context) : HistoryAsync(context, key, query)
            : problem.WriteAsync(context);

    /// <summary>Answers POST /kv:rollback.</summary>
    public async Task RollBackAsync(HttpContext context)
    {
        string? type = context.Request.ContentType;
        bool isJson = MediaType.IsJson(type);
        if (!isJson && !MediaType.IsProtobuf(type))
        {
            await Problem.Http(
                StatusCodes.Status415UnsupportedMediaType, "Unknown media type",
                $"Content-Type is '{type}'; allowed is: {RestJson.ContentType}, {MediaType.Protobuf}").WriteAsync(context);
            return;
        }

        RevertRequest request = new();
        using (RequestBody body = await RequestBody.ReadAsync(context.Request, MaxBodyBytes, context.RequestAborted))
        {
            if (body.IsTooLong)
            {
                await Problem.Of(Status.TooLarge, $"the body is longer than a range can be, {MaxBodyBytes} bytes").WriteAsync(context);
                return;
            }

            bool valid = isJson
                ? JsonRollBack.TryRead(body.Memory.Span, request, out string wrong)
                : RestBatches.TryParse(RevertRequest.Parser, body.Memory, out request, out wrong);
            if (!valid)
            {
                await Problem.Malformed(wrong).WriteAsync(context);
                return;
            }
        }

        if (RestAccess.Refuses(context, rights => KeyChecks.Revert(request, rights), out Problem? denied))
        {
            await denied.WriteAsync(context);
            return;
        }

        RollBackResult result = await PastCalls.RunAsync(store, request);
        if (result.Status != Status.Ok)
        {
            await Problem.Past(result.Status, result.Detail, result.BeginsAtVersion).WriteAsync(context);
            return;
        }

        await RestBatches.AnswerAsync(context, PastCalls.ToMessage(result), static (json, done) =>
        {
            json.WriteNumber("version", done.Version);
            json.WriteNumber("toVersion", done.ToVersion);
            json.WriteNumber("keysChanged", done.KeysChanged);
        });
    }

    private async Task HistoryAsync(HttpContext context, RestKey key, RestQuery query)
    {
        using RestKey held = key;
        if (query.Before == 1)
        {
            await Problem.Malformed("before is '1'; versions begin with 1, so there is none before it").WriteAsync(context);
            return;
        }

        HistoryResult history = await store.HistoryAsync(
            key.Memory,
            new HistoryOptions
            {
                To = query.Before == 0 ? 0 : query.Before - 1,
                Limit = (int)Math.Min(query.Limit, int.MaxValue),
                WithoutValues = query.KeysOnly,
            },
            context.RequestAborted);
        if (history.Status != Status.Ok)
        {
            await Problem.Of(history.Status, history.Detail).WriteAsync(context);
            return;
        }

        byte[] name = key.Span.ToArray();
        await RestBatches.AnswerAsync(context, PastCalls.ToMessage(history), (json, message) =>
        {
            RestJson.WriteKey(json, name, query.Base64);
            json.WriteNumber("beginsAtVersion", message.BeginsAtVersion);
            json.WriteStartArray("versions");
            foreach (Protocol.V1.KeyVersion version in message.Versions)
            {
                WriteVersion(json, version, query);
            }

            json.WriteEndArray();
            if (message.ResumeVersion != 0)
            {
                json.WriteNumber("before", message.ResumeVersion + 1);
            }
        });
    }

    private static void WriteVersion(Utf8JsonWriter json, Protocol.V1.KeyVersion version, RestQuery query)
    {
        json.WriteStartObject();
        if (version.Removed)
        {
            json.WriteBoolean("removed", true);
        }
        else if (!query.KeysOnly)
        {
            RestJson.WriteValue(json, version.Value.Span, query.Base64);
        }

        RestJson.WriteStamps(json, version.Version, version.ModifiedUnixMs, version.ExpiresAtUnixMs);
        json.WriteEndObject();
    }

    private static void WriteStamps(IHeaderDictionary headers, in KeyVa.Record record)
    {
        headers.ETag = EntityTags.Of(record.Version);
        headers[RestValues.ModifiedHeader] = IsoTime.Format(record.ModifiedUnixMilliseconds);
        if (record.ExpiresAtUnixMilliseconds != 0)
        {
            headers[RestValues.ExpiresHeader] = IsoTime.Format(record.ExpiresAtUnixMilliseconds);
        }
    }
}
