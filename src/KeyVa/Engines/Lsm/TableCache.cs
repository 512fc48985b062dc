namespace KeyVa.Engines.Lsm;

/// <summary>
/// Bounds the tables of a store that are open at a time, in number and, by the memory budget, in the bytes of their
/// indexes and filters. Which ones stay open is decided by CLOCK.
/// </summary>
/// <remarks>
/// Thread-safe. Readers that are closed are retired: disposed when everyone who may have taken them inside an epoch has
/// left. Pinned readers are passed over, so cursors can hold the number above the limit. The budget is told after the
/// lock was left, since it may call back.
/// </remarks>
internal sealed class TableCache(MemoryBudget memory) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<SsTable> _open = [];
    private readonly Queue<(TableReader Reader, long Epoch)> _retired = new();
    private int _hand;
    private long _openBytes;
    private long _evictions;

    /// <summary>How many tables are open.</summary>
    public int OpenTables
    {
        get
        {
            lock (_lock)
            {
                return _open.Count;
            }
        }
    }

    /// <summary>Tables closed to stay within the limits.</summary>
    public long Evictions => Volatile.Read(ref _evictions);

    /// <summary>Notes a table that was just opened, and closes others if there are more than <paramref name="limit"/>.</summary>
    public void Opened(SsTable table, TableReader reader, int limit)
    {
        long freed;
        lock (_lock)
        {
            _open.Add(table);
            _openBytes += reader.MemoryBytes;
            reader.Referenced = true;

            // Two turns of the hand: the first one may find all referenced.
            Evict(2 * _open.Count, limit, long.MaxValue, keep: table);
            freed = DisposeRetired();
        }

        memory.Charge(MemoryKind.Tables, reader.MemoryBytes - freed);
    }

    /// <summary>Closes tables while they take more than that many bytes. For the budget.</summary>
    public void Trim(long bytes)
    {
        long freed;
        lock (_lock)
        {

            // One turn: what was opened just now stays until its reader has had a chance to pin it.
            Evict(_open.Count, int.MaxValue, bytes, keep: null);
            freed = DisposeRetired();
        }

        if (freed > 0)
        {
            memory.Release(MemoryKind.Tables, freed);
        }
    }

    /// <summary>Closes a table that nobody uses any more.</summary>
    public void Close(SsTable table)
    {
        long freed;
        lock (_lock)
        {
            bool wasOpen = _open.Remove(table);
            freed = DisposeRetired();
            if (table.PeekReader is { } reader)
            {
                table.ForgetReader();
                freed += wasOpen ? reader.MemoryBytes : 0;
                _openBytes -= wasOpen ? reader.MemoryBytes : 0;
                reader.Dispose();
            }
        }

        memory.Release(MemoryKind.Tables, freed);
    }

    public void Dispose()
    {
        lock (_lock)
        {
            while (_retired.TryDequeue(out (TableReader Reader, long Epoch) retired))
            {
                retired.Reader.Dispose();
            }
        }
    }

    private void Evict(int looks, int limit, long bytes, SsTable? keep)
    {
        for (; looks > 0 && (_open.Count > limit || _openBytes > bytes); looks--)
        {
            _hand = _hand >= _open.Count ? 0 : _hand;
            SsTable candidate = _open[_hand];
            TableReader? reader = candidate.PeekReader;
            if (candidate == keep || reader is null || reader.Referenced || !reader.TryEndPins())
            {
                if (reader is not null)
                {
                    reader.Referenced = false;
                }

                _hand++;
                continue;
            }

            candidate.ForgetReader();
            _open[_hand] = _open[^1];
            _open.RemoveAt(_open.Count - 1);
            _openBytes -= reader.MemoryBytes;
            _evictions++;
            _retired.Enqueue((reader, Epochs.Advance()));
        }
    }

    /// <summary>Returns the bytes that became free.</summary>
    private long DisposeRetired()
    {
        if (_retired.Count == 0)
        {
            return 0;
        }

        long freed = 0;
        long oldest = Epochs.OldestActive();
        while (_retired.TryPeek(out (TableReader Reader, long Epoch) retired) && retired.Epoch < oldest)
        {
            freed += retired.Reader.MemoryBytes;
            _retired.Dequeue().Reader.Dispose();
        }

        return freed;
    }
}
