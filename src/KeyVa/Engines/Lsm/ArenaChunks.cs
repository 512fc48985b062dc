using System.Diagnostics;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The large pieces that arenas are made of, mapped one by one, so that a freed memtable goes back to the system
/// whatever lies around it. Some are kept for the next memtable, since fresh pages cost a fault each.
/// </summary>
/// <remarks>Thread-safe. The spare ones are counted in the budget, and are at most what the constructor says.</remarks>
internal sealed unsafe class ArenaChunks(MemoryBudget budget, long spareBytes) : IDisposable
{
    /// <summary>A large page of x64 and arm64.</summary>
    public const int Bytes = 2 << 20;

    private const int MostSpare = 8;
    private const int MostPrepared = 3;
    private const int SmallestPage = 4 << 10;

    private readonly int _limit = (int)Math.Min(MostSpare, spareBytes / Bytes);
    private readonly Lock _lock = new();
    private readonly Stack<nint> _spare = new();
    private bool _closed;

    ~ArenaChunks() => Free();

    /// <summary>A piece of <see cref="Bytes"/>, of unspecified content.</summary>
    public byte* Take()
    {
        nint chunk;
        lock (_lock)
        {
            _spare.TryPop(out chunk);
        }

        if (chunk != 0)
        {
            budget.Release(MemoryKind.Spare, Bytes);
            return (byte*)chunk;
        }

        return Map();
    }

    public void Give(byte* chunk)
    {
        Debug.Assert(((nint)chunk & (Bytes - 1)) == 0, "a chunk is aligned to its size");
        lock (_lock)
        {
            if (!_closed && _spare.Count < _limit)
            {
                _spare.Push((nint)chunk);
                chunk = null;
            }
        }

        if (chunk == null)
        {
            budget.Charge(MemoryKind.Spare, Bytes);
        }
        else
        {
            NativePages.Unmap(chunk, Bytes);
        }
    }

    /// <summary>
    /// Has a few spare pieces lie ready whose pages the system has given already, since the first touch of a page costs more than
    /// what is written to it. For a thread beside the one that fills them.
    /// </summary>
    public void Prepare()
    {
        while (true)
        {
            lock (_lock)
            {
                if (_closed || _spare.Count >= Math.Min(_limit, MostPrepared))
                {
                    return;
                }
            }

            byte* chunk = Map();
            for (int at = 0; at < Bytes; at += SmallestPage)
            {
                chunk[at] = 0;
            }

            Give(chunk);
        }
    }

    /// <summary>A piece that belongs to nobody's spare ones.</summary>
    public static byte* Map()
    {
        byte* chunk = NativePages.Map(Bytes, Bytes);

        // A memtable is written and read at random: with large pages its searches miss the TLB far less.
        NativePages.PreferHugePages(chunk, Bytes);
        return chunk;
    }

    /// <summary>Pieces that come back later go to the system.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _closed = true;
            Free();
        }

        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        while (_spare.TryPop(out nint chunk))
        {
            NativePages.Unmap((byte*)chunk, Bytes);
        }
    }
}
