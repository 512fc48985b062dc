namespace KeyVa.Engines.Lsm;

/// <summary>
/// Bounds the tables of a store that are open at a time; which ones stay open is decided by CLOCK.
/// </summary>
/// <remarks>
/// Thread-safe. Readers that are closed are retired: disposed when everyone who may have taken them inside an epoch has
/// left. Pinned readers are passed over, so cursors can hold the number above the limit.
/// </remarks>
internal sealed class TableCache : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<SsTable> _open = [];
    private readonly Queue<(TableReader Reader, long Epoch)> _retired = new();
    private int _hand;

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

    /// <summary>Notes a table that was just opened, and closes others if there are more than <paramref name="limit"/>.</summary>
    public void Opened(SsTable table, int limit)
    {
        lock (_lock)
        {
            _open.Add(table);
            for (int looks = 2 * _open.Count; looks > 0 && _open.Count > limit; looks--)
            {
                _hand = _hand >= _open.Count ? 0 : _hand;
                SsTable candidate = _open[_hand];
                TableReader? reader = candidate.PeekReader;
                if (candidate == table || reader is null || reader.Referenced || !reader.TryEndPins())
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
                _retired.Enqueue((reader, Epochs.Advance()));
            }

            DisposeRetired();
        }
    }

    /// <summary>Closes a table that nobody uses any more.</summary>
    public void Close(SsTable table)
    {
        lock (_lock)
        {
            _open.Remove(table);
            table.PeekReader?.Dispose();
            table.ForgetReader();
            DisposeRetired();
        }
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

    private void DisposeRetired()
    {
        if (_retired.Count == 0)
        {
            return;
        }

        long oldest = Epochs.OldestActive();
        while (_retired.TryPeek(out (TableReader Reader, long Epoch) retired) && retired.Epoch < oldest)
        {
            _retired.Dequeue().Reader.Dispose();
        }
    }
}
