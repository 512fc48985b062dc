namespace KeyVa.Engines.Lsm;

/// <summary>
/// Finds how deep a table of newest entries may go: below it nothing may be newer, and a running compaction must not
/// write around it. Used under the gate of the version set, while no compaction may begin.
/// </summary>
internal sealed class IngestLevels
{
    private readonly Superversion _superversion;

    // Inputs of running compactions, by level.
    private readonly List<(int Level, SsTable Table)> _busy = [];

    public IngestLevels(Superversion superversion)
    {
        _superversion = superversion;
        for (int level = 0; level <= superversion.DeepestLevel; level++)
        {
            foreach (SsTable table in level == 0 ? superversion.Level0 : superversion.Deeper[level].Tables)
            {
                if (table.BeingCompacted)
                {
                    _busy.Add((level, table));
                }
            }
        }
    }

    /// <summary>The deepest level such that it and all above it have no key of the table's range; else level 0, as the newest.</summary>
    public int DeepestFor(SsTable table)
    {
        if (Array.Exists(_superversion.Level0, other => other.Overlaps(table.Smallest, table.Largest)))
        {
            return 0;
        }

        int deepest = 0;
        for (int level = 1; level < Superversion.Levels; level++)
        {
            if (_superversion.Deeper[level].Overlapping(table.Smallest, table.Largest).Length > 0 || IsBetweenInputs(table, level))
            {
                break;
            }

            deepest = level;
        }

        return deepest;
    }

    /// <summary>
    /// Whether a compaction may be writing to this level on both sides of the table. Its inputs are at this level or above,
    /// and it writes between the smallest and the largest key of them. Compactions are not told apart: two that end on
    /// either side of the table count too, which costs a level and nothing else.
    /// </summary>
    private bool IsBetweenInputs(SsTable table, int level)
    {
        bool before = false;
        bool behind = false;
        foreach ((int inputLevel, SsTable input) in _busy)
        {
            if (inputLevel <= level)
            {
                before |= KeyOrder.Compare(input.Largest, table.Smallest) < 0;
                behind |= KeyOrder.Compare(input.Smallest, table.Largest) > 0;
            }
        }

        return before && behind;
    }
}
