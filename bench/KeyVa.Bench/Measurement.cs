using System.Diagnostics;
using System.Runtime.ExceptionServices;
using KeyVa.Bench.Targets;

namespace KeyVa.Bench;

/// <summary>What one run of a workload gave.</summary>
internal sealed record Sample
{
    public required long Operations { get; init; }

    public required double Seconds { get; init; }

    public double PerSecond => Operations / Seconds;

    /// <summary>Latency in microseconds of the operations that were timed.</summary>
    public double P50 { get; init; }

    public double P99 { get; init; }

    public double P999 { get; init; }

    /// <summary>Bytes allocated on the GC heap by the calling threads, per operation.</summary>
    public double CallerBytes { get; init; }

    /// <summary>Bytes allocated on the GC heap by the whole process meanwhile, per operation.</summary>
    public double ProcessBytes { get; init; }

    /// <summary>Voluntary context switches of the calling threads, per operation.</summary>
    public double Switches { get; init; }

    /// <summary>Processor time of the whole process, background work included, in microseconds per operation.</summary>
    public double CpuMicroseconds { get; init; }

    /// <summary>Collections of the GC's oldest generation in the whole process meanwhile.</summary>
    public int Gen2Collections { get; init; }

    /// <summary>Of a fill: its amplification and memory.</summary>
    public FillFigures? Fill { get; init; }

    /// <summary>Puts per second of the writer beside the readers; 0 if there was none.</summary>
    public double WriterPerSecond { get; init; }
}

/// <summary>
/// Runs workloads on an open target: prepares the loops, starts all threads at one gate, takes the time from the first
/// start to the last end, and checks that the answers were right. Not thread-safe.
/// </summary>
internal sealed class Measurement
{
    private const int MaxSettleSeconds = 600;

    private readonly BenchOptions _options;
    private readonly uint[] _order;
    private readonly byte[] _values;

    /// <param name="options">Sizes, rates and seeds.</param>
    /// <param name="ordered">Whether the workloads need the shuffled records; those that count new records do not.</param>
    public Measurement(BenchOptions options, bool ordered = true)
    {
        _options = options;
        _order = ordered ? Keys.Shuffled(options.Records, options.Seed) : [];
        _values = Values.NewPool(options.ValueBytes, options.Seed);
    }

    /// <summary>Flushes, and waits until there is no background work and the process is idle: one rule for every target.</summary>
    public static void Settle(Target target)
    {
        target.Flush();
        Stopwatch waited = Stopwatch.StartNew();
        const int wantedQuietWindows = 3;
        for (int quiet = 0; quiet < wantedQuietWindows;)
        {
            if (waited.Elapsed.TotalSeconds > MaxSettleSeconds)
            {
                throw new TimeoutException($"{target.Name} has not come to rest within {MaxSettleSeconds} s");
            }

            const double windowMs = 200, idleShare = 0.05;
            TimeSpan before = Environment.CpuUsage.TotalTime;
            Thread.Sleep((int)windowMs);
            bool idle = (Environment.CpuUsage.TotalTime - before).TotalMilliseconds < windowMs * idleShare;
            quiet = idle && !target.HasBackgroundWork ? quiet + 1 : 0;
        }
    }

    public string DataRoot => _options.Data;

    public long Records => _order.Length;

    public double RecordBytes(long records) => (double)records * (_options.KeyBytes + _options.ValueBytes);

    public Sample Run(Target target, Workload workload, int threads, int round)
    {
        Loop[] loops = new Loop[threads];
        long operations = workload.Operations(_options.Records);
        for (int i = 0; i < threads; i++)
        {
            loops[i] = NewLoop(workload.Work, i, threads, operations, round);
        }

        Loop? writer = workload.Work == Work.GetWhileWriting ? NewLoop(Work.PutPaced, threads, threads + 1, 0, round) : null;
        GC.Collect();
        GC.WaitForPendingFinalizers();
        long allocated = GC.GetTotalAllocatedBytes(precise: true);
        TimeSpan cpu = Environment.CpuUsage.TotalTime;
        int collections = GC.CollectionCount(GC.MaxGeneration);
        RunThreads(target, loops, writer);
        collections = GC.CollectionCount(GC.MaxGeneration) - collections;
        cpu = Environment.CpuUsage.TotalTime - cpu;
        allocated = GC.GetTotalAllocatedBytes(precise: true) - allocated;
        Verify(target, workload, loops);
        return Summarize(loops, writer, allocated, cpu) with { Gen2Collections = collections };
    }

    /// <summary>
    /// Puts new records for a time or up to a count, whichever ends first (0: without that end), and tells when nobody
    /// completed a put. The harness keeps nothing per record.
    /// </summary>
    public (Sample Sample, Histogram Latency, Pause[] Pauses) Sustain(Target target, int threads, double seconds, long count)
    {
        Loop[] loops = [.. Enumerable.Range(0, threads).Select(index => new Loop
        {
            Work = Work.PutNew,
            Key = Keys.NewBuffer(_options.KeyBytes),
            MissingKey = [],
            Order = [],
            First = index,
            End = 0,
            Operations = count == 0 ? long.MaxValue : (count * (index + 1) / threads) - (count * index / threads),
            Seed = _options.Seed,
            ValuePool = _values,
            ValueBytes = _options.ValueBytes,
            LatencyEvery = 1,
            DurationTicks = (long)(seconds * Stopwatch.Frequency),
            WriteRate = _options.PutRate / threads,
            InsertBase = (ulong)index,
            InsertStep = (ulong)threads,
        })];
        GC.Collect();
        GC.WaitForPendingFinalizers();
        int collections = GC.CollectionCount(GC.MaxGeneration);
        long allocated = GC.GetTotalAllocatedBytes(precise: true);
        TimeSpan cpu = Environment.CpuUsage.TotalTime;
        RunThreads(target, loops, writer: null);
        Sample sample = Summarize(loops, writer: null, GC.GetTotalAllocatedBytes(precise: true) - allocated, Environment.CpuUsage.TotalTime - cpu);
        Histogram latency = new();
        Array.ForEach(loops, loop => latency.Merge(loop.Latency));
        return (
            sample with { Gen2Collections = GC.CollectionCount(GC.MaxGeneration) - collections },
            latency,
            Pause.OfAll([.. loops.Select(loop => loop.Pauses.ToArray())]));
    }

    /// <summary>Reads records that <see cref="Sustain"/> put on one thread; each must be there.</summary>
    public void CheckSustained(Target target, long written, long reads)
    {
        Loop loop = new()
        {
            Work = Work.GetNew,
            Key = Keys.NewBuffer(_options.KeyBytes),
            MissingKey = [],
            Order = [],
            First = 0,
            End = checked((int)written),
            Operations = reads,
            Seed = _options.Seed,
            ValuePool = _values,
            ValueBytes = _options.ValueBytes,
            LatencyEvery = 0,
            DurationTicks = 0,
            WriteRate = 0,
        };
        target.Run(loop);
        if (loop.Found != reads)
        {
            throw new InvalidOperationException($"{target.Name}: {loop.Found} found of {reads} that were written");
        }
    }

    private Loop NewLoop(Work work, int index, int threads, long operations, int round)
    {
        long records = _order.Length;
        return new Loop
        {
            Work = work,
            Key = Keys.NewBuffer(_options.KeyBytes),
            MissingKey = Keys.NewMissingBuffer(_options.KeyBytes),
            Order = _order,
            First = (int)(records * index / threads),
            End = (int)(records * (index + 1) / threads),
            Operations = (operations * (index + 1) / threads) - (operations * index / threads),
            Seed = _options.Seed + (ulong)(1000 * (round + 1)) + (ulong)index,
            ValuePool = _values,
            ValueBytes = _options.ValueBytes,
            LatencyEvery = _options.LatencyEvery,
            DurationTicks = (long)(_options.SyncSeconds * Stopwatch.Frequency),
            WriteRate = _options.WriteRate,
            InsertBase = (ulong)((records * (work == Work.YcsbE ? 2 : 1)) + index),
            InsertStep = (ulong)threads,
        };
    }

    private static void RunThreads(Target target, Loop[] loops, Loop? writer)
    {
        Loop[] all = writer is null ? loops : [.. loops, writer];
        using Barrier gate = new(all.Length);
        ExceptionDispatchInfo? failure = null;
        Thread[] threads = [.. all.Select(loop => new Thread(() =>
        {
            try
            {
                gate.SignalAndWait();
                RunLoop(target, loop);
            }
            catch (Exception e)
            {
                // Not handled, only carried to the thread that waits; it is thrown again below.
                Interlocked.CompareExchange(ref failure, ExceptionDispatchInfo.Capture(e), null);
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads[..loops.Length], thread => thread.Join());
        if (writer is not null)
        {
            writer.Stop = true;
            threads[^1].Join();
        }

        failure?.Throw();
    }

    private static void RunLoop(Target target, Loop loop)
    {
        long switches = Native.VoluntarySwitches();
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        loop.StartedAt = Stopwatch.GetTimestamp();
        target.Run(loop);
        loop.EndedAt = Stopwatch.GetTimestamp();
        loop.AllocatedBytes = GC.GetAllocatedBytesForCurrentThread() - allocated;
        loop.VoluntarySwitches = Native.VoluntarySwitches() - switches;
    }

    /// <summary>A figure for wrong answers is worth nothing: what should be found was found, and nothing else.</summary>
    private static void Verify(Target target, Workload workload, Loop[] loops)
    {
        long done = loops.Sum(loop => loop.Done);
        long found = loops.Sum(loop => loop.Found);
        long expected = workload.Work switch
        {
            Work.GetRandom or Work.GetWhileWriting or Work.SeekRandom or Work.Mix95
                or Work.YcsbA or Work.YcsbB or Work.YcsbC or Work.YcsbD or Work.YcsbE or Work.YcsbF => done,
            Work.ScanForward or Work.ScanReverse => Workload.ScanPasses * loops.Sum(loop => (long)loop.End - loop.First),
            _ => 0,
        };
        if (found != expected || done == 0)
        {
            throw new InvalidOperationException($"{target.Name} {workload.Name}: {found} found of {expected} in {done} operations");
        }
    }

    private static Sample Summarize(Loop[] loops, Loop? writer, long allocated, TimeSpan cpu)
    {
        Histogram latency = new();
        foreach (Loop loop in loops)
        {
            latency.Merge(loop.Latency);
        }

        double operations = loops.Sum(loop => loop.Done);
        return new Sample
        {
            Operations = (long)operations,
            Seconds = Stopwatch.GetElapsedTime(loops.Min(loop => loop.StartedAt), loops.Max(loop => loop.EndedAt)).TotalSeconds,
            P50 = latency.Microseconds(0.50),
            P99 = latency.Microseconds(0.99),
            P999 = latency.Microseconds(0.999),
            CallerBytes = loops.Sum(loop => loop.AllocatedBytes) / operations,
            ProcessBytes = allocated / operations,
            Switches = loops.Sum(loop => loop.VoluntarySwitches) / operations,
            CpuMicroseconds = cpu.TotalMicroseconds / operations,
            WriterPerSecond = writer is null ? 0 : writer.Done / Stopwatch.GetElapsedTime(writer.StartedAt, writer.EndedAt).TotalSeconds,
        };
    }
}
