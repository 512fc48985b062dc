using System.Diagnostics;
using KeyVa.Measurements;
using Microsoft.Extensions.Logging;

namespace KeyVa.Server;

/// <summary>
/// Sees every request end: counts its latency, keeps it if it was slow, logs it if all are to be logged, and traces it if its turn has
/// come. Thread-safe.
/// </summary>
/// <remarks>
/// A request that is none of these costs one look at the clock, one atomic addition and three reads. Spans are made when the request
/// has ended, with the times that were noted: no context flows with the request, and what is not sampled has cost nothing.
/// </remarks>
internal sealed partial class RequestObserver
{
    /// <summary>Lines about slow requests in a second; the slow log has the others.</summary>
    private const int MostLinesPerSecond = 10;

    // The store notes parts from here on: what it took of a slow request may have been less than the whole.
    private const int PartOfSlow = 4;

    // immutable
    private readonly Store _store;
    private readonly TimeProvider _clock;
    private readonly ILogger _operations;
    private readonly ILogger _slowRequests;

    // shared
    private SlowThresholds _thresholds = SlowThresholds.Default;
    private volatile OperationLogging _logged;
    private volatile bool _isObserved = true;
    private long _second;
    private int _lines;

    public RequestObserver(Store store, ILoggerFactory logs, TimeProvider clock, RequestTracer tracer)
    {
        _store = store;
        _clock = clock;
        Tracer = tracer;
        Slow = new SlowLog(clock);
        _operations = logs.CreateLogger("KeyVa.Operations");
        _slowRequests = logs.CreateLogger("KeyVa.Slow");
    }

    /// <summary>The requests that were slow.</summary>
    public SlowLog Slow { get; }

    public RequestTracer Tracer { get; }

    /// <summary>Takes over the options as they count now.</summary>
    public void Configure(ServerOptions options)
    {
        TelemetryOptions telemetry = options.Telemetry;
        Volatile.Write(ref _thresholds, telemetry.SlowLog);
        _logged = telemetry.OperationLog;
        Slow.MaxEntries = telemetry.SlowLogLength;
        Tracer.Sample = telemetry.TraceSample;
        long lowest = telemetry.SlowLog.LowestWriteTicks;
        _isObserved = telemetry.IsObserved;
        _store.Timing.ThresholdTicks = !telemetry.IsObserved ? long.MaxValue : Tracer.IsOn ? 0 : lowest == long.MaxValue ? long.MaxValue : lowest / PartOfSlow;
    }

    /// <summary>A request has ended that began at a timestamp of <see cref="Stopwatch"/>; <paramref name="count"/>: so many that were done together.</summary>
    public void End<TRequest>(RequestMeter meter, Operation operation, long began, ref TRequest request, int count = 1)
        where TRequest : struct, IObservedRequest, allows ref struct
    {
        if (!_isObserved)
        {
            return;
        }

        long ended = Stopwatch.GetTimestamp();
        meter.RecordTicks(operation, ended - began, count);
        if (ended - began >= Volatile.Read(ref _thresholds).TicksOf(operation) || _logged != OperationLogging.Off || Tracer.IsOn)
        {
            Tell(meter.Door, operation, began, ended, ref request);
        }
    }

    private void Tell<TRequest>(string door, Operation operation, long began, long ended, ref TRequest request)
        where TRequest : struct, IObservedRequest, allows ref struct
    {
        if (request.HasSecrets)
        {
            return;
        }

        string word = RequestMeter.WordOf(operation);
        if (ended - began >= Volatile.Read(ref _thresholds).TicksOf(operation))
        {
            SlowRequest slow = Slow.Add(door, word, ended - began, ref request);
            if (_slowRequests.IsEnabled(LogLevel.Warning) && MayLog())
            {
                LogSlow(_slowRequests, door, word, request.Target(), slow.Duration.TotalMilliseconds, Parts(slow.Times), request.Peer);
            }
        }

        OperationLogging logged = _logged;
        bool writes = operation is not (Operation.Get or Operation.Scan or Operation.Other);
        if (logged == OperationLogging.All || (logged == OperationLogging.Writes && writes))
        {
            string target = request.Target();
            long microseconds = (long)Stopwatch.GetElapsedTime(began, ended).TotalMicroseconds;
            LogOperation(_operations, door, word, target, request.Outcome, microseconds, request.Peer);
        }

        if (Tracer.IsOn)
        {
            Tracer.Trace(door, word, began, ended, ref request);
        }
    }

    private static string Parts(WriteTimes? times) => times is null ? "" : string.Create(
        System.Globalization.CultureInfo.InvariantCulture,
        $" (queue {times.Queue.TotalMilliseconds:0.###}, log {times.Log.TotalMilliseconds:0.###}, sync {times.Sync.TotalMilliseconds:0.###}, apply {times.Apply.TotalMilliseconds:0.###} ms, in a group of {times.GroupSize})");

    /// <summary>Whether a line about a slow request may be written: a server that is slow must not write itself to death.</summary>
    private bool MayLog()
    {
        long second = _clock.GetUtcNow().ToUnixTimeSeconds();
        if (Interlocked.Exchange(ref _second, second) != second)
        {
            Interlocked.Exchange(ref _lines, 0);
        }

        return Interlocked.Increment(ref _lines) <= MostLinesPerSecond;
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Door} {Operation} {Target}: {Outcome} in {Microseconds} µs, from {Peer}")]
    private static partial void LogOperation(ILogger log, string door, string operation, string target, string outcome, long microseconds, string peer);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Slow: {Door} {Operation} {Target} took {Milliseconds} ms{Parts}, from {Peer}")]
    private static partial void LogSlow(ILogger log, string door, string operation, string target, double milliseconds, string parts, string peer);
}
