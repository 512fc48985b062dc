using System.Buffers;

namespace KeyVa.Transactions;

/// <summary>
/// What a transaction has written and not committed, in the order it was written: the newest write of each key is found by the
/// key, older ones stay below it for savepoints. One thread at a time; who reads another transaction's takes its
/// <see cref="Gate"/>, which its owner takes to change it.
/// </summary>
/// <remarks>
/// <para>Invariants.
/// 1. <c>_writes[i].Previous</c> is the next older write of the same key, or -1; <c>_newest[k]</c> is the newest of key k, or -1.
/// 2. A removal of a range made when there were n writes hides what lies below it and every write of its keys with a number
///    below n; later ones stand above it.
/// 3. Rolling back to a mark takes away exactly what came after it, in reverse order.</para>
/// </remarks>
internal sealed class WriteSet
{
    /// <summary>Removals of ranges in one transaction: each read looks at all of them.</summary>
    public const int MaxRanges = 1024;

    /// <summary>Taken off for each write, beside its bytes.</summary>
    public const int WriteOverhead = 64;

    private const int FirstWrites = 16;
    private const int KeptWrites = 1 << 12;

    private readonly ByteArena _bytes = new();
    private readonly List<BufferedRange> _ranges = [];
    private BufferedWrite[] _writes = new BufferedWrite[FirstWrites];
    private int[] _newest = new int[FirstWrites];
    private int _count;

    public WriteSet() => Keys = new KeyTable(_bytes);

    /// <summary>Held while it changes, and while another thread reads it.</summary>
    public Lock Gate { get; } = new();

    /// <summary>Every key with a write, or with one that was rolled back.</summary>
    public KeyTable Keys { get; }

    public bool IsEmpty => _count == 0 && _ranges.Count == 0;

    /// <summary>Writes of keys, older ones of the same key included.</summary>
    public int Count => _count;

    public int RangeCount => _ranges.Count;

    /// <summary>What it holds, for its bound.</summary>
    public long Bytes { get; private set; }

    /// <summary>Rises when keys come or go.</summary>
    public int KeyChanges { get; private set; }

    /// <summary>Rises when numbers of keys were taken back.</summary>
    public int KeyRollbacks { get; private set; }

    public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, Expiry expiry, long sequence)
    {
        int number = NumberOf(key);
        Add(number, key.Length, new BufferedWrite(number, WriteKind.Put, _bytes.Append(value), value.Length, expiry, _newest[number], sequence));
    }

    public void Remove(ReadOnlySpan<byte> key, long sequence)
    {
        int number = NumberOf(key);
        Add(number, key.Length, new BufferedWrite(number, WriteKind.Remove, 0, 0, default, _newest[number], sequence));
    }

    /// <summary>
    /// A merge, over whatever stands below it: <paramref name="step"/> as in <see cref="Partitions.MergeStack"/>, and the
    /// <paramref name="expiry"/> of all merges so far.
    /// </summary>
    public void Merge(ReadOnlySpan<byte> key, ReadOnlySpan<byte> step, Expiry expiry, int stacked, long sequence)
    {
        int number = NumberOf(key);
        Add(number, key.Length, new BufferedWrite(number, WriteKind.Merge, _bytes.Append(step), step.Length, expiry, _newest[number], sequence, stacked));
    }

    public void RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long sequence)
    {
        _ranges.Add(new BufferedRange(_bytes.Append(from), from.Length, _bytes.Append(to), to.Length, _count, sequence));
        Bytes += from.Length + to.Length + WriteOverhead;
    }

    /// <summary>
    /// What the transaction itself has made of a key: true if it has put, merged or removed it, by itself or with a range;
    /// <paramref name="write"/> is then the newest of these.
    /// </summary>
    public bool TryFind(ReadOnlySpan<byte> key, out BufferedWrite write)
    {
        int number = _count == 0 ? -1 : Keys.Find(key);
        return TryFind(number, key, out write);
    }

    /// <summary>As above, for a key's number, or -1.</summary>
    public bool TryFind(int number, ReadOnlySpan<byte> key, out BufferedWrite write) =>
        TryFindFrom(number < 0 ? -1 : _newest[number], number, key, out write);

    /// <summary>
    /// The merges that make the newest write of a key, the oldest first, as a <see cref="Partitions.MergeStack"/>; and what they stand on: a put or removal of the
    /// set, or what is below it. Returns the newest; the key has one.
    /// </summary>
    public BufferedWrite CopyMerges(ReadOnlySpan<byte> key, ArrayBufferWriter<byte> into, out bool isWrittenBelow, out BufferedWrite below)
    {
        int number = Keys.Find(key);
        int newest = _newest[number];
        int count = 0;
        int at = newest;
        while ((isWrittenBelow = TryFindFrom(at, number, key, out below)) && below.IsMerge)
        {
            count++;
            at = below.Previous;
        }

        into.ResetWrittenCount();
        int[] steps = ArrayPool<int>.Shared.Rent(count);
        at = newest;
        for (int i = count; i > 0; i--)
        {
            steps[i - 1] = at;
            at = _writes[at].Previous;
        }

        foreach (int step in steps.AsSpan(0, count))
        {
            into.Write(ValueOf(_writes[step]));
        }

        ArrayPool<int>.Shared.Return(steps);
        return _writes[newest];
    }

    private bool TryFindFrom(int newest, int number, ReadOnlySpan<byte> key, out BufferedWrite write)
    {
        write = newest < 0 ? default : _writes[newest];
        for (int i = _ranges.Count - 1; i >= 0 && _ranges[i].Writes > newest; i--)
        {
            if (Contains(_ranges[i], key))
            {
                write = new BufferedWrite(number, WriteKind.Remove, 0, 0, default, BufferedWrite.OfRange, _ranges[i].Sequence);
                return true;
            }
        }

        return newest >= 0;
    }

    /// <summary>Whether a removal of a range takes what lies below the transaction away.</summary>
    public bool IsRangeRemoved(ReadOnlySpan<byte> key)
    {
        foreach (ref readonly BufferedRange range in System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_ranges))
        {
            if (Contains(range, key))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>A write below another one of its key.</summary>
    public ref readonly BufferedWrite At(int write) => ref _writes[write];

    public bool HasWrite(int key) => _newest[key] >= 0;

    /// <summary>A key's newest write, which exists.</summary>
    public ref readonly BufferedWrite NewestOf(int key) => ref _writes[_newest[key]];

    public ReadOnlySpan<byte> ValueOf(scoped in BufferedWrite write) => _bytes.At(write.Address, write.Length);

    public ReadOnlySpan<byte> FromOf(int range) => _bytes.At(_ranges[range].From, _ranges[range].FromLength);

    public ReadOnlySpan<byte> ToOf(int range) => _bytes.At(_ranges[range].To, _ranges[range].ToLength);

    public bool IsIn(int range, ReadOnlySpan<byte> key) => Contains(_ranges[range], key);

    public long SequenceOf(int range) => _ranges[range].Sequence;

    /// <summary>How many of the writes were made before a range was removed.</summary>
    public int WritesBefore(int range) => _ranges[range].Writes;

    public Mark Here() => new(_count, Keys.Count, _ranges.Count, _bytes.End, Bytes);

    public void RollBackTo(in Mark mark)
    {
        for (int i = _count - 1; i >= mark.Writes; i--)
        {
            _newest[_writes[i].Key] = _writes[i].Previous;
        }

        _count = mark.Writes;
        if (Keys.Count != mark.Keys)
        {
            Keys.Truncate(mark.Keys);
            KeyChanges++;
            KeyRollbacks++;
        }

        _ranges.RemoveRange(mark.Ranges, _ranges.Count - mark.Ranges);
        _bytes.Truncate(mark.End);
        Bytes = mark.Bytes;
    }

    public void Clear()
    {
        if (IsEmpty && Keys.Count == 0)
        {
            return;
        }

        Keys.Clear();
        _ranges.Clear();
        _bytes.Clear();
        _count = 0;
        Bytes = 0;
        KeyChanges++;
        KeyRollbacks++;
        if (_writes.Length > KeptWrites)
        {
            _writes = new BufferedWrite[FirstWrites];
            _newest = new int[FirstWrites];
        }
    }

    private int NumberOf(ReadOnlySpan<byte> key)
    {
        int number = Keys.FindOrAdd(key, out bool added);
        if (added)
        {
            if (number == _newest.Length)
            {
                Array.Resize(ref _newest, number * 2);
            }

            _newest[number] = -1;
            KeyChanges++;
        }

        return number;
    }

    private void Add(int number, int keyBytes, in BufferedWrite write)
    {
        if (_count == _writes.Length)
        {
            Array.Resize(ref _writes, _count * 2);
        }

        _writes[_count] = write;
        _newest[number] = _count++;
        Bytes += keyBytes + write.Length + WriteOverhead;
    }

    private bool Contains(in BufferedRange range, ReadOnlySpan<byte> key) =>
        key.SequenceCompareTo(_bytes.At(range.From, range.FromLength)) >= 0
        && (range.ToLength == 0 || key.SequenceCompareTo(_bytes.At(range.To, range.ToLength)) < 0);

    /// <summary>A state to roll back to.</summary>
    public readonly record struct Mark(int Writes, int Keys, int Ranges, long End, long Bytes);

    private readonly record struct BufferedRange(long From, int FromLength, long To, int ToLength, int Writes, long Sequence);
}

internal enum WriteKind : byte
{
    Remove,
    Put,
    Merge,
}

/// <summary>
/// A put, merge or removal of a key. <paramref name="Sequence"/>: its place among those of all transactions; <paramref name="Stacked"/>:
/// how many merges it ends that stand on each other.
/// </summary>
internal readonly record struct BufferedWrite(int Key, WriteKind Kind, long Address, int Length, Expiry Expiry, int Previous, long Sequence, int Stacked = 0)
{
    public bool IsPut => Kind == WriteKind.Put;

    public bool IsMerge => Kind == WriteKind.Merge;

    /// <summary>In <see cref="Previous"/>: it stands for a removal of a range.</summary>
    public const int OfRange = -2;
}
