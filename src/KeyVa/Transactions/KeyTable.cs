using System.Diagnostics;
using System.Numerics;
using System.Runtime.InteropServices;

namespace KeyVa.Transactions;

/// <summary>
/// The distinct keys that a transaction has read or written, numbered in the order they came. One thread at a time.
/// </summary>
/// <remarks>
/// An open-addressed table with linear probing. Keys are taken out only from the end (<see cref="Truncate"/>): the one added last
/// is the last of its run, so clearing its slot leaves every other run whole.
/// </remarks>
internal sealed class KeyTable(ByteArena bytes)
{
    private const int FirstSlots = 32;
    private const int KeptSlots = 1 << 12;

    private int[] _slots = new int[FirstSlots];
    private Entry[] _entries = new Entry[FirstSlots / 2];

    public int Count { get; private set; }

    public ReadOnlySpan<byte> this[int key] => bytes.At(_entries[key].Address, _entries[key].Length);

    public int LengthOf(int key) => _entries[key].Length;

    /// <summary>The key's number, or -1.</summary>
    public int Find(ReadOnlySpan<byte> key)
    {
        int hash = Hash(key);
        int mask = _slots.Length - 1;
        for (int slot = hash & mask; _slots[slot] != 0; slot = (slot + 1) & mask)
        {
            int found = _slots[slot] - 1;
            if (_entries[found].Hash == hash && this[found].SequenceEqual(key))
            {
                return found;
            }
        }

        return -1;
    }

    /// <summary>The key's number; it is added if it is new.</summary>
    public int FindOrAdd(ReadOnlySpan<byte> key, out bool added)
    {
        int hash = Hash(key);
        int mask = _slots.Length - 1;
        int slot = hash & mask;
        for (; _slots[slot] != 0; slot = (slot + 1) & mask)
        {
            int found = _slots[slot] - 1;
            if (_entries[found].Hash == hash && this[found].SequenceEqual(key))
            {
                added = false;
                return found;
            }
        }

        added = true;
        if (Count == _entries.Length)
        {
            Grow();
            mask = _slots.Length - 1;
            slot = FreeSlot(hash, mask);
        }

        _entries[Count] = new Entry(bytes.Append(key), key.Length, hash);
        _slots[slot] = ++Count;
        return Count - 1;
    }

    /// <summary>Forgets the keys from number <paramref name="count"/> on; their bytes are the arena's affair.</summary>
    public void Truncate(int count)
    {
        int mask = _slots.Length - 1;
        while (Count > count)
        {
            int slot = _entries[Count - 1].Hash & mask;
            while (_slots[slot] != Count)
            {
                slot = (slot + 1) & mask;
            }

            _slots[slot] = 0;
            Count--;
        }
    }

    public void Clear()
    {
        if (_slots.Length > KeptSlots)
        {
            _slots = new int[FirstSlots];
            _entries = new Entry[FirstSlots / 2];
        }
        else if (Count > 0)
        {
            Array.Clear(_slots);
        }

        Count = 0;
    }

    // The runtime's string hash is seeded per process, so nobody can choose keys that collide.
    private static int Hash(ReadOnlySpan<byte> key)
    {
        int hash = string.GetHashCode(MemoryMarshal.Cast<byte, char>(key));
        return ((key.Length & 1) == 0 ? hash : HashCode.Combine(hash, key[^1])) & int.MaxValue;
    }

    private int FreeSlot(int hash, int mask)
    {
        int slot = hash & mask;
        while (_slots[slot] != 0)
        {
            slot = (slot + 1) & mask;
        }

        return slot;
    }

    private void Grow()
    {
        Debug.Assert(BitOperations.IsPow2(_slots.Length), "the mask needs it");
        _slots = new int[_slots.Length * 2];
        Array.Resize(ref _entries, _slots.Length / 2);
        int mask = _slots.Length - 1;
        for (int i = 0; i < Count; i++)
        {
            _slots[FreeSlot(_entries[i].Hash, mask)] = i + 1;
        }
    }

    private readonly record struct Entry(long Address, int Length, int Hash);
}
