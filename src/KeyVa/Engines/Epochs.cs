using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines;

/// <summary>
/// Epoch-based reclamation (Fraser, "Practical lock-freedom", 2004): readers announce that they are inside a data
/// structure; memory that was unlinked is reused only when everyone who could still see it has left.
/// </summary>
/// <remarks>
/// <para>Process-wide, so that a thread has one slot whatever the number of stores. Readers call <see cref="Enter"/> and
/// <see cref="Exit"/>, which nest; a stay lasts one call of the store, or one lease.</para>
/// <para>Invariants.
/// 1. A slot holds the epoch at which its thread entered, or 0 when it is outside.
/// 2. What is unlinked and then stamped with <see cref="Advance"/> = e can be seen only by threads whose slot is at most e.
///    So it may be reused once <see cref="OldestActive"/> &gt; e.
/// 3. Entering is a plain store with no fence: the reclaimer pays instead, with a process-wide barrier
///    (membarrier(2)) before it looks at the slots. After that barrier a reader's slot is either visible to the
///    reclaimer, or the reader's later loads see everything unlinked before the barrier.</para>
/// </remarks>
internal static unsafe class Epochs
{
    private const int SlotBytes = 128;
    private const int SlotsPerChunk = 256;
    private const int MaxChunks = 256;

    private static readonly Lock SlotLock = new();
    private static readonly Stack<nint> FreeSlots = new();
    private static readonly nint[] Chunks = new nint[MaxChunks];

    private static int _chunkCount;
    private static int _usedInLastChunk = SlotsPerChunk;
    private static long _epoch = 1;

    [ThreadStatic]
    private static long* _slot;

    [ThreadStatic]
    private static SlotOwner? _owner;

    /// <summary>
    /// Whether what this thread unlinks can be seen by no other, so that only its own stay holds it up. For simulations, which run beside each other and
    /// must not see each other's pace.
    /// </summary>
    [ThreadStatic]
    internal static bool IsAlone;

    /// <summary>The present epoch.</summary>
    public static long Current => Volatile.Read(ref _epoch);

    /// <summary>Whether this thread is inside (for assertions).</summary>
    public static bool IsInside => _slot is not null && _slot[1] != 0;

    /// <summary>Enters; what is linked from here on stays until the matching <see cref="Exit"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Enter()
    {
        long* slot = _slot;
        if (slot is null)
        {
            slot = TakeSlot();
        }

        if (slot[1]++ == 0)
        {
            // The JIT keeps this store before the loads that follow (volatile); the processor may not, see invariant 3.
            Volatile.Write(ref *slot, Volatile.Read(ref _epoch));
        }
    }

    /// <summary>Leaves. On the thread that entered.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Exit()
    {
        long* slot = _slot;
        Debug.Assert(slot is not null && slot[1] > 0, "Exit without Enter");
        if (--slot[1] == 0)
        {
            Volatile.Write(ref *slot, 0);
        }
    }

    /// <summary>Begins a new epoch and returns the one that ended: the stamp for what has just been unlinked.</summary>
    public static long Advance() => Interlocked.Increment(ref _epoch) - 1;

    /// <summary>
    /// The epoch of the oldest reader inside, or the present one if there is none: what was stamped below it may be
    /// reused. Costs a process-wide barrier (microseconds): call it once for many pieces.
    /// </summary>
    public static long OldestActive()
    {
        long oldest = Current;
        if (IsAlone)
        {
            return IsInside ? *_slot : oldest;
        }

        Interlocked.MemoryBarrierProcessWide();
        int chunks = Volatile.Read(ref _chunkCount);
        for (int c = 0; c < chunks; c++)
        {
            byte* chunk = (byte*)Volatile.Read(ref Chunks[c]);
            for (int i = 0; i < SlotsPerChunk; i++)
            {
                long epoch = Volatile.Read(ref *(long*)(chunk + (i * SlotBytes)));
                if (epoch != 0 && epoch < oldest)
                {
                    oldest = epoch;
                }
            }
        }

        return oldest;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static long* TakeSlot()
    {
        lock (SlotLock)
        {
            nint slot;
            if (FreeSlots.TryPop(out nint free))
            {
                slot = free;
            }
            else
            {
                if (_usedInLastChunk == SlotsPerChunk)
                {
                    if (_chunkCount == MaxChunks)
                    {
                        throw new InvalidOperationException($"more than {MaxChunks * SlotsPerChunk} threads use the store at once");
                    }

                    Chunks[_chunkCount] = (nint)NativeMemory.AlignedAlloc(SlotBytes * SlotsPerChunk, SlotBytes);
                    new Span<byte>((void*)Chunks[_chunkCount], SlotBytes * SlotsPerChunk).Clear();
                    _usedInLastChunk = 0;
                    Volatile.Write(ref _chunkCount, _chunkCount + 1);
                }

                slot = Chunks[_chunkCount - 1] + (_usedInLastChunk++ * SlotBytes);
            }

            _owner = new SlotOwner(slot);
            _slot = (long*)slot;
            return _slot;
        }
    }

    /// <summary>Reachable from its thread alone: when the thread is gone, the finalizer gives the slot back.</summary>
    private sealed class SlotOwner(nint slot)
    {
        ~SlotOwner()
        {
            lock (SlotLock)
            {
                // A thread that ended inside a lease would hold memory for ever; the lease is gone with its stack.
                ((long*)slot)[1] = 0;
                Volatile.Write(ref *(long*)slot, 0);
                FreeSlots.Push(slot);
            }
        }
    }
}
