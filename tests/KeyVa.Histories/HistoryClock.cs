using System.Diagnostics;

namespace KeyVa.Histories;

/// <summary>
/// The one clock of a history: all workers stamp with it, so that "A had ended before B began" can be read off two
/// numbers. Thread-safe if its source is. Units are nanoseconds since it was made for <see cref="Start"/>, steps of
/// whatever drives it otherwise.
/// <para>
/// A stamp is fenced: an operation's loads and stores stay between its two stamps. Without the fence, a write that still
/// stands in a store buffer would be stamped as done, and a correct register could be accused.
/// </para>
/// </summary>
public sealed class HistoryClock(Func<long> now)
{
    /// <summary>The system's monotonic clock, beginning now.</summary>
    public static HistoryClock Start()
    {
        long start = Stopwatch.GetTimestamp();
        return new HistoryClock(() => (long)Stopwatch.GetElapsedTime(start).TotalNanoseconds);
    }

    /// <summary>The stamp of an invocation, to be taken before anything of the operation happens.</summary>
    public long Invoke()
    {
        long time = now();
        Interlocked.MemoryBarrier();
        return time;
    }

    /// <summary>The stamp of a completion, to be taken when all of the operation has happened.</summary>
    public long Complete()
    {
        Interlocked.MemoryBarrier();
        return now();
    }
}
