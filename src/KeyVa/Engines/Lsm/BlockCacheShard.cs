using System.Diagnostics;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// A part of the <see cref="BlockCache"/>: decides which of its blocks stay, and frees those that go once nobody reads
/// them.
/// </summary>
/// <remarks>
/// <para>All calls under the lock on this object; readers of blocks do not take it.</para>
/// <para>CLOCK is one queue: the oldest block goes, unless it was read since it was last looked at; then it gets another
/// turn. S3-FIFO has a small queue before it, with a tenth of the bytes, where new blocks begin. Of those that
/// reach its end, the ones read twice or more move to the main queue, the others go and are remembered. A remembered
/// block that comes again starts in the main queue, where the oldest gets as many further turns as it was read, at most
/// <see cref="Block.MostReads"/>. Without frequent reads a block of a scan so gets past a tenth of the cache alone.</para>
/// <para>Invariants.
/// 1. A block in a queue has its slot, and the slot has it.
/// 2. A retired block is in neither queue; it is freed when the epoch of its stamp has passed.
/// </para>
/// </remarks>
internal sealed unsafe class BlockCacheShard(long capacity, BlockCachePolicy policy)
{
    /// <summary>The small queue's share of the bytes.</summary>
    private const int SmallShare = 10;

    /// <summary>Reads in the small queue that make a block worth the main one.</summary>
    private const int WorthKeeping = 2;

    /// <summary>Retired blocks that are worth a process-wide barrier.</summary>
    private const int ReclaimCount = 64;
    private const long ReclaimBytes = 1 << 20;

    /// <summary>Where a reader that stayed long has left so much behind, so many go at a time.</summary>
    private const long BacklogBytes = 2 * ReclaimBytes;
    private const int FreedOfBacklog = 8;

    // Read without the lock for statistics.
    public long Capacity = capacity;
    public long Misses;
    public long Evictions;
    public long RetiredBytes;

    // Under the lock.
    private readonly GhostQueue? _ghosts = policy == BlockCachePolicy.S3Fifo ? new GhostQueue() : null;
    private BlockQueue _small = new(1);
    private BlockQueue _main = new(2);
    private long _usedBytes;
    private bool _closed;

    // What was retired, oldest first, and the epochs of its stamps with how many blocks each is for; those retired since have none yet. The
    // list is not in the blocks, whose memory is cold by then.
    private readonly Queue<nint> _retired = new();
    private readonly Queue<(long Epoch, int Blocks)> _stamps = new();
    private int _retiredSince;
    private long _retiredBytesSince;

    // How many of the oldest have no reader any more, and how many are to be freed next.
    private int _unread;
    private int _owed;

    public long UsedBytes => Volatile.Read(ref _usedBytes);

    /// <summary>Departures that are remembered: about as many as there are blocks in the main queue when all is full.</summary>
    private int GhostLimit => (int)((_small.Count + _main.Count) * (long)(SmallShare - 1) / SmallShare) + 1;

    /// <summary>Makes room for a block and puts it into its slot.</summary>
    public void Add(nint* slot, Block* block)
    {
        // Before others go: it may be the oldest that is remembered.
        bool wasHere = _ghosts is null || _ghosts.Take(slot, GhostLimit);
        MakeRoom(block->Charge);
        block->Slot = slot;
        (wasHere ? ref _main : ref _small).Add(block);
        _usedBytes += block->Charge;
        Volatile.Write(ref *slot, (nint)block);
    }

    public void Unlink(Block* block)
    {
        Volatile.Write(ref *block->Slot, 0);
        block->Slot = null;
        (block->Queue == _main.Number ? ref _main : ref _small).Remove(block);
        _usedBytes -= block->Charge;
    }

    /// <summary>Returns the bytes that had to go.</summary>
    public long Resize(long bytes)
    {
        long before = _usedBytes;
        Capacity = _closed ? 0 : bytes;
        MakeRoom(0);
        LookForReadersIfWorth();
        while (_unread > 0)
        {
            FreeOldest();
        }

        return before - _usedBytes;
    }

    public void Retire(Block* block)
    {
        Debug.Assert(block->Queue == 0, "it was unlinked before");
        block->Pins = -1;
        _retired.Enqueue((nint)block);
        _owed++;
        _retiredSince++;
        _retiredBytesSince += block->Charge;
        RetiredBytes += block->Charge;
    }

    /// <summary>
    /// Behind each block that came: frees more than went for it. All at once would be for the one read that meets a barrier to pay, and
    /// their memory is cold.
    /// </summary>
    public void ReclaimIfWorth()
    {
        for (_owed += RetiredBytes > BacklogBytes ? FreedOfBacklog : 1; _owed > 0 && _unread > 0; _owed--)
        {
            FreeOldest();
        }

        _owed = 0;
        LookForReadersIfWorth();
    }

    /// <summary>
    /// Frees all. Tables may outlive the cache, if a cursor was left open: they must not see the blocks again, and what
    /// they still read is not kept.
    /// </summary>
    public void Free()
    {
        _closed = true;
        Capacity = 0;
        for (Block* block = Oldest(); block != null; block = Oldest())
        {
            Unlink(block);
            Block.Free(block);
        }

        while (_retired.Count > 0)
        {
            FreeOldest();
        }

        _stamps.Clear();
        _retiredSince = 0;
        _retiredBytesSince = 0;
        _unread = 0;
        _ghosts?.Free();
    }

    private Block* Oldest() => _small.Count > 0 ? _small.Oldest : _main.Oldest;

    /// <summary>
    /// Evicts until there is room, or until as many looks have been taken as can find a block that is not pinned: each
    /// block may have to be looked at once per turn that its reads gave it.
    /// </summary>
    private void MakeRoom(long bytes)
    {
        int looks = 2 + ((_small.Count + _main.Count) * (Block.MostReads + 2));
        while (_usedBytes + bytes > Capacity && looks-- > 0 && _small.Count + _main.Count > 0)
        {
            if (_main.Count == 0 || (_small.Count > 0 && _small.Bytes >= Capacity / SmallShare))
            {
                LookAtSmall(_small.Oldest);
            }
            else
            {
                LookAtMain(_main.Oldest);
            }
        }
    }

    private void LookAtSmall(Block* block)
    {
        if (block->Reads >= WorthKeeping)
        {
            block->Reads = 0;
            _small.Remove(block);
            _main.Add(block);
        }
        else if (!TryEvict(block, remember: true))
        {
            _small.Renew(block);
        }
    }

    private void LookAtMain(Block* block)
    {
        if (block->Reads > 0)
        {
            block->Reads = _ghosts is null ? 0 : block->Reads - 1;
            _main.Renew(block);
        }
        else if (!TryEvict(block, remember: false))
        {
            _main.Renew(block);
        }
    }

    /// <summary>False if a cursor is on the block.</summary>
    private bool TryEvict(Block* block, bool remember)
    {
        if (Interlocked.CompareExchange(ref block->Pins, -1, 0) != 0)
        {
            return false;
        }

        if (remember)
        {
            _ghosts!.Add(block->Slot, GhostLimit);
        }

        Unlink(block);
        Retire(block);
        Evictions++;
        return true;
    }

    // A reader that stays long holds what was retired: the next look comes when as much has come in addition.
    private void LookForReadersIfWorth()
    {
        if (_retiredSince < ReclaimCount && _retiredBytesSince < ReclaimBytes)
        {
            return;
        }

        // What was unlinked since the last look gets one stamp now, later than needed but never earlier.
        _stamps.Enqueue((Epochs.Advance(), _retiredSince));
        _retiredSince = 0;
        _retiredBytesSince = 0;
        long oldest = Epochs.OldestActive();
        while (_stamps.TryPeek(out (long Epoch, int Blocks) stamp) && stamp.Epoch < oldest)
        {
            _unread += stamp.Blocks;
            _stamps.Dequeue();
        }
    }

    private void FreeOldest()
    {
        Block* block = (Block*)_retired.Dequeue();
        _unread--;
        RetiredBytes -= block->Charge;
        Block.Free(block);
    }
}
