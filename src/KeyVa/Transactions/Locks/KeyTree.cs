namespace KeyVa.Transactions.Locks;

/// <summary>
/// Keys in order: a treap (Aragon and Seidel, "Randomized search trees", 1989), whose priorities are the keys' hashes under
/// the process's secret seed, so nobody can choose keys that make it deep.
/// </summary>
/// <remarks>
/// Thread-safety: none; guarded by its stripe's gate. Invariants. 1. Keys to the left of a node are lower, to the right higher.
/// 2. No node has a higher priority than its parent.
/// </remarks>
internal sealed class KeyTree
{
    private LockedKey? _root;

    public LockedKey? Find(ReadOnlySpan<byte> key)
    {
        LockedKey? node = _root;
        while (node is not null)
        {
            int order = key.SequenceCompareTo(node.Span);
            if (order == 0)
            {
                return node;
            }

            node = order < 0 ? node.Left : node.Right;
        }

        return null;
    }

    /// <summary>The first node at or behind a key.</summary>
    public LockedKey? FirstFrom(ReadOnlySpan<byte> from)
    {
        LockedKey? found = null;
        LockedKey? node = _root;
        while (node is not null)
        {
            if (from.SequenceCompareTo(node.Span) <= 0)
            {
                found = node;
                node = node.Left;
            }
            else
            {
                node = node.Right;
            }
        }

        return found;
    }

    public static LockedKey? Next(LockedKey node)
    {
        if (node.Right is not null)
        {
            node = node.Right;
            while (node.Left is not null)
            {
                node = node.Left;
            }

            return node;
        }

        while (node.Parent is not null && node.Parent.Right == node)
        {
            node = node.Parent;
        }

        return node.Parent;
    }

    /// <summary>Adds a node with its key and priority set; the key is not there yet.</summary>
    public void Add(LockedKey node)
    {
        LockedKey? parent = null;
        LockedKey? below = _root;
        bool left = false;
        while (below is not null)
        {
            parent = below;
            left = node.Span.SequenceCompareTo(below.Span) < 0;
            below = left ? below.Left : below.Right;
        }

        node.Left = null;
        node.Right = null;
        node.Parent = parent;
        if (parent is null)
        {
            _root = node;
            return;
        }

        if (left)
        {
            parent.Left = node;
        }
        else
        {
            parent.Right = node;
        }

        while (node.Parent is not null && node.Parent.Priority < node.Priority)
        {
            RotateUp(node);
        }
    }

    public void Remove(LockedKey node)
    {
        while (node.Left is not null && node.Right is not null)
        {
            RotateUp(node.Left.Priority > node.Right.Priority ? node.Left : node.Right);
        }

        LockedKey? child = node.Left ?? node.Right;
        Replace(node, child);
        node.Parent = null;
        node.Left = null;
        node.Right = null;
    }

    private void RotateUp(LockedKey node)
    {
        LockedKey parent = node.Parent!;
        Replace(parent, node);
        LockedKey? moved;
        if (parent.Left == node)
        {
            moved = node.Right;
            parent.Left = moved;
            node.Right = parent;
        }
        else
        {
            moved = node.Left;
            parent.Right = moved;
            node.Left = parent;
        }

        parent.Parent = node;
        if (moved is not null)
        {
            moved.Parent = parent;
        }
    }

    /// <summary>Puts a node, or nothing, where another one hangs.</summary>
    private void Replace(LockedKey node, LockedKey? by)
    {
        LockedKey? parent = node.Parent;
        if (parent is null)
        {
            _root = by;
        }
        else if (parent.Left == node)
        {
            parent.Left = by;
        }
        else
        {
            parent.Right = by;
        }

        if (by is not null)
        {
            by.Parent = parent;
        }
    }
}
