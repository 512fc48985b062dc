namespace KeyVa.Engines.Lsm;

/// <summary>
/// Decides what to compact next, by the level that exceeds its size most (leveled compaction, as in LevelDB).
/// Everything here is called under the version set's gate.
/// </summary>
internal sealed class CompactionPicker(EngineOptions options, byte[]?[] pointers)
{
    /// <summary>A table is compacted when about this share of its entries has expired: one in four.</summary>
    private const int ExpiredShare = 4;

    /// <summary>A table below level 0 is compacted when this share of its entries are tombstones: one in two.</summary>
    private const int TombstoneShare = 2;

    /// <summary>A table that overlaps more than this many tables' bytes two levels below is not moved as it is.</summary>
    private const int MaxGrandparents = 10;

    // Where the next compaction of each level continues: behind the last one's largest key.
    private readonly byte[]?[] _pointers = [.. pointers];

    /// <summary>The bytes that a level may have.</summary>
    public static double Target(EngineOptions options, int level) => options.Level1Bytes * Math.Pow(options.LevelMultiplier, level - 1);

    /// <summary>When so much of some table will have expired that a compaction is worth it; MaxValue if none expires.</summary>
    public static long ExpiryDueAt(Superversion superversion)
    {
        long due = long.MaxValue;
        foreach (SsTable table in superversion.Tables)
        {
            due = Math.Min(due, ExpiryDueAt(table.Properties));
        }

        return due;
    }

    /// <summary>Bytes by which levels exceed their sizes.</summary>
    public static long Debt(EngineOptions options, Superversion superversion)
    {
        double debt = 0;
        for (int level = 1; level <= superversion.DeepestLevel; level++)
        {
            debt += Math.Max(0, superversion.Deeper[level].Bytes - Target(options, level));
        }

        return (long)debt;
    }

    /// <summary>The most urgent compaction that shares no table with a running one; null if there is none. Its inputs are marked.</summary>
    /// <param name="superversion">The current one.</param>
    /// <param name="firstLevel">Levels above this are another job's affair.</param>
    /// <param name="horizon">What has expired for everyone.</param>
    public Compaction? Pick(Superversion superversion, int firstLevel, Horizon horizon)
    {
        Span<double> scores = stackalloc double[Superversion.Levels];
        for (int level = 0; level < Superversion.Levels; level++)
        {
            scores[level] = level < firstLevel || level == Superversion.Levels - 1 ? 0 : Score(superversion, level);
        }

        while (true)
        {
            int best = IndexOfLargest(scores);
            if (scores[best] < 1)
            {
                break;
            }

            scores[best] = 0;
            Compaction? found = best == 0 ? PickLevel0(superversion) : PickDeeper(superversion, best);
            if (found is not null)
            {
                return Mark(found);
            }
        }

        return PickWasteful(superversion, firstLevel, horizon) is Compaction wasteful ? Mark(wasteful) : null;
    }

    public byte[]? Pointer(int level) => _pointers[level];

    public void SetPointer(int level, byte[] key) => _pointers[level] = key;

    private static int IndexOfLargest(ReadOnlySpan<double> scores)
    {
        int best = 0;
        for (int i = 1; i < scores.Length; i++)
        {
            best = scores[i] > scores[best] ? i : best;
        }

        return best;
    }

    private static Compaction Mark(Compaction compaction)
    {
        foreach (SsTable table in compaction.Inputs)
        {
            table.BeingCompacted = true;
        }

        return compaction;
    }

    private static long ExpiryDueAt(TableProperties properties)
    {
        if (properties.Expiring == 0 || properties.Expiring * ExpiredShare < properties.Entries)
        {
            return long.MaxValue;
        }

        // As if the expiries were spread evenly between the first and the last.
        double share = (double)properties.Entries / ExpiredShare / properties.Expiring;
        return properties.SmallestExpiry + (long)((properties.LargestExpiry - properties.SmallestExpiry) * share);
    }

    private static Compaction? PickLevel0(Superversion superversion)
    {
        SsTable[] tables = superversion.Level0;
        if (tables.Length == 0 || tables.Any(table => table.BeingCompacted))
        {
            return null;
        }

        ReadOnlySpan<byte> smallest = tables[0].Smallest;
        ReadOnlySpan<byte> largest = tables[0].Largest;
        foreach (SsTable table in tables)
        {
            smallest = KeyOrder.Compare(table.Smallest, smallest) < 0 ? table.Smallest : smallest;
            largest = KeyOrder.Compare(table.Largest, largest) > 0 ? table.Largest : largest;
        }

        SsTable[] lower = superversion.Deeper[1].Overlapping(smallest, largest).ToArray();
        if (lower.Any(table => table.BeingCompacted))
        {
            return null;
        }

        return new Compaction(0, 1, tables, lower, IsMove: AreDisjoint([.. tables, .. lower]));
    }

    private static bool AreDisjoint(SsTable[] tables)
    {
        Array.Sort(tables, (a, b) => KeyOrder.Compare(a.Smallest, b.Smallest));
        for (int i = 1; i < tables.Length; i++)
        {
            if (KeyOrder.Compare(tables[i - 1].Largest, tables[i].Smallest) >= 0)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>A table with much that has expired or was removed, if the horizon lets it go.</summary>
    private static Compaction? PickWasteful(Superversion superversion, int firstLevel, Horizon horizon)
    {
        for (int level = firstLevel; level <= superversion.DeepestLevel; level++)
        {
            foreach (SsTable table in level == 0 ? superversion.Level0 : superversion.Deeper[level].Tables)
            {
                // Entries above the horizon stay whatever they are: the table would be rewritten for nothing.
                TableProperties properties = table.Properties;
                // Range tombstones go down too: as long as there are some, every read looks at them.
                bool removed = level > 0 && (table.HasRanges || properties.Tombstones * TombstoneShare >= properties.Entries);
                if (!table.BeingCompacted && properties.MaxVersion <= horizon.Version && (removed || ExpiryDueAt(properties) <= horizon.Stamp))
                {
                    Compaction? found = level == 0 ? PickLevel0(superversion) : TowardsBottom(superversion, level, table);
                    if (found is not null)
                    {
                        return found with { IsMove = false };
                    }
                }
            }
        }

        return null;
    }

    /// <summary>One level down; or, where no level below has keys of the table, rewritten where it is, without what is not needed.</summary>
    private static Compaction? TowardsBottom(Superversion superversion, int level, SsTable table)
    {
        bool deeper = false;
        for (int below = level + 1; below <= superversion.DeepestLevel; below++)
        {
            deeper |= superversion.Deeper[below].Overlapping(table.Smallest, table.Largest).Length > 0;
        }

        return deeper ? Down(superversion, level, table) : new Compaction(level, level, [table], [], IsMove: false);
    }

    private static Compaction? Down(Superversion superversion, int level, SsTable table)
    {
        SsTable[] lower = superversion.Deeper[level + 1].Overlapping(table.Smallest, table.Largest).ToArray();
        return table.BeingCompacted || lower.Any(other => other.BeingCompacted)
            ? null
            : new Compaction(level, level + 1, [table], lower, IsMove: lower.Length == 0);
    }

    private double Score(Superversion superversion, int level)
    {
        if (level == 0)
        {
            return (double)superversion.Level0.Length / options.Level0Tables;
        }

        long busy = 0;
        foreach (SsTable table in superversion.Deeper[level].Tables)
        {
            busy += table.BeingCompacted ? table.FileBytes : 0;
        }

        return (superversion.Deeper[level].Bytes - busy) / Target(options, level);
    }

    /// <summary>The next table of the level in turn whose compaction is free to run.</summary>
    private Compaction? PickDeeper(Superversion superversion, int level)
    {
        Level from = superversion.Deeper[level];
        int start = _pointers[level] is byte[] pointer ? from.FirstEndingAtOrBehind(pointer) : 0;
        for (int i = 0; i < from.Tables.Length; i++)
        {
            SsTable table = from.Tables[(start + i) % from.Tables.Length];
            if (Down(superversion, level, table) is Compaction found)
            {
                bool heavy = level + 2 < Superversion.Levels && Grandparents(superversion, level, table) > MaxGrandparents * options.TableBytes;
                return found with { IsMove = found.IsMove && !heavy };
            }
        }

        return null;
    }

    private static long Grandparents(Superversion superversion, int level, SsTable table)
    {
        long bytes = 0;
        foreach (SsTable other in superversion.Deeper[level + 2].Overlapping(table.Smallest, table.Largest))
        {
            bytes += other.FileBytes;
        }

        return bytes;
    }
}
