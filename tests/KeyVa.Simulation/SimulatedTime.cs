namespace KeyVa.Simulation;

/// <summary>A wall clock that the simulation moves.</summary>
internal sealed class SimulatedTime : TimeProvider
{
    private long _unixMilliseconds = 1_700_000_000_000;

    public long UnixMilliseconds => Volatile.Read(ref _unixMilliseconds);

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(UnixMilliseconds);

    public void Advance(long milliseconds) => Interlocked.Add(ref _unixMilliseconds, milliseconds);
}
