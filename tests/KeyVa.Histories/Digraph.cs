using System.Runtime.InteropServices;

namespace KeyVa.Histories;

/// <summary>
/// A directed graph over nodes 0 to n-1, its edges sorted by where they begin, each with the place of the dependency it
/// stands for. Immutable but for the marks of its searches; not thread-safe.
/// </summary>
internal sealed class Digraph
{
    private readonly int[] _start;
    private readonly int[] _target;
    private readonly int[] _edge;

    // Breadth-first searches: a node was visited in this one if it bears its number.
    private readonly int[] _mark;
    private readonly int[] _via;
    private readonly int[] _from;
    private readonly int[] _queue;
    private int _search;

    private Digraph(int nodes, List<(int From, int To, int Edge)> edges)
    {
        Nodes = nodes;
        _start = new int[nodes + 1];
        _target = new int[edges.Count];
        _edge = new int[edges.Count];
        foreach ((int from, _, _) in CollectionsMarshal.AsSpan(edges))
        {
            _start[from + 1]++;
        }

        for (int i = 0; i < nodes; i++)
        {
            _start[i + 1] += _start[i];
        }

        int[] next = _start.AsSpan(0, nodes).ToArray();
        foreach ((int from, int to, int edge) in CollectionsMarshal.AsSpan(edges))
        {
            int place = next[from]++;
            _target[place] = to;
            _edge[place] = edge;
        }

        _mark = new int[nodes];
        _via = new int[nodes];
        _from = new int[nodes];
        _queue = new int[nodes];
        Component = new int[nodes];
        FindComponents();
    }

    public int Nodes { get; }

    /// <summary>The strongly connected component of each node; -1 if it is in no cycle.</summary>
    public int[] Component { get; }

    public int Components { get; private set; }

    /// <summary>The graph of the dependencies that are chosen.</summary>
    public static Digraph Plain(int nodes, List<Dependency> dependencies, Func<Dependency, bool> choose)
    {
        List<(int, int, int)> edges = [];
        for (int i = 0; i < dependencies.Count; i++)
        {
            Dependency one = dependencies[i];
            if (choose(one))
            {
                edges.Add((one.From, one.To, i));
            }
        }

        return new Digraph(nodes, edges);
    }

    /// <summary>
    /// Two nodes for each transaction, t and t + n: the latter is t as reached by an rw edge, from where no other rw edge begins.
    /// So the cycles of this graph are the closed walks without two rw edges in a row.
    /// </summary>
    public static Digraph WithoutAdjacentRw(int nodes, List<Dependency> dependencies)
    {
        List<(int, int, int)> edges = [];
        for (int i = 0; i < dependencies.Count; i++)
        {
            Dependency one = dependencies[i];
            if (one.Kind == DependencyKind.Rw)
            {
                edges.Add((one.From, one.To + nodes, i));
            }
            else
            {
                edges.Add((one.From, one.To, i));
                edges.Add((one.From + nodes, one.To, i));
            }
        }

        return new Digraph(2 * nodes, edges);
    }

    /// <summary>Whether an edge lies in a cycle.</summary>
    public bool IsInCycle(int from, int to) => Component[from] >= 0 && Component[from] == Component[to];

    /// <summary>
    /// The dependencies of a shortest path between two nodes of a component, not through <paramref name="without"/>, with
    /// fewer than <paramref name="limit"/> edges; null if there is none.
    /// </summary>
    public List<int>? ShortestPath(int from, int to, int limit, int without = -1)
    {
        _search++;
        _queue[0] = from;
        _mark[from] = _search;
        int end = 1;
        int depthEnd = 1;
        int depth = 0;
        for (int i = 0; i < end; i++)
        {
            if (i == depthEnd)
            {
                depth++;
                depthEnd = end;
            }

            int node = _queue[i];
            if (node == to)
            {
                return PathTo(from, to);
            }

            if (depth + 1 >= limit)
            {
                continue;
            }

            for (int e = _start[node]; e < _start[node + 1]; e++)
            {
                int next = _target[e];
                if (_mark[next] != _search && next != without && Component[next] == Component[from])
                {
                    _mark[next] = _search;
                    _via[next] = _edge[e];
                    _from[next] = node;
                    _queue[end++] = next;
                }
            }
        }

        return null;
    }

    private List<int> PathTo(int from, int to)
    {
        List<int> path = [];
        for (int node = to; node != from; node = _from[node])
        {
            path.Add(_via[node]);
        }

        path.Reverse();
        return path;
    }

    /// <summary>Tarjan's algorithm ("Depth-First Search and Linear Graph Algorithms", 1972), with a stack of its own.</summary>
    private void FindComponents()
    {
        Array.Fill(Component, -1);
        int[] index = new int[Nodes];
        int[] low = new int[Nodes];
        int[] next = _start.AsSpan(0, Nodes).ToArray();
        bool[] isOnStack = new bool[Nodes];
        Stack<int> stack = new();
        Stack<int> calls = new();
        int counter = 0;
        for (int root = 0; root < Nodes; root++)
        {
            if (index[root] != 0)
            {
                continue;
            }

            calls.Push(root);
            while (calls.TryPeek(out int node))
            {
                if (index[node] == 0)
                {
                    index[node] = low[node] = ++counter;
                    stack.Push(node);
                    isOnStack[node] = true;
                }

                int child = -1;
                while (next[node] < _start[node + 1])
                {
                    int target = _target[next[node]++];
                    if (index[target] == 0)
                    {
                        child = target;
                        break;
                    }

                    if (isOnStack[target])
                    {
                        low[node] = Math.Min(low[node], index[target]);
                    }
                }

                if (child >= 0)
                {
                    calls.Push(child);
                    continue;
                }

                calls.Pop();
                if (calls.TryPeek(out int parent))
                {
                    low[parent] = Math.Min(low[parent], low[node]);
                }

                if (low[node] == index[node])
                {
                    Close(node, stack, isOnStack);
                }
            }
        }
    }

    private void Close(int node, Stack<int> stack, bool[] isOnStack)
    {
        bool isCycle = stack.Peek() != node;
        int member;
        do
        {
            member = stack.Pop();
            isOnStack[member] = false;
            Component[member] = isCycle ? Components : -1;
        }
        while (member != node);
        Components += isCycle ? 1 : 0;
    }
}
