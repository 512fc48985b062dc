namespace KeyVa.Server;

/// <summary>Reads, writes and removals per second.</summary>
internal readonly record struct OperationRates(double Gets, double Sets, double Removes);

/// <summary>
/// Measures operations per second over the last few seconds, from counters read once a second. Thread-safe.
/// </summary>
internal sealed class RateSampler : IAsyncDisposable
{
    private const int Samples = 6; // five intervals
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    // immutable
    private readonly Store _store;
    private readonly TimeProvider _clock;
    private readonly Action _sampled;
    private readonly ITimer _timer;

    // under the lock
    private readonly Lock _lock = new();
    private readonly Queue<Sample> _samples = new(Samples);
    private Sample _newest;

    /// <param name="store">Whose counters to read.</param>
    /// <param name="clock">The clock.</param>
    /// <param name="sampled">Called after each sample, on the timer's thread.</param>
    public RateSampler(Store store, TimeProvider clock, Action sampled)
    {
        _store = store;
        _clock = clock;
        _sampled = sampled;
        Take();
        _timer = clock.CreateTimer(static state => ((RateSampler)state!).Tick(), this, Interval, Interval);
    }

    /// <summary>The rates between the oldest and the newest sample; 0 before the second one.</summary>
    public OperationRates Read()
    {
        lock (_lock)
        {
            Sample oldest = _samples.Peek();
            double seconds = _clock.GetElapsedTime(oldest.Taken, _newest.Taken).TotalSeconds;
            return seconds <= 0
                ? default
                : new OperationRates(
                    (_newest.Gets - oldest.Gets) / seconds,
                    (_newest.Sets - oldest.Sets) / seconds,
                    (_newest.Removes - oldest.Removes) / seconds);
        }
    }

    /// <summary>Stops; waits for a sample being taken.</summary>
    public ValueTask DisposeAsync() => _timer.DisposeAsync();

    private void Tick()
    {
        Take();
        _sampled();
    }

    private void Take()
    {
        StoreStatistics statistics = _store.GetStatistics();
        lock (_lock)
        {
            if (_samples.Count == Samples)
            {
                _samples.Dequeue();
            }

            _newest = new Sample(_clock.GetTimestamp(), statistics.Gets, statistics.Sets, statistics.Removes);
            _samples.Enqueue(_newest);
        }
    }

    private readonly record struct Sample(long Taken, long Gets, long Sets, long Removes);
}
