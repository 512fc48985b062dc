using KeyVa.Partitions;

namespace KeyVa;

/// <summary>
/// Puts, removals (of keys and of ranges) and checks that happen together or not at all, at one version. A key may stand in a batch once. Not
/// thread-safe; may be cleared and used again once its write is done. A batch holds memory outside the GC heap until it
/// is disposed.
/// </summary>
public sealed class WriteBatch : IDisposable
{
    /// <summary>Operations in the batch.</summary>
    public int Count => Commands.Count;

    /// <summary>Bytes of all keys and values.</summary>
    public long Bytes => Commands.DataBytes;

    internal CommandBuilder Commands { get; } = new();

    /// <summary>Adds a put.</summary>
    public WriteBatch Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, WriteOptions options = default)
    {
        Commands.Put(key, value, options);
        return this;
    }

    /// <summary>Adds a removal. A blind one does not look whether the key is there, which saves a read on lsm.</summary>
    public WriteBatch Remove(ReadOnlySpan<byte> key, Condition condition = default, bool blind = false)
    {
        Commands.Remove(key, condition, blind);
        return this;
    }

    /// <summary>
    /// Adds the removal of every key from <paramref name="from"/> (inclusive) up to <paramref name="to"/> (exclusive); an
    /// empty bound is open. It takes what was there before the batch: what the batch itself puts stays, wherever it stands.
    /// </summary>
    public WriteBatch RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        Commands.RemoveRange(from, to);
        return this;
    }

    /// <summary>
    /// Adds a condition on a key that the batch does not write: if it does not hold when the batch is applied, nothing of it
    /// happens. (A key that is written takes its condition with the write.)
    /// </summary>
    public WriteBatch Check(ReadOnlySpan<byte> key, Condition condition)
    {
        if (condition.Kind == ConditionKind.None)
        {
            throw new ArgumentException("a check needs a condition", nameof(condition));
        }

        Commands.Check(key, condition);
        return this;
    }

    /// <summary>Empties the batch and keeps its memory.</summary>
    public void Clear() => Commands.Clear();

    /// <summary>Gives the memory back.</summary>
    public void Dispose() => Commands.Dispose();
}
