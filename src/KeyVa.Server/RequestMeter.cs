using KeyVa.Measurements;

namespace KeyVa.Server;

/// <summary>What a request asks for, the same over all front doors.</summary>
internal enum Operation
{
    Get,
    Upsert,
    Remove,
    Write,
    Scan,
    BulkUpsert,

    /// <summary>Of a transaction of several calls, or a whole one in one call.</summary>
    Commit,

    /// <summary>What is not measured: metrics, health, refused routes.</summary>
    Other,
}

/// <summary>The latencies of one front door, by operation. Thread-safe.</summary>
internal sealed class RequestMeter
{
    private static readonly string[] Names = ["get", "upsert", "remove", "write", "scan", "bulk_upsert", "commit"];

    private readonly LatencyHistogram[] _histograms = [.. Names.Select(static _ => new LatencyHistogram())];

    public RequestMeter(string door) => Door = door;

    /// <summary>The name of the front door.</summary>
    public string Door { get; }

    /// <summary>Counts a request that began at a timestamp of <see cref="System.Diagnostics.Stopwatch"/>.</summary>
    public void Record(Operation operation, long started)
    {
        if (operation < Operation.Other)
        {
            _histograms[(int)operation].RecordSince(started);
        }
    }

    /// <summary>Counts so many requests that took the same time, in ticks of the stopwatch.</summary>
    public void RecordTicks(Operation operation, long ticks, int count = 1)
    {
        if (operation < Operation.Other)
        {
            _histograms[(int)operation].RecordTicks(ticks, count);
        }
    }

    /// <summary>An operation as metrics and logs call it.</summary>
    public static string WordOf(Operation operation) => operation < Operation.Other ? Names[(int)operation] : "other";

    /// <summary>How many requests of an operation took up to 1, 2, 4, ... microseconds, each counted once.</summary>
    public long[] ByMicroseconds(Operation operation) => _histograms[(int)operation].ByMicroseconds();

    /// <summary>The operations that were asked for at least once.</summary>
    public IEnumerable<(string Operation, LatencySummary Latency)> Read()
    {
        for (int i = 0; i < _histograms.Length; i++)
        {
            LatencySummary latency = _histograms[i].Summarize();
            if (latency.Count > 0)
            {
                yield return (Names[i], latency);
            }
        }
    }
}
