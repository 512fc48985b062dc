namespace KeyVa;

/// <summary>A moment of a store's past: a version or a time. The default is now.</summary>
/// <remarks>
/// A version V stands for everything that was written at V or before. A time stands for everything that was accepted then or before:
/// for one key exactly, by the times of its versions; for several keys (a scan, rolling back a range) it leads to one
/// version, the newest of that time or one that is older by at most 1/8192 of <see cref="StoreOptions.RetainVersionsFor"/>
/// (one second, where versions are retained by count alone).
/// </remarks>
public readonly record struct AsOf
{
    private AsOf(long version, long time, bool isSet) => (Version, UnixMilliseconds, IsSet) = (version, time, isSet);

    /// <summary>The newest there is.</summary>
    public static AsOf Now => default;

    /// <summary>The version; 0 if it is a time, or now.</summary>
    public long Version { get; }

    /// <summary>The time, in milliseconds since 1970-01-01 UTC; 0 if it is a version, or now.</summary>
    public long UnixMilliseconds { get; }

    /// <summary>Whether it is a moment of the past, and not now.</summary>
    public bool IsSet { get; }

    internal bool IsTime => IsSet && UnixMilliseconds != 0;

    /// <summary>As of a version, 1 or more.</summary>
    public static AsOf AtVersion(long version)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(version);
        return new AsOf(version, 0, true);
    }

    /// <summary>As of a time in milliseconds since 1970-01-01 UTC, 1 or more.</summary>
    public static AsOf AtTime(long unixMilliseconds)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(unixMilliseconds);
        return new AsOf(0, unixMilliseconds, true);
    }

    /// <summary>As of a time.</summary>
    public static AsOf AtTime(DateTimeOffset time) => AtTime(time.ToUnixTimeMilliseconds());
}
