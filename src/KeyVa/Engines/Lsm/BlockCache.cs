using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Blocks of SSTables kept in native memory, bounded in bytes, shared by all partitions of a store. There is no hash
/// table: a table has one slot per block, which holds the pointer to the block while it is cached, so a hit is one load
/// (pointer swizzling, as in Leis et al., "LeanStore", 2018). The cache decides which blocks stay: see
/// <see cref="BlockCachePolicy"/> and <see cref="BlockCacheShard"/>.
/// </summary>
/// <remarks>
/// <para>Thread-safety. A hit takes no lock and writes nothing shared but a count of reads that mostly has its highest value
/// already. Filling and evicting take the lock of the shard that the slot's address belongs to.</para>
/// <para>Invariants.
/// 1. A slot is written under its shard's lock alone. Block.Slot leads back to it exactly while it is in a queue of the shard.
/// 2. A reader inside an epoch that has loaded a slot may read the block until it leaves: evicted blocks are retired
///    with the epoch of their eviction, and freed when no reader of that epoch is left.
/// 3. A cursor pins its block instead, so that it need not stay inside an epoch. A pinned block is not evicted; a block
///    on its way out (pins &lt; 0) cannot be pinned.
/// 4. The bytes of the queues stay within the shard's share, but for pinned blocks; a block that alone exceeds the share
///    is not kept. The capacity falls and rises with the store's <see cref="MemoryBudget"/>.
/// </para>
/// </remarks>
internal sealed unsafe class BlockCache : IDisposable
{
    private const int MaxShards = 16;
    private const long MinShardBytes = 4L << 20;
    private const int CounterStripes = 64;
    private const int StripeLongs = 16;

    private readonly BlockCacheShard[] _shards;
    private readonly long[] _hits = new long[CounterStripes * StripeLongs];
    private long _capacity;

    /// <param name="capacity">Bytes of blocks.</param>
    /// <param name="policy">What stays.</param>
    /// <param name="budget">Bytes for the cache and everything else that <see cref="MemoryBudget"/> names; default: no bound.</param>
    public BlockCache(long capacity, BlockCachePolicy policy = default, long budget = long.MaxValue)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        _capacity = capacity;
        Policy = policy;
        int shards = (int)Math.Clamp(capacity / MinShardBytes, 1, MaxShards);
        _shards = new BlockCacheShard[shards];
        for (int i = 0; i < shards; i++)
        {
            _shards[i] = new BlockCacheShard(capacity / shards, policy);
        }

        Memory = new MemoryBudget(this, budget);
        Tables = new TableCache(Memory);
    }

    ~BlockCache() => Free();

    /// <summary>Bytes of blocks at present; never more than at first.</summary>
    public long Capacity => Volatile.Read(ref _capacity);

    public BlockCachePolicy Policy { get; }

    /// <summary>What the cache and the other users of memory may use together.</summary>
    public MemoryBudget Memory { get; }

    /// <summary>Open tables of the store.</summary>
    public TableCache Tables { get; }

    /// <summary>Reads served from memory: counted without synchronization, so a few may be missed.</summary>
    public long Hits
    {
        get
        {
            long sum = 0;
            for (int i = 0; i < CounterStripes; i++)
            {
                sum += Volatile.Read(ref _hits[i * StripeLongs]);
            }

            return sum;
        }
    }

    public long Misses => _shards.Sum(shard => Volatile.Read(ref shard.Misses));

    /// <summary>Bytes of the cached blocks, retired ones not counted.</summary>
    public long UsedBytes => _shards.Sum(shard => shard.UsedBytes);

    /// <summary>Bytes evicted that may still have readers.</summary>
    public long RetiredBytes => _shards.Sum(shard => Volatile.Read(ref shard.RetiredBytes));

    /// <summary>Blocks that had to go for others, or for other users of memory.</summary>
    public long Evictions => _shards.Sum(shard => Volatile.Read(ref shard.Evictions));

    /// <summary>Notes a hit. Inside an epoch. Counts of concurrent readers may get lost: it is a hint.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Touch(Block* block)
    {
        int reads = block->Reads;
        if (reads < Block.MostReads)
        {
            block->Reads = reads + 1;
        }

        ref long counter = ref Unsafe.Add(
            ref MemoryMarshal.GetArrayDataReference(_hits),
            (Environment.CurrentManagedThreadId & (CounterStripes - 1)) * StripeLongs);
        counter++;
    }

    /// <summary>
    /// Puts a block that was just read into its slot, unless another thread has been faster. Returns the block to use:
    /// it may be read until the caller leaves its epoch or, if it came pinned, until <see cref="Unpin"/>.
    /// </summary>
    public Block* Insert(nint* slot, Block* block)
    {
        Debug.Assert(Epochs.IsInside || block->Pins > 0, "the block must stay until the caller has read it");
        BlockCacheShard shard = ShardOf(slot);
        lock (shard)
        {
            shard.Misses++;
            Block* present = (Block*)*slot;
            if (present != null)
            {
                // Under the lock nothing is evicted, so it can be pinned.
                Interlocked.Add(ref present->Pins, block->Pins);
                Block.Free(block);
                return present;
            }

            if (block->Charge <= shard.Capacity)
            {
                shard.Add(slot, block);
                shard.ReclaimIfWorth();
                return block;
            }

            if (block->Pins == 0)
            {
                // Not kept: it goes when the epoch has passed.
                shard.Retire(block);
                shard.ReclaimIfWorth();
                return block;
            }
        }

        // Not kept either: it belongs to its cursor alone.
        Memory.Charge(MemoryKind.Buffers, block->Charge);
        return block;
    }

    /// <summary>Changes the capacity; what is too much goes at once. Returns the bytes evicted. One thread at a time.</summary>
    public long Resize(long capacity)
    {
        if (capacity == Capacity)
        {
            return 0;
        }

        Volatile.Write(ref _capacity, capacity);
        long evicted = 0;
        foreach (BlockCacheShard shard in _shards)
        {
            lock (shard)
            {
                evicted += shard.Resize(capacity / _shards.Length);
            }
        }

        return evicted;
    }

    /// <summary>Ends a pin. A block that is in no queue belonged to its cursor alone.</summary>
    public void Unpin(Block* block)
    {
        if (block->Slot == null)
        {
            Memory.Release(MemoryKind.Buffers, block->Charge);
            Block.Free(block);
        }
        else
        {
            Interlocked.Decrement(ref block->Pins);
        }
    }

    /// <summary>Frees the block of a slot at once: the caller knows that nobody reads it.</summary>
    public void Remove(nint* slot)
    {
        BlockCacheShard shard = ShardOf(slot);
        lock (shard)
        {
            Block* block = (Block*)*slot;
            if (block != null)
            {
                Debug.Assert(block->Pins == 0, "a table is closed only when no cursor is on it");
                shard.Unlink(block);
                Block.Free(block);
            }
        }
    }

    /// <summary>All tables must have been closed.</summary>
    public void Dispose()
    {
        Tables.Dispose();
        Memory.Chunks.Dispose();
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        foreach (BlockCacheShard shard in _shards)
        {
            lock (shard)
            {
                shard.Free();
            }
        }
    }

    private BlockCacheShard ShardOf(nint* slot) => _shards[(uint)((((ulong)slot >> 3) * 0x9E3779B97F4A7C15) >> 32) % (uint)_shards.Length];
}
