namespace KeyVa.Engines;

/// <summary>
/// Goes through everything that was written to the keys of a range above one version and up to another, in no particular order. One thread
/// at a time. Spans are valid until the next <see cref="MoveNext"/> or <see cref="Dispose"/>.
/// </summary>
/// <remarks>
/// Its user has pinned the lower version with a snapshot, and the upper one is visible. A removal may be told though there was nothing to
/// remove, if the engine keeps such ones.
/// </remarks>
internal abstract class VersionScan : IDisposable
{
    public abstract ReadOnlySpan<byte> Key { get; }

    /// <summary>Empty for a removal.</summary>
    public abstract ReadOnlySpan<byte> Value { get; }

    public abstract long Version { get; }

    public abstract long Stamp { get; }

    /// <summary>0: never.</summary>
    public abstract long ExpiresAt { get; }

    public abstract bool IsRemoval { get; }

    /// <summary>The ranges that were removed, where the engine keeps them as such, in pieces.</summary>
    public virtual IReadOnlyList<RemovedRange> Ranges => [];

    public abstract bool MoveNext();

    public abstract void Dispose();
}

/// <summary>A piece of a range that was removed at a version; an empty end is open.</summary>
internal readonly record struct RemovedRange(byte[] From, byte[] To, long Version, long Stamp);
