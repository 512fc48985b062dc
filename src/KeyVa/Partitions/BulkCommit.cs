using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Log;

namespace KeyVa.Partitions;

/// <summary>
/// The commit of a bulk load: one record for the tables of all its partitions, which become visible at once, at one version.
/// Runs on the caller's thread, which waits for the disk.
/// </summary>
/// <remarks>
/// As <see cref="CrossPartitionCommit"/> it takes the writers' roles in the order of the partitions' numbers. While it holds
/// them it flushes what came since the flush ahead of them, logs the record and applies it: writers of these partitions wait
/// for a few syncs, not for the load. See <see cref="Ingestion"/> for the order of steps.
/// </remarks>
internal sealed class BulkCommit : JournalEntry
{
    private readonly BulkPart[] _parts;
    private readonly LogPosition[] _positions;
    private readonly Journal _journal;
    private readonly VersionOracle _oracle;

    private BulkCommit(BulkPart[] parts, Journal journal, VersionOracle oracle)
    {
        _parts = parts;
        _positions = new LogPosition[parts.Length];
        _journal = journal;
        _oracle = oracle;
        Kind = RecordKind.Ingest;
    }

    public override ReadOnlySpan<LogPosition> Positions => _positions;

    /// <summary>Commits a load whose staged tables are complete.</summary>
    public static WriteResult Run(IEnumerable<BulkPart> parts, Journal journal, VersionOracle oracle)
    {
        BulkPart[] ordered = [.. parts.OrderBy(static part => part.Partition.Id)];
        var commit = new BulkCommit(ordered, journal, oracle);
        try
        {
            return commit.Run();
        }
        finally
        {
            commit.Payload.Dispose();
        }
    }

    /// <summary>Only entries that are enqueued are told.</summary>
    public override void Completed() => throw new InvalidOperationException("a bulk load waits for its record");

    private static void FlushAhead(BulkPart part)
    {
        var rotated = new Turn();
        part.Writer.Enter(rotated);
        rotated.Wait();
        try
        {
            part.Writer.Engine.BeginFlush();
        }
        finally
        {
            part.Writer.Leave(direct: false);
        }

        part.Ingestion.FlushAhead();
    }

    private WriteResult Run()
    {
        int acquired = 0;
        try
        {
            Array.ForEach(_parts, FlushAhead);
            for (; acquired < _parts.Length; acquired++)
            {
                var turn = new Turn();
                _parts[acquired].Writer.Enter(turn);
                turn.Wait();
            }

            return RunWithRoles();
        }
        catch (StorageFullException)
        {
            // Before the record was logged: what comes after it fails the partitions and does not get here.
            return Refusals.Full;
        }
        catch (StoreException failure)
        {
            return Refusals.Failed(failure);
        }
        finally
        {
            while (--acquired >= 0)
            {
                _parts[acquired].Writer.Leave(direct: false);
            }
        }
    }

    private WriteResult RunWithRoles()
    {
        foreach (BulkPart part in _parts)
        {
            if (part.Writer.Closed != Status.Ok)
            {
                return Refusals.Gone(part.Writer.PartitionId, part.Writer.Closed);
            }

            if (part.Writer.Failure is { } failure)
            {
                return Refusals.Failed(failure);
            }

            if (part.Partition.Indexes.All.Length > 0)
            {
                return Indexes.IndexRefusals.LoadOvertaken;
            }

            part.Ingestion.Prepare(part.Staging.Tables);
        }

        AppendOutcome outcome = Log(out long version, out long stamp);
        if (outcome == AppendOutcome.Appended)
        {
            return Apply(version, stamp);
        }

        foreach (BulkPart part in _parts)
        {
            part.Writer.EndVersions();
            part.Staging.Keep(outcome != AppendOutcome.Full);
        }

        return outcome == AppendOutcome.Full ? Refusals.Full : Refusals.Failed(_journal.Failure ?? new StoreException("the journal has stopped"));
    }

    private AppendOutcome Log(out long version, out long stamp)
    {
        foreach (BulkPart part in _parts)
        {
            part.Writer.BeginVersions();
            part.Staging.Keep(true);
        }

        stamp = _oracle.Now();
        version = _oracle.Take(1);
        GroupEntry.WriteHeader(Payload.Append(GroupEntry.HeaderBytes), GroupEntry.IngestFormat, version, stamp, _parts.Length);
        using NativeBuffer tables = new();
        for (int i = 0; i < _parts.Length; i++)
        {
            _parts[i].Writer.NoteVersions(version);
            _positions[i] = _parts[i].Writer.NextPosition();
            tables.Clear();
            foreach (StagedTable table in _parts[i].Staging.Tables)
            {
                table.Encode(tables);
            }

            Payload.AppendUInt32((uint)tables.Length);
            Payload.Append(tables.Written);
        }

        return _journal.Append(this);
    }

    private WriteResult Apply(long version, long stamp)
    {
        var pending = new PendingCommit(version);
        try
        {
            for (int i = 0; i < _parts.Length; i++)
            {
                _parts[i].Writer.Engine.SetPendingCommit(pending);
                _parts[i].Ingestion.Apply(_parts[i].Staging.Tables, new LogMark(_positions[i].Index, version, stamp));
                _parts[i].Writer.State.Load(version, stamp);
            }
        }
        catch (StoreException failure)
        {
            // Logged but not applied everywhere: the partitions stop, and opening the store again applies it.
            foreach (BulkPart part in _parts)
            {
                part.Writer.Fail(failure);
            }

            return Refusals.Failed(failure);
        }

        pending.Decide();
        foreach (BulkPart part in _parts)
        {
            part.Writer.EndApply(version, stamp);
            part.Writer.Engine.SetPendingCommit(null);
        }

        return new WriteResult { Status = Status.Ok, Version = version, FailedOperation = -1 };
    }

    /// <summary>The thread that asked for the role gets it.</summary>
    private sealed class Turn : ExclusiveRequest
    {
        private readonly TaskCompletionSource _acquired = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override void Acquired(PartitionWriter writer) => _acquired.SetResult();

        public void Wait() => _acquired.Task.GetAwaiter().GetResult();
    }
}

/// <summary>What of a bulk load lies in one partition, which stays pinned until this is disposed. One thread.</summary>
internal sealed class BulkPart : IDisposable
{
    /// <summary>The partition is pinned by the caller; the part lets go of it.</summary>
    public BulkPart(Partition partition, Ingestion ingestion)
    {
        Partition = partition;
        Ingestion = ingestion;
        Staging = ingestion.BeginStaging();
    }

    public Partition Partition { get; }

    public Ingestion Ingestion { get; }

    public TableStaging Staging { get; }

    public PartitionWriter Writer => Partition.Writer;

    public void Dispose()
    {
        Staging.Dispose();
        Partition.Unpin();
    }
}
