namespace KeyVa.Engines.Lsm;

/// <summary>Leveled compaction (as in LevelDB) with dynamic level sizes: see <see cref="LevelTargets"/>. Under the version set's gate.</summary>
internal sealed class LeveledPicker(EngineOptions options, byte[]?[] pointers) : CompactionPicker(options, pointers)
{
    /// <summary>A table that overlaps more than this many tables' bytes two levels below is not moved as it is.</summary>
    private const int MaxGrandparents = 10;

    /// <summary>Level 0 with this many times the tables that start a compaction goes first, if the level it goes to is not far too large.</summary>
    private const int UrgentLevel0 = 2;
    private const double FarTooLarge = 4;

    /// <summary>
    /// Level 0 waits for more tables while it is smaller than what it is to be merged with, since each of its bytes has to pay for
    /// that: but not beyond this share of the tables from which writers are slowed down.
    /// </summary>
    private const double Level0WaitShare = 0.8;

    private int Level0WaitTables => Math.Max(Options.Level0Tables, (int)(Level0WaitShare * Options.Level0SlowdownTables));

    // The newest table of level 0 behind which no other came in time.
    private long _waitedFor;

    public override long Level0WaitsBehind(Superversion superversion)
    {
        SsTable[] tables = superversion.Level0;
        if (tables.Length < Options.Level0Tables || tables.Length >= Level0WaitTables)
        {
            return 0;
        }

        long newest = tables.Max(table => table.Id);
        if (newest <= _waitedFor || tables.Sum(TableWaste.WeightedBytes) >= Below(superversion, tables).Sum(table => table.FileBytes))
        {
            return 0;
        }

        return newest;
    }

    public override void EndWait(long newest) => _waitedFor = Math.Max(_waitedFor, newest);

    public override double Score(Superversion superversion, int level)
    {
        if (level == 0)
        {
            return (double)superversion.Level0.Length / Options.Level0Tables;
        }

        if (level == LevelTargets.Last)
        {
            return 0;
        }

        long bytes = 0;
        foreach (SsTable table in superversion.Deeper[level].Tables)
        {
            bytes += table.BeingCompacted ? 0 : TableWaste.WeightedBytes(table);
        }

        // Above the base there should be nothing.
        double target = superversion.Targets[level];
        return bytes == 0 ? 0 : target > 0 ? bytes / target : 1 + ((double)bytes / Options.Level1Bytes);
    }

    public override long PendingBytes(Superversion superversion)
    {
        long level0 = superversion.Level0.Length < Options.Level0Tables ? 0 : superversion.Level0.Sum(table => table.FileBytes);
        return superversion.Targets.Debt + level0;
    }

    protected override Compaction? PickByShape(Superversion superversion, int firstLevel, double atLeast)
    {
        Span<double> scores = stackalloc double[Superversion.Levels];
        for (int level = 0; level < Superversion.Levels; level++)
        {
            scores[level] = level < firstLevel ? 0 : Score(superversion, level);
        }

        // A level below that is worked on all the time must not keep level 0 waiting, which slows writers down.
        int output = superversion.Targets.Level0Output;
        double level0 = Level0WaitsBehind(superversion) != 0 ? 0 : Score(superversion, 0);
        scores[0] = firstLevel == 0 ? level0 : 0;
        bool slowing = level0 >= 1 && superversion.Level0.Length >= Options.Level0SlowdownTables;
        if (slowing || (level0 >= UrgentLevel0 && scores[output] < FarTooLarge))
        {
            scores[output] = 0;
            scores[0] = firstLevel == 0 ? double.MaxValue : 0;
        }

        while (true)
        {
            int best = IndexOfLargest(scores);
            if (scores[best] < atLeast)
            {
                return null;
            }

            scores[best] = 0;
            Compaction? found = best == 0 ? PickLevel0(superversion) : PickDeeper(superversion, best);
            if (found is not null)
            {
                return found;
            }
        }
    }

    protected override Compaction? PickLevel0(Superversion superversion)
    {
        SsTable[] tables = superversion.Level0;
        if (tables.Length == 0 || !AreFree(tables))
        {
            return null;
        }

        int output = superversion.Targets.Level0Output;
        SsTable[] lower = Below(superversion, tables);
        if (!AreFree(lower))
        {
            return null;
        }

        InputRun upper = new(0, tables);
        return new Compaction(lower.Length == 0 ? [upper] : [upper, new InputRun(output, lower)], output, IsMove: AreDisjoint([.. tables, .. lower]));
    }

    protected override int OutputBelow(Superversion superversion, int level)
    {
        int next = NextNonEmpty(superversion, level);
        int first = Math.Max(level + 1, superversion.Targets.Base);
        return next > 0 && next < first ? next : first;
    }

    protected override Compaction? Step(Superversion superversion, ManualCompaction request)
    {
        if (request.Level == 0)
        {
            if (superversion.Level0.Any(table => table.Id < request.FirstNewId && request.Overlaps(table)))
            {
                return PickLevel0(superversion);
            }

            request.StartLevel(1);
        }

        while (true)
        {
            int below = NextNonEmpty(superversion, request.Level);
            if (below == 0)
            {
                return StepInPlace(superversion, request, request.Level);
            }

            // Whatever was there or came from above goes on to the next level that has tables.
            SsTable[] chunk = NextOld(superversion, request.Level, request, onlyOld: false);
            if (chunk.Length > 0)
            {
                return Down(superversion, request.Level, chunk, below);
            }

            request.StartLevel(request.Level + 1);
        }
    }

    /// <summary>What tables of level 0 are merged with: those of the level they go to, with keys between theirs.</summary>
    private static SsTable[] Below(Superversion superversion, SsTable[] tables)
    {
        ReadOnlySpan<byte> smallest = tables[0].Smallest;
        ReadOnlySpan<byte> largest = tables[0].Largest;
        foreach (SsTable table in tables)
        {
            smallest = KeyOrder.Compare(table.Smallest, smallest) < 0 ? table.Smallest : smallest;
            largest = KeyOrder.Compare(table.Largest, largest) > 0 ? table.Largest : largest;
        }

        return superversion.Deeper[superversion.Targets.Level0Output].Overlapping(smallest, largest).ToArray();
    }

    private static int IndexOfLargest(ReadOnlySpan<double> scores)
    {
        int best = 0;
        for (int i = 1; i < scores.Length; i++)
        {
            best = scores[i] > scores[best] ? i : best;
        }

        return best;
    }

    /// <summary>A table of the level whose compaction is free to run: one of tombstones before others, else the next in turn.</summary>
    private Compaction? PickDeeper(Superversion superversion, int level)
    {
        Level from = superversion.Deeper[level];
        int output = OutputBelow(superversion, level);
        foreach (SsTable table in from.Tables)
        {
            if (TableWaste.IsHeavy(table.Properties) && Down(superversion, level, [table], output) is Compaction heavy)
            {
                return heavy with { IsMove = false };
            }
        }

        int start = Pointer(level) is byte[] pointer ? from.FirstEndingAtOrBehind(pointer) : 0;
        for (int i = 0; i < from.Tables.Length; i++)
        {
            SsTable table = from.Tables[(start + i) % from.Tables.Length];
            if (Down(superversion, level, [table], output) is Compaction found)
            {
                bool heavy = output + 1 < Superversion.Levels && Grandparents(superversion, output + 1, table) > MaxGrandparents * Options.TableBytes;
                return found with { IsMove = found.IsMove && !heavy };
            }
        }

        return null;
    }

    private static long Grandparents(Superversion superversion, int level, SsTable table)
    {
        long bytes = 0;
        foreach (SsTable other in superversion.Deeper[level].Overlapping(table.Smallest, table.Largest))
        {
            bytes += other.FileBytes;
        }

        return bytes;
    }
}
