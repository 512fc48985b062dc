using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Blocks of SSTables kept in native memory, bounded in bytes, shared by all partitions of a store. There is no hash
/// table: a table has one slot per block, which holds the pointer to the block while it is cached, so a hit is one load
/// (pointer swizzling, as in Leis et al., "LeanStore", 2018). The cache decides which blocks stay, by CLOCK.
/// </summary>
/// <remarks>
/// <para>Thread-safety. A hit takes no lock and writes nothing shared but a bit that is mostly set already. Filling and
/// evicting take the lock of the shard that the slot's address belongs to.</para>
/// <para>Invariants.
/// 1. A slot is written under its shard's lock alone. Block.Slot leads back to it exactly while it is in the ring.
/// 2. A reader inside an epoch that has loaded a slot may read the block until it leaves: evicted blocks are retired
///    with the epoch of their eviction, and freed when no reader of that epoch is left.
/// 3. A cursor pins its block instead, so that it need not stay inside an epoch. A pinned block is not evicted; a block
///    on its way out (pins &lt; 0) cannot be pinned.
/// 4. The bytes of the ring stay within the shard's share, but for pinned blocks; a block that alone exceeds the share
///    is not kept.
/// </para>
/// </remarks>
internal sealed unsafe class BlockCache : IDisposable
{
    private const int MaxShards = 16;
    private const long MinShardBytes = 4L << 20;
    private const int CounterStripes = 64;
    private const int StripeLongs = 16;

    /// <summary>Retired blocks of a shard that are worth a process-wide barrier.</summary>
    private const int ReclaimCount = 64;
    private const long ReclaimBytes = 1 << 20;

    private readonly Shard[] _shards;
    private readonly long[] _hits = new long[CounterStripes * StripeLongs];

    public BlockCache(long capacity)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        Capacity = capacity;
        int shards = (int)Math.Clamp(capacity / MinShardBytes, 1, MaxShards);
        _shards = new Shard[shards];
        for (int i = 0; i < shards; i++)
        {
            _shards[i] = new Shard(capacity / shards);
        }
    }

    ~BlockCache() => Free();

    public long Capacity { get; }

    /// <summary>Open tables of the store.</summary>
    public TableCache Tables { get; } = new();

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
    public long UsedBytes => _shards.Sum(shard => Volatile.Read(ref shard.UsedBytes));

    /// <summary>Bytes evicted that may still have readers.</summary>
    public long RetiredBytes => _shards.Sum(shard => Volatile.Read(ref shard.RetiredBytes));

    /// <summary>Notes a hit. Inside an epoch.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Touch(Block* block)
    {
        if (block->Referenced == 0)
        {
            block->Referenced = 1;
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
        Shard shard = ShardOf(slot);
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

            if (block->Charge > shard.Capacity)
            {
                // Not kept: with its reader alone if pinned, else until the epoch has passed.
                if (block->Pins == 0)
                {
                    shard.Retire(block);
                }
            }
            else
            {
                shard.MakeRoom(block->Charge);
                shard.Add(slot, block);
            }

            shard.ReclaimIfWorth();
            return block;
        }
    }

    /// <summary>Ends a pin. A block that is in no ring belonged to its cursor alone.</summary>
    public static void Unpin(Block* block)
    {
        if (block->Slot == null)
        {
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
        Shard shard = ShardOf(slot);
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
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        foreach (Shard shard in _shards)
        {
            shard.Free();
        }
    }

    private Shard ShardOf(nint* slot) => _shards[(uint)((((ulong)slot >> 3) * 0x9E3779B97F4A7C15) >> 32) % (uint)_shards.Length];

    private sealed class Shard(long capacity)
    {
        public readonly long Capacity = capacity;
        public long Misses;
        public long UsedBytes;
        public long RetiredBytes;

        // Under the lock of the shard.
        private nint[] _ring = new nint[64];
        private int _count;
        private int _hand;
        private Block* _oldestRetired;
        private Block* _newestRetired;
        private int _retiredCount;
        private int _reclaimAt = ReclaimCount;
        private long _reclaimBytesAt = ReclaimBytes;

        public void Add(nint* slot, Block* block)
        {
            if (_count == _ring.Length)
            {
                Array.Resize(ref _ring, _ring.Length * 2);
            }

            block->Slot = slot;
            block->RingIndex = _count;
            _ring[_count++] = (nint)block;
            UsedBytes += block->Charge;
            Volatile.Write(ref *slot, (nint)block);
        }

        public void Unlink(Block* block)
        {
            Volatile.Write(ref *block->Slot, 0);
            block->Slot = null;
            int index = block->RingIndex;
            Block* last = (Block*)_ring[--_count];
            _ring[index] = (nint)last;
            last->RingIndex = index;
            UsedBytes -= block->Charge;
        }

        /// <summary>Evicts until there is room, or two turns of the hand have found all pinned.</summary>
        public void MakeRoom(long bytes)
        {
            for (int looks = 2 * _count; looks > 0 && _count > 0 && UsedBytes + bytes > Capacity; looks--)
            {
                _hand = _hand >= _count ? 0 : _hand;
                Block* block = (Block*)_ring[_hand];
                if (block->Referenced != 0 || Interlocked.CompareExchange(ref block->Pins, -1, 0) != 0)
                {
                    block->Referenced = 0;
                    _hand++;
                }
                else
                {
                    Unlink(block);
                    Retire(block);
                }
            }
        }

        public void Retire(Block* block)
        {
            block->Pins = -1;
            block->Epoch = 0;
            block->NextRetired = null;
            if (_newestRetired == null)
            {
                _oldestRetired = block;
            }
            else
            {
                _newestRetired->NextRetired = block;
            }

            _newestRetired = block;
            _retiredCount++;
            RetiredBytes += block->Charge;
        }

        public void ReclaimIfWorth()
        {
            if (_retiredCount >= _reclaimAt || RetiredBytes >= _reclaimBytesAt)
            {
                Reclaim();

                // A reader that stays long holds them: look again when as much has come in addition.
                _reclaimAt = _retiredCount + ReclaimCount;
                _reclaimBytesAt = RetiredBytes + ReclaimBytes;
            }
        }

        public void Free()
        {
            for (int i = 0; i < _count; i++)
            {
                // Tables may outlive the cache, if a cursor was left open: they must not see the block again.
                Block* block = (Block*)_ring[i];
                *block->Slot = 0;
                Block.Free(block);
            }

            _count = 0;
            while (_oldestRetired != null)
            {
                FreeOldest();
            }
        }

        private void Reclaim()
        {
            // What was unlinked since the last look gets one stamp now, later than needed but never earlier.
            long stamp = Epochs.Advance();
            for (Block* block = _oldestRetired; block != null; block = block->NextRetired)
            {
                block->Epoch = block->Epoch == 0 ? stamp : block->Epoch;
            }

            long oldest = Epochs.OldestActive();
            while (_oldestRetired != null && _oldestRetired->Epoch < oldest)
            {
                FreeOldest();
            }
        }

        private void FreeOldest()
        {
            Block* block = _oldestRetired;
            _oldestRetired = block->NextRetired;
            _newestRetired = _oldestRetired == null ? null : _newestRetired;
            _retiredCount--;
            RetiredBytes -= block->Charge;
            Block.Free(block);
        }
    }
}
