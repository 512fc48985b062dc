using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Threading.RateLimiting;

namespace KeyVa.Server.Admission;

/// <summary>
/// One token bucket (<see cref="TokenBucketRateLimiter"/>) that needs no timer: it is filled up when it is found empty. Thread-safe.
/// </summary>
/// <remarks>
/// The bucket has a lock, which each request would take once for each of its limits. So a thousandth of what the bucket holds is taken out of it at once, into a
/// <em>pocket</em> that all share; and a debt is paid when it has come to a thousandth. What is granted was in the bucket: no limit is passed by that.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "without a timer the bucket holds memory alone")]
internal sealed class Rate
{
    // A bucket counts in int; sizes beyond go in larger units.
    private const long MaxTokens = 1 << 30;
    private const int MaxRefillsPerSecond = 100;

    /// <summary>The part of a bucket that is taken out, or owed, without a look at it; and the most.</summary>
    private const int PocketShare = 1024;
    private const int MaxPocketTokens = 64;
    private const long MaxSlackBytes = 64 << 10;

    private readonly TokenBucketRateLimiter _bucket;
    private readonly long _unit;
    private readonly int _limit;
    private readonly long _perSecond;
    private readonly int _pocketTokens;
    private readonly long _slack;
    private Shared _shared;

    /// <summary>The rate of limited options.</summary>
    public Rate(RateOptions options)
    {
        _perSecond = options.PerSecond;
        long burst = options.Burst > 0 ? options.Burst : options.PerSecond;
        _unit = Math.Max(1, (Math.Max(burst, options.PerSecond) + MaxTokens - 1) / MaxTokens);
        long perSecond = Math.Max(1, options.PerSecond / _unit);
        long tokens = (perSecond + MaxRefillsPerSecond - 1) / MaxRefillsPerSecond;
        _limit = (int)Math.Max(tokens, Math.Max(1, burst / _unit));
        _pocketTokens = Math.Min(_limit / PocketShare, MaxPocketTokens);
        _slack = Math.Max(_unit, Math.Min(Most / PocketShare, MaxSlackBytes));
        _bucket = new TokenBucketRateLimiter(new TokenBucketRateLimiterOptions
        {
            AutoReplenishment = false,
            QueueLimit = 0,
            TokenLimit = _limit,
            TokensPerPeriod = (int)tokens,
            ReplenishmentPeriod = TimeSpan.FromTicks(Math.Max(1, TimeSpan.TicksPerSecond * tokens / perSecond)),
        });
    }

    /// <summary>What may be owed without being asked for.</summary>
    public long Slack => _slack;

    /// <summary>What one call can take at most.</summary>
    public long Most => _limit * _unit;

    /// <summary>Whether it is as full as it can be: nobody has taken anything lately, and what was owed is paid.</summary>
    public bool IsFull
    {
        get
        {
            if (!TrySettle(out _))
            {
                return false;
            }

            _bucket.TryReplenish();
            return _bucket.GetStatistics()!.CurrentAvailablePermits >= _limit;
        }
    }

    /// <summary>Takes so many, all or none; false: come back after a while.</summary>
    public bool TryTake(long count, out TimeSpan retryAfter)
    {
        int tokens = TokensOf(count);
        retryAfter = TimeSpan.Zero;
        if (TryTakeFromPocket(tokens))
        {
            return true;
        }

        if (_pocketTokens > 0 && TryAcquire(Math.Min(tokens + _pocketTokens, _limit), out _))
        {
            Interlocked.Add(ref _shared.Pocket, Math.Min(_pocketTokens, _limit - tokens));
            return true;
        }

        if (TryAcquire(tokens, out retryAfter))
        {
            return true;
        }

        // Whole periods since the last time are made up for here.
        return _bucket.TryReplenish() && TryAcquire(tokens, out retryAfter);
    }

    /// <summary>What was taken is not used after all. It goes to the pocket: a bucket takes nothing back.</summary>
    public void GiveBack(long count) => Interlocked.Add(ref _shared.Pocket, TokensOf(count));

    /// <summary>Whether there is anything left to take.</summary>
    public bool HasTokens(out TimeSpan retryAfter)
    {
        _bucket.TryReplenish();
        if (Volatile.Read(ref _shared.Pocket) > 0 || _bucket.GetStatistics()!.CurrentAvailablePermits > 0)
        {
            retryAfter = TimeSpan.Zero;
            return true;
        }

        return TryAcquire(1, out retryAfter);
    }

    /// <summary>Counts what was used without having been taken.</summary>
    public void Owe(long count) => Interlocked.Add(ref _shared.Owed, count);

    /// <summary>Pays what is owed, as far as there is something to pay with; false: there is more.</summary>
    /// <remarks>
    /// A debt is taken over before it is paid. Of several who come at once each pays what it saw, which may be once too often and then counts for what comes
    /// next; what others come to owe meanwhile is no reason to refuse whoever has paid.
    /// </remarks>
    public bool TrySettle(out TimeSpan retryAfter)
    {
        retryAfter = TimeSpan.Zero;
        long owed = Interlocked.Read(ref _shared.Owed);
        if (owed < _slack)
        {
            return true;
        }

        // Nearly always there is enough for all of it; what there is otherwise takes two looks more.
        owed = Pay(owed, Math.Min(owed / _unit, _limit));
        if (owed >= _unit)
        {
            _bucket.TryReplenish();
            owed = Pay(owed, Math.Min(owed / _unit, _bucket.GetStatistics()!.CurrentAvailablePermits));
        }

        if (owed < _unit)
        {
            return true;
        }

        retryAfter = TimeSpan.FromSeconds((double)owed / _perSecond);
        return false;
    }

    /// <summary>Pays so many units of a debt, all or none, and tells what is left of it.</summary>
    private long Pay(long owed, long tokens)
    {
        if (tokens == 0)
        {
            return owed;
        }

        long paid = tokens * _unit;
        Interlocked.Add(ref _shared.Owed, -paid);
        return TryAcquire((int)tokens, out _) ? owed - paid : Interlocked.Add(ref _shared.Owed, paid);
    }

    private int TokensOf(long count) => (int)Math.Clamp((count + _unit - 1) / _unit, 0, _limit);

    private bool TryTakeFromPocket(int tokens)
    {
        int there = Volatile.Read(ref _shared.Pocket);
        while (there >= tokens)
        {
            int seen = Interlocked.CompareExchange(ref _shared.Pocket, there - tokens, there);
            if (seen == there)
            {
                return true;
            }

            there = seen;
        }

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

    /// <summary>What all who come under the limit write, apart from what they only read, and from each other: processors hand lines of 64 bytes to and fro.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 192)]
    private struct Shared
    {
        [FieldOffset(64)]
        public long Owed;

        [FieldOffset(128)]
        public int Pocket;
    }
}
