using KeyVa.Sessions;

namespace KeyVa.Engines.Lsm;

/// <summary>Writes immutable memtables to level 0, oldest first, one table each.</summary>
/// <remarks>Runs on a background thread or, for a checkpoint, on the caller's; one lock keeps them apart.</remarks>
internal sealed class FlushJob(LsmEngine engine, VersionSet versions) : BackgroundJob(JobPriority.Flush)
{
    private static readonly TimeSpan FirstRetry = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromSeconds(30);

    private readonly Lock _running = new();
    private TimeSpan _retry = FirstRetry;
    private long _bytesFlushed;
    private long _valueBytesFlushed;

    /// <summary>Bytes of value files.</summary>
    public long ValueBytesFlushed => Volatile.Read(ref _valueBytesFlushed);

    /// <summary>Bytes of tables.</summary>
    public long BytesFlushed => Volatile.Read(ref _bytesFlushed);

    public override void Run()
    {
        try
        {
            FlushUpTo(long.MaxValue);
            _retry = FirstRetry;
        }
        catch (StorageFullException) when (versions.Failure is null)
        {
            // The memtables stay where they are, and the log keeps what they hold; there may be room later.
            engine.Context.Background.ScheduleAfter(this, _retry);
            _retry = _retry * 2 < LongestRetry ? _retry * 2 : LongestRetry;
        }
        catch (StoreException failure)
        {
            versions.Fail(failure);

            // Whoever waits for compactions behind this flush is to hear of it.
            engine.ScheduleCompactions();
        }
    }

    /// <summary>Flushes every immutable memtable whose entries the log has up to this index.</summary>
    public void FlushUpTo(long index)
    {
        lock (_running)
        {
            while (versions.Failure is null && versions.Current.Immutables is [.., Memtable oldest] && oldest.End.Index <= index)
            {
                Superversion superversion = versions.Pin();
                try
                {
                    Flush(oldest, superversion);
                }
                finally
                {
                    versions.Unpin(superversion);
                }
            }
        }
    }

    private void Flush(Memtable memtable, Superversion superversion)
    {
        Horizon horizon = engine.HorizonFor(memtable.End);
        int retained = engine.Context.Snapshots.Retention.Count;
        RangeTombstones? ranges = memtable.Ranges is { } runs ? RangeTombstoneMerge.Merge([runs.Merged], horizon.Version, retained) : null;
        using TableOutput output = new(engine.Context, versions, memtable.MinVersion, memtable.MinStamp, new KeysBelow(superversion, firstLevel: 0))
        {
            Ranges = ranges is null || retained > 0 ? ranges : RangeTombstoneMerge.DropCoveringNothing(ranges, horizon.Version, superversion.Tables),
        };
        using EntryFilter filter = new(horizon, deeper: null, ranges, retained);
        using MemtableSource source = new(memtable.List);
        for (source.SeekFirst(); source.Valid; source.Next())
        {
            EntryFate fate = filter.Decide(source);
            if (fate != EntryFate.Drop)
            {
                output.Add(source, bury: fate == EntryFate.Bury);
            }
        }

        output.Complete();
        if (memtable.HoldsPart)
        {
            // A part of a command is no prefix of the log: the log must have the whole, for the replay.
            engine.Context.SyncLog?.Invoke();
        }
        else
        {
            engine.Context.SyncLogBeforeFiles();
        }

        engine.Context.BeforeDurable?.Invoke(memtable.End.Index);
        SessionsFile.Write(engine.Context.FileSystem, engine.Context.Directory, memtable.End.Index, memtable.End.Sessions);
        bool hadSessions = versions.Current.Durable.Sessions.Length > 0;
        ManifestEdit edit = new() { Mark = memtable.End };
        edit.AddedValues.AddRange(output.ValueFiles);
        edit.Added.AddRange(output.Tables.Select(table => new ManifestTable(0, table.Id, table.FileBytes, table.Properties)));
        versions.Apply(edit, output.Tables, memtable);

        // Before anything else can fail: the manifest names them.
        output.Keep();
        memtable.MoveTo(MemoryKind.Flushed);
        if (hadSessions)
        {
            SessionsFile.RemoveAllBut(engine.Context.FileSystem, engine.Context.Directory, memtable.End.Index);
        }

        Volatile.Write(ref _bytesFlushed, _bytesFlushed + output.Bytes);
        Volatile.Write(ref _valueBytesFlushed, _valueBytesFlushed + output.ValueFileBytes);
        engine.Flushed();
    }
}
