using System.Runtime.InteropServices;

namespace KeyVa.Histories;

/// <summary>
/// Adya's direct serialization graph of the committed transactions, as far as the reads tell it.
/// <list type="bullet">
/// <item>ww: from who appended an element to who appended the next one. wr: from who appended the last element of a read to the reader.
/// rw: from a reader to who appended the element behind the last one read.</item>
/// <item>Committed appends that nobody read stand behind all that was read, in unknown order among each other: they
/// get edges from the last element's transaction (ww) and from the readers of the whole list (rw). Both stand for a path through
/// whichever came first, so they accuse nobody wrongly. At most <see cref="MostUnread"/> of a list are taken.</item>
/// <item>Real time: an edge only where no other transaction lies wholly between the two, which keeps them few.</item>
/// </list>
/// Not thread-safe.
/// </summary>
internal sealed class DependencyGraph
{
    /// <summary>Unread appends of one list that get edges.</summary>
    private const int MostUnread = 32;

    private readonly ListIndex _index;
    private readonly AnomalyList _anomalies;
    private readonly Dictionary<int, List<(int Element, int Transaction)>> _appends = [];

    public DependencyGraph(ListIndex index, AnomalyList anomalies, bool mayOverwrite)
    {
        _index = index;
        _anomalies = anomalies;
        CollectAppends();
        foreach ((int key, ListKey state) in index.Keys.OrderBy(static one => one.Key))
        {
            VersionOrder order = new(index, key, state, anomalies, mayOverwrite);
            AddKey(key, order);
            FindLostUpdates(key, order);
        }
    }

    /// <summary>The ww, wr and rw edges.</summary>
    public List<Dependency> Data { get; } = [];

    /// <summary>From each transaction to the next one of the same process.</summary>
    public List<Dependency> ProcessOrder()
    {
        List<Dependency> edges = [];
        Dictionary<int, int> last = [];
        for (int t = 0; t < _index.Transactions.Count; t++)
        {
            if (_index.IsCommitted[t])
            {
                int process = _index.Transactions[t].Process;
                if (last.TryGetValue(process, out int before))
                {
                    edges.Add(new Dependency(before, t, DependencyKind.Process));
                }

                last[process] = t;
            }
        }

        return edges;
    }

    /// <summary>
    /// The smallest relation whose transitive closure is real time. Its front holds those that have ended while
    /// nothing that began afterwards has; at most as many as ran at once.
    /// </summary>
    public List<Dependency> RealTimeOrder()
    {
        List<Dependency> edges = [];
        List<int> front = [];
        int[] firstEdge = new int[_index.Transactions.Count];
        int[] edgeCount = new int[_index.Transactions.Count];
        foreach (int e in EventsByTime())
        {
            int t = e >> 1;
            if ((e & 1) == 0)
            {
                firstEdge[t] = edges.Count;
                edgeCount[t] = front.Count;
                foreach (int before in front)
                {
                    edges.Add(new Dependency(before, t, DependencyKind.RealTime));
                }
            }
            else
            {
                for (int i = 0; i < edgeCount[t]; i++)
                {
                    front.Remove(edges[firstEdge[t] + i].From);
                }

                front.Add(t);
            }
        }

        return edges;
    }

    /// <summary>Invocations 2t and completions 2t+1; invocations first where they meet, since those count as concurrent.</summary>
    private int[] EventsByTime()
    {
        List<(long Time, int Kind, int Event)> events = [];
        for (int t = 0; t < _index.Transactions.Count; t++)
        {
            if (_index.IsCommitted[t])
            {
                events.Add((_index.Transactions[t].Invoked, 0, 2 * t));
                if (_index.Transactions[t].Completed != RegisterOperation.Never)
                {
                    events.Add((_index.Transactions[t].Completed, 1, (2 * t) + 1));
                }
            }
        }

        events.Sort();
        return [.. events.Select(static one => one.Event)];
    }

    private void CollectAppends()
    {
        for (int t = 0; t < _index.Transactions.Count; t++)
        {
            if (!_index.IsCommitted[t])
            {
                continue;
            }

            foreach (ListOperation one in _index.Transactions[t].Operations)
            {
                if (one.IsAppend)
                {
                    ref List<(int, int)>? list = ref CollectionsMarshal.GetValueRefOrAddDefault(_appends, one.Key, out _);
                    (list ??= []).Add((one.Value, t));
                }
            }
        }
    }

    private void AddKey(int key, VersionOrder order)
    {
        ReadOnlySpan<int> elements = order.Elements.Span;
        int[] writers = new int[elements.Length];
        for (int i = 0; i < elements.Length; i++)
        {
            _index.TryGetWriter(key, elements[i], out Writer writer);
            writers[i] = writer.Transaction;
            if (i > 0 && writers[i - 1] != writers[i])
            {
                Data.Add(new Dependency(writers[i - 1], writers[i], DependencyKind.Ww, key, elements[i], elements[i - 1]));
            }
        }

        List<(int Element, int Transaction)> unread = order.IsBroken ? [] : Unread(key, elements);
        foreach ((int element, int t) in unread)
        {
            if (writers.Length > 0 && writers[^1] != t)
            {
                Data.Add(new Dependency(writers[^1], t, DependencyKind.Ww, key, element, elements[^1], IsUnread: true));
            }
        }

        foreach (ListRead read in order.Reads)
        {
            AddRead(key, read, elements, writers, unread);
        }
    }

    private void AddRead(int key, in ListRead read, ReadOnlySpan<int> elements, int[] writers, List<(int Element, int Transaction)> unread)
    {
        int length = read.Base.Length;
        if (length > 0 && writers[length - 1] != read.Transaction)
        {
            Data.Add(new Dependency(writers[length - 1], read.Transaction, DependencyKind.Wr, key, elements[length - 1], Operation: read.Operation));
        }

        if (length < elements.Length)
        {
            if (writers[length] != read.Transaction)
            {
                Data.Add(new Dependency(read.Transaction, writers[length], DependencyKind.Rw, key, elements[length], Operation: read.Operation));
            }

            return;
        }

        foreach ((int element, int t) in unread)
        {
            if (t != read.Transaction)
            {
                Data.Add(new Dependency(read.Transaction, t, DependencyKind.Rw, key, element, Operation: read.Operation, IsUnread: true));
            }
        }
    }

    private List<(int Element, int Transaction)> Unread(int key, ReadOnlySpan<int> elements)
    {
        if (!_appends.TryGetValue(key, out List<(int Element, int Transaction)>? all) || all.Count == elements.Length)
        {
            return [];
        }

        HashSet<int> read = [.. elements];
        List<(int Element, int Transaction)> unread = [.. all.Where(one => !read.Contains(one.Element))];
        FindLostAppends(key, unread);
        unread.Sort((a, b) => _index.Transactions[a.Transaction].Completed.CompareTo(_index.Transactions[b.Transaction].Completed));
        return unread.Count > MostUnread ? unread[..MostUnread] : unread;
    }

    private void FindLostAppends(int key, List<(int Element, int Transaction)> unread)
    {
        List<ListRead> reads = _index.Keys[key].Reads;
        if (reads.Count == 0)
        {
            return;
        }

        ListRead last = reads.MaxBy(read => _index.Transactions[read.Transaction].Invoked);
        long begun = _index.Transactions[last.Transaction].Invoked;
        foreach ((int element, int t) in unread)
        {
            if (_index.Transactions[t].Completed < begun && t != last.Transaction)
            {
                _anomalies.Add(new Anomaly(AnomalyKind.LostAppend, CycleOrder.RealTime, ConsistencyModel.StrongSnapshotIsolation, [t, last.Transaction],
                    $"T{t} appended {element} to list {key} and committed; then T{last.Transaction} read the list as {ListOperation.Text(last.Base.Span)}, and no read ever saw it\n"
                    + _anomalies.Row(t) + _anomalies.Row(last.Transaction)));
            }
        }
    }

    private void FindLostUpdates(int key, VersionOrder order)
    {
        Dictionary<int, List<ListRead>> byVersion = [];
        foreach (ListRead read in order.Reads)
        {
            IReadOnlyList<ListOperation> operations = _index.Transactions[read.Transaction].Operations;
            if (read.IsBeforeOwnAppends && operations.Any(one => one.IsAppend && one.Key == key))
            {
                ref List<ListRead>? same = ref CollectionsMarshal.GetValueRefOrAddDefault(byVersion, read.Base.Length, out _);
                same ??= [];
                if (same.All(other => other.Transaction != read.Transaction))
                {
                    same.Add(read);
                }
            }
        }

        foreach (List<ListRead> same in byVersion.Values.Where(static same => same.Count > 1))
        {
            int[] all = [.. same.Select(static read => read.Transaction)];
            int[] shown = [.. all.Take(4)];
            _anomalies.Add(new Anomaly(AnomalyKind.LostUpdate, CycleOrder.None, ConsistencyModel.SnapshotIsolation, all,
                $"{string.Join(" and ", shown.Select(static t => $"T{t}"))}{(all.Length > shown.Length ? " and others" : "")} read list {key} as {ListOperation.Text(same[0].Base.Span)}, then each appended to it\n"
                + string.Concat(shown.Select(_anomalies.Row))));
        }
    }
}
