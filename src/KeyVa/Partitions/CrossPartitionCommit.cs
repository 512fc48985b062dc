using System.Diagnostics;
using KeyVa.Log;

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
    private readonly Part[] _parts;
    private readonly Part[] _written;
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

    private CrossPartitionCommit(Part[] parts, Part[] written, int operations, Journal? journal, StoreContext context)
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
        if (context.Replication is not null)
        {
            return Task.FromResult(Refusals.NotReplicated("a write over several partitions, or a roll back,"));
        }

        var parts = new SortedDictionary<long, Part>();
        ReadOnlySpan<byte> bytes = command.Buffer.Written;
        for (int i = 0; ; i++)
        {
            ReadOnlySpan<byte> before = bytes;
            if (!OperationEncoding.TryRead(ref bytes, out Operation operation))
            {
                break;
            }

            if (operation.IsRange || operation.IsRollBack)
            {
                if (!AddRange(parts, map, operation, i))
                {
                    return Task.FromResult(Refusals.BadNode(i));
                }

                continue;
            }

            Partition? owner = map.Find(operation.Key);
            if (owner is null)
            {
                return Task.FromResult(Refusals.BadNode(i));
            }

            if (operation.SpansRange && PartitionMap.EndsBehind(operation.To, owner))
            {
                return Task.FromResult(Refusals.BadNode(i));
            }

            PartOf(parts, owner).Add(before[..^bytes.Length], i, operation);
        }

        Part[] ordered = [.. parts.Values];
        Part[] written = Array.FindAll(ordered, static part => part.HasWrites);
        written = written.Length == 0 ? ordered : written;
        if (Array.Exists(written, part => part.Writer.IsVolatile != written[0].Writer.IsVolatile))
        {
            return Task.FromResult(Refusals.MixedDurability);
        }

        Journal? log = written[0].Writer.IsVolatile ? null : journal;
        var commit = new CrossPartitionCommit(ordered, written, command.Count, log, context)
        {
            MayUseReserve = command.OnlyRemovals,
            _format = command.Format,
            _tellsRemoved = command.HasRemovals && command.Count > 1,
            _tally = command.Tally,
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
            foreach (Part part in _written)
            {
                part.Writer.EndVersions();
            }

            Finish(Outcome == AppendOutcome.Full ? Refusals.Full : Refusals.Failed(_journal!.Failure ?? new StoreException("the journal has stopped")));
        }
    }

    private static Part PartOf(SortedDictionary<long, Part> parts, Partition owner)
    {
        if (!parts.TryGetValue(owner.Id, out Part? part))
        {
            parts.Add(owner.Id, part = new Part(owner.Writer));
        }

        return part;
    }

    /// <summary>
    /// Splits a range by the partitions that own it; false if this node does not own all of it (all keys: all it owns).
    /// </summary>
    private static bool AddRange(SortedDictionary<long, Part> parts, PartitionMap map, in Operation operation, int number)
    {
        bool isEverything = operation.Key.IsEmpty && operation.To.IsEmpty;
        ArraySegment<Partition> owners = map.Cover(operation.Key, operation.To, out bool complete);
        foreach (Partition owner in owners)
        {
            PartOf(parts, owner).AddRange(owner.Range, operation, number);
        }

        return owners.Count > 0 && (complete || isEverything);
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
        foreach (Part part in _parts)
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

        foreach (Part part in _written)
        {
            part.Writer.BeginVersions();
        }

        _version = _context.Oracle.Take(1);
        foreach (Part part in _written)
        {
            part.Writer.NoteVersions(_version);
        }
    }

    /// <summary>Of several operations that cannot be done, the first of the batch is told, wherever its key lies.</summary>
    private bool Check(out WriteResult refusal)
    {
        int first = int.MaxValue;
        refusal = default;
        foreach (Part part in _parts)
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
        var removed = new bool[_operations];
        var pending = new PendingCommit(_version);
        try
        {
            foreach (Part part in _written)
            {
                part.Writer.Engine.SetPendingCommit(pending);
                part.Write(_version, _stamp, removed, _tally);
            }
        }
        catch (StoreException failure)
        {
            // Logged but not applied everywhere: the partitions stop, and opening the store again applies it.
            foreach (Part part in _written)
            {
                part.Writer.Fail(failure);
            }

            Finish(Refusals.Failed(failure));
            return;
        }

        pending.Decide();
        foreach (Part part in _written)
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
        });
    }

    /// <summary>What the merges came to, in the order of the batch. The roles are held, so the partitions still know.</summary>
    private ReadOnlyMemory<byte>[] Merged()
    {
        var merged = new List<(int Operation, ReadOnlyMemory<byte> Value)>();
        foreach (Part part in _written)
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

        foreach (Part part in _parts)
        {
            part.Command.Dispose();
        }

        Payload.Dispose();
        _completion.SetResult(result);
    }

    /// <summary>What of the batch lies in one partition.</summary>
    private sealed class Part(PartitionWriter writer)
    {
        private readonly List<int> _operations = [];

        public PartitionWriter Writer { get; } = writer;

        public Io.NativeBuffer Command { get; } = new();

        /// <summary>Which operation of the batch each of the part's operations is.</summary>
        public List<int> Operations => _operations;

        /// <summary>Which of them are merges.</summary>
        public List<int> Merges { get; } = [];

        /// <summary>Whether it has more than checks.</summary>
        public bool HasWrites { get; private set; }

        public void Add(ReadOnlySpan<byte> bytes, int number, in Operation operation)
        {
            Command.Append(bytes);
            _operations.Add(number);
            HasWrites |= !operation.IsCheck;
            if (operation.IsMerge)
            {
                Merges.Add(number);
            }
        }

        /// <summary>Adds what a removed range and the partition's own have in common.</summary>
        public void AddRange(KeyRange own, in Operation operation, int number)
        {
            ReadOnlySpan<byte> from = operation.Key;
            ReadOnlySpan<byte> to = operation.To;
            ReadOnlySpan<byte> ownTo = own.To.Span;
            HasWrites = true;
            bool endsHere = !to.IsEmpty && (ownTo.IsEmpty || to.SequenceCompareTo(ownTo) < 0);
            from = from.SequenceCompareTo(own.From.Span) > 0 ? from : own.From.Span;
            to = endsHere ? to : ownTo;
            if (operation.IsRollBack)
            {
                OperationEncoding.AppendRollBack(Command, from, to, operation.TargetVersion);
            }
            else
            {
                OperationEncoding.AppendRemoveRange(Command, from, to);
            }

            _operations.Add(number);
        }

        public void Write(long version, long stamp, bool[] removed, RollBackTally? tally)
        {
            var outcome = default(CommandOutcome);
            var mine = new bool[_operations.Count];
            CommandApplier.Write(Writer.State, Command.Written, version, stamp, mine, ref outcome);
            Debug.Assert(outcome.Status == Status.Ok, "it was checked");
            if (tally is not null)
            {
                tally.Changed += outcome.ChangedCount;
            }

            for (int i = 0; i < mine.Length; i++)
            {
                removed[_operations[i]] = mine[i];
            }
        }
    }

    private sealed class Turn(CrossPartitionCommit commit) : ExclusiveRequest
    {
        public override void Acquired(PartitionWriter writer) => commit.OnAcquired();
    }
}
