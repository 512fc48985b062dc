using KeyVa.Log;

namespace KeyVa.Partitions;

/// <summary>
/// The turn to apply, where a group is applied while another thread logs the next one: that thread waits here until it may
/// apply, or do anything else that wants the engine to have all that is logged.
/// </summary>
/// <remarks>
/// <para>A field of its <see cref="PartitionWriter"/>, never copied.</para>
/// <para>Invariants.
/// 1. Taken by the holder of the writer's role, before it gives the role up without having applied; ended by the same thread.
/// 2. It is taken only when it is free. So one group at most is being applied, and one logged.
/// 3. At most one thread waits, the holder of the role. A place that was taken out of <c>_waiter</c> is signalled once by
///    whoever took it; that may be one whose turn was over long ago, so a signal alone says nothing.</para>
/// </remarks>
internal struct ApplyTurn
{
    private int _taken;
    private JournalWaiter? _waiter;

    /// <summary>Whether a group is being applied whose thread does not hold the role.</summary>
    public readonly bool IsTaken => Volatile.Read(in _taken) != 0;

    public void Take() => Volatile.Write(ref _taken, 1);

    /// <summary>It was not needed: the role was not given up.</summary>
    public void GiveBack() => Volatile.Write(ref _taken, 0);

    public void End()
    {
        Volatile.Write(ref _taken, 0);
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _waiter) is not null)
        {
            Interlocked.Exchange(ref _waiter, null)?.Signal(JournalWaiter.Done);
        }
    }

    /// <summary>Role held: waits until it is free; a while awake, since applying is short, then asleep.</summary>
    public void Await()
    {
        while (IsTaken)
        {
            JournalWaiter waiter = JournalWaiter.Current;
            waiter.Begin();
            Volatile.Write(ref _waiter, waiter);
            Interlocked.MemoryBarrier();
            if (IsTaken || Interlocked.Exchange(ref _waiter, null) is null)
            {
                waiter.Wait(spin: true);
            }
        }
    }
}
