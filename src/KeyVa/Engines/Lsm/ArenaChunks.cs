using System.Diagnostics;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The large pieces that arenas are made of, mapped one by one, so that a freed memtable goes back to the system
/// whatever lies around it. Some are kept for the next memtable, since fresh pages cost a fault each; where those do not last, a thread of
/// its own has the next ones ready. The system clears a large page when it is touched first: milliseconds, where it has to get the memory
/// from a host first, in which the put that meets one waits.
/// </summary>
/// <remarks>
/// Thread-safe. The spare ones are counted in the budget, and are at most what the constructor says. The thread is started when the
/// spare ones run short, sleeps while enough are there, and ends when that stays so: a store that is written little has none.
/// </remarks>
internal sealed unsafe class ArenaChunks(MemoryBudget budget, long spareBytes) : IDisposable
{
    /// <summary>A large page of x64 and arm64.</summary>
    public const int Bytes = 2 << 20;

    private const int MostSpare = 8;

    /// <summary>As many as are written to while the thread that makes them ready waits for a processor.</summary>
    private const int MostPrepared = 3;
    private const int SmallestPage = 4 << 10;

    /// <summary>After so long without need the thread ends.</summary>
    private const int IdleMilliseconds = 5_000;

    private readonly int _limit = (int)Math.Min(MostSpare, spareBytes / Bytes);
    private readonly int _prepared = (int)Math.Min(MostPrepared, spareBytes / Bytes);

    // Guarded by itself, as all below.
    private readonly Stack<nint> _spare = new();
    private Thread? _preparing;
    private bool _closed;

    ~ArenaChunks() => Free();

    /// <summary>A piece of <see cref="Bytes"/>, of unspecified content.</summary>
    public byte* Take()
    {
        nint chunk;
        lock (_spare)
        {
            _spare.TryPop(out chunk);
            if (_spare.Count < _prepared && !_closed)
            {
                StartPreparing();
            }
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
        lock (_spare)
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
        while (Lacks())
        {
            Give(MapReady());
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

    /// <summary>Pieces that come back later go to the system. The thread that makes pieces ready has ended on return.</summary>
    public void Dispose()
    {
        Thread? preparing;
        lock (_spare)
        {
            _closed = true;
            preparing = _preparing;
            Monitor.Pulse(_spare);
            Free();
        }

        preparing?.Join();
        GC.SuppressFinalize(this);
    }

    private static byte* MapReady()
    {
        byte* chunk = Map();
        for (int at = 0; at < Bytes; at += SmallestPage)
        {
            chunk[at] = 0;
        }

        return chunk;
    }

    private bool Lacks()
    {
        lock (_spare)
        {
            return !_closed && _spare.Count < _prepared;
        }
    }

    // Called with the lock.
    private void StartPreparing()
    {
        if (_preparing is null)
        {
            _preparing = new Thread(KeepReady) { IsBackground = true, Name = "KeyVa memory" };
            _preparing.Start();
        }
        else
        {
            Monitor.Pulse(_spare);
        }
    }

    private void KeepReady()
    {
        while (true)
        {
            try
            {
                Prepare();
            }
            catch (InsufficientMemoryException)
            {
                // Nobody waits for these: who needs one asks for it, and is told.
                lock (_spare)
                {
                    _preparing = null;
                    return;
                }
            }

            lock (_spare)
            {
                if (_closed || (_spare.Count >= _prepared && !Monitor.Wait(_spare, IdleMilliseconds)))
                {
                    _preparing = null;
                    return;
                }
            }
        }
    }

    private void Free()
    {
        while (_spare.TryPop(out nint chunk))
        {
            NativePages.Unmap((byte*)chunk, Bytes);
        }
    }
}
