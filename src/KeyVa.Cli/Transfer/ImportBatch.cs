using System.Diagnostics;
using System.Runtime.InteropServices;

namespace KeyVa.Cli.Transfer;

/// <summary>A place in an input: what is before it is in the store.</summary>
internal readonly record struct ImportPosition(long Offset, long Line, long Records);

/// <summary>
/// Records gathered for one write. One thread at a time.
/// 1. A key stands in the batch once: a later record of the same key supersedes the earlier one, as it would in the store.
/// 2. <see cref="First"/> is where the first record of the batch begins in the input.
/// The records stay until <see cref="Clear"/>, so that a refused batch can be sent again in parts to find out which record
/// was refused.
/// </summary>
internal sealed class ImportBatch
{
    /// <summary>A batch is sent when it holds this many bytes: half of what a server takes by default.</summary>
    public const int TargetBytes = 512 << 10;

    /// <summary>Or this many records.</summary>
    public const int MaxRecords = 4096;

    private const int NoEntry = -1;

    private readonly Entry[] _entries = new Entry[MaxRecords];
    private readonly int[] _slots = new int[MaxRecords * 2];
    private byte[] _data = new byte[TargetBytes + (64 << 10)];
    private int _length;

    public ImportBatch() => Array.Fill(_slots, NoEntry);

    public int Count { get; private set; }

    public ImportPosition First { get; private set; }

    /// <summary>Whether a record of this size must wait for the next batch.</summary>
    public bool IsFull(int recordBytes) => Count > 0 && (Count == MaxRecords || _length + recordBytes > TargetBytes);

    public void Add(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, long expiresAt, ImportPosition at)
    {
        Debug.Assert(Count < MaxRecords, "full batches take nothing");
        if (Count == 0)
        {
            First = at;
        }

        int needed = _length + key.Length + value.Length;
        if (needed > _data.Length)
        {
            Array.Resize(ref _data, needed);
        }

        key.CopyTo(_data.AsSpan(_length));
        value.CopyTo(_data.AsSpan(_length + key.Length));
        Supersede(key, Count);
        _entries[Count++] = new Entry
        {
            Start = _length,
            KeyLength = key.Length,
            ValueLength = value.Length,
            ExpiresAt = expiresAt,
            Line = at.Line,
        };
        _length = needed;
    }

    /// <summary>The line of a record.</summary>
    public long Line(int record) => _entries[record].Line;

    /// <summary>Whether a record gave way to a later one of the same key.</summary>
    public bool IsSuperseded(int record) => _entries[record].Superseded;

    /// <summary>Puts the records from one up to another into a write.</summary>
    public void CopyTo(WriteBatch write, int from, int to)
    {
        for (int i = from; i < to; i++)
        {
            ref readonly Entry entry = ref _entries[i];
            if (!entry.Superseded)
            {
                WriteOptions options = entry.ExpiresAt == 0 ? default : new WriteOptions { Expiry = Expiry.AtUnixMilliseconds(entry.ExpiresAt) };
                write.Put(
                    _data.AsSpan(entry.Start, entry.KeyLength),
                    _data.AsSpan(entry.Start + entry.KeyLength, entry.ValueLength),
                    options);
            }
        }
    }

    public void Clear()
    {
        Array.Fill(_slots, NoEntry);
        Count = 0;
        _length = 0;
    }

    /// <summary>Enters a key into the open-addressed table of the batch's keys, and marks the record it had before.</summary>
    private void Supersede(ReadOnlySpan<byte> key, int record)
    {
        int mask = _slots.Length - 1;
        for (int slot = Hash(key) & mask; ; slot = (slot + 1) & mask)
        {
            int other = _slots[slot];
            if (other == NoEntry)
            {
                _slots[slot] = record;
                return;
            }

            ref Entry entry = ref _entries[other];
            if (_data.AsSpan(entry.Start, entry.KeyLength).SequenceEqual(key))
            {
                entry.Superseded = true;
                _slots[slot] = record;
                return;
            }
        }
    }

    /// <summary>The runtime's string hash, which is seeded per process: nobody can write a file whose keys collide.</summary>
    public static int Hash(ReadOnlySpan<byte> key)
    {
        int hash = string.GetHashCode(MemoryMarshal.Cast<byte, char>(key));
        return (key.Length & 1) == 0 ? hash : HashCode.Combine(hash, key[^1]);
    }

    private struct Entry
    {
        public int Start;
        public int KeyLength;
        public int ValueLength;
        public long ExpiresAt;
        public long Line;
        public bool Superseded;
    }
}
