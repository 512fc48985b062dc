namespace KeyVa;

/// <summary>When a key expires: never (the default value), after a time from acceptance, or at a moment.</summary>
public readonly struct Expiry
{
    private Expiry(long milliseconds, bool relative)
    {
        Milliseconds = milliseconds;
        IsRelative = relative;
    }

    /// <summary>Milliseconds from acceptance, or since 1970-01-01 UTC; 0: never.</summary>
    public long Milliseconds { get; }

    /// <summary>Whether <see cref="Milliseconds"/> counts from when the write is accepted.</summary>
    public bool IsRelative { get; }

    /// <summary>The key never expires.</summary>
    public static Expiry Never => default;

    /// <summary>Expires this long after the write was accepted; at least one millisecond, finer times are rounded up.</summary>
    public static Expiry In(TimeSpan time)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(time, TimeSpan.Zero);
        return new Expiry((time.Ticks + TimeSpan.TicksPerMillisecond - 1) / TimeSpan.TicksPerMillisecond, relative: true);
    }

    /// <summary>Expires at this moment; one in the past writes a key that is already gone.</summary>
    public static Expiry At(DateTimeOffset moment) => new(Math.Max(1, moment.ToUnixTimeMilliseconds()), relative: false);

    /// <summary>As <see cref="In(TimeSpan)"/>, in milliseconds; at least 1.</summary>
    public static Expiry InMilliseconds(long milliseconds)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(milliseconds, 1);
        return new Expiry(milliseconds, relative: true);
    }

    /// <summary>As <see cref="At"/>, in milliseconds since 1970-01-01 UTC; at least 1.</summary>
    public static Expiry AtUnixMilliseconds(long milliseconds)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(milliseconds, 1);
        return new Expiry(milliseconds, relative: false);
    }
}
