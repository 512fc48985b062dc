using System.IO.Pipelines;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>What is not data: metrics, health, the API's description, and a few lines for whoever opens the root. Thread-safe.</summary>
internal sealed class RestPages(Store store, MetricList metrics)
{
    private const string Text = "text/plain; charset=utf-8";

    // The document is written by hand: Microsoft.AspNetCore.OpenApi describes endpoints of the routing table, of which
    // there are none here, and it needs reflection that trimming would break.
    private static readonly byte[] OpenApi = ReadOpenApi();

    private static readonly byte[] Root = Encoding.UTF8.GetBytes(
        """
        This is KeyVa, a key-value store.
          curl -X PUT --data-binary hello http://HOST/kv/greeting     store a value
          curl http://HOST/kv/greeting                                read it
          curl http://HOST/kv?prefix=gr                               list keys
        /openapi/v1.json describes everything here, /metrics counts it, /healthz and /readyz say how it is.

        """);

    /// <summary>Answers /metrics.</summary>
    public Task MetricsAsync(HttpContext context) =>
        AnswerAsync(context, PrometheusText.ContentType, Encoding.UTF8.GetBytes(PrometheusText.Render(metrics.Read())));

    /// <summary>Answers /healthz: the process is alive.</summary>
    public static Task HealthAsync(HttpContext context) => AnswerAsync(context, Text, "ok\n"u8.ToArray());

    /// <summary>Answers /readyz: the store reads and writes.</summary>
    public Task ReadyAsync(HttpContext context) => store.Failure is { } failure
        ? Problem.Http(StatusCodes.Status503ServiceUnavailable, "Not ready", failure.Message).WriteAsync(context)
        : AnswerAsync(context, Text, ReadyText());

    // Damage that a scrub found stops nothing but the reads that need the bytes: it is said, and the node stays in service.
    private byte[] ReadyText()
    {
        IReadOnlyList<CorruptionException> damages = store.ScrubDamages;
        return damages.Count == 0
            ? "ready\n"u8.ToArray()
            : Encoding.UTF8.GetBytes($"ready, with {damages.Count} damaged {(damages.Count == 1 ? "place" : "places, the first")} in '{damages[0].File}' at offset {damages[0].Offset}\n");
    }

    /// <summary>Answers /openapi/v1.json.</summary>
    public static Task OpenApiAsync(HttpContext context) => AnswerAsync(context, RestJson.ContentType, OpenApi);

    /// <summary>Answers /.</summary>
    public static Task RootAsync(HttpContext context) => AnswerAsync(context, Text, Root);

    private static Task<FlushResult> AnswerAsync(HttpContext context, string contentType, byte[] body)
    {
        context.Response.ContentType = contentType;
        context.Response.ContentLength = body.Length;
        return context.Response.BodyWriter.WriteAsync(body).AsTask();
    }

    private static byte[] ReadOpenApi()
    {
        using Stream stream = typeof(RestPages).Assembly.GetManifestResourceStream("openapi.json")!;
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
