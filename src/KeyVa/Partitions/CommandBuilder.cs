using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// Encodes one command: operations one behind the other, in memory outside the GC heap that is kept when cleared.
/// One thread at a time. It notes what admission needs to know, so that nobody has to read the bytes again.
/// </summary>
internal sealed class CommandBuilder : IDisposable
{
    private const int KeptBytes = 1 << 16;
    private const int SmallBatch = 8;

    /// <summary>In the place of a key's offset: the operation is about a range.</summary>
    private const int NoKey = -1;

    private int[] _keyOffsets = new int[SmallBatch];
    private int[] _buckets = [];
    private bool _hasTable;

    public int Count { get; private set; }

    /// <summary>Bytes of keys and values.</summary>
    public long DataBytes { get; private set; }

    /// <summary>The longest value.</summary>
    public int LongestValue { get; private set; }

    /// <summary>The shortest and the longest key.</summary>
    public int ShortestKey { get; private set; } = int.MaxValue;

    public int LongestKey { get; private set; }

    public bool HasRemovals { get; private set; }

    /// <summary>Whether it removes a range.</summary>
    public bool HasRanges { get; private set; }

    /// <summary>The lowest format of a record that may hold it (see <see cref="GroupEntry"/>).</summary>
    public byte Format { get; private set; } = GroupEntry.Format;

    /// <summary>The first removal of a range that ends where or before it begins; -1 if there is none.</summary>
    public int EmptyRange { get; private set; } = -1;

    /// <summary>Whether nothing in it needs room: such a command may use the disk reserve.</summary>
    public bool OnlyRemovals { get; private set; } = true;

    /// <summary>The second place of a key that stands in the batch twice; -1 if none does.</summary>
    public int DuplicateKey { get; private set; } = -1;

    public NativeBuffer Buffer { get; } = new(256);

    public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, in WriteOptions options)
    {
        Note(key);
        OnlyRemovals = false;
        DataBytes += key.Length + value.Length;
        LongestValue = Math.Max(LongestValue, value.Length);
        OperationEncoding.AppendPut(Buffer, key, value, options);
        Count++;
    }

    public void Remove(ReadOnlySpan<byte> key, in Condition condition, bool blind)
    {
        Note(key);
        HasRemovals = true;
        DataBytes += key.Length;
        OperationEncoding.AppendRemove(Buffer, key, condition, blind);
        Count++;
    }

    /// <summary>Removes [from, to); empty bounds are open.</summary>
    public void RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        NoteOffset(NoKey);
        LongestKey = Math.Max(LongestKey, Math.Max(from.Length, to.Length));
        HasRemovals = true;
        HasRanges = true;
        Format = Math.Max(Format, GroupEntry.FormatWithRanges);
        DataBytes += from.Length + to.Length;
        if (EmptyRange < 0 && !to.IsEmpty && from.SequenceCompareTo(to) >= 0)
        {
            EmptyRange = Count;
        }

        OperationEncoding.AppendRemoveRange(Buffer, from, to);
        Count++;
    }

    /// <summary>Says something of an index; such a command goes to a partition of the caller's choice.</summary>
    public void Index(Indexes.IndexAction action, long index, ReadOnlySpan<byte> from)
    {
        NoteOffset(NoKey);
        OnlyRemovals = false;
        Format = Math.Max(Format, GroupEntry.ExtendedFormat);
        OperationEncoding.AppendIndex(Buffer, action, index, from);
        Count++;
    }

    public void Clear()
    {
        Buffer.Clear(KeptBytes);
        if (_buckets.Length > 4096)
        {
            _buckets = [];
            _keyOffsets = new int[SmallBatch];
        }
        else if (_buckets.Length > 0)
        {
            _buckets.AsSpan().Clear();
        }

        _hasTable = false;
        Count = 0;
        DataBytes = 0;
        LongestValue = 0;
        ShortestKey = int.MaxValue;
        LongestKey = 0;
        HasRemovals = false;
        HasRanges = false;
        Format = GroupEntry.Format;
        EmptyRange = -1;
        OnlyRemovals = true;
        DuplicateKey = -1;
    }

    public void Dispose() => Buffer.Dispose();

    private static int Hash(ReadOnlySpan<byte> key)
    {
        // The runtime's string hash is seeded per process, so nobody can choose keys that collide.
        int hash = string.GetHashCode(MemoryMarshal.Cast<byte, char>(key));
        return (key.Length & 1) == 0 ? hash : HashCode.Combine(hash, key[^1]);
    }

    private void Note(ReadOnlySpan<byte> key)
    {
        ShortestKey = Math.Min(ShortestKey, key.Length);
        LongestKey = Math.Max(LongestKey, key.Length);
        NoteOffset(Buffer.Length);
        if (DuplicateKey < 0 && Count > 0 && IsDuplicate(key))
        {
            DuplicateKey = Count;
        }
    }

    private void NoteOffset(int offset)
    {
        if (Count == _keyOffsets.Length)
        {
            Array.Resize(ref _keyOffsets, Count * 2);
        }

        _keyOffsets[Count] = offset;
    }

    private ReadOnlySpan<byte> KeyAt(int operation)
    {
        ReadOnlySpan<byte> bytes = Buffer.Written[(_keyOffsets[operation] + 1)..];
        int taken = Varint.Read(bytes, out ulong length);
        return bytes.Slice(taken, (int)length);
    }

    /// <summary>Compares with the few keys of a small batch; a larger one gets an open-addressed table of its keys.</summary>
    private bool IsDuplicate(ReadOnlySpan<byte> key)
    {
        if (Count < SmallBatch)
        {
            for (int i = 0; i < Count; i++)
            {
                if (_keyOffsets[i] != NoKey && KeyAt(i).SequenceEqual(key))
                {
                    return true;
                }
            }

            return false;
        }

        if (!_hasTable || Count * 2 > _buckets.Length)
        {
            _hasTable = true;
            _buckets = new int[Math.Max(SmallBatch * 8, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Count * 4))];
            for (int i = 0; i < Count; i++)
            {
                if (_keyOffsets[i] != NoKey)
                {
                    Insert(KeyAt(i), i);
                }
            }
        }

        return Insert(key, Count);
    }

    /// <summary>True if the key was in the table already.</summary>
    private bool Insert(ReadOnlySpan<byte> key, int operation)
    {
        int mask = _buckets.Length - 1;
        for (int slot = Hash(key) & mask; ; slot = (slot + 1) & mask)
        {
            int other = _buckets[slot] - 1;
            if (other < 0)
            {
                _buckets[slot] = operation + 1;
                return false;
            }

            if (KeyAt(other).SequenceEqual(key))
            {
                return true;
            }
        }
    }
}
