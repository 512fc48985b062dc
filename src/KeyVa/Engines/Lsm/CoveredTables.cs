namespace KeyVa.Engines.Lsm;

/// <summary>
/// Finds the tables of which removed ranges leave nothing: they leave the tree by an edit of the manifest, and nobody
/// reads them. Stateless.
/// </summary>
internal static class CoveredTables
{
    /// <summary>Whether a range covers all the keys of some table; an empty <paramref name="to"/> is open.</summary>
    public static bool Any(Superversion superversion, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        ReadOnlySpan<byte> end = to.IsEmpty ? RangeTombstones.OpenEnd : to;
        foreach (SsTable table in superversion.Level0)
        {
            if (IsWithin(table, from, end))
            {
                return true;
            }
        }

        for (int level = 1; level <= superversion.DeepestLevel; level++)
        {
            foreach (SsTable table in superversion.Deeper[level].Overlapping(from, end))
            {
                if (IsWithin(table, from, end))
                {
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>Reads the range tombstones that are not in memory yet, so that taking them does not have to.</summary>
    public static void Load(Superversion superversion)
    {
        if (superversion.HasRanges)
        {
            foreach (SsTable table in superversion.Tables)
            {
                _ = table.Ranges;
            }
        }
    }

    /// <summary>
    /// The tables that are covered for everyone, by range tombstones that tables hold: what stands in a memtable alone the
    /// log may still lose, and the keys would be gone though their removal is. Marked as being compacted. Under the gate.
    /// </summary>
    public static List<(int Level, SsTable Table)> Take(Superversion superversion, Horizon horizon)
    {
        List<(int Level, SsTable Table)> found = [];
        if (!superversion.HasRanges)
        {
            return found;
        }

        // Tables with range tombstones are few, or narrow: each is compared with those that lie in its bounds.
        foreach (SsTable covering in superversion.Tables.Where(table => table.HasRanges))
        {
            Take(superversion.Level0, 0, covering, horizon, found);
            for (int level = 1; level <= superversion.DeepestLevel; level++)
            {
                Take(superversion.Deeper[level].Overlapping(covering.Smallest, covering.Largest), level, covering, horizon, found);
            }
        }

        return found;
    }

    private static void Take(
        ReadOnlySpan<SsTable> tables, int level, SsTable covering, Horizon horizon, List<(int Level, SsTable Table)> found)
    {
        foreach (SsTable table in tables)
        {
            if (!table.BeingCompacted && Covers(covering, table, horizon))
            {
                table.BeingCompacted = true;
                found.Add((level, table));
            }
        }
    }

    private static bool IsWithin(SsTable table, ReadOnlySpan<byte> from, ReadOnlySpan<byte> end) =>
        KeyOrder.Compare(table.Smallest, from) >= 0 && KeyOrder.Compare(table.Largest, end) < 0;

    /// <summary>
    /// A table never covers itself: its own newest version is not below itself. And two do not cover each other, so what
    /// covers a table that goes stays, or goes because of a newer one.
    /// </summary>
    private static bool Covers(SsTable covering, SsTable table, Horizon horizon) =>
        covering.Properties.MaxVersion > table.Properties.MaxVersion
        && KeyOrder.Compare(covering.Smallest, table.Smallest) <= 0
        && covering.Ranges!.CoversAll(table.Smallest, table.Largest, table.Properties.MaxVersion, horizon.Version);
}
