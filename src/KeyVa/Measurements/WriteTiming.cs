using System.Diagnostics;

namespace KeyVa.Measurements;

/// <summary>
/// Whether the parts of a write's time are to be noted, and from which total on: for a server's slow log and traces. Off, a group of
/// writes costs one read of a field; on, three looks at the clock. Thread-safe.
/// </summary>
internal sealed class WriteTiming
{
    /// <summary>Notes nothing, for ever.</summary>
    public static readonly WriteTiming Off = new();

    private long _thresholdTicks = long.MaxValue;

    public bool IsOn => Volatile.Read(ref _thresholdTicks) != long.MaxValue;

    /// <summary>Writes that take so many ticks of <see cref="Stopwatch"/> bring <see cref="WriteResult.Times"/>; <see cref="long.MaxValue"/>: none does.</summary>
    public long ThresholdTicks
    {
        get => Volatile.Read(ref _thresholdTicks);
        set => Volatile.Write(ref _thresholdTicks, value);
    }
}

/// <summary>Where the time of one write went, as timestamps of <see cref="Stopwatch"/>. Immutable.</summary>
/// <param name="Partition">The partition; of a commit over several the first that was written to.</param>
/// <param name="Began">It was handed to the partition's writer.</param>
/// <param name="Formed">Its turn had come: the group was encoded.</param>
/// <param name="Logged">The log had the group, as durably as the store promises.</param>
/// <param name="SyncTicks">Of that, the sync; 0: none was waited for.</param>
/// <param name="Applied">The engine had it, and readers see it.</param>
/// <param name="GroupSize">Writes that shared the group.</param>
internal sealed record WriteTimes(long Partition, long Began, long Formed, long Logged, long SyncTicks, long Applied, int GroupSize)
{
    /// <summary>Waiting for the turn.</summary>
    public TimeSpan Queue => Stopwatch.GetElapsedTime(Began, Formed);

    /// <summary>Encoding and writing to the log, without the sync.</summary>
    public TimeSpan Log => Stopwatch.GetElapsedTime(Formed + SyncTicks, Logged);

    /// <summary>Waiting for the disk to have it.</summary>
    public TimeSpan Sync => Stopwatch.GetElapsedTime(0, SyncTicks);

    /// <summary>Applying the group to the engine.</summary>
    public TimeSpan Apply => Stopwatch.GetElapsedTime(Logged, Applied);
}
