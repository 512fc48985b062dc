namespace KeyVa.Watches;

/// <summary>A watcher's place in an <see cref="IntervalTree"/>, which alone touches it while the watcher is in.</summary>
internal sealed class IntervalNode(Watcher watcher, KeyRange range, uint priority)
{
    public readonly Watcher Watcher = watcher;
    public readonly KeyRange Range = range;
    public readonly uint Priority = priority;
    public IntervalNode? Left;
    public IntervalNode? Right;

    /// <summary>The latest end in the subtree; empty: open.</summary>
    public ReadOnlyMemory<byte> LastTo;
}

/// <summary>
/// Ranges of keys, ordered by where they begin, that finds those which contain a key or overlap a range without going through
/// the others: a treap (Seidel and Aragon, 1996) in which each node knows the latest end below it. One thread at a time.
/// </summary>
/// <remarks>
/// Invariants. 1. In order of the nodes ranges begin later or at the same key. 2. No node has a higher priority than its parent: with
/// random ones, the expected depth is logarithmic. 3. <see cref="IntervalNode.LastTo"/> is the latest end of the node and all below it.
/// </remarks>
internal sealed class IntervalTree
{
    private IntervalNode? _root;

    public bool IsEmpty => _root is null;

    public void Add(IntervalNode node)
    {
        node.Left = node.Right = null;
        Split(_root, node, out IntervalNode? before, out IntervalNode? behind);
        Update(node);
        _root = Join(Join(before, node), behind);
    }

    public void Remove(IntervalNode node) => _root = Remove(_root, node);

    /// <summary>Adds the watchers whose range shares a key with [<paramref name="from"/>, <paramref name="to"/>), an empty end being open.</summary>
    public void Overlapping(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, List<Watcher> found) => Overlapping(_root, from, to, found);

    /// <summary>Adds the watchers whose range contains a key.</summary>
    public void Containing(ReadOnlySpan<byte> key, List<Watcher> found) => Containing(_root, key, found);

    /// <summary>For tests: checks invariants 1 to 3 and returns the number of nodes.</summary>
    internal int Check() => Check(_root);

    private static void Overlapping(IntervalNode? node, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, List<Watcher> found)
    {
        while (node is not null && EndsBehind(node.LastTo.Span, from))
        {
            Overlapping(node.Left, from, to, found);
            if (!to.IsEmpty && node.Range.From.Span.SequenceCompareTo(to) >= 0)
            {
                return;
            }

            if (EndsBehind(node.Range.To.Span, from))
            {
                found.Add(node.Watcher);
            }

            node = node.Right;
        }
    }

    private static void Containing(IntervalNode? node, ReadOnlySpan<byte> key, List<Watcher> found)
    {
        while (node is not null && EndsBehind(node.LastTo.Span, key))
        {
            Containing(node.Left, key, found);
            if (node.Range.From.Span.SequenceCompareTo(key) > 0)
            {
                return;
            }

            if (EndsBehind(node.Range.To.Span, key))
            {
                found.Add(node.Watcher);
            }

            node = node.Right;
        }
    }

    private static bool EndsBehind(ReadOnlySpan<byte> to, ReadOnlySpan<byte> key) => to.IsEmpty || to.SequenceCompareTo(key) > 0;

    private static int Compare(IntervalNode a, IntervalNode b)
    {
        int order = a.Range.From.Span.SequenceCompareTo(b.Range.From.Span);
        return order != 0 ? order : a.Watcher.Id.CompareTo(b.Watcher.Id);
    }

    private static void Split(IntervalNode? tree, IntervalNode at, out IntervalNode? before, out IntervalNode? behind)
    {
        if (tree is null)
        {
            before = behind = null;
        }
        else if (Compare(tree, at) < 0)
        {
            Split(tree.Right, at, out tree.Right, out behind);
            Update(tree);
            before = tree;
        }
        else
        {
            Split(tree.Left, at, out before, out tree.Left);
            Update(tree);
            behind = tree;
        }
    }

    private static IntervalNode? Join(IntervalNode? before, IntervalNode? behind)
    {
        if (before is null || behind is null)
        {
            return before ?? behind;
        }

        if (before.Priority >= behind.Priority)
        {
            before.Right = Join(before.Right, behind);
            Update(before);
            return before;
        }

        behind.Left = Join(before, behind.Left);
        Update(behind);
        return behind;
    }

    private static IntervalNode? Remove(IntervalNode? tree, IntervalNode node)
    {
        if (tree is null || tree == node)
        {
            return tree is null ? null : Join(tree.Left, tree.Right);
        }

        if (Compare(node, tree) < 0)
        {
            tree.Left = Remove(tree.Left, node);
        }
        else
        {
            tree.Right = Remove(tree.Right, node);
        }

        Update(tree);
        return tree;
    }

    private static void Update(IntervalNode node) =>
        node.LastTo = Later(node.Range.To, Later(node.Left, Later(node.Right, node.Range.To)));

    private static ReadOnlyMemory<byte> Later(IntervalNode? child, ReadOnlyMemory<byte> to) => child is null ? to : Later(child.LastTo, to);

    private static ReadOnlyMemory<byte> Later(ReadOnlyMemory<byte> a, ReadOnlyMemory<byte> b) =>
        a.IsEmpty || b.IsEmpty ? default : a.Span.SequenceCompareTo(b.Span) >= 0 ? a : b;

    private static int Check(IntervalNode? node)
    {
        if (node is null)
        {
            return 0;
        }

        ReadOnlyMemory<byte> lastTo = node.LastTo;
        Update(node);
        bool holds = node.LastTo.Span.SequenceEqual(lastTo.Span)
            && (node.Left is null || (node.Left.Priority <= node.Priority && Compare(node.Left, node) < 0))
            && (node.Right is null || (node.Right.Priority <= node.Priority && Compare(node.Right, node) > 0));
        return holds ? 1 + Check(node.Left) + Check(node.Right) : throw new InvalidOperationException("the interval tree's order is broken");
    }
}
