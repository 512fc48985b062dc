using System.Diagnostics;
using KeyVa.Measurements;

namespace KeyVa.Server;

/// <summary>
/// Makes spans of requests that have ended: one of the front door and, of a write whose times were noted, one each for queue, log, sync
/// and engine; of a read one each for what came before the engine and for the engine. Off unless a part of the requests is to be traced and somebody listens. Thread-safe.
/// </summary>
internal sealed class RequestTracer : IDisposable
{
    /// <summary>What listeners know the spans by.</summary>
    public const string SourceName = "KeyVa";

    private readonly ActivitySource _source = new(SourceName, typeof(RequestTracer).Assembly.GetName().Version?.ToString(3) ?? "");
    private double _sample;

    /// <summary>The part of the requests that is traced where the caller does not say, 0 to 1; 0: none is, whatever the caller says.</summary>
    public double Sample
    {
        get => Volatile.Read(ref _sample);
        set => Volatile.Write(ref _sample, value);
    }

    public bool IsOn => Sample > 0;

    /// <summary>Makes the spans of a request, if it is among those that are sampled.</summary>
    public void Trace<TRequest>(string door, string operation, long began, long ended, ref TRequest request)
        where TRequest : struct, IObservedRequest, allows ref struct
    {
        ActivityContext parent = request.Parent;
        bool isSampled = parent.TraceId != default ? (parent.TraceFlags & ActivityTraceFlags.Recorded) != 0 : IsChosen();
        if (!isSampled || !_source.HasListeners())
        {
            return;
        }

        Activity? outer = Activity.Current;
        Activity.Current = null;
        DateTime now = DateTime.UtcNow;
        DateTime At(long timestamp) => now - Stopwatch.GetElapsedTime(timestamp, ended);
        using (Activity? span = _source.StartActivity(ActivityKind.Server, parent, startTime: At(began), name: $"{door} {operation}"))
        {
            if (span is not null)
            {
                span.SetTag("db.system.name", "keyva");
                span.SetTag("db.operation.name", operation);
                span.SetTag("network.protocol.name", door);
                span.SetTag("network.peer.address", request.Peer);
                span.SetTag("keyva.outcome", request.Outcome);
                if (request.Times is { } times)
                {
                    AddParts(times, At);
                }
                else if (request.Reads is { } reads)
                {
                    Part("read wait", began, reads.Asked, At);
                    Part("engine read", reads.Asked, reads.Answered, At);
                }

                span.SetEndTime(now);
            }
        }

        Activity.Current = outer;
    }

    public void Dispose() => _source.Dispose();

    private void AddParts(WriteTimes times, Func<long, DateTime> at)
    {
        long synced = times.Logged - times.SyncTicks;
        Part("partition queue", times.Began, times.Formed, at, times);
        Part("log append", times.Formed, synced, at, times);
        if (times.SyncTicks > 0)
        {
            Part("log sync", synced, times.Logged, at, times);
        }

        Part("engine apply", times.Logged, times.Applied, at, times);
    }

    private void Part(string name, long from, long to, Func<long, DateTime> at, WriteTimes? write = null)
    {
        using Activity? part = _source.StartActivity(name, ActivityKind.Internal, parentContext: default, startTime: at(from));
        if (part is null)
        {
            return;
        }

        if (write is not null)
        {
            part.SetTag("keyva.partition", write.Partition);
            part.SetTag("keyva.group_size", write.GroupSize);
        }

        part.SetEndTime(at(to));
    }

    private bool IsChosen()
    {
        double sample = Sample;
        return sample >= 1 || Random.Shared.NextDouble() < sample;
    }
}
