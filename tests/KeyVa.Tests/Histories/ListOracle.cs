using KeyVa.Histories;

namespace KeyVa.Tests.Histories;

/// <summary>
/// Says by trying everything whether a tiny history, all of it committed, can come from a serial execution, or from one under
/// snapshot isolation (snapshots at a transaction's start, and of two that overlap and write the same list only one
/// commits). Shares no idea with the checker but the operations.
/// </summary>
internal sealed class ListOracle(ListHistory history, bool respectsTime)
{
    private readonly IReadOnlyList<ListTransaction> _transactions = history.Transactions;
    private readonly Dictionary<int, int[]>?[] _snapshots = new Dictionary<int, int[]>?[history.Transactions.Count];
    private readonly bool[] _ended = new bool[history.Transactions.Count];

    public bool IsSerializable() => Serial([]);

    public bool IsSnapshotIsolated() => Snapshot([]);

    private bool Serial(Dictionary<int, int[]> state)
    {
        if (Array.TrueForAll(_ended, static ended => ended))
        {
            return true;
        }

        for (int t = 0; t < _ended.Length; t++)
        {
            if (!_ended[t] && MayBegin(t) && Explains(t, state))
            {
                _ended[t] = true;
                if (Serial(After(t, state)))
                {
                    return true;
                }

                _ended[t] = false;
            }
        }

        return false;
    }

    private bool Snapshot(Dictionary<int, int[]> state)
    {
        if (Array.TrueForAll(_ended, static ended => ended))
        {
            return true;
        }

        for (int t = 0; t < _ended.Length; t++)
        {
            if (_ended[t])
            {
                continue;
            }

            if (_snapshots[t] is { } begun)
            {
                bool isFirst = _transactions[t].Operations.All(one => !one.IsAppend || ListOf(state, one.Key) == ListOf(begun, one.Key));
                if (!isFirst)
                {
                    // Never again: lists do not go back.
                    return false;
                }

                _ended[t] = true;
                if (Snapshot(After(t, state)))
                {
                    return true;
                }

                _ended[t] = false;
            }
            else if (MayBegin(t) && Explains(t, state))
            {
                _snapshots[t] = state;
                if (Snapshot(state))
                {
                    return true;
                }

                _snapshots[t] = null;
            }
        }

        return false;
    }

    private bool MayBegin(int t)
    {
        for (int other = 0; respectsTime && other < _ended.Length; other++)
        {
            if (!_ended[other] && _transactions[other].Completed < _transactions[t].Invoked)
            {
                return false;
            }
        }

        return true;
    }

    private bool Explains(int t, Dictionary<int, int[]> state)
    {
        Dictionary<int, int[]> seen = new(state);
        foreach (ListOperation one in _transactions[t].Operations)
        {
            if (one.IsAppend)
            {
                seen[one.Key] = [.. ListOf(seen, one.Key), one.Value];
            }
            else if (!one.List!.AsSpan().SequenceEqual(ListOf(seen, one.Key)))
            {
                return false;
            }
        }

        return true;
    }

    private Dictionary<int, int[]> After(int t, Dictionary<int, int[]> state)
    {
        Dictionary<int, int[]> after = new(state);
        foreach (ListOperation one in _transactions[t].Operations.Where(static one => one.IsAppend))
        {
            after[one.Key] = [.. ListOf(after, one.Key), one.Value];
        }

        return after;
    }

    private static int[] ListOf(Dictionary<int, int[]> state, int key) => state.GetValueOrDefault(key) ?? [];
}
