using System.Diagnostics;
using KeyVa.Partitions;

namespace KeyVa.Engines.Memory;

/// <summary>
/// Decides when the memory of old versions and of replaced parts of the index may be used again.
/// </summary>
/// <remarks>
/// <para>Thread-safety: the writer's alone.</para>
/// <para>Two queues. <em>Retired</em>: a node N that shadows an older one, with N's version; such entries rise by
/// version. <em>Unlinked</em>: blocks that are no longer reachable from the index.</para>
/// <para>Why the older version stays linked for a while: a reader loads the visible version 10, the writer publishes 11
/// and 12, and only then does the reader walk the chain. So N's successor is cut off only when (a) N is visible to every
/// open snapshot and to everyone who enters now, and (b) everybody who entered before that has left.</para>
/// <para>Invariants.
/// 1. (a) comes first: an epoch is stamped after N was published and after the oldest snapshot was read; then (b).
/// 2. After that nobody walks beyond N: it, or something newer, satisfies every reader. So what is behind N is cut off and
///    freed at once, without a second wait.
/// 3. Behind N there is exactly one node by then: N's successor was shadowing its own before, and the queue is in order.
/// 4. A tombstone that is still its key's newest version then is unlinked. Readers may stand on it, so it waits in
///    the other queue.
/// 5. A node whose <see cref="Node.Older"/> is null stands in no queue of retired nodes.
/// </para>
/// <para>Where the newest n versions of each key are retained, an entry of the first queue is the n-th node of its chain, with the version
/// of the first: what is behind it goes when the first is old enough. So again each entry frees one node, in order; and
/// whoever walks at most n nodes from the head it found, walks on none that is freed: a newer head's entry waits for
/// those who came before that head was visible.</para>
/// One period of grace is under way at a time and covers everything that was waiting when it began, so the process-wide
/// barrier in <see cref="Epochs.OldestActive"/> is paid once per <see cref="CheckEvery"/> pieces.
/// </remarks>
internal sealed unsafe class Reclaimer
{
    /// <summary>Pieces of work after which the epochs are looked at.</summary>
    private const int CheckEvery = 1024;

    /// <summary>Bytes waiting after which the epochs are looked at sooner.</summary>
    private const long CheckEveryBytes = 4L << 20;

    private readonly SlabAllocator _memory;
    private readonly HashIndex _index;
    private readonly NativeQueue _retired;
    private readonly NativeQueue _unlinked;
    private readonly SnapshotList _snapshots;
    private readonly HistoryFloor _history;
    private readonly int _retained;

    private long _ticks;
    private long _waitingBytes;

    // The period of grace that is under way: its epoch (0: none) and what it covers.
    private long _graceEpoch;
    private long _graceVersion;
    private long _graceUnlinked;

    // What has passed its grace.
    private long _freeVersion = long.MinValue;
    private long _freeUnlinked;

    public Reclaimer(SlabAllocator memory, HashIndex index, NativeQueue unlinked, SnapshotList snapshots, HistoryFloor history)
    {
        _history = history;
        _retained = snapshots.Retention.Count;
        _snapshots = snapshots;
        _memory = memory;
        _index = index;
        _retired = new NativeQueue(memory);
        _unlinked = unlinked;
    }

    /// <summary>Pieces that wait for something.</summary>
    public long Waiting => _retired.Entered - _retired.Left + _unlinked.Entered - _unlinked.Left;

    /// <summary>Nodes that others shadow, and their bytes.</summary>
    public long Older { get; private set; }

    public long OlderBytes { get; private set; }

    /// <summary>A node was linked in front of an older one of so many bytes.</summary>
    public void Retire(Node* newer, int olderBytes)
    {
        Older++;
        OlderBytes += olderBytes;
        Node* last = newer;
        for (int i = 1; i < _retained; i++)
        {
            last = (Node*)last->Older;
            if (last is null || last->Older == 0)
            {
                return;
            }
        }

        _retired.Enqueue((nint)last, newer->Version);
        _ticks++;
        _waitingBytes += olderBytes;
    }

    /// <summary>A node was unlinked from the index.</summary>
    public void Discard(Node* node)
    {
        int bytes = Node.BytesOf(node);
        _unlinked.Enqueue((nint)node, bytes);
        _ticks++;
        _waitingBytes += bytes;
    }

    /// <summary>Frees up to <paramref name="budget"/> pieces that nobody can see any more.</summary>
    public void Step(long visibleVersion, int budget)
    {
        _ticks++;
        if (_ticks >= CheckEvery || _waitingBytes >= CheckEveryBytes)
        {
            _ticks = 0;
            _waitingBytes = 0;
            Check(visibleVersion);
        }

        Free(budget);
    }

    /// <summary>Frees all that nobody can see now, however long it takes.</summary>
    public void Drain(long visibleVersion)
    {
        long before;
        do
        {
            before = Waiting;
            Check(visibleVersion);
            Check(visibleVersion);
            Free(int.MaxValue);
        }
        while (Waiting < before);
    }

    /// <summary>Ends the period of grace if everyone has left, and then begins the next one.</summary>
    private void Check(long visibleVersion)
    {
        if (_graceEpoch != 0)
        {
            if (Epochs.OldestActive() <= _graceEpoch)
            {
                return;
            }

            _freeVersion = _graceVersion;
            _freeUnlinked = _graceUnlinked;
            _graceEpoch = 0;
        }

        if (Waiting != 0)
        {
            _graceVersion = _snapshots.Bound(_history, visibleVersion, long.MaxValue).Version;
            _graceUnlinked = _unlinked.Entered;
            _graceEpoch = Epochs.Advance();
        }
    }

    private void Free(int budget)
    {
        while (budget > 0 && !_retired.IsEmpty && _retired.Peek().Number <= _freeVersion)
        {
            FreeBehind((Node*)_retired.Dequeue().Block);
            budget--;
        }

        while (budget > 0 && _unlinked.Left < _freeUnlinked)
        {
            Waiting block = _unlinked.Dequeue();
            _memory.Free((void*)block.Block, (int)block.Number);
            budget--;
        }
    }

    private void FreeBehind(Node* newer)
    {
        Node* older = (Node*)newer->Older;
        Debug.Assert(older is not null && older->Older == 0, "invariant 3");
        Older--;
        OlderBytes -= Node.BytesOf(older);
        Volatile.Write(ref newer->Older, 0);
        _memory.Free(older, Node.BytesOf(older));
        if (newer->IsTombstone && _index.TryUnlink(newer))
        {
            Discard(newer);
        }
    }
}
