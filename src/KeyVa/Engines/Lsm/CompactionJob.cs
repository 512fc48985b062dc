namespace KeyVa.Engines.Lsm;

/// <summary>
/// Merges tables downward, one compaction after the other, each streamed: memory is one piece per input and a block of
/// output. Two of these jobs may run at once on disjoint tables: one may begin at level 0, the other below it.
/// </summary>
internal sealed class CompactionJob(LsmEngine engine, VersionSet versions, CompactionPicker picker, int firstLevel)
    : BackgroundJob(JobPriority.Compaction)
{
    private static readonly TimeSpan FirstRetry = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromSeconds(30);
    private const int EntriesBetweenChecks = 1024;

    private TimeSpan _retry = FirstRetry;
    private long _bytesCompacted;
    private volatile bool _stopping;

    /// <summary>Bytes read and written.</summary>
    public long BytesCompacted => Volatile.Read(ref _bytesCompacted);

    /// <summary>Makes a running compaction give up soon; what it has written is deleted.</summary>
    public void Stop() => _stopping = true;

    public override void Run()
    {
        try
        {
            // One at a time, then to the end of the queue: other partitions want their turn.
            if (!_stopping && versions.Failure is null && RunOne())
            {
                _retry = FirstRetry;
                engine.ScheduleCompactions();
            }
        }
        catch (StorageFullException) when (versions.Failure is null)
        {
            engine.Context.Background.ScheduleAfter(this, _retry);
            _retry = _retry * 2 < LongestRetry ? _retry * 2 : LongestRetry;
        }
        catch (StoreException failure)
        {
            versions.Fail(failure);
        }
    }

    private bool RunOne()
    {
        Superversion superversion = versions.Pin();
        Horizon horizon = engine.HorizonFor(superversion.Durable);
        Compaction? compaction = null;
        try
        {
            lock (versions.Gate)
            {
                // The tables are marked against those of the current superversion: look at no older one.
                if (versions.Current != superversion || versions.Ingesting)
                {
                    engine.ScheduleCompactions();
                    return false;
                }

                compaction = picker.Pick(superversion, firstLevel, horizon);
            }

            if (compaction is null)
            {
                return false;
            }

            if (compaction.IsMove)
            {
                Move(compaction);
            }
            else
            {
                Merge(compaction, superversion, horizon);
            }

            return !_stopping;
        }
        finally
        {
            Unmark(compaction);
            versions.Unpin(superversion);
        }
    }

    private void Unmark(Compaction? compaction)
    {
        if (compaction is not null)
        {
            lock (versions.Gate)
            {
                foreach (SsTable table in compaction.Inputs)
                {
                    table.BeingCompacted = false;
                }
            }
        }
    }

    private void Move(Compaction compaction)
    {
        ManifestEdit edit = new();
        foreach (SsTable table in compaction.Upper)
        {
            edit.Removed.Add((compaction.Level, table.Id));
            edit.Added.Add(new ManifestTable(compaction.OutputLevel, table.Id, table.FileBytes, table.Properties));
        }

        Advance(compaction, edit);
        versions.Apply(edit, [], flushed: null);
    }

    private void Merge(Compaction compaction, Superversion superversion, Horizon horizon)
    {
        long versionBase = compaction.Inputs.Min(table => table.Properties.VersionBase);
        long stampBase = compaction.Inputs.Min(table => table.Properties.StampBase);
        using TableOutput output = new(engine.Context, versions, versionBase, stampBase, new KeysBelow(superversion, compaction.OutputLevel + 1))
        {
            Compression = engine.Context.Options.CompressionOf(compaction.OutputLevel, superversion.DeepestLevel),
        };
        using EntryFilter filter = new(horizon, new DeeperKeys(superversion.Deeper.Skip(compaction.OutputLevel + 1)));
        using MergeHeap heap = new(Sources(compaction));
        if (!Write(heap, filter, output))
        {
            return;
        }

        output.Complete();
        ManifestEdit edit = new();
        edit.Removed.AddRange(compaction.Upper.Select(table => (compaction.Level, table.Id)));
        edit.Removed.AddRange(compaction.Lower.Select(table => (compaction.OutputLevel, table.Id)));
        edit.Added.AddRange(output.Tables.Select(table => new ManifestTable(compaction.OutputLevel, table.Id, table.FileBytes, table.Properties)));
        Advance(compaction, edit);
        versions.Apply(edit, output.Tables, flushed: null);
        output.Keep();
        Volatile.Write(ref _bytesCompacted, _bytesCompacted + output.Bytes + compaction.Inputs.Sum(table => table.FileBytes));
    }

    /// <summary>False if it was stopped.</summary>
    private bool Write(MergeHeap heap, EntryFilter filter, TableOutput output)
    {
        long tableBytes = engine.Context.Options.TableBytes;
        int untilCheck = EntriesBetweenChecks;
        heap.SeekFirst();
        while (heap.Top is MergeSource entry)
        {
            EntryFate fate = filter.Decide(entry);
            if (fate != EntryFate.Drop)
            {
                // All versions of a key stay in one table, so that the tables of a level do not overlap.
                if (filter.IsNewKey && output.OpenBytes >= tableBytes)
                {
                    output.EndTable();
                }

                output.Add(entry, bury: fate == EntryFate.Bury);
            }

            if (--untilCheck == 0)
            {
                untilCheck = EntriesBetweenChecks;
                if (_stopping)
                {
                    return false;
                }
            }

            heap.Next();
        }

        return true;
    }

    private static MergeSource[] Sources(Compaction compaction)
    {
        List<MergeSource> sources = [];
        if (compaction.Level == 0)
        {
            sources.AddRange(compaction.Upper.Select(table => new TableSource([table], streaming: true)));
        }
        else
        {
            sources.Add(new TableSource(compaction.Upper, streaming: true));
        }

        if (compaction.Lower.Length > 0)
        {
            sources.Add(new TableSource(compaction.Lower, streaming: true));
        }

        return [.. sources];
    }

    /// <summary>Lets the next compaction of the level continue behind this one.</summary>
    private void Advance(Compaction compaction, ManifestEdit edit)
    {
        if (compaction.Level > 0 && compaction.OutputLevel > compaction.Level)
        {
            byte[] key = compaction.Upper[^1].Properties.Largest;
            edit.Pointers.Add((compaction.Level, key));
            lock (versions.Gate)
            {
                picker.SetPointer(compaction.Level, key);
            }
        }
    }
}
