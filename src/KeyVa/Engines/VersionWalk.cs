namespace KeyVa.Engines;

/// <summary>
/// Goes through what happened to one key, newest first: what was put, and removals. One thread at a time. Spans are valid until the next
/// <see cref="MoveNext"/> or <see cref="Dispose"/>.
/// </summary>
/// <remarks>
/// Its user has pinned a version with a snapshot. The walk ends with the event that was the newest at that version, and
/// goes beyond where versions are retained by count: to as many events as are kept. A removal may be told though there was
/// nothing to remove, if the engine keeps such ones.
/// </remarks>
internal abstract class VersionWalk : IDisposable
{
    public long Version { get; protected set; }

    public long Stamp { get; protected set; }

    /// <summary>0: never.</summary>
    public long ExpiresAt { get; protected set; }

    public bool IsRemoval { get; protected set; }

    /// <summary>How many newer events it has passed; only where versions are retained by count.</summary>
    public int Newer { get; protected set; }

    /// <summary>How many events it has looked at, those newer than where it began among them; only where versions are retained by count.</summary>
    public abstract int Passed { get; }

    public abstract ReadOnlySpan<byte> Value { get; }

    /// <summary>Goes to the next older event; false if there is none, or none that can be relied on.</summary>
    public abstract bool MoveNext();

    public abstract void Dispose();
}
