using KeyVa.Simulation.Raft;

namespace KeyVa.Simulation.Cluster;

/// <summary>
/// A node's clocks on virtual time: one that never falls, but goes too fast or too slow and jumps ahead; a wall clock that is wrong besides; and timers
/// that never go off, since nothing happens by itself.
/// </summary>
internal sealed class VirtualTime(EventQueue events) : TimeProvider
{
    private const long Begin = 1_700_000_000_000;
    private const long Thousand = 1000;

    private long _base;
    private long _since;
    private long _drift;

    /// <summary>Milliseconds by which the wall clock is wrong.</summary>
    public long Skew { get; set; }

    public override long TimestampFrequency => Thousand;

    /// <summary>Milliseconds of the clock that never falls.</summary>
    public long Now => _base + ((events.Now - _since) * (Thousand + _drift) / Thousand);

    /// <summary>From here on it goes faster by so many thousandths.</summary>
    public void Drift(long thousandths)
    {
        Jump(0);
        _drift = thousandths;
    }

    /// <summary>It goes ahead at once, as of a machine that slept.</summary>
    public void Jump(long milliseconds)
    {
        _base = Now + milliseconds;
        _since = events.Now;
    }

    /// <summary>Virtual time until it shows a time.</summary>
    public long Until(long time) => Math.Max(1, ((time - Now) * Thousand / (Thousand + _drift)) + 1);

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(Begin + events.Now + Skew);

    public override long GetTimestamp() => Now;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => new Never();

    private sealed class Never : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period) => true;

        public void Dispose()
        {
        }

        public ValueTask DisposeAsync() => default;
    }
}
