using System.Diagnostics;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>
/// Where the time of a read went, as timestamps of <see cref="Stopwatch"/>; noted only while requests are traced. Immutable.
/// </summary>
/// <param name="Asked">The engine was asked: the request was understood and allowed, and where partitions are replicated its leader had confirmed that nothing is missing.</param>
/// <param name="Answered">The engine had answered; a scan, with its first record.</param>
internal readonly record struct ReadTimes(long Asked, long Answered)
{
    // In the items of a request over HTTP.
    private static readonly object Key = new();

    /// <summary>The moment at which the engine is asked; 0: nobody wants to know.</summary>
    public static long Begin(RequestTracer tracer) => tracer.IsOn ? Stopwatch.GetTimestamp() : 0;

    /// <summary>The engine has answered that was asked at a moment; null: nobody wants to know.</summary>
    public static ReadTimes? End(long asked) => asked == 0 ? null : new ReadTimes(asked, Stopwatch.GetTimestamp());

    /// <summary>The same, noted with a request. Of several reads of one request the first asks and the last answers.</summary>
    public static void End(long asked, HttpContext context)
    {
        if (End(asked) is { } times)
        {
            context.Items[Key] = Of(context) is { } before ? times with { Asked = before.Asked } : times;
        }
    }

    /// <summary>What was noted with a request; null: nothing.</summary>
    public static ReadTimes? Of(HttpContext context) => context.Items.TryGetValue(Key, out object? times) ? (ReadTimes?)times : null;
}
