namespace KeyVa.Engines.Lsm;

/// <summary>
/// Decides what to compact next. What is common to both styles stands here: tables that are mostly waste go before levels
/// that are only a little too large, and steps of manual requests take turns with both.
/// Everything here is called under the version set's gate.
/// </summary>
internal abstract class CompactionPicker(EngineOptions options, byte[]?[] pointers)
{
    /// <summary>From this score on a level goes before tables that are mostly waste.</summary>
    private const double UrgentScore = 2;

    // Where the next compaction of each level continues: behind the last one's largest key.
    private readonly byte[]?[] _pointers = [.. pointers];
    private readonly List<ManualCompaction> _manual = [];
    private bool _manualTurn;

    protected EngineOptions Options => options;

    public static CompactionPicker Create(EngineOptions options, byte[]?[] pointers) =>
        options.CompactionStyle == CompactionStyle.Tiered ? new TieredPicker(options, pointers) : new LeveledPicker(options, pointers);

    /// <summary>How much a level is in need of a compaction: at 1 it gets one.</summary>
    public abstract double Score(Superversion superversion, int level);

    /// <summary>Bytes that compactions which are due now would read; for statistics.</summary>
    public abstract long PendingBytes(Superversion superversion);

    /// <summary>
    /// The newest table of level 0, if that could be compacted but is worth waiting for more tables; 0 if not. Who sees none come
    /// says so by <see cref="EndWait"/>.
    /// </summary>
    public virtual long Level0WaitsBehind(Superversion superversion) => 0;

    /// <summary>Nothing came behind this table for a while: level 0 waits no longer, until something does.</summary>
    public virtual void EndWait(long newest)
    {
    }

    /// <summary>The most urgent compaction that shares no table with a running one; null if there is none. Its inputs are marked.</summary>
    /// <param name="superversion">The current one.</param>
    /// <param name="firstLevel">Levels above this are another job's affair.</param>
    /// <param name="horizon">What has expired for everyone.</param>
    public Compaction? Pick(Superversion superversion, int firstLevel, Horizon horizon)
    {
        if (firstLevel == 0 && (_manualTurn = !_manualTurn) && PickManual(superversion) is Compaction early)
        {
            return Mark(superversion, early);
        }

        Compaction? found = PickByShape(superversion, firstLevel, UrgentScore)
            ?? PickWasteful(superversion, firstLevel, horizon)
            ?? PickByShape(superversion, firstLevel, 1)
            ?? PickGarbage(superversion, firstLevel)
            ?? (firstLevel == 0 ? PickManual(superversion) : null);
        return found is null ? null : Mark(superversion, found);
    }

    public void Add(ManualCompaction request) => _manual.Add(request);

    /// <summary>All requests that are not done, which are forgotten.</summary>
    public ManualCompaction[] TakeManual()
    {
        ManualCompaction[] all = [.. _manual];
        _manual.Clear();
        return all;
    }

    public byte[]? Pointer(int level) => _pointers[level];

    public void SetPointer(int level, byte[] key) => _pointers[level] = key;

    /// <summary>A compaction that brings the shape of the tree in order, if one scores that much.</summary>
    protected abstract Compaction? PickByShape(Superversion superversion, int firstLevel, double atLeast);

    /// <summary>All of level 0 into a level below.</summary>
    protected abstract Compaction? PickLevel0(Superversion superversion);

    /// <summary>The level into which tables of this one go.</summary>
    protected abstract int OutputBelow(Superversion superversion, int level);

    /// <summary>One step of the request; null if it has to wait for running compactions or is done.</summary>
    protected abstract Compaction? Step(Superversion superversion, ManualCompaction request);

    protected static bool AreFree(IEnumerable<SsTable> tables) => !tables.Any(table => table.BeingCompacted);

    protected static bool AreDisjoint(SsTable[] tables)
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

    /// <summary>Tables that follow one another in a level, and those of another level with keys between theirs; null if one is busy.</summary>
    protected static Compaction? Down(Superversion superversion, int level, SsTable[] tables, int output)
    {
        SsTable[] lower = superversion.Deeper[output].Overlapping(tables[0].Smallest, tables[^1].Largest).ToArray();
        InputRun upper = new(level, tables);
        return AreFree(tables) && AreFree(lower)
            ? new Compaction(lower.Length == 0 ? [upper] : [upper, new InputRun(output, lower)], output, IsMove: lower.Length == 0)
            : null;
    }

    /// <summary>The first level below with tables; 0 if there is none.</summary>
    protected static int NextNonEmpty(Superversion superversion, int level)
    {
        for (int below = level + 1; below <= superversion.DeepestLevel; below++)
        {
            if (superversion.Deeper[below].Tables.Length > 0)
            {
                return below;
            }
        }

        return 0;
    }

    /// <summary>Tables of a level from a key on that existed when the request was made, up to about four tables' bytes.</summary>
    protected SsTable[] NextOld(Superversion superversion, int level, ManualCompaction request, bool onlyOld)
    {
        SsTable[] tables = superversion.Deeper[level].Tables;
        List<SsTable> chunk = [];
        long bytes = 0;
        for (int i = superversion.Deeper[level].FirstEndingAtOrBehind(request.Cursor); i < tables.Length; i++)
        {
            SsTable table = tables[i];
            bool wanted = !request.IsBehind(table.Smallest) && (!onlyOld || table.Id < request.FirstNewId);
            if (chunk.Count > 0 && (!wanted || bytes >= ManualCompaction.StepTables * options.TableBytes))
            {
                break;
            }

            if (wanted)
            {
                chunk.Add(table);
                bytes += table.FileBytes;
            }
        }

        return [.. chunk];
    }

    /// <summary>The last level's part of a request: tables from before it are written anew, without what nobody needs.</summary>
    protected Compaction? StepInPlace(Superversion superversion, ManualCompaction request, int level)
    {
        SsTable[] chunk = NextOld(superversion, level, request, onlyOld: true);
        if (chunk.Length == 0)
        {
            request.IsFinished = true;
            return null;
        }

        return AreFree(chunk) ? new Compaction([new InputRun(level, chunk)], level) { Manual = request } : null;
    }

    private Compaction? PickManual(Superversion superversion)
    {
        for (int i = 0; i < _manual.Count; i++)
        {
            ManualCompaction request = _manual[i];
            if (request.IsCancelled)
            {
                _manual.RemoveAt(i--);
                continue;
            }

            // What it is to compact must be in tables first; and one step at a time.
            if (superversion.Durable.Index < request.AfterIndex || request.IsRunning)
            {
                continue;
            }

            request.Begin(superversion);
            Compaction? step = Step(superversion, request);
            if (step is not null)
            {
                request.IsRunning = true;
                return step with { IsMove = false, Manual = request };
            }

            if (request.IsFinished)
            {
                _manual.RemoveAt(i--);
                request.Complete();
            }
        }

        return null;
    }

    /// <summary>The table with most that has expired or was removed, if the horizon lets it go.</summary>
    private Compaction? PickWasteful(Superversion superversion, int firstLevel, Horizon horizon)
    {
        Compaction? best = null;
        double most = 0;
        for (int level = firstLevel; level <= superversion.DeepestLevel; level++)
        {
            foreach (SsTable table in level == 0 ? superversion.Level0 : superversion.Deeper[level].Tables)
            {
                double share = table.BeingCompacted ? 0 : TableWaste.Share(table.Properties, horizon, level);
                if (share > most && TowardsBottom(superversion, level, table) is Compaction found)
                {
                    best = found with { IsMove = false };
                    most = share;
                }
            }
        }

        return best;
    }

    /// <summary>One level down; or, where no level below has keys of the table, rewritten where it is, without what is not needed.</summary>
    private Compaction? TowardsBottom(Superversion superversion, int level, SsTable table)
    {
        if (level == 0)
        {
            return PickLevel0(superversion);
        }

        bool deeper = false;
        for (int below = level + 1; below <= superversion.DeepestLevel; below++)
        {
            deeper |= superversion.Deeper[below].Overlapping(table.Smallest, table.Largest).Length > 0;
        }

        return deeper
            ? Down(superversion, level, [table], OutputBelow(superversion, level))
            : new Compaction([new InputRun(level, [table])], level);
    }

    /// <summary>A table that leads to the value file with most garbage, if there is too much: rewritten where it is, with values of its own.</summary>
    private Compaction? PickGarbage(Superversion superversion, int firstLevel)
    {
        if (ValueGarbage.Worst(superversion.Values, options) is not ValueFile worst)
        {
            return null;
        }

        for (int level = Math.Max(1, firstLevel); level <= superversion.DeepestLevel; level++)
        {
            SsTable? table = Array.Find(superversion.Deeper[level].Tables, table => !table.BeingCompacted && ValueGarbage.Uses(table, worst));
            if (table is not null)
            {
                return InPlace(level, table, worst);
            }
        }

        return firstLevel == 0 && Array.Exists(superversion.Level0, table => ValueGarbage.Uses(table, worst)) && PickLevel0(superversion) is Compaction top
            ? top with { IsMove = false, MovedValues = ValueGarbage.ToMove(top.Inputs, superversion.Values, options, worst) }
            : null;

        Compaction InPlace(int level, SsTable table, ValueFile file) => new([new InputRun(level, [table])], level)
        {
            MovedValues = ValueGarbage.ToMove([table], superversion.Values, options, file),
        };
    }

    private Compaction Mark(Superversion superversion, Compaction compaction)
    {
        foreach (SsTable table in compaction.Inputs)
        {
            table.BeingCompacted = true;
        }

        return compaction.IsMove || compaction.MovedValues is not null
            ? compaction
            : compaction with { MovedValues = ValueGarbage.ToMove(compaction.Inputs, superversion.Values, options, also: null) };
    }
}
