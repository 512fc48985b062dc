namespace KeyVa.Engines;

/// <summary>
/// Walks over the keys of a range as they are at a snapshot. One thread at a time. Spans are valid until the next call
/// of <see cref="MoveNext"/>, <see cref="Seek"/> or <see cref="Dispose"/>. A new cursor stands before the first key. Its
/// user forgets it when it has disposed it, once: an engine may hand the object out again.
/// </summary>
internal abstract class EngineCursor : IDisposable
{
    public abstract ReadOnlySpan<byte> Key { get; }

    public abstract ReadOnlySpan<byte> Value { get; }

    public abstract long Version { get; }

    public abstract long Stamp { get; }

    /// <summary>Unix milliseconds; 0: never.</summary>
    public abstract long ExpiresAt { get; }

    /// <summary>Goes to the next key (the previous one on a reverse cursor); false at the end of the range.</summary>
    public abstract bool MoveNext();

    /// <summary>
    /// Moves so that the next <see cref="MoveNext"/> yields the first key at or behind <paramref name="key"/> in the
    /// direction of the cursor: forward the first key &gt;= it, reverse the first key &lt;= it, within the bounds. On an
    /// unordered engine: the keys that come in its order at or behind the place where the key stands or would stand.
    /// </summary>
    public abstract void Seek(ReadOnlySpan<byte> key);

    public abstract void Dispose();
}
