using KeyVa.Io;

namespace KeyVa.Indexes;

/// <summary>
/// The tuples under which an index holds one record. An extractor function gets one to fill; it is valid during the call.
/// One thread at a time; used again and again.
/// </summary>
public sealed class IndexEntries
{
    /// <summary>Tuples of one record at most.</summary>
    public const int MaxEntries = 1024;

    /// <summary>Encoded bytes of one tuple at most.</summary>
    public const int MaxTupleBytes = 8 << 10;

    private const int KeptBytes = 64 << 10;

    private readonly Comparison<(int Offset, int Length)> _order;
    private (int Offset, int Length)[] _entries = new (int, int)[4];
    private int _fields;

    internal IndexEntries() => _order = (a, b) => Bytes.Slice(a.Offset, a.Length).SequenceCompareTo(Bytes.Slice(b.Offset, b.Length));

    /// <summary>How many there are.</summary>
    public int Count { get; private set; }

    /// <summary>The record cannot be indexed: its value does not parse, a field is no scalar, or there is too much of it.</summary>
    internal bool IsRejected { get; private set; }

    /// <summary>Where the next tuple is built.</summary>
    internal NativeBuffer Bytes { get; } = new(256);

    /// <summary>A tuple and behind it the record's key.</summary>
    internal ReadOnlySpan<byte> this[int entry] => Bytes.Slice(_entries[entry].Offset, _entries[entry].Length);

    /// <summary>
    /// The record is found under this tuple, too. It has as many values as the index has fields; otherwise, and if there are too
    /// many or too long ones, the record counts as one that cannot be indexed.
    /// </summary>
    public void Add(params ReadOnlySpan<IndexValue> values)
    {
        int begin = Bytes.Length;
        IsRejected |= values.Length != _fields;
        foreach (IndexValue value in values)
        {
            Bytes.Append(value.Encoded);
        }

        Complete(begin);
    }

    /// <summary>The record cannot be indexed: its value is not what the extractor reads.</summary>
    public void Reject() => IsRejected = true;

    internal void Begin(int fields)
    {
        Bytes.Clear(KeptBytes);
        _fields = fields;
        Count = 0;
        IsRejected = false;
    }

    /// <summary>What was appended since <paramref name="begin"/> is a tuple.</summary>
    internal void Complete(int begin)
    {
        if (Bytes.Length - begin > MaxTupleBytes || Count == MaxEntries)
        {
            IsRejected = true;
        }

        if (IsRejected)
        {
            Bytes.Truncate(begin);
            return;
        }

        if (Count == _entries.Length)
        {
            Array.Resize(ref _entries, Count * 2);
        }

        _entries[Count++] = (begin, Bytes.Length - begin);
    }

    /// <summary>Puts the tuples in order, each once, with the record's key behind it. A record that cannot be indexed has one entry that says so.</summary>
    internal void End(ReadOnlySpan<byte> key, byte rejectedTag)
    {
        if (IsRejected)
        {
            Count = 1;
            _entries[0] = (Bytes.Length, 1 + key.Length);
            Bytes.AppendByte(rejectedTag);
            Bytes.Append(key);
            return;
        }

        if (Count > 1)
        {
            SortAndUnite();
        }

        for (int i = 0; i < Count; i++)
        {
            (int offset, int length) = _entries[i];
            if (i < Count - 1 || offset + length != Bytes.Length)
            {
                // Not the last bytes: the tuple moves to the end, so that the key can stand behind it.
                int moved = Bytes.Length;
                Bytes.Append(length);
                Bytes.Slice(offset, length).CopyTo(Bytes.Slice(moved, length));
                offset = moved;
            }

            Bytes.Append(key);
            _entries[i] = (offset, length + key.Length);
        }
    }

    private void SortAndUnite()
    {
        _entries.AsSpan(0, Count).Sort(_order);
        int kept = 1;
        for (int i = 1; i < Count; i++)
        {
            if (_order(_entries[kept - 1], _entries[i]) != 0)
            {
                _entries[kept++] = _entries[i];
            }
        }

        Count = kept;
    }
}
