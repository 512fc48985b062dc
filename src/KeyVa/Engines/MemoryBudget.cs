using KeyVa.Engines.Lsm;

namespace KeyVa.Engines;

/// <summary>What memory is used for. A memtable goes through the first three in this order.</summary>
internal enum MemoryKind
{
    /// <summary>Memtables that are written to.</summary>
    Active,

    /// <summary>Memtables that wait for their flush, or are in it.</summary>
    Immutable,

    /// <summary>Memtables that were flushed and that readers still hold.</summary>
    Flushed,

    /// <summary>Indexes, filters and slots of open tables.</summary>
    Tables,

    /// <summary>Blocks that belong to a cursor alone, and buffers of compactions.</summary>
    Buffers,

    /// <summary>Pieces of freed memtables, kept for the next ones.</summary>
    Spare,
}

/// <summary>
/// One budget for the native memory of a store: the memtables of all its lsm partitions, the block cache, the open
/// tables, and the blocks and buffers of cursors and compactions.
/// </summary>
/// <remarks>
/// <para>Who yields to whom. The cache gets what the others leave, between its floor and its size. Open tables are closed,
/// least used first, while they exceed what is left beside memtables and the cache's floor (at least a quarter of the budget, at
/// most half). Memtables get the rest, at least a quarter: when half of that is being written to, the largest
/// one of any partition is flushed, whatever its size; from three quarters on writers are slowed, ever more.</para>
/// <para>Thread-safe. Counters are interlocked and change by pieces of 64 KiB or more, not by operation. Whoever changes
/// one balances; if somebody is at it, that one goes round once more. No lock of a memtable, engine or
/// table may be held meanwhile that balancing takes: the table cache's, then a shard's of the block cache.</para>
/// <para>Invariants.
/// 1. Each counter is the sum of what was charged and neither released nor moved.
/// 2. Pressure is above 0 only while there are immutable memtables: the flush that ends it is on its way. So nobody
///    waits for what cannot come.</para>
/// </remarks>
internal sealed class MemoryBudget
{
    /// <summary>The smallest that may be configured.</summary>
    public const long MinBytes = 8L << 20;

    /// <summary>Of a budget, for the cache at least; and for spare pieces at most.</summary>
    private const int FloorShare = 8;

    /// <summary>Evicted bytes, as a share of the budget, that are worth asking malloc to give its free pages back.</summary>
    private const int TrimShare = 32;
    private const long MinTrimBytes = 4L << 20;

    private const int Kinds = 6;

    /// <summary>Longs between two counters: a cache line each.</summary>
    private const int Stride = 16;

    // Immutable.
    private readonly BlockCache _cache;
    private readonly long _cacheBytes;
    private readonly long _cacheFloor;

    // Shared.
    private readonly long[] _used = new long[Kinds * Stride];
    private readonly Lock _enginesLock = new();
    private readonly List<LsmEngine> _engines = [];
    private int _changes;
    private int _wantsFlush;
    private int _wantsTrim;
    private double _pressure;
    private volatile bool _serving;

    // Owned by the thread that balances.
    private long _evictedSinceTrim;

    /// <param name="cache">The cache that yields to the rest; its capacity at this moment is its size.</param>
    /// <param name="bytes">The whole budget.</param>
    public MemoryBudget(BlockCache cache, long bytes)
    {
        _cache = cache;
        _cacheBytes = cache.Capacity;
        _cacheFloor = Math.Min(_cacheBytes, bytes / FloorShare);
        Bytes = bytes;
        Chunks = new ArenaChunks(this, bytes / FloorShare);
    }

    /// <summary>The whole budget.</summary>
    public long Bytes { get; }

    /// <summary>Where memtables get their large pieces.</summary>
    public ArenaChunks Chunks { get; }

    /// <summary>0: memory is no reason to slow writers; 1: the memtables' part is used up.</summary>
    public double Pressure => Volatile.Read(ref _pressure);

    /// <summary>Whether a writer should call <see cref="TakeFlush"/> and <see cref="TakeTrim"/>.</summary>
    public bool NeedsAttention => (Volatile.Read(ref _wantsFlush) | Volatile.Read(ref _wantsTrim)) != 0;

    /// <summary>Whether partitions can be asked to flush: not while the log is being replayed into them.</summary>
    public bool IsServing => _serving;

    /// <summary>Memtables, written to or waiting for their flush.</summary>
    public long Memtables => Used(MemoryKind.Active) + Used(MemoryKind.Immutable);

    /// <summary>All but memtables, tables and cache.</summary>
    public long Other => Used(MemoryKind.Flushed) + Used(MemoryKind.Buffers) + Used(MemoryKind.Spare);

    /// <summary>What the memtables may use at present.</summary>
    public long MemtableAllowance =>
        Math.Max(Bytes / 4, Bytes - _cacheFloor - Used(MemoryKind.Tables) - Used(MemoryKind.Flushed) - Used(MemoryKind.Buffers));

    /// <summary>What open tables may use at present.</summary>
    public long TableAllowance => Math.Clamp(Bytes - _cacheFloor - Memtables - Other, Bytes / 4, Bytes / 2);

    public long Used(MemoryKind kind) => Volatile.Read(ref _used[(int)kind * Stride]);

    /// <summary>The budget that goes with these options where none is given: all that they could use, but at most half of the process's memory.</summary>
    public static long Automatic(long cacheBytes, long memtableBytes, int memtables, long processLimit)
    {
        const long Rest = 64L << 20;
        double wanted = cacheBytes + ((double)memtableBytes * memtables) + Rest;
        return Math.Max(MinBytes, (long)Math.Min(wanted, processLimit / 2));
    }

    public void Charge(MemoryKind kind, long bytes)
    {
        Interlocked.Add(ref _used[(int)kind * Stride], bytes);
        Balance();
    }

    public void Release(MemoryKind kind, long bytes) => Charge(kind, -bytes);

    public void Move(MemoryKind from, MemoryKind to, long bytes)
    {
        Interlocked.Add(ref _used[(int)to * Stride], bytes);
        Interlocked.Add(ref _used[(int)from * Stride], -bytes);
        Balance();
    }

    /// <summary>From here on partitions may be asked to flush.</summary>
    public void Serve() => _serving = true;

    public void Register(LsmEngine engine)
    {
        lock (_enginesLock)
        {
            _engines.Add(engine);
        }
    }

    public void Unregister(LsmEngine engine)
    {
        lock (_enginesLock)
        {
            _engines.Remove(engine);
        }
    }

    /// <summary>Whether a memtable should be flushed before it is full; asked for again at the next change.</summary>
    public bool TakeFlush() => Interlocked.Exchange(ref _wantsFlush, 0) != 0;

    /// <summary>Whether malloc should give its free pages back.</summary>
    public bool TakeTrim() => Interlocked.Exchange(ref _wantsTrim, 0) != 0;

    /// <summary>The engine that would free most by a flush.</summary>
    public LsmEngine? LargestActive()
    {
        lock (_enginesLock)
        {
            LsmEngine? largest = null;
            foreach (LsmEngine engine in _engines)
            {
                largest = largest is null || engine.ActiveBytes > largest.ActiveBytes ? engine : largest;
            }

            return largest;
        }
    }

    private void Balance()
    {
        if (Interlocked.Increment(ref _changes) != 1)
        {
            return;
        }

        int seen = 1;
        while (seen > 0)
        {
            BalanceOnce();
            seen = Interlocked.Add(ref _changes, -seen);
        }
    }

    private void BalanceOnce()
    {
        if (Used(MemoryKind.Tables) > TableAllowance)
        {
            _cache.Tables.Trim(TableAllowance);
        }

        long memtables = Memtables;
        long left = Bytes - memtables - Used(MemoryKind.Tables) - Other;
        long evicted = _cache.Resize(Math.Clamp(left, _cacheFloor, _cacheBytes));
        _evictedSinceTrim += evicted;
        if (_evictedSinceTrim >= Math.Max(MinTrimBytes, Bytes / TrimShare))
        {
            _evictedSinceTrim = 0;
            Volatile.Write(ref _wantsTrim, 1);
        }

        long allowance = MemtableAllowance;
        double begins = allowance * 0.75;
        Volatile.Write(ref _pressure, Used(MemoryKind.Immutable) > 0 ? Math.Max(0, (memtables - begins) / (allowance - begins)) : 0);
        Volatile.Write(ref _wantsFlush, Used(MemoryKind.Active) >= allowance / 2 ? 1 : 0);
    }
}
