namespace KeyVa.Histories;

/// <summary>
/// Finds the cycles of a dependency graph by class, and of each strongly connected component and class a shortest one, as
/// far as <see cref="MostTries"/> searches find it. Where there is any cycle, at least one is reported. Not thread-safe.
/// </summary>
internal sealed class CycleSearch
{
    /// <summary>Breadth-first searches per class.</summary>
    private const int MostTries = 512;

    private readonly ListIndex _index;
    private readonly AnomalyList _anomalies;
    private readonly bool _mayOverwrite;
    private readonly CycleOrder _order;
    private readonly List<Dependency> _edges = [];

    public CycleSearch(ListIndex index, AnomalyList anomalies, bool mayOverwrite, CycleOrder order, params IEnumerable<Dependency>[] edges)
    {
        _index = index;
        _anomalies = anomalies;
        _mayOverwrite = mayOverwrite;
        _order = order;
        List<Dependency> all = [.. edges.SelectMany(static some => some)];
        Digraph graph = Digraph.Plain(Nodes, all, static _ => true);
        if (graph.Components > 0)
        {
            // What is in no cycle at all matters no more.
            _edges.AddRange(all.Where(edge => graph.IsInCycle(edge.From, edge.To)));
        }
    }

    private int Nodes => _index.Transactions.Count;

    /// <summary>
    /// Reports cycles of the classes that are asked for, as bits of the levels that forbid them first (read uncommitted: G0,
    /// read committed: G1c, snapshot isolation: G-single and G-nonadjacent, serializable: G2-item).
    /// </summary>
    public void Run(int levels)
    {
        if (_edges.Count == 0)
        {
            return;
        }

        int before = _anomalies.Total;
        if (IsAsked(levels, ConsistencyModel.ReadUncommitted))
        {
            FindOf(DependencyKind.Ww, static edge => edge.Kind != DependencyKind.Wr && edge.Kind != DependencyKind.Rw);
        }

        if (IsAsked(levels, ConsistencyModel.ReadCommitted))
        {
            FindOf(DependencyKind.Wr, static edge => edge.Kind != DependencyKind.Rw);
        }

        if (IsAsked(levels, ConsistencyModel.SnapshotIsolation))
        {
            FindNonadjacent();
        }

        if (IsAsked(levels, ConsistencyModel.Serializable))
        {
            FindSkew(mustFind: _anomalies.Total == before);
        }
    }

    private static bool IsAsked(int levels, ConsistencyModel level) => (levels & IsolationLevels.Bit(level)) != 0;

    /// <summary>Cycles without rw, through an edge of a kind.</summary>
    private void FindOf(DependencyKind kind, Func<Dependency, bool> choose)
    {
        // Where an append may overwrite another, unread ones need not come last, unless the level forbids lost updates anyway.
        Digraph graph = Digraph.Plain(Nodes, _edges, edge => choose(edge) && !(_mayOverwrite && edge.IsUnread));
        Shortest shortest = new(graph.Components);
        for (int e = 0; e < _edges.Count && graph.Components > 0; e++)
        {
            Dependency edge = _edges[e];
            if (edge.Kind == kind && !(_mayOverwrite && edge.IsUnread) && graph.IsInCycle(edge.From, edge.To)
                && shortest.Wants(graph.Component[edge.From])
                && graph.ShortestPath(edge.To, edge.From, shortest.Limit(graph.Component[edge.From]) - 1) is { } path)
            {
                shortest.Offer(graph.Component[edge.From], [e, .. path]);
            }
        }

        Report(shortest);
    }

    private void FindNonadjacent()
    {
        Digraph graph = Digraph.WithoutAdjacentRw(Nodes, _edges);
        Shortest single = new(graph.Components);
        Shortest several = new(graph.Components);
        for (int e = 0; e < _edges.Count && graph.Components > 0; e++)
        {
            Dependency edge = _edges[e];
            int to = edge.Kind == DependencyKind.Rw ? edge.To + Nodes : edge.To;
            bool isChosen = edge.Kind == DependencyKind.Rw || (_mayOverwrite && edge.IsUnread);
            if (!isChosen || !graph.IsInCycle(edge.From, to) || !single.Wants(graph.Component[to]))
            {
                continue;
            }

            // The walk ends where another edge than an rw one led to, so that this one may begin there.
            if (graph.ShortestPath(to, edge.From, single.Limit(graph.Component[to]) - 1) is { } path)
            {
                List<int> cycle = Simple([e, .. path]);
                Shortest which = cycle.Count(one => _edges[one].Kind == DependencyKind.Rw) > 1 ? several : single;
                which.Offer(graph.Component[to], cycle);
            }
        }

        Report(single);
        Report(several);
    }

    /// <summary>
    /// A walk may meet a transaction twice, once by an rw edge and once not. Then the part that leaves it after the rw edge and comes
    /// back without one is such a walk too, and shorter.
    /// </summary>
    private List<int> Simple(List<int> walk)
    {
        for (int i = 0; i < walk.Count; i++)
        {
            for (int j = i + 1; j < walk.Count; j++)
            {
                if (_edges[walk[i]].From == _edges[walk[j]].From)
                {
                    List<int> inner = walk[i..j];
                    List<int> outer = [.. walk[j..], .. walk[..i]];
                    return Simple(HasAdjacentRw(inner) ? outer : inner);
                }
            }
        }

        return walk;
    }

    private bool HasAdjacentRw(List<int> cycle)
    {
        for (int i = 0; i < cycle.Count; i++)
        {
            if (_edges[cycle[i]].Kind == DependencyKind.Rw && _edges[cycle[(i + 1) % cycle.Count]].Kind == DependencyKind.Rw)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Cycles through two rw edges in a row; if there is no other cycle, any at all.</summary>
    private void FindSkew(bool mustFind)
    {
        Digraph graph = Digraph.Plain(Nodes, _edges, static _ => true);
        Shortest shortest = new(graph.Components);
        ILookup<int, int> rw = Enumerable.Range(0, _edges.Count).Where(e => _edges[e].Kind == DependencyKind.Rw).ToLookup(e => _edges[e].From);
        foreach (IGrouping<int, int> from in rw)
        {
            foreach (int e in from)
            {
                int component = graph.Component[from.Key];
                foreach (int next in rw[_edges[e].To])
                {
                    int end = _edges[next].To;
                    if (end == from.Key)
                    {
                        shortest.Offer(component, [e, next]);
                    }
                    else if (shortest.Wants(component)
                        && graph.ShortestPath(end, from.Key, shortest.Limit(component) - 2, without: _edges[e].To) is { } path)
                    {
                        shortest.Offer(component, [e, next, .. path]);
                    }
                }
            }
        }

        if (shortest.IsEmpty && mustFind)
        {
            int e = rw.First().First();
            shortest.Offer(graph.Component[_edges[e].From], [e, .. graph.ShortestPath(_edges[e].To, _edges[e].From, int.MaxValue)!]);
        }

        Report(shortest);
    }

    private void Report(Shortest shortest)
    {
        foreach (List<int> cycle in shortest.Cycles)
        {
            Dependency[] edges = [.. cycle.Select(e => _edges[e])];
            (AnomalyKind kind, ConsistencyModel level) = Classify(edges);
            _anomalies.Add(new Anomaly(kind, _order, level, [.. edges.Select(static edge => edge.From)], CycleText.Describe(edges, _index, _anomalies)));
        }
    }

    private (AnomalyKind Kind, ConsistencyModel Level) Classify(Dependency[] edges)
    {
        int rw = edges.Count(static edge => edge.Kind == DependencyKind.Rw);
        bool isAdjacent = false;
        for (int i = 0; i < edges.Length; i++)
        {
            isAdjacent |= edges.Length > 1 && edges[i].Kind == DependencyKind.Rw && edges[(i + 1) % edges.Length].Kind == DependencyKind.Rw;
        }

        AnomalyKind kind = rw switch
        {
            0 => edges.Any(static edge => edge.Kind == DependencyKind.Wr) ? AnomalyKind.G1c : AnomalyKind.G0,
            1 => AnomalyKind.GSingle,
            _ => isAdjacent ? AnomalyKind.G2Item : AnomalyKind.GNonadjacent,
        };
        ConsistencyModel level = kind switch
        {
            AnomalyKind.G0 => ConsistencyModel.ReadUncommitted,
            AnomalyKind.G1c => ConsistencyModel.ReadCommitted,
            AnomalyKind.G2Item => ConsistencyModel.Serializable,
            _ => ConsistencyModel.SnapshotIsolation,
        };
        if (level < ConsistencyModel.SnapshotIsolation && _mayOverwrite && edges.Any(static edge => edge.IsUnread))
        {
            level = ConsistencyModel.SnapshotIsolation;
        }

        return (kind, (_order, level) switch
        {
            (CycleOrder.None, _) => level,
            (CycleOrder.Process, ConsistencyModel.Serializable) => ConsistencyModel.StrongSessionSerializable,
            (CycleOrder.Process, _) => ConsistencyModel.StrongSessionSnapshotIsolation,
            (_, ConsistencyModel.Serializable) => ConsistencyModel.StrictSerializable,
            _ => ConsistencyModel.StrongSnapshotIsolation,
        });
    }

    /// <summary>The shortest cycle of each component so far, and how many more searches are worth it.</summary>
    private sealed class Shortest(int components)
    {
        private readonly List<int>?[] _best = new List<int>?[components];
        private readonly bool[] _isTried = new bool[components];
        private int _tries;

        public bool IsEmpty => Array.TrueForAll(_best, static one => one is null);

        public IEnumerable<List<int>> Cycles => _best.OfType<List<int>>().OrderBy(static one => one.Count);

        /// <summary>No cycle has fewer than two edges; and each component gets its first search, however many there are.</summary>
        public bool Wants(int component)
        {
            bool isFirst = !_isTried[component];
            _isTried[component] = true;
            return isFirst || (Limit(component) > 2 && _tries++ < MostTries);
        }

        /// <summary>Only shorter cycles than this matter.</summary>
        public int Limit(int component) => _best[component]?.Count ?? int.MaxValue;

        public void Offer(int component, List<int> cycle)
        {
            if (cycle.Count < Limit(component))
            {
                _best[component] = cycle;
            }
        }
    }
}
