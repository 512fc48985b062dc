namespace KeyVa.Engines.Lsm;

/// <summary>
/// Tiered (universal) compaction: each table of level 0 and each deeper level is a sorted run, newer ones above; neighbours of
/// similar size are merged. The levels are only places for runs here, filled from the last one up. Under the version set's gate.
/// </summary>
/// <remarks>
/// A merge always begins with all of level 0 and takes runs from there down, so its result fits between the older runs and
/// what is flushed meanwhile. There are at most <see cref="EngineOptions.Level0Tables"/> runs and six levels, and the tables
/// that come while a merge runs.
/// </remarks>
internal sealed class TieredPicker(EngineOptions options, byte[]?[] pointers) : CompactionPicker(options, pointers)
{
    /// <summary>Runs counted against <see cref="EngineOptions.Level0Tables"/>; a deeper level alone has no score.</summary>
    public override double Score(Superversion superversion, int level) =>
        level == 0 ? (double)superversion.Level0.Length / Options.Level0Tables : 0;

    public override long PendingBytes(Superversion superversion) =>
        Score(superversion, 0) < 1 ? 0 : Choose(superversion).Sum(run => run.Bytes);

    protected override Compaction? PickByShape(Superversion superversion, int firstLevel, double atLeast) =>
        firstLevel == 0 && Score(superversion, 0) >= atLeast ? Merge(superversion, Choose(superversion)) : null;

    /// <summary>As by its shape, whatever the number of tables.</summary>
    protected override Compaction? PickLevel0(Superversion superversion) =>
        superversion.Level0.Length == 0 ? null : Merge(superversion, Choose(superversion));

    protected override int OutputBelow(Superversion superversion, int level) =>
        NextNonEmpty(superversion, level) is int next and > 0 ? next : level;

    protected override Compaction? Step(Superversion superversion, ManualCompaction request)
    {
        List<InputRun> runs = Runs(superversion);
        if (request.Level == 0)
        {
            bool whole = runs.Count <= 1 && superversion.Level0.Length == 0;
            if (!whole && runs.SelectMany(run => run.Tables).Any(table => table.Id < request.FirstNewId && request.Overlaps(table)))
            {
                // All runs become one, whose tables are newer than the request.
                return Merge(superversion, [.. runs]);
            }

            request.StartLevel(Math.Max(1, superversion.DeepestLevel));
        }

        return StepInPlace(superversion, request, request.Level);
    }

    private static List<InputRun> Runs(Superversion superversion)
    {
        List<InputRun> runs = [];
        if (superversion.Level0.Length > 0)
        {
            runs.Add(new InputRun(0, superversion.Level0));
        }

        for (int level = 1; level <= superversion.DeepestLevel; level++)
        {
            if (superversion.Deeper[level].Tables.Length > 0)
            {
                runs.Add(new InputRun(level, superversion.Deeper[level].Tables));
            }
        }

        return runs;
    }

    /// <summary>The runs to merge, from the newest on: level 0 is among them if it has tables.</summary>
    private InputRun[] Choose(Superversion superversion)
    {
        List<InputRun> runs = Runs(superversion);
        if (runs.Count <= 1)
        {
            return [.. runs];
        }

        long newer = runs.SkipLast(1).Sum(run => run.Bytes);
        if (newer * 100.0 >= runs[^1].Bytes * (double)Options.TieredMaxSizeAmplificationPercent)
        {
            return [.. runs];
        }

        int count = 1;
        long bytes = runs[0].Bytes;
        while (count < runs.Count
            && (runs[count].Bytes * 100.0 <= bytes * (100.0 + Options.TieredSizeRatioPercent) || runs[count].Level == 1))
        {
            // A run on level 1 leaves no place above it: it joins whatever its size.
            bytes += runs[count++].Bytes;
        }

        return [.. runs.Take(count)];
    }

    private static Compaction? Merge(Superversion superversion, InputRun[] runs)
    {
        if (runs.Length == 0 || !AreFree(runs.SelectMany(run => run.Tables)))
        {
            return null;
        }

        int older = NextNonEmpty(superversion, runs[^1].Level);
        int output = older > 0 ? older - 1 : LevelTargets.Last;
        return new Compaction(runs, output, IsMove: runs.Length == 1 && AreDisjoint([.. runs[0].Tables]));
    }
}
