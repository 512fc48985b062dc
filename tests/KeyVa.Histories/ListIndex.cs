using System.Runtime.InteropServices;

namespace KeyVa.Histories;

/// <summary>
/// Who appended an element, how many of the same transaction go before it in the list, and whether it was the last of them.
/// </summary>
internal readonly record struct Writer(int Transaction, int Place, bool IsLast);

/// <summary>A committed read: the list without the elements that its own transaction had appended at its end.</summary>
internal readonly record struct ListRead(int Transaction, int Operation, ReadOnlyMemory<int> Base, bool IsBeforeOwnAppends);

/// <summary>What is known of one list.</summary>
internal sealed class ListKey
{
    public List<ListRead> Reads { get; } = [];

    /// <summary>Whether some read holds an element of an aborted transaction, or one that nobody appended.</summary>
    public bool HasStrangers { get; set; }

    /// <summary>The longest list whose elements were looked up.</summary>
    public ReadOnlyMemory<int> Examined { get; set; }
}

/// <summary>
/// Goes through a history once: who appended what, which transactions count as committed, what each committed read found. A
/// transaction with unknown outcome counts as committed if a committed transaction read an element of it; its own reads then
/// count too. Immutable after construction.
/// </summary>
internal sealed class ListIndex
{
    private readonly Dictionary<(int Key, int Element), Writer> _writers = [];
    private readonly Queue<int> _recovered = new();
    private readonly AnomalyList _anomalies;

    public ListIndex(ListHistory history, AnomalyList anomalies)
    {
        Transactions = history.Transactions;
        _anomalies = anomalies;
        IsCommitted = new bool[Transactions.Count];
        for (int t = 0; t < Transactions.Count; t++)
        {
            AddWriter(t);
        }

        for (int t = 0; t < Transactions.Count; t++)
        {
            if (Transactions[t].Outcome == Outcome.Ok)
            {
                IsCommitted[t] = true;
                AddReads(t);
            }
        }

        while (_recovered.TryDequeue(out int t))
        {
            AddReads(t);
        }
    }

    public IReadOnlyList<ListTransaction> Transactions { get; }

    public bool[] IsCommitted { get; }

    public Dictionary<int, ListKey> Keys { get; } = [];

    public bool TryGetWriter(int key, int element, out Writer writer) => _writers.TryGetValue((key, element), out writer);

    private void AddWriter(int t)
    {
        IReadOnlyList<ListOperation> operations = Transactions[t].Operations;
        for (int i = 0; i < operations.Count; i++)
        {
            if (!operations[i].IsAppend)
            {
                continue;
            }

            (int key, int element) = (operations[i].Key, operations[i].Value);
            int place = 0;
            bool isLast = true;
            for (int j = 0; j < operations.Count; j++)
            {
                bool isLike = operations[j].IsAppend && operations[j].Key == key;
                place += isLike && j < i ? 1 : 0;
                isLast &= !isLike || j <= i;
            }

            if (!_writers.TryAdd((key, element), new Writer(t, place, isLast)))
            {
                throw new ArgumentException($"element {element} of list {key} is appended by T{_writers[(key, element)].Transaction} and by T{t}: elements must be unique");
            }
        }
    }

    private void AddReads(int t)
    {
        IReadOnlyList<ListOperation> operations = Transactions[t].Operations;
        List<int> own = [];
        for (int i = 0; i < operations.Count; i++)
        {
            if (operations[i].List is not { } list)
            {
                continue;
            }

            int key = operations[i].Key;
            own.Clear();
            for (int j = 0; j < i; j++)
            {
                if (operations[j].IsAppend && operations[j].Key == key)
                {
                    own.Add(operations[j].Value);
                }
            }

            ReadOnlyMemory<int> rest = list;
            if (own.Count > 0)
            {
                if (!list.AsSpan().EndsWith(CollectionsMarshal.AsSpan(own)))
                {
                    AddInternal(t, key, list, own);
                    continue;
                }

                rest = rest[..^own.Count];
            }

            ListKey state = KeyOf(key);
            if (Examine(t, key, state, rest))
            {
                state.Reads.Add(new ListRead(t, i, rest, own.Count == 0));
            }
        }
    }

    private ListKey KeyOf(int key)
    {
        if (!Keys.TryGetValue(key, out ListKey? state))
        {
            Keys.Add(key, state = new ListKey());
        }

        return state;
    }

    /// <summary>
    /// Looks up the elements that no earlier read of the list had in the same place; false if one is the transaction's own,
    /// appended later or in vain.
    /// </summary>
    private bool Examine(int t, int key, ListKey state, ReadOnlyMemory<int> list)
    {
        int known = state.Examined.Span.CommonPrefixLength(list.Span);
        foreach (int element in list.Span[known..])
        {
            if (!_writers.TryGetValue((key, element), out Writer writer))
            {
                state.HasStrangers = true;
            }
            else if (Transactions[writer.Transaction].Outcome == Outcome.Fail)
            {
                state.HasStrangers = true;
            }
            else if (!IsCommitted[writer.Transaction] && Transactions[writer.Transaction].Outcome == Outcome.Unknown)
            {
                IsCommitted[writer.Transaction] = true;
                _recovered.Enqueue(writer.Transaction);
            }
        }

        // A transaction's own elements in front of the end: only these of its appends can be there.
        foreach (ListOperation one in Transactions[t].Operations)
        {
            if (one.IsAppend && one.Key == key && list.Span.Contains(one.Value))
            {
                _anomalies.Add(new Anomaly(AnomalyKind.Internal, CycleOrder.None, ConsistencyModel.ReadUncommitted, [t],
                    $"T{t} read list {key} as {ListOperation.Text(list.Span)}, with {one.Value}, which it appended later or which is not at the end\n{_anomalies.Row(t)}"));
                return false;
            }
        }

        if (list.Length > state.Examined.Length)
        {
            state.Examined = list;
        }

        return true;
    }

    private void AddInternal(int t, int key, int[] list, List<int> own)
    {
        bool isThere = true;
        int from = 0;
        foreach (int element in own)
        {
            int place = list.AsSpan(from).IndexOf(element);
            isThere &= place >= 0;
            from += place + 1;
        }

        // Others' elements behind one's own are what read uncommitted may show.
        _anomalies.Add(new Anomaly(AnomalyKind.Internal, CycleOrder.None, isThere ? ConsistencyModel.ReadCommitted : ConsistencyModel.ReadUncommitted, [t],
            $"T{t} had appended {string.Join(", ", own)} to list {key} and then read it as {ListOperation.Text(list)}, "
            + $"{(isThere ? "which does not end with that" : "where that is missing")}\n{_anomalies.Row(t)}"));
    }
}
