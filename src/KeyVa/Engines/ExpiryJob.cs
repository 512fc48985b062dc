namespace KeyVa.Engines;

/// <summary>
/// Wakes an engine whose keys expire while nobody writes. Stamps come from the log alone: so when something is due by the
/// clock, the writer logs an empty group, and what its stamp allows is given back (<see cref="Engine.Settle"/>).
/// </summary>
/// <remarks>Thread-safe. It looks at the clock every <see cref="LongestWait"/> at most, and not at all where nothing expires.</remarks>
internal sealed class ExpiryJob(Engine engine, Func<long> dueAt, TimeSpan interval) : BackgroundJob(JobPriority.Checkpoint)
{
    private static readonly TimeSpan ShortestWait = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(30);

    private volatile bool _begun;
    private long _last = long.MinValue;

    /// <summary>Whether it is on its way. A writer that has put a key with an expiry begins it if it is not.</summary>
    public bool HasBegun => _begun;

    /// <summary>Begins to look, if anything expires at all.</summary>
    public void Begin()
    {
        if (!_begun && dueAt() != long.MaxValue && engine.Context.Settle is not null)
        {
            _begun = true;
            engine.Context.Background.ScheduleAfter(this, ShortestWait);
        }
    }

    public override void Run()
    {
        long due = dueAt();
        if (due == long.MaxValue)
        {
            _begun = false;
            return;
        }

        long now = engine.Context.Time.GetUtcNow().ToUnixTimeMilliseconds();
        if (due <= now && now - interval.TotalMilliseconds >= _last)
        {
            _last = now;
            engine.Context.Settle!(engine.VisibleStamp < due);
        }

        double wait = due <= now ? interval.TotalMilliseconds : due - now;
        engine.Context.Background.ScheduleAfter(
            this, TimeSpan.FromMilliseconds(Math.Clamp(wait, ShortestWait.TotalMilliseconds, LongestWait.TotalMilliseconds)));
    }
}
