using KeyVa.Simulation.Raft;

namespace KeyVa.Simulation.Cluster;

/// <summary>A node's clocks on virtual time: a wall clock that may be wrong and jump, and timers that never go off, since nothing happens by itself.</summary>
internal sealed class VirtualTime(EventQueue events) : TimeProvider
{
    private const long Begin = 1_700_000_000_000;

    /// <summary>Milliseconds by which the wall clock is wrong.</summary>
    public long Skew { get; set; }

    public override long TimestampFrequency => 1000;

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(Begin + events.Now + Skew);

    public override long GetTimestamp() => events.Now;

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
