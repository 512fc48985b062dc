using System.Numerics;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Remembers which blocks left a shard lately, by fingerprint: a block that is read again while it is remembered was let
/// go too early. A set-associative table, as the authors of S3-FIFO propose; what is old is overwritten.
/// </summary>
/// <remarks>
/// Guarded by the lock of its shard. Two blocks may share a fingerprint, and a slot's address may come to belong to
/// another table: then a block is taken for one it is not, which costs a place in the cache, nothing else.
/// <code>
/// an entry: 0 fingerprint u32, 0 for none | 4 number of its departure u32
/// </code>
/// </remarks>
internal sealed unsafe class GhostQueue
{
    private const int Ways = 4;
    private const int FirstEntries = 64;

    private ulong* _entries = Allocate(FirstEntries);
    private int _capacity = FirstEntries;
    private uint _departures;

    /// <summary>Remembers a block; the last <paramref name="limit"/> ones are.</summary>
    public void Add(nint* slot, int limit)
    {
        if (_capacity < 2 * limit)
        {
            Grow((int)BitOperations.RoundUpToPowerOf2((uint)(2 * limit)));
        }

        uint fingerprint = Fingerprint(slot, out ulong* set);
        ulong* place = set;
        for (int i = 0; i < Ways; i++)
        {
            // Its own place before a free one: a block that is remembered twice would be found again after it was taken.
            if ((uint)set[i] == fingerprint)
            {
                place = set + i;
                break;
            }

            place = *place != 0 && (set[i] == 0 || Age(set[i]) > Age(*place)) ? set + i : place;
        }

        *place = fingerprint | ((ulong)_departures++ << 32);
    }

    /// <summary>Whether the block was among the last <paramref name="limit"/> that left; forgets it.</summary>
    public bool Take(nint* slot, int limit)
    {
        uint fingerprint = Fingerprint(slot, out ulong* set);
        for (int i = 0; i < Ways; i++)
        {
            if ((uint)set[i] == fingerprint)
            {
                bool lately = Age(set[i]) <= (uint)limit;
                set[i] = 0;
                return lately;
            }
        }

        return false;
    }

    public void Free()
    {
        NativeMemory.Free(_entries);
        _entries = null;
        _capacity = 0;
    }

    private static ulong* Allocate(int entries) => (ulong*)NativeMemory.AllocZeroed((nuint)entries, sizeof(ulong));

    private uint Age(ulong entry) => _departures - (uint)(entry >> 32);

    private uint Fingerprint(nint* slot, out ulong* set)
    {
        ulong hash = ((ulong)slot >> 3) * 0xD6E8FEB86659FD93;
        hash = (hash ^ (hash >> 32)) * 0xD6E8FEB86659FD93;
        set = _entries + ((long)(hash >> 32) & (_capacity - Ways));
        return (uint)hash | 1;
    }

    /// <summary>Starts anew with more room: seldom, while the cache is filling, and then little is forgotten.</summary>
    private void Grow(int entries)
    {
        NativeMemory.Free(_entries);
        _entries = Allocate(entries);
        _capacity = entries;
    }
}
