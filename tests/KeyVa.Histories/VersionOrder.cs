namespace KeyVa.Histories;

/// <summary>
/// The order in which one list got its elements: that of the longest committed read, of which every other one must be the
/// beginning. Elements of aborted transactions and of nobody are reported and then left out. After Elle (Kingsbury and
/// Alvaro, VLDB 2020), section 4; what is taken further is said at <see cref="DependencyGraph"/>.
/// </summary>
internal sealed class VersionOrder
{
    private readonly ListIndex _index;
    private readonly AnomalyList _anomalies;
    private readonly bool _mayOverwrite;
    private readonly int _key;

    public VersionOrder(ListIndex index, int key, ListKey state, AnomalyList anomalies, bool mayOverwrite)
    {
        _index = index;
        _key = key;
        _anomalies = anomalies;
        _mayOverwrite = mayOverwrite;
        List<ListRead> reads = state.HasStrangers ? [.. state.Reads.Select(WithoutStrangers)] : state.Reads;
        ListRead longest = default;
        foreach (ListRead read in reads)
        {
            if (read.Base.Length > longest.Base.Length)
            {
                longest = read;
            }
        }

        Elements = longest.Base;
        FindDuplicates(longest);
        FindTorn(longest);
        ListRead? stray = null;
        foreach (ListRead read in reads)
        {
            if (Elements.Span.StartsWith(read.Base.Span))
            {
                Reads.Add(read);
                FindIntermediate(read);
            }
            else
            {
                FindDuplicates(read);
                stray ??= read;
                AddIncompatible(read, longest);
            }
        }

        IsBroken = stray is not null;
    }

    public ReadOnlyMemory<int> Elements { get; }

    /// <summary>The reads that fit the order.</summary>
    public List<ListRead> Reads { get; } = [];

    /// <summary>Whether some read did not.</summary>
    public bool IsBroken { get; }

    private ListRead WithoutStrangers(ListRead read)
    {
        List<int> kept = [];
        int? aborted = null;
        foreach (int element in read.Base.Span)
        {
            if (!_index.TryGetWriter(_key, element, out Writer writer))
            {
                Add(AnomalyKind.GarbageRead, ConsistencyModel.ReadUncommitted, [read.Transaction],
                    $"T{read.Transaction} read list {_key} as {ListOperation.Text(read.Base.Span)}, but nobody appended {element}");
            }
            else if (_index.Transactions[writer.Transaction].Outcome == Outcome.Fail)
            {
                aborted ??= element;
                Add(AnomalyKind.G1a, ConsistencyModel.ReadCommitted, [read.Transaction, writer.Transaction],
                    $"T{read.Transaction} read list {_key} as {ListOperation.Text(read.Base.Span)}, with {element} of T{writer.Transaction}, which aborted");
            }
            else
            {
                if (aborted is { } dirty)
                {
                    Add(AnomalyKind.DirtyUpdate, ConsistencyModel.ReadCommitted, [writer.Transaction, read.Transaction],
                        $"T{writer.Transaction} appended {element} to list {_key} behind {dirty} of a transaction that aborted, as T{read.Transaction} read");
                    aborted = null;
                }

                kept.Add(element);
            }
        }

        return kept.Count == read.Base.Length ? read : read with { Base = kept.ToArray() };
    }

    private void FindDuplicates(ListRead read)
    {
        HashSet<int> elements = [];
        foreach (int element in read.Base.Span)
        {
            if (!elements.Add(element))
            {
                Add(AnomalyKind.DuplicateElement, ConsistencyModel.ReadUncommitted, [read.Transaction],
                    $"T{read.Transaction} read list {_key} as {ListOperation.Text(read.Base.Span)}, with {element} twice");
            }
        }
    }

    /// <summary>A transaction's appends stand in its order, none left out in front of another.</summary>
    private void FindTorn(ListRead read)
    {
        Dictionary<int, int> seen = [];
        foreach (int element in read.Base.Span)
        {
            if (_index.TryGetWriter(_key, element, out Writer writer))
            {
                int before = seen.GetValueOrDefault(writer.Transaction);
                seen[writer.Transaction] = before + 1;
                if (before != writer.Place)
                {
                    Add(AnomalyKind.TornAppends, ConsistencyModel.ReadUncommitted, [read.Transaction, writer.Transaction],
                        $"T{read.Transaction} read list {_key} as {ListOperation.Text(read.Base.Span)}, where the appends of T{writer.Transaction} are not in its order, or not all there in front of {element}");
                    return;
                }
            }
        }
    }

    private void FindIntermediate(ListRead read)
    {
        if (read.Base.Length > 0 && _index.TryGetWriter(_key, read.Base.Span[^1], out Writer writer) && !writer.IsLast)
        {
            Add(AnomalyKind.G1b, ConsistencyModel.ReadCommitted, [read.Transaction, writer.Transaction],
                $"T{read.Transaction} read list {_key} as it was in the midst of T{writer.Transaction}, which appended more behind {read.Base.Span[^1]}");
        }
    }

    private void AddIncompatible(ListRead read, ListRead longest)
    {
        // An append in a transaction of unknown outcome may have been read dirtily and rolled back, where dirty reads are allowed.
        int shared = read.Base.Span.CommonPrefixLength(longest.Base.Span);
        bool isKnown = true;
        foreach (int element in read.Base.Span[shared..])
        {
            isKnown &= _index.TryGetWriter(_key, element, out Writer writer) && _index.Transactions[writer.Transaction].Outcome == Outcome.Ok;
        }

        ConsistencyModel level = _mayOverwrite ? ConsistencyModel.SnapshotIsolation
            : isKnown ? ConsistencyModel.ReadUncommitted : ConsistencyModel.ReadCommitted;
        Add(AnomalyKind.IncompatibleOrder, level, [read.Transaction, longest.Transaction],
            $"T{read.Transaction} read list {_key} as {Text(read, shared)}, but T{longest.Transaction} as {Text(longest, shared)}: neither is the beginning of the other");
    }

    // Around the place where they part.
    private static string Text(ListRead read, int shared)
    {
        int from = Math.Max(0, shared - 3);
        int to = Math.Min(read.Base.Length, shared + 4);
        string inside = string.Join(' ', read.Base[from..to].ToArray());
        return $"[{(from > 0 ? $"..{from} more.. " : "")}{inside}{(to < read.Base.Length ? $" ..{read.Base.Length - to} more.." : "")}]";
    }

    private void Add(AnomalyKind kind, ConsistencyModel level, int[] transactions, string text) =>
        _anomalies.Add(new Anomaly(kind, CycleOrder.None, level, transactions, text + "\n" + string.Concat(transactions.Distinct().Select(_anomalies.Row))));
}
