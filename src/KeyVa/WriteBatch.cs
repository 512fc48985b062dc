using KeyVa.Merges;
using KeyVa.Partitions;
using KeyVa.Sessions;

namespace KeyVa;

/// <summary>
/// Puts, merges, removals (of keys and of ranges) and checks that happen together or not at all, at one version. A key may stand in a batch once. Not
/// thread-safe; may be cleared and used again once its write is done. A batch holds memory outside the GC heap until it
/// is disposed.
/// </summary>
public sealed class WriteBatch : IDisposable
{
    /// <summary>Operations in the batch.</summary>
    public int Count => Commands.Count;

    /// <summary>Bytes of all keys and values.</summary>
    public long Bytes => Commands.DataBytes;

    /// <summary>
    /// When the batch is to be answered; below <see cref="KeyVa.Acknowledgement.Sync"/> it has puts and removals without conditions alone.
    /// </summary>
    public Acknowledgement Acknowledgement
    {
        get => Commands.Acknowledgement;
        set => Commands.Acknowledgement = value;
    }

    /// <summary>The session that the batch belongs to, and its number there.</summary>
    internal SessionHead Session
    {
        get => Commands.Session;
        set => Commands.Session = value;
    }

    internal CommandBuilder Commands { get; } = new();

    /// <summary>Adds a put.</summary>
    public WriteBatch Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, WriteOptions options = default)
    {
        Refuse(options);
        Commands.Put(key, value, options);
        return this;
    }

    /// <summary>
    /// Adds a merge: when the batch is applied, the function makes the key's value from the one that it had before the batch and the operand. If it refuses,
    /// nothing of the batch happens. Without an expiry a key that is there keeps its own.
    /// </summary>
    public WriteBatch Merge(ReadOnlySpan<byte> key, MergeFunction function, ReadOnlySpan<byte> operand, WriteOptions options = default)
    {
        ArgumentNullException.ThrowIfNull(function);
        Refuse(options);
        Commands.Merge(key, function, operand, options);
        return this;
    }

    /// <summary>Adds an increment of a counter; see <see cref="MergeFunction.Increment"/>.</summary>
    public WriteBatch Increment(ReadOnlySpan<byte> key, long delta = 1, WriteOptions options = default)
    {
        Span<byte> text = stackalloc byte[IncrementMerge.MaxDigits];
        return Merge(key, MergeFunction.Increment, IncrementMerge.Operand(delta, text), options);
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

    /// <summary>Empties the batch, its <see cref="Acknowledgement"/> too, and keeps its memory.</summary>
    public void Clear() => Commands.Clear();

    /// <summary>Gives the memory back.</summary>
    public void Dispose() => Commands.Dispose();

    private static void Refuse(in WriteOptions options)
    {
        if (options.Acknowledgement.Class != AcknowledgementClass.Default)
        {
            throw new ArgumentException("a batch is acknowledged as a whole: set WriteBatch.Acknowledgement", nameof(options));
        }
    }
}
