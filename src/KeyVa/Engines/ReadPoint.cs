namespace KeyVa.Engines;

/// <summary>
/// Special values for the version at which an engine is read. Any other value is the version of an open snapshot.
/// Expiry is not the engine's affair when reading: it returns an expired entry with its expiry, and the caller, who has
/// the clock, treats it as not there.
/// </summary>
internal static class ReadVersion
{
    /// <summary>
    /// The engine's visible version. The engine reads it after it has pinned its structures, since what they have
    /// dropped was measured against a visible version no newer than that.
    /// </summary>
    public const long Latest = -1;

    /// <summary>Everything applied, published or not. Only for the partition's writer.</summary>
    public const long Newest = long.MaxValue;
}

/// <summary>
/// What may be forgotten: a version of a key that is shadowed by a newer one at or below <see cref="Version"/> is seen
/// by no one; and an entry at or below <see cref="Version"/> whose expiry is at or before <see cref="Stamp"/> (Unix
/// milliseconds) counts as a tombstone.
/// </summary>
internal readonly record struct Horizon(long Version, long Stamp);
