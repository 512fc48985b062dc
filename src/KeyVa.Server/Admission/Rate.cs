using System.Diagnostics.CodeAnalysis;
using System.Threading.RateLimiting;

namespace KeyVa.Server.Admission;

/// <summary>
/// One token bucket (<see cref="TokenBucketRateLimiter"/>) that needs no timer: it is filled up when it is found empty. Thread-safe.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "without a timer the bucket holds memory alone")]
internal sealed class Rate
{
    // A bucket counts in int; sizes beyond go in larger units.
    private const long MaxTokens = 1 << 30;
    private const int MaxRefillsPerSecond = 100;

    private readonly TokenBucketRateLimiter _bucket;
    private readonly long _unit;
    private readonly int _limit;
    private readonly long _perSecond;
    private long _owed;

    /// <summary>The rate of limited options.</summary>
    public Rate(RateOptions options)
    {
        _perSecond = options.PerSecond;
        long burst = options.Burst > 0 ? options.Burst : options.PerSecond;
        _unit = Math.Max(1, (Math.Max(burst, options.PerSecond) + MaxTokens - 1) / MaxTokens);
        long perSecond = Math.Max(1, options.PerSecond / _unit);
        long tokens = (perSecond + MaxRefillsPerSecond - 1) / MaxRefillsPerSecond;
        _limit = (int)Math.Max(tokens, Math.Max(1, burst / _unit));
        _bucket = new TokenBucketRateLimiter(new TokenBucketRateLimiterOptions
        {
            AutoReplenishment = false,
            QueueLimit = 0,
            TokenLimit = _limit,
            TokensPerPeriod = (int)tokens,
            ReplenishmentPeriod = TimeSpan.FromTicks(Math.Max(1, TimeSpan.TicksPerSecond * tokens / perSecond)),
        });
    }

    /// <summary>What one call can take at most.</summary>
    public long Most => _limit * _unit;

    /// <summary>Whether it is as full as it can be: nobody has taken anything lately.</summary>
    public bool IsFull
    {
        get
        {
            _bucket.TryReplenish();
            return _bucket.GetStatistics()!.CurrentAvailablePermits >= _limit;
        }
    }

    /// <summary>Takes so many, all or none; false: come back after a while.</summary>
    public bool TryTake(long count, out TimeSpan retryAfter)
    {
        int tokens = (int)Math.Clamp((count + _unit - 1) / _unit, 0, _limit);
        if (TryAcquire(tokens, out retryAfter))
        {
            return true;
        }

        // Whole periods since the last time are made up for here.
        return _bucket.TryReplenish() && TryAcquire(tokens, out retryAfter);
    }

    /// <summary>Whether there is anything left to take.</summary>
    public bool HasTokens(out TimeSpan retryAfter)
    {
        _bucket.TryReplenish();
        if (_bucket.GetStatistics()!.CurrentAvailablePermits > 0)
        {
            retryAfter = TimeSpan.Zero;
            return true;
        }

        return TryAcquire(1, out retryAfter);
    }

    /// <summary>Counts what was used without having been taken.</summary>
    public void Owe(long count) => Interlocked.Add(ref _owed, count);

    /// <summary>Pays what is owed, as far as there is something to pay with; false: there is more.</summary>
    public bool TrySettle(out TimeSpan retryAfter)
    {
        retryAfter = TimeSpan.Zero;
        long owed = Interlocked.Read(ref _owed);
        if (owed < _unit)
        {
            return true;
        }

        _bucket.TryReplenish();
        long there = _bucket.GetStatistics()!.CurrentAvailablePermits;
        int tokens = (int)Math.Min(there, owed / _unit);
        if (tokens > 0 && TryAcquire(tokens, out _))
        {
            owed = Interlocked.Add(ref _owed, -tokens * _unit);
        }

        if (owed < _unit)
        {
            return true;
        }

        retryAfter = TimeSpan.FromSeconds((double)owed / _perSecond);
        return false;
    }

    private bool TryAcquire(int tokens, out TimeSpan retryAfter)
    {
        using RateLimitLease lease = _bucket.AttemptAcquire(tokens);
        if (lease.IsAcquired)
        {
            retryAfter = TimeSpan.Zero;
            return true;
        }

        retryAfter = lease.TryGetMetadata(MetadataName.RetryAfter, out TimeSpan after) ? after : TimeSpan.FromSeconds(1);
        return false;
    }
}
