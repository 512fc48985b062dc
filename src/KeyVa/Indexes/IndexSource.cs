using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Indexes;

/// <summary>
/// One partition's part of an index query, or the part of what a transaction has written (then it has no partition): the entries in
/// their order, without those that have expired or that the transaction hides. It knows what it has passed. One thread.
/// </summary>
internal sealed class IndexSource(Partition? partition, PartitionIndex? index, EngineCursor cursor, int fields, IndexOverlay? hidden, bool notes) : IDisposable
{
    private RangeDigest _passed;
    private byte[] _last = [];
    private int _lastLength;

    /// <summary>Null: the transaction's own writes.</summary>
    public Partition? Partition { get; } = partition;

    public PartitionIndex? Index { get; } = index;

    public EngineCursor Cursor { get; } = cursor;

    /// <summary>Whether it stands on an entry.</summary>
    public bool HasEntry { get; private set; }

    /// <summary>The last entry that it has passed, which it does not stand on any more; empty: none.</summary>
    public ReadOnlySpan<byte> Passed => _last.AsSpan(0, _lastLength);

    /// <summary>Goes to the first entry, behind a place if there is one.</summary>
    public void Begin(ReadOnlySpan<byte> after, VersionOracle oracle)
    {
        if (!after.IsEmpty)
        {
            Cursor.Seek(after);
        }

        Advance(after, oracle);
    }

    /// <summary>Goes to the next entry.</summary>
    public void Advance(VersionOracle oracle) => Advance(default, oracle);

    /// <summary>What was read: everything that it has passed and, if <paramref name="present"/>, the entry it stands on.</summary>
    public RangeDigest Digest(bool present)
    {
        RangeDigest digest = _passed;
        if (present)
        {
            digest.Add(Cursor.Key, 0);
        }

        return digest;
    }

    /// <summary>The bytes of the values in front of the key.</summary>
    public int TupleBytes()
    {
        ReadOnlySpan<byte> entry = Cursor.Key;
        int bytes = 0;
        for (int i = 0; i < fields; i++)
        {
            int length = IndexValueEncoding.LengthOfFirst(entry[bytes..]);
            if (length == 0)
            {
                throw new CorruptionException(
                    Index?.Companion.Context.Directory ?? string.Empty, 0, $"an entry of index '{Index?.Definition.Name}' cannot be read");
            }

            bytes += length;
        }

        return bytes;
    }

    public void Dispose()
    {
        Cursor.Dispose();
        Index?.Unpin();
        Partition?.Unpin();
    }

    private void Advance(ReadOnlySpan<byte> except, VersionOracle oracle)
    {
        Pass();
        while (HasEntry = Cursor.MoveNext())
        {
            bool isOver = Cursor.ExpiresAt != 0 && Cursor.ExpiresAt <= oracle.Now();
            if (isOver || (!except.IsEmpty && Cursor.Key.SequenceEqual(except)))
            {
                continue;
            }

            if (hidden is null || !hidden.Hides(Cursor.Key[TupleBytes()..]))
            {
                return;
            }

            Pass();
        }
    }

    private void Pass()
    {
        if (!notes || !HasEntry)
        {
            return;
        }

        ReadOnlySpan<byte> entry = Cursor.Key;
        _passed.Add(entry, 0);
        if (_last.Length < entry.Length)
        {
            _last = new byte[Math.Max(64, entry.Length * 2)];
        }

        entry.CopyTo(_last);
        _lastLength = entry.Length;
    }
}
