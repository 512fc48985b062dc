namespace KeyVa.Io;

/// <summary>
/// Creations, renames and deletions that no folder sync has made durable yet, in the order they happened. Guarded by the
/// file system's lock. Each change is atomic; otherwise POSIX promises no order among them, so any subset may survive.
/// </summary>
internal sealed class NamespaceLog
{
    private readonly List<Step[]> _changes = [];

    public void Link(MemoryDirectory directory, string name, MemoryNode node) =>
        _changes.Add([new Step(directory, name, node, Set: true)]);

    public void Unlink(MemoryDirectory directory, string name, MemoryNode node) =>
        _changes.Add([new Step(directory, name, node, Set: false)]);

    public void Rename(MemoryDirectory from, string fromName, MemoryDirectory to, string toName, MemoryNode node) =>
        _changes.Add([new Step(from, fromName, node, Set: false), new Step(to, toName, node, Set: true)]);

    /// <summary>
    /// Makes a folder's changes durable. A rename out of it or into it is one step, so the other folder's earlier changes of
    /// the same names become durable with it.
    /// </summary>
    public void Sync(MemoryDirectory directory)
    {
        var touched = new HashSet<(MemoryDirectory, string)>();
        var chosen = new List<Step[]>();
        for (int i = _changes.Count - 1; i >= 0; i--)
        {
            Step[] change = _changes[i];
            if (change.Any(step => step.Directory == directory || touched.Contains((step.Directory, step.Name))))
            {
                touched.UnionWith(change.Select(step => (step.Directory, step.Name)));
                chosen.Add(change);
                _changes.RemoveAt(i);
            }
        }

        chosen.Reverse();
        foreach (Step step in chosen.SelectMany(change => change))
        {
            step.Apply(step.Directory.Durable);
        }
    }

    /// <summary>The tree after a power loss, with a random subset of the pending changes; files go through <paramref name="lose"/>.</summary>
    public MemoryDirectory AfterPowerLoss(MemoryDirectory root, Random random, Func<MemoryContent, MemoryContent> lose)
    {
        var entries = new Dictionary<MemoryDirectory, Dictionary<string, MemoryNode>>();
        Dictionary<string, MemoryNode> EntriesOf(MemoryDirectory directory)
        {
            if (!entries.TryGetValue(directory, out Dictionary<string, MemoryNode>? found))
            {
                found = new Dictionary<string, MemoryNode>(directory.Durable, StringComparer.Ordinal);
                entries.Add(directory, found);
            }

            return found;
        }

        // Now and then all or nothing, else a coin for each: long sequences would never survive whole otherwise.
        int bias = random.Next(4);
        foreach (Step[] change in _changes)
        {
            bool survives = random.Next(2) == 0;
            if (bias == 0 || (bias != 1 && survives))
            {
                foreach (Step step in change)
                {
                    step.Apply(EntriesOf(step.Directory));
                }
            }
        }

        return Copy(root, EntriesOf, lose);
    }

    /// <summary>A copy of a tree, in which nothing is in doubt: with these entries of each folder, and these files for its files.</summary>
    public static MemoryDirectory Copy(MemoryDirectory root, Func<MemoryDirectory, Dictionary<string, MemoryNode>> entriesOf, Func<MemoryContent, MemoryContent> fileOf)
    {
        var copies = new Dictionary<MemoryNode, MemoryNode>();
        MemoryNode Copy(MemoryNode node)
        {
            if (copies.TryGetValue(node, out MemoryNode? copy))
            {
                return copy;
            }

            if (node is MemoryContent content)
            {
                copy = fileOf(content);
                copies.Add(node, copy);
                return copy;
            }

            var directory = new MemoryDirectory();
            copies.Add(node, directory);
            foreach ((string name, MemoryNode child) in entriesOf((MemoryDirectory)node).OrderBy(e => e.Key, StringComparer.Ordinal))
            {
                MemoryNode copied = Copy(child);
                copied.Links++;
                directory.Entries.Add(name, copied);
                directory.Durable.Add(name, copied);
            }

            return directory;
        }

        return (MemoryDirectory)Copy(root);
    }

    private readonly record struct Step(MemoryDirectory Directory, string Name, MemoryNode Node, bool Set)
    {
        public void Apply(Dictionary<string, MemoryNode> entries)
        {
            if (Set)
            {
                entries[Name] = Node;
            }
            else if (entries.TryGetValue(Name, out MemoryNode? found) && found == Node)
            {
                entries.Remove(Name);
            }
        }
    }
}
