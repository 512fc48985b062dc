using System.Diagnostics;
using System.Threading.Tasks.Sources;
using KeyVa.Measurements;

namespace KeyVa.Partitions;

/// <summary>
/// A caller's place in a partition's queue. It belongs to its caller until it is pushed, then to whoever holds the
/// writer's role, until it is completed.
/// </summary>
internal abstract class WriteRequest
{
    /// <summary>Queue and group chain; the role's holder owns it.</summary>
    internal WriteRequest? Next;

    /// <summary>The command, encoded by the caller; null for one that takes the role for itself.</summary>
    public CommandBuilder? Command;

    public WriteResult Result;

    /// <summary>Whether a thread waits for it, which can lead a group itself.</summary>
    public virtual bool CanLead => false;

    /// <summary>Hands the writer's role to it (only if <see cref="CanLead"/>).</summary>
    public virtual void Lead() => throw new InvalidOperationException("this request cannot lead");

    /// <summary>When it was handed to the writer; 0: nobody wants to know.</summary>
    public virtual long Began => 0;

    /// <summary>The result is set; the request is its caller's again.</summary>
    public abstract void Complete();
}

/// <summary>
/// A synchronous caller: waits on its own thread, and leads a group when told. One per thread, used again and again.
/// </summary>
internal sealed class SyncWriteRequest : WriteRequest
{
    private const int Queued = 0;
    private const int Parked = 1;
    private const int Leading = 2;
    private const int Done = 3;

    /// <summary>A look at the state that waits longer than another processor's cache takes makes the whole queue wait; one at the clock is dear.</summary>
    private const int LooksPerClock = 16;

    [ThreadStatic]
    private static SyncWriteRequest? _current;

    private readonly object _wake = new();
    private int _state;

    public static SyncWriteRequest ForThisThread => _current ??= new SyncWriteRequest();

    /// <summary>The thread's own builder, for calls that bring no batch.</summary>
    public CommandBuilder OwnCommand { get; } = new();

    public override bool CanLead => true;

    public bool IsDone => Volatile.Read(ref _state) == Done;

    public void Begin(CommandBuilder command)
    {
        Command = command;
        Result = default;
        Next = null;
        Volatile.Write(ref _state, Queued);
    }

    /// <summary>
    /// Waits until it is completed (true) or is to lead (false): awake for as many ticks of <see cref="Stopwatch"/> as
    /// given, then asleep.
    /// </summary>
    public bool WaitForDoneOrLead(long spinTicks)
    {
        if (spinTicks > 0)
        {
            Spin(spinTicks);
        }

        if (Interlocked.CompareExchange(ref _state, Parked, Queued) == Queued)
        {
            lock (_wake)
            {
                while (Volatile.Read(ref _state) == Parked)
                {
                    Monitor.Wait(_wake);
                }
            }
        }

        if (Volatile.Read(ref _state) == Done)
        {
            return true;
        }

        Volatile.Write(ref _state, Queued);
        return false;
    }

    public override void Lead() => Signal(Leading);

    public override void Complete() => Signal(Done);

    private void Spin(long ticks)
    {
        long begun = Stopwatch.GetTimestamp();
        for (int looks = 1; Volatile.Read(ref _state) == Queued; looks++)
        {
            if (looks % LooksPerClock == 0 && Stopwatch.GetTimestamp() - begun >= ticks)
            {
                return;
            }

            Thread.SpinWait(1);
        }
    }

    private void Signal(int state)
    {
        if (Interlocked.Exchange(ref _state, state) == Parked)
        {
            lock (_wake)
            {
                Monitor.Pulse(_wake);
            }
        }
    }
}

/// <summary>An asynchronous caller. Pooled; the value task that it backs may be awaited once.</summary>
internal sealed class AsyncWriteRequest : WriteRequest, IValueTaskSource<WriteResult>
{
    private const int MaxPooled = 1024;

    private static readonly System.Collections.Concurrent.ConcurrentQueue<AsyncWriteRequest> Pool = new();
    private static int _pooled;

    private ManualResetValueTaskSourceCore<WriteResult> _source;

    private AsyncWriteRequest() => _source.RunContinuationsAsynchronously = true;

    /// <summary>The request's own builder, for calls that bring no batch. Freed by its finalizer when the pool is full.</summary>
    public CommandBuilder OwnCommand { get; } = new();

    /// <summary>Where the time from <see cref="Begin"/> to completion is noted.</summary>
    private LatencyHistogram? _latency;
    private StoreCounters? _counters;
    private long _begun;

    public short Token => _source.Version;

    public override long Began => _begun;

    public static AsyncWriteRequest Rent()
    {
        if (Pool.TryDequeue(out AsyncWriteRequest? request))
        {
            Interlocked.Decrement(ref _pooled);
            return request;
        }

        return new AsyncWriteRequest();
    }

    public void Begin(CommandBuilder command, LatencyHistogram latency, StoreCounters counters)
    {
        Command = command;
        _latency = latency;
        _counters = counters;
        _begun = Stopwatch.GetTimestamp();
    }

    public override void Complete()
    {
        _latency!.RecordSince(_begun);
        if (Result.Status > Status.NotFound)
        {
            _counters!.AddRefused(Command!.HasRemovals ? Counter.Removes : Counter.Sets, Command.Count);
        }

        _source.SetResult(Result);
    }

    public WriteResult GetResult(short token)
    {
        WriteResult result = _source.GetResult(token);
        Return();
        return result;
    }

    public ValueTaskSourceStatus GetStatus(short token) => _source.GetStatus(token);

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _source.OnCompleted(continuation, state, token, flags);

    public void Return()
    {
        _source.Reset();
        OwnCommand.Clear();
        Command = null;
        Result = default;
        Next = null;
        if (Interlocked.Increment(ref _pooled) <= MaxPooled)
        {
            Pool.Enqueue(this);
        }
        else
        {
            Interlocked.Decrement(ref _pooled);
            OwnCommand.Dispose();
        }
    }
}

/// <summary>
/// Takes the writer's role for something else than a group: a commit over several partitions, a flush, a removal. When
/// its turn comes, <see cref="Acquired"/> runs with the role held and must lead to
/// <see cref="PartitionWriter.Leave"/>; it must not block.
/// </summary>
internal abstract class ExclusiveRequest : WriteRequest
{
    public abstract void Acquired(PartitionWriter writer);

    public override void Complete()
    {
    }
}

/// <summary>An action that runs with the role held.</summary>
internal sealed class ExclusiveAction(Action<PartitionWriter> action) : ExclusiveRequest
{
    public override void Acquired(PartitionWriter writer)
    {
        try
        {
            action(writer);
        }
        finally
        {
            writer.Leave(direct: false);
        }
    }
}
