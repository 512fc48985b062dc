using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>The slow log over REST: <c>GET /slowlog</c> reads it, <c>DELETE /slowlog</c> empties it. Thread-safe.</summary>
internal sealed class RestSlowLog(SlowLog slow)
{
    private const int DefaultLimit = 100;
    private static readonly string[] Parameters = ["limit"];

    /// <summary>Answers the newest ones.</summary>
    public Task ListAsync(HttpContext context, in RestTarget target)
    {
        if (!RestQuery.TryParse(target.Query, Parameters, out RestQuery? query, out Problem? problem))
        {
            return problem.WriteAsync(context);
        }

        int limit = target.Query.IsEmpty ? DefaultLimit : (int)Math.Min(query.Limit, SlowLog.MostEntries);
        return RestConfiguration.AnswerAsync(context, json =>
        {
            json.WriteStartObject();
            json.WriteNumber("total", slow.Total);
            json.WriteStartArray("requests");
            foreach (SlowRequest request in slow.Newest(limit))
            {
                Write(json, request);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        });
    }

    /// <summary>Empties it.</summary>
    public Task ClearAsync(HttpContext context)
    {
        slow.Clear();
        context.Response.StatusCode = StatusCodes.Status204NoContent;
        return Task.CompletedTask;
    }

    private static void Write(Utf8JsonWriter json, SlowRequest request)
    {
        json.WriteStartObject();
        json.WriteNumber("number", request.Number);
        json.WriteString("time", IsoTime.Format(request.UnixMilliseconds));
        json.WriteString("door", request.Door);
        json.WriteString("operation", request.Operation);
        json.WriteNumber("microseconds", (long)request.Duration.TotalMicroseconds);
        json.WriteString("outcome", request.Outcome);
        json.WriteString("peer", request.Peer);
        json.WriteString("client", request.Name);
        json.WriteStartArray("arguments");
        foreach (byte[] argument in request.Arguments)
        {
            json.WriteStringValue(GrpcObservation.Shown(argument));
        }

        json.WriteEndArray();
        if (request.Times is { } times)
        {
            json.WriteStartObject("parts");
            json.WriteNumber("partition", times.Partition);
            json.WriteNumber("groupSize", times.GroupSize);
            json.WriteNumber("queueMicroseconds", (long)times.Queue.TotalMicroseconds);
            json.WriteNumber("logMicroseconds", (long)times.Log.TotalMicroseconds);
            json.WriteNumber("syncMicroseconds", (long)times.Sync.TotalMicroseconds);
            json.WriteNumber("applyMicroseconds", (long)times.Apply.TotalMicroseconds);
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }
}
