using System.Diagnostics;
using KeyVa.Log;
using KeyVa.Measurements;
using KeyVa.Replication;

namespace KeyVa.Partitions;

/// <summary>
/// A batch whose keys lie in several partitions of this node: all or nothing, at one version.
/// </summary>
/// <remarks>
/// It takes the writers' roles in the order of the partitions' numbers (so that two of them cannot wait for each other
/// in a ring), checks every condition and evaluates every merge, logs one record for all, applies it everywhere, makes it visible by one store
/// (<see cref="PendingCommit"/>) and gives the roles back. The conditions are checked before the record is logged, not
/// when it is applied: with all roles held nothing can change in between, and a replay of one partition alone could not
/// evaluate what stood in another. What is in the journal is therefore a decided commit. A partition of which the batch only checks
/// something takes no part in it: it is looked at with its role held, and then neither logs nor applies anything, so it may be volatile where the others
/// are not, or the reverse.
/// It never blocks: each step is run by whoever made it possible.
/// </remarks>
internal sealed class CrossPartitionCommit : JournalEntry
{
    private readonly CommitPart[] _parts;
    private readonly CommitPart[] _written;
    private readonly LogPosition[] _positions;
    private readonly int _operations;
    private readonly Journal? _journal;
    private readonly StoreContext _context;
    private readonly TaskCompletionSource<WriteResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private byte _format = GroupEntry.Format;
    private bool _tellsRemoved;
    private RollBackTally? _tally;
    private int _acquired;
    private ITimer? _admission;
    private long _version;
    private long _stamp;

    // Timestamps for the parts of its time; 0: they are not noted.
    private long _began;
    private long _formed;
    private long _logged;

    private CrossPartitionCommit(CommitPart[] parts, CommitPart[] written, int operations, Journal? journal, StoreContext context)
    {
        _parts = parts;
        _written = written;
        _positions = new LogPosition[written.Length];
        _operations = operations;
        _journal = journal;
        _context = context;
        Kind = RecordKind.Commit;
    }

    public override ReadOnlySpan<LogPosition> Positions => _positions;

    /// <summary>Commits a batch, which must not change before the task ends.</summary>
    public static Task<WriteResult> Run(CommandBuilder command, PartitionMap map, Journal journal, StoreContext context)
    {
        if (context.Replication is not null && command.Tally is not null)
        {
            return Task.FromResult(Refusals.NotReplicated("a roll back"));
        }

        if (!CommitPart.TrySplit(command, map, out CommitPart[] ordered, out WriteResult refusal))
        {
            return Task.FromResult(refusal);
        }

        if (command.Session.IsSet)
        {
            // Here, where it is known that they are this node's: while it stops it has none, and that is another reason.
            Array.ForEach(ordered, static part => part.Command.Dispose());
            return Task.FromResult(Refusals.SessionAcross);
        }

        if (context.Replication is { } replication && Array.Exists(ordered, static part => !part.Writer.IsVolatile))
        {
            return Replicate(replication, command, ordered);
        }

        CommitPart[] written = Array.FindAll(ordered, static part => part.HasWrites);
        written = written.Length == 0 ? ordered : written;
        if (Array.Exists(written, part => part.Writer.IsVolatile != written[0].Writer.IsVolatile))
        {
            return Task.FromResult(Refusals.MixedDurability);
        }

        if (AcknowledgementRules.IsRefused(command, written[0].Writer, out WriteResult unkept))
        {
            return Task.FromResult(unkept);
        }

        Journal? log = written[0].Writer.IsVolatile ? null : journal;
        var commit = new CrossPartitionCommit(ordered, written, command.Count, log, context)
        {
            MayUseReserve = command.OnlyRemovals,
            _format = command.Format,
            _tellsRemoved = command.HasRemovals && command.Count > 1,
            _tally = command.Tally,
            _began = context.Timing.IsOn ? Stopwatch.GetTimestamp() : 0,
        };
        commit.AcquireNext();
        return commit._completion.Task;
    }

    /// <summary>The journal is done with the record, or there was none to write.</summary>
    public override void Completed()
    {
        if (Outcome == AppendOutcome.Appended)
        {
            ApplyWhereItMayWait();
        }
        else
        {
            foreach (CommitPart part in _written)
            {
                part.Writer.EndVersions();
            }

            Finish(Outcome == AppendOutcome.Full ? Refusals.Full : Refusals.Failed(_journal!.Failure ?? new StoreException("the journal has stopped")));
        }
    }

    /// <summary>The partitions are other nodes' too. One that is volatile is this node's alone, and cannot be committed with them.</summary>
    private static Task<WriteResult> Replicate(IReplication replication, CommandBuilder command, CommitPart[] parts)
    {
        if (Array.Exists(parts, static part => part.Writer.IsVolatile))
        {
            return Task.FromResult(Refusals.MixedDurability);
        }

        return command.Acknowledgement.Replicas > 0 ? Task.FromResult(Refusals.AcrossIsSync) : replication.CommitAsync(command, parts);
    }

    private void AcquireNext() => _parts[_acquired].Writer.Enter(new Turn(this));

    private void OnAcquired()
    {
        if (++_acquired < _parts.Length)
        {
            AcquireNext();
        }
        else
        {
            Begin();
        }
    }

    /// <summary>All roles are held.</summary>
    private void Begin()
    {
        TimeSpan delay = TimeSpan.Zero;
        foreach (CommitPart part in _parts)
        {
            if (part.Writer.Closed != Status.Ok)
            {
                Finish(Refusals.Gone(part.Writer.PartitionId, part.Writer.Closed));
                return;
            }

            if (part.Writer.Failure is { } failure)
            {
                Finish(Refusals.Failed(failure));
                return;
            }

            TimeSpan asked = part.Writer.State.Admit(part.Command.Length);
            delay = asked > delay ? asked : delay;
        }

        if (delay > TimeSpan.Zero)
        {
            _admission = _context.Time.CreateTimer(static commit => ((CrossPartitionCommit)commit!).Log(), this, delay, Timeout.InfiniteTimeSpan);
        }
        else
        {
            Log();
        }
    }

    private void Log()
    {
        _admission?.Dispose();
        _formed = Look();
        _stamp = _context.Oracle.Now();
        try
        {
            if (!Check(out WriteResult refusal))
            {
                Finish(refusal);
                return;
            }
        }
        catch (StoreException failure)
        {
            // Nothing is logged yet: only this commit fails.
            Finish(Refusals.Failed(failure));
            return;
        }

        TakeVersion();
        if (_journal is null)
        {
            ApplyWhereItMayWait();
            return;
        }

        Encode();
        _journal.Enqueue(this);
    }

    private void TakeVersion()
    {
        if ((_context.Defects & Defects.ShowsCommitsEarly) != 0)
        {
            _version = _context.Oracle.Take(1);
            return;
        }

        foreach (CommitPart part in _written)
        {
            part.Writer.BeginVersions();
        }

        _version = _context.Oracle.Take(1);
        foreach (CommitPart part in _written)
        {
            part.Writer.NoteVersions(_version);
        }
    }

    /// <summary>Of several operations that cannot be done, the first of the batch is told, wherever its key lies.</summary>
    private bool Check(out WriteResult refusal)
    {
        int first = int.MaxValue;
        refusal = default;
        foreach (CommitPart part in _parts)
        {
            // Nothing is under way in the partition: what its indexes show is all there is.
            var outcome = default(CommandOutcome);
            if (!(CommandApplier.Check(part.Writer.State, part.Command.Written, part.Writer.Engine.VisibleVersion + 1, _stamp, ref outcome)
                    && part.Writer.State.Allows(part.Command.Written, part.Writer.Engine.VisibleVersion + 1, _stamp, ref outcome))
                && part.Operations[outcome.FailedOperation] < first)
            {
                first = part.Operations[outcome.FailedOperation];
                refusal = Refusals.FromFailed(outcome, first);
            }
        }

        return first == int.MaxValue;
    }

    private void Encode()
    {
        Span<byte> header = Payload.Append(GroupEntry.HeaderBytes);
        GroupEntry.WriteHeader(header, _format, _version, _stamp, _written.Length);
        for (int i = 0; i < _written.Length; i++)
        {
            _positions[i] = _written[i].Writer.NextPosition();
            Payload.AppendUInt32((uint)_written[i].Command.Length);
            Payload.Append(_written[i].Command.Written);
        }
    }

    /// <summary>
    /// Rolling back may have to wait for a flush, which waits for the journal's sync: it gets a thread of its own, since this
    /// one may be the journal's.
    /// </summary>
    private void ApplyWhereItMayWait()
    {
        if (_tally is null)
        {
            Apply();
        }
        else
        {
            Task.Factory.StartNew(Apply, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        }
    }

    private void Apply()
    {
        _logged = Look();
        var removed = new bool[_operations];
        var pending = new PendingCommit(_version);
        try
        {
            foreach (CommitPart part in _written)
            {
                part.Writer.Engine.SetPendingCommit(pending);
                part.Write(_version, _stamp, removed, _tally);
            }
        }
        catch (StoreException failure)
        {
            // Logged but not applied everywhere: the partitions stop, and opening the store again applies it.
            foreach (CommitPart part in _written)
            {
                part.Writer.Fail(failure);
            }

            Finish(Refusals.Failed(failure));
            return;
        }

        pending.Decide();
        foreach (CommitPart part in _written)
        {
            part.Writer.EndApply(_version, _stamp);
            part.Writer.Engine.SetPendingCommit(null);
            if (_tally is not null && _journal is not null)
            {
                // The history it read is kept until this is done.
                part.Writer.Engine.BeginFlush();
            }
        }

        Finish(new WriteResult
        {
            Status = Status.Ok,
            Version = _version,
            FailedOperation = -1,
            Removed = _tellsRemoved ? removed : null,
            Merged = Merged(),
            Times = Times(),
        });
    }

    private long Look() => _began == 0 ? 0 : Stopwatch.GetTimestamp();

    /// <summary>Where the time went, if it took long enough to be noted. It is told by the first partition that was written to.</summary>
    private WriteTimes? Times()
    {
        long applied = Look();
        return applied == 0 || applied - _began < _context.Timing.ThresholdTicks
            ? null
            : new WriteTimes(_written[0].Writer.PartitionId, _began, _formed, _logged, Math.Min(SyncTicks, _logged - _formed), applied, GroupSize: 1);
    }

    /// <summary>What the merges came to, in the order of the batch. The roles are held, so the partitions still know.</summary>
    private ReadOnlyMemory<byte>[] Merged()
    {
        var merged = new List<(int Operation, ReadOnlyMemory<byte> Value)>();
        foreach (CommitPart part in _written)
        {
            for (int i = 0; i < part.Merges.Count; i++)
            {
                merged.Add((part.Merges[i], part.Writer.State.Merges.Value(i).ToArray()));
            }
        }

        return [.. merged.OrderBy(static merge => merge.Operation).Select(static merge => merge.Value)];
    }

    private void Finish(in WriteResult result)
    {
        for (int i = _acquired - 1; i >= 0; i--)
        {
            _parts[i].Writer.Leave(direct: false);
        }

        foreach (CommitPart part in _parts)
        {
            part.Command.Dispose();
        }

        Payload.Dispose();
        _completion.SetResult(result);
    }

    private sealed class Turn(CrossPartitionCommit commit) : ExclusiveRequest
    {
        public override void Acquired(PartitionWriter writer) => commit.OnAcquired();
    }
}
