using System.Runtime.CompilerServices;

namespace KeyVa.Measurements;

/// <summary>What a store counts.</summary>
internal enum Counter
{
    Gets = 0,
    GetsFound = 1,
    Sets = 2,
    Removes = 3,
    Scans = 4,
    Refused = 5,
    Commits = 6,
    Conflicts = 7,
}

/// <summary>
/// Counters that many threads raise at once. Thread-safe and exact.
/// </summary>
/// <remarks>
/// Each thread has a cell of its own and adds to it without an atomic instruction: those are fences, and two of them in
/// every get kept the processor from overlapping the cache misses of one get with those of the next (on a memory engine
/// of two million keys, a quarter of the throughput). A thread's cell belongs to the first open store that it uses; what
/// it counts for others goes to a shared cell, atomically. A cell whose thread has ended is added to the shared one by
/// the cell's finalizer.
/// </remarks>
internal sealed class StoreCounters
{
    /// <summary>A cache line before and behind, so that no two threads write to the same one.</summary>
    private const int CellLongs = 24;
    private const int First = 8;

    [ThreadStatic]
    private static Cell? _cell;

    private readonly Lock _lock = new();
    private readonly HashSet<long[]> _cells = [];
    private readonly long[] _shared = new long[CellLongs];
    private bool _closed;

    /// <summary>Adds, and returns the thread's new count, for sampling.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long Add(Counter counter, long count = 1)
    {
        Cell? cell = _cell;
        return cell is not null && cell.Owner == this
            ? cell.Counts[First + (int)counter] += count
            : AddElsewhere(counter, count);
    }

    /// <summary>A write ends refused that was counted when it began: it wrote nothing.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public void AddRefused(Counter begun, int operations)
    {
        Add(begun, -operations);
        Add(Counter.Refused);
    }

    public long Sum(Counter counter)
    {
        lock (_lock)
        {
            long sum = Volatile.Read(ref _shared[First + (int)counter]);
            foreach (long[] counts in _cells)
            {
                sum += Volatile.Read(ref counts[First + (int)counter]);
            }

            return sum;
        }
    }

    /// <summary>The store is closed: its threads' cells may go to other stores.</summary>
    public void Close() => Volatile.Write(ref _closed, true);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private long AddElsewhere(Counter counter, long count)
    {
        if (_cell is null || Volatile.Read(ref _cell.Owner._closed))
        {
            var counts = new long[CellLongs];
            lock (_lock)
            {
                _cells.Add(counts);
            }

            _cell = new Cell(this, counts);
            return counts[First + (int)counter] += count;
        }

        return Interlocked.Add(ref _shared[First + (int)counter], count);
    }

    /// <summary>The thread has ended, or counts for another store now.</summary>
    private void Retire(long[] counts)
    {
        lock (_lock)
        {
            _cells.Remove(counts);
            for (int i = 0; i < CellLongs; i++)
            {
                Interlocked.Add(ref _shared[i], counts[i]);
            }
        }
    }

    /// <summary>Reachable from its thread alone.</summary>
    private sealed class Cell(StoreCounters owner, long[] counts)
    {
        public readonly StoreCounters Owner = owner;
        public readonly long[] Counts = counts;

        ~Cell() => Owner.Retire(Counts);
    }
}
