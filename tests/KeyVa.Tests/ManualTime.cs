namespace KeyVa.Tests;

/// <summary>A wall clock that stands still until a test moves it; timers run on the system's clock.</summary>
internal sealed class ManualTime : TimeProvider
{
    private long _unixMilliseconds = 1_700_000_000_000;

    public long UnixMilliseconds => Volatile.Read(ref _unixMilliseconds);

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(UnixMilliseconds);

    public void Advance(TimeSpan time) => Interlocked.Add(ref _unixMilliseconds, (long)time.TotalMilliseconds);
}
