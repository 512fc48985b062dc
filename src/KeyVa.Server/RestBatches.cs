using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>
/// Several keys at once: <c>POST /kv:batch</c> writes all or nothing, <c>POST /kv:get</c> reads at one snapshot. Both
/// take and give JSON or the messages of data.proto. Thread-safe.
/// </summary>
internal sealed class RestBatches(Store store, LeaderRouting? leaders = null)
{
    /// <summary>Keys that one request may read.</summary>
    internal const int MaxGetKeys = 1024;

    // A byte of text may take six in JSON (\u0000); with the names around it, eight times a batch is enough. Protobuf
    // adds a few bytes per operation, which can be most of it where keys and values are tiny.
    private const int JsonFactor = 8;
    private const int ProtobufFactor = 4;
    private const int SlackBytes = 64 * 1024;

    private readonly long _maxBatchBytes = Math.Max(store.Options.MaxBatchBytes, store.Options.MaxValueBytes);

    /// <summary>Answers POST /kv:batch.</summary>
    public async Task WriteAsync(HttpContext context)
    {
        using RequestBody body = await ReadAsync(context);
        if (body.IsTooLong)
        {
            return;
        }

        if (!Receipts.TryRead(context.Request.Headers, out Acknowledgement acknowledgement, out Problem? unclear))
        {
            await unclear!.WriteAsync(context);
            return;
        }

        using WriteBatch batch = new();
        List<bool> removals = [];
        if (!TryRead(context, body.Memory, batch, removals, out string wrong))
        {
            await Problem.Malformed(wrong).WriteAsync(context);
            return;
        }

        if (RestAccess.Refuses(context, rights => KeyChecks.All(batch, rights), out Problem? denied))
        {
            await denied.WriteAsync(context);
            return;
        }

        if (leaders?.Refuse(context, touched => touched.Add(batch)) is { } elsewhere)
        {
            await elsewhere.WriteAsync(context);
            return;
        }

        if (acknowledgement.Class != AcknowledgementClass.Default)
        {
            // The header is for both forms, and overrides what the message says.
            batch.Acknowledgement = acknowledgement;
        }

        WriteResult result = await store.WriteAsync(batch, CancellationToken.None);
        HttpObservation.Note(context, result.Times);
        // A batch of one removal that found nothing is done all the same: the key is gone.
        if (result.Status is not (Status.Ok or Status.NotFound))
        {
            await Problem.Of(result, batch: true).WriteAsync(context);
            return;
        }

        WriteResponse response = ProtoRecord.Of(result, i => removals[i], removals.Count);
        await AnswerAsync(context, response, WriteWritten);
    }

    /// <summary>A batch out of a body of either kind, noting which of its operations are removals; false with what is wrong.</summary>
    internal bool TryRead(HttpContext context, ReadOnlyMemory<byte> body, WriteBatch batch, List<bool> removals, out string wrong) =>
        MediaType.IsJson(context.Request.ContentType)
            ? JsonRequest.TryReadBatch(body.Span, batch, removals, out wrong, store.MergeFunctions)
            : TryReadProto(body, batch, removals, out wrong);

    /// <summary>The answer to a batch.</summary>
    internal static void WriteWritten(Utf8JsonWriter json, WriteResponse message)
    {
        json.WriteNumber("version", message.Version);
        json.WriteStartArray("removed");
        foreach (bool removed in message.Removed)
        {
            json.WriteBooleanValue(removed);
        }

        json.WriteEndArray();
        if (message.Merged.Count > 0)
        {
            WriteMerged(json, message);
        }

        if (message.Receipt is { } receipt)
        {
            RestJson.WriteReceipt(json, receipt);
        }
    }

    /// <summary>Answers POST /kv:get.</summary>
    public Task GetAsync(HttpContext context, in RestTarget target) =>
        RestQuery.TryParse(target.Query, RestQuery.MultiGetParameters, out RestQuery? query, out Problem? problem) && query.TryReadMoment(out AsOf at, out problem)
            ? GetAsync(context, at)
            : problem.WriteAsync(context);

    private async Task GetAsync(HttpContext context, AsOf at)
    {
        using RequestBody body = await ReadAsync(context);
        if (body.IsTooLong)
        {
            return;
        }

        List<ReadOnlyMemory<byte>> keys = [];
        string wrong;
        bool valid = MediaType.IsJson(context.Request.ContentType)
            ? JsonRequest.TryReadKeys(body.Memory.Span, keys, out wrong)
            : TryReadProto(body.Memory, keys, ref at, out wrong);
        if (!valid || keys.Count > MaxGetKeys)
        {
            Problem problem = valid
                ? TooManyKeys(keys.Count)
                : Problem.Malformed(wrong);
            await problem.WriteAsync(context);
            return;
        }

        if (RestAccess.Refuses(context, rights => KeyChecks.All(keys, Level.Read, rights), out Problem? denied))
        {
            await denied.WriteAsync(context);
            return;
        }

        if (leaders?.Refuse(context, touched => keys.ForEach(key => touched.Add(key.Span))) is { } elsewhere)
        {
            await elsewhere.WriteAsync(context);
            return;
        }

        MultiReadResult result = await store.GetAtAsync(keys, at, context.RequestAborted);
        if (result.Status != Status.Ok)
        {
            await Problem.Past(result.Status, result.Detail, result.BeginsAtVersion).WriteAsync(context);
            return;
        }

        await AnswerAsync(context, ProtoRecord.Of(keys, result), static (json, message) => WriteRecords(json, message.Records));
    }

    private static void WriteMerged(Utf8JsonWriter json, WriteResponse message)
    {
        json.WriteStartArray("merged");
        foreach (ByteString value in message.Merged)
        {
            json.WriteStartObject();
            RestJson.WriteValue(json, value.Span);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    internal static Problem TooManyKeys(int keys) =>
        Problem.Of(Status.TooLarge, $"{keys} keys are more than the {MaxGetKeys} that one request may read");

    internal static void WriteRecords(Utf8JsonWriter json, IEnumerable<Protocol.V1.Record> records)
    {
        json.WriteStartArray("records");
        foreach (Protocol.V1.Record record in records)
        {
            json.WriteStartObject();
            RestJson.WriteKey(json, record.Key.Span);
            json.WriteBoolean("found", record.Found);
            if (record.Found)
            {
                RestJson.WriteValue(json, record.Value.Span);
                RestJson.WriteStamps(json, record.Version, record.ModifiedUnixMs, record.ExpiresAtUnixMs);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>Reads the body, or answers why not and returns one that is too long.</summary>
    internal async ValueTask<RequestBody> ReadAsync(HttpContext context, bool jsonOnly = false)
    {
        string? type = context.Request.ContentType;
        bool isJson = MediaType.IsJson(type);
        if (!isJson && (jsonOnly || !MediaType.IsProtobuf(type)))
        {
            await Problem.Http(
                StatusCodes.Status415UnsupportedMediaType, "Unknown media type",
                $"Content-Type is '{type}'; allowed is: {RestJson.ContentType}{(jsonOnly ? "" : ", " + MediaType.Protobuf)}").WriteAsync(context);
            return RequestBody.TooLong;
        }

        long limit = (_maxBatchBytes * (isJson ? JsonFactor : ProtobufFactor)) + SlackBytes;
        RequestBody body = await RequestBody.ReadAsync(context.Request, limit, context.RequestAborted);
        if (body.IsTooLong)
        {
            await Problem.Of(Status.TooLarge, string.Create(
                CultureInfo.InvariantCulture, $"the body is longer than a batch of max-batch-bytes can be, {limit} bytes")).WriteAsync(context);
        }

        return body;
    }

    private bool TryReadProto(ReadOnlyMemory<byte> body, WriteBatch batch, List<bool> removals, out string wrong)
    {
        if (!TryParse(WriteRequest.Parser, body, out WriteRequest request, out wrong)
            || !ProtoBatch.TryAdd(batch, request.Operations, out wrong, store.MergeFunctions)
            || !Receipts.TryRead(request.Acknowledgement, out Acknowledgement acknowledgement, out wrong))
        {
            return false;
        }

        batch.Acknowledgement = acknowledgement;

        foreach (Protocol.V1.Operation operation in request.Operations)
        {
            removals.Add(operation.KindCase == Protocol.V1.Operation.KindOneofCase.Remove);
        }

        return true;
    }

    internal static bool TryReadProto(ReadOnlyMemory<byte> body, List<ReadOnlyMemory<byte>> keys, ref AsOf at, out string wrong)
    {
        if (!TryParse(GetRequest.Parser, body, out GetRequest request, out wrong)
            || !PastMoment.TryRead(request.HasAtVersion ? request.AtVersion : null, request.HasAtUnixMs ? request.AtUnixMs : null, out AsOf asked, out wrong))
        {
            return false;
        }

        if (at.IsSet && asked.IsSet)
        {
            wrong = "the version or time is given twice: in the query, and as at_version or at_unix_ms";
            return false;
        }

        at = asked.IsSet ? asked : at;
        keys.AddRange(ProtoRecord.Keys(request.Keys));
        return true;
    }

    /// <summary>Reads a message; false with what is wrong.</summary>
    internal static bool TryParse<T>(MessageParser<T> parser, ReadOnlyMemory<byte> body, out T message, out string wrong)
        where T : class, IMessage<T>, new()
    {
        if (ProtobufInput.TryParse(new ReadOnlySequence<byte>(body), parser, out T? parsed, out wrong))
        {
            message = parsed;
            return true;
        }

        message = new T();
        wrong = "the body is no valid protobuf message: " + wrong;
        return false;
    }

    /// <summary>Answers with a message, in the form that the caller accepts.</summary>
    internal static async Task AnswerAsync<T>(HttpContext context, T message, Action<Utf8JsonWriter, T> writeMembers)
        where T : IMessage<T>
    {
        HttpResponse response = context.Response;
        if (MediaType.AcceptsProtobuf(context.Request.Headers.Accept))
        {
            response.ContentType = MediaType.Protobuf;
            response.ContentLength = message.CalculateSize();
            await response.StartAsync();
            ProtoRecord.WriteTo(message, response.BodyWriter);
            return;
        }

        response.ContentType = RestJson.ContentType;
        await response.StartAsync();
        using Utf8JsonWriter json = new(response.BodyWriter, RestJson.WriterOptions);
        json.WriteStartObject();
        writeMembers(json, message);
        json.WriteEndObject();
        json.Flush();
    }
}
