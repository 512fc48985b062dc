namespace KeyVa.Engines;

/// <summary>
/// Holds all compactions of a store together to a number of bytes per second: a bucket that fills all the time and holds
/// little, so that the rate is even. A compaction takes first and then waits until what it took has come in; so pieces of
/// any size pass, and those who wait are let go in the order in which they came. Flushes do not ask.
/// </summary>
/// <remarks>A rate of 0 is no limit. Thread-safe by one lock. A wait ends at once when its user stops and <see cref="Wake"/> is called.</remarks>
internal sealed class CompactionRate : IDisposable
{
    /// <summary>The bucket holds what comes in during this time.</summary>
    private const double BurstSeconds = 0.05;

    private readonly TimeProvider _time;
    private readonly ITimer _timer;
    private readonly object _gate = new();

    // Guarded by the gate. The bucket is full when _paidUntil lies the burst's time behind now.
    private readonly long _opened;
    private double _bytesPerSecond;
    private double _paidUntil;
    private double _wakeAt = double.MaxValue;

    public CompactionRate(long bytesPerSecond, TimeProvider time)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytesPerSecond);
        _bytesPerSecond = bytesPerSecond;
        _time = time;
        _opened = time.GetTimestamp();
        _timer = time.CreateTimer(static rate => ((CompactionRate)rate!).OnTimer(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Bytes per second from now on; 0: no limit. Who waits already waits as long as it was to.</summary>
    public void Change(long bytesPerSecond)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytesPerSecond);
        lock (_gate)
        {
            _bytesPerSecond = bytesPerSecond;
        }
    }

    /// <summary>Takes so many bytes and waits until the rate allows them, or the user stops.</summary>
    public void Take(long bytes, Func<bool> isStopping)
    {
        lock (_gate)
        {
            double until = Reserve(bytes);
            for (double now = Now(); now < until && !isStopping(); now = Now())
            {
                if (until < _wakeAt)
                {
                    _wakeAt = until;
                    _timer.Change(TimeSpan.FromSeconds(until - now) + TimeSpan.FromMilliseconds(1), Timeout.InfiniteTimeSpan);
                }

                Monitor.Wait(_gate);
            }
        }
    }

    /// <summary>Lets those who wait look whether they are to stop.</summary>
    public void Wake()
    {
        lock (_gate)
        {
            Monitor.PulseAll(_gate);
        }
    }

    public void Dispose() => _timer.Dispose();

    /// <summary>Takes bytes and returns the time, in seconds since the beginning, at which they have come in. Gate held.</summary>
    private double Reserve(long bytes)
    {
        _paidUntil = Math.Max(_paidUntil, Now() - BurstSeconds) + (_bytesPerSecond > 0 ? bytes / _bytesPerSecond : 0);
        return _paidUntil;
    }

    private double Now() => _time.GetElapsedTime(_opened).TotalSeconds;

    private void OnTimer()
    {
        lock (_gate)
        {
            _wakeAt = double.MaxValue;
            Monitor.PulseAll(_gate);
        }
    }
}
