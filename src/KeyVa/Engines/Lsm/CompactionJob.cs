namespace KeyVa.Engines.Lsm;

/// <summary>
/// Merges tables downward, one compaction after the other, each streamed: memory is one piece per input and a block of
/// output. Two of these jobs may run at once on disjoint tables: one may begin at level 0, the other below it. A large
/// compaction is shared with other threads (<see cref="CompactionRun"/>).
/// </summary>
internal sealed class CompactionJob : BackgroundJob
{
    private static readonly TimeSpan FirstRetry = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromSeconds(30);

    private readonly LsmEngine _engine;
    private readonly VersionSet _versions;
    private readonly CompactionPicker _picker;
    private readonly CompactionCounters _counters;
    private readonly int _firstLevel;
    private readonly SubCompactionJob[] _helpers;
    private readonly Level0WaitJob _wait;
    private readonly Func<bool> _isStopping;

    private TimeSpan _retry = FirstRetry;
    private long _bytesCompacted;
    private volatile bool _stopping;
    private volatile CompactionRun? _run;

    public CompactionJob(LsmEngine engine, VersionSet versions, CompactionPicker picker, CompactionCounters counters, int firstLevel)
        : base(JobPriority.Compaction)
    {
        _engine = engine;
        _versions = versions;
        _picker = picker;
        _counters = counters;
        _firstLevel = firstLevel;
        _wait = new Level0WaitJob(engine, versions, picker);
        _isStopping = () => _stopping;
        _helpers = new SubCompactionJob[Math.Max(0, engine.Context.Options.MaxSubCompactions - 1)];
        for (int i = 0; i < _helpers.Length; i++)
        {
            _helpers[i] = new SubCompactionJob(this);
        }
    }

    /// <summary>Bytes read and written.</summary>
    public long BytesCompacted => Volatile.Read(ref _bytesCompacted);

    public bool IsRunning => _run is not null;

    /// <summary>Makes a running compaction give up soon; what it has written is deleted.</summary>
    public void Stop()
    {
        _stopping = true;
        _engine.Context.CompactionRate?.Wake();
    }

    /// <summary>Waits until nothing of it runs; it does not run again.</summary>
    public void Cancel()
    {
        Stop();
        IBackgroundWork background = _engine.Context.Background;
        background.Cancel(this);
        background.Cancel(_wait);
        foreach (SubCompactionJob helper in _helpers)
        {
            background.Cancel(helper);
        }
    }

    public override void Run()
    {
        try
        {
            // One at a time, then to the end of the queue: other partitions want their turn.
            if (!_stopping && _versions.Failure is null && RunOne())
            {
                _retry = FirstRetry;
                _engine.ScheduleCompactions();
            }
        }
        catch (StorageFullException) when (_versions.Failure is null)
        {
            _engine.Context.Background.ScheduleAfter(this, _retry);
            _retry = _retry * 2 < LongestRetry ? _retry * 2 : LongestRetry;
        }
        catch (StoreException failure)
        {
            _versions.Fail(failure);
        }

        if (_versions.Failure is StoreException stopped)
        {
            _engine.FailManual(stopped);
        }
    }

    /// <summary>For helpers: takes part in the present compaction.</summary>
    public void Help() => _run?.Work();

    private bool RunOne()
    {
        Superversion superversion = _versions.Pin();
        Horizon horizon = _engine.HorizonFor(superversion.Durable);
        Compaction? compaction = null;
        List<(int Level, SsTable Table)> covered;
        long written = -1;
        bool waits;
        try
        {
            CoveredTables.Load(superversion);
            lock (_versions.Gate)
            {
                // The tables are marked against those of the current superversion: look at no older one.
                if (_versions.Current != superversion || _versions.Ingesting)
                {
                    _engine.ScheduleCompactions();
                    return false;
                }

                // Where versions are kept by count, no table is superfluous for what shadows it, and none is worth a compaction for it.
                bool counts = _engine.Context.Snapshots.Retention.Count > 0;
                covered = counts ? [] : CoveredTables.Take(superversion, horizon);
                compaction = covered.Count > 0 ? null : _picker.Pick(superversion, _firstLevel, counts ? default : horizon);
                waits = _firstLevel == 0 && _picker.Level0WaitsBehind(superversion) != 0;
            }

            if (waits)
            {
                _engine.Context.Background.ScheduleAfter(_wait, Level0WaitJob.Patience);
            }

            if (covered.Count > 0)
            {
                Drop(covered);
                return !_stopping;
            }

            if (compaction is null)
            {
                return false;
            }

            written = compaction.IsMove ? Move(compaction) : Merge(compaction, superversion, horizon);
            return !_stopping;
        }
        finally
        {
            End(compaction, written);
            _versions.Unpin(superversion);
        }
    }

    private void End(Compaction? compaction, long written)
    {
        if (compaction is not null)
        {
            lock (_versions.Gate)
            {
                foreach (SsTable table in compaction.Inputs)
                {
                    table.BeingCompacted = false;
                }

                compaction.Manual?.EndStep(compaction, done: written >= 0, written);
            }
        }
    }

    /// <summary>Takes tables out of the tree that removed ranges cover, without reading them.</summary>
    private void Drop(List<(int Level, SsTable Table)> covered)
    {
        try
        {
            ManifestEdit edit = new();
            edit.Removed.AddRange(covered.Select(found => (found.Level, found.Table.Id)));
            _versions.Apply(edit, [], flushed: null);
        }
        finally
        {
            lock (_versions.Gate)
            {
                covered.ForEach(found => found.Table.BeingCompacted = false);
            }
        }
    }

    private long Move(Compaction compaction)
    {
        ManifestEdit edit = new();
        foreach (InputRun run in compaction.Runs)
        {
            foreach (SsTable table in run.Tables)
            {
                edit.Removed.Add((run.Level, table.Id));
                edit.Added.Add(new ManifestTable(compaction.OutputLevel, table.Id, table.FileBytes, table.Properties));
            }
        }

        Advance(compaction, edit);
        _versions.Apply(edit, [], flushed: null);
        _counters.Add(compaction, 0, TimeSpan.Zero);
        return 0;
    }

    /// <summary>Bytes written; -1 if it was stopped.</summary>
    private long Merge(Compaction compaction, Superversion superversion, Horizon horizon)
    {
        TimeProvider time = _engine.Context.Time;
        long began = time.GetTimestamp();
        using CompactionRun run = new(_engine.Context, _versions, compaction, superversion, horizon, _isStopping);
        if (!WriteAll(run))
        {
            return -1;
        }

        ManifestEdit edit = new();
        foreach (InputRun input in compaction.Runs)
        {
            edit.Removed.AddRange(input.Tables.Select(table => (input.Level, table.Id)));
        }

        IReadOnlyList<SsTable> tables = run.Tables;
        edit.Added.AddRange(tables.Select(table => new ManifestTable(compaction.OutputLevel, table.Id, table.FileBytes, table.Properties)));
        edit.AddedValues.AddRange(run.ValueFiles);
        Advance(compaction, edit);
        _versions.Apply(edit, tables, flushed: null);
        run.Keep();
        long written = tables.Sum(table => table.FileBytes);
        _counters.Add(compaction, written, time.GetElapsedTime(began), edit.AddedValues.Sum(file => file.FileBytes));
        Volatile.Write(ref _bytesCompacted, _bytesCompacted + written + compaction.Bytes);
        return written;
    }

    private bool WriteAll(CompactionRun run)
    {
        _run = run;
        try
        {
            for (int i = 0; i < _helpers.Length && i < run.Ranges - 1; i++)
            {
                _engine.Context.Background.Schedule(_helpers[i]);
            }

            run.Work();
        }
        finally
        {
            _run = null;
            run.Close();
        }

        return run.Finish();
    }

    /// <summary>Lets the next compaction of the level continue behind this one.</summary>
    private void Advance(Compaction compaction, ManifestEdit edit)
    {
        if (compaction.Level > 0 && compaction.OutputLevel > compaction.Level)
        {
            byte[] key = compaction.Runs[0].Tables[^1].Properties.Largest;
            edit.Pointers.Add((compaction.Level, key));
            lock (_versions.Gate)
            {
                _picker.SetPointer(compaction.Level, key);
            }
        }
    }
}

/// <summary>A thread's offer to take part in a compaction that another leads.</summary>
internal sealed class SubCompactionJob(CompactionJob leader) : BackgroundJob(JobPriority.Compaction)
{
    public override void Run() => leader.Help();
}

/// <summary>Lets level 0 be compacted when it has waited for more tables and none came (<see cref="CompactionPicker.Level0WaitsBehind"/>).</summary>
internal sealed class Level0WaitJob(LsmEngine engine, VersionSet versions, CompactionPicker picker) : BackgroundJob(JobPriority.Compaction)
{
    /// <summary>A table comes within this time as long as there is something to save: more than a few megabytes per second are written.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    // The newest table when it last looked.
    private long _seen;

    public override void Run()
    {
        lock (versions.Gate)
        {
            long newest = picker.Level0WaitsBehind(versions.Current);
            if (newest == _seen)
            {
                picker.EndWait(newest);
            }

            _seen = newest;
        }

        engine.ScheduleCompactions();
    }
}
