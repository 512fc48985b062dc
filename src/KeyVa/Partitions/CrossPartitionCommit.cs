using System.Diagnostics;
using KeyVa.Log;

namespace KeyVa.Partitions;

/// <summary>
/// A batch whose keys lie in several partitions of this node: all or nothing, at one version.
/// </summary>
/// <remarks>
/// It takes the writers' roles in the order of the partitions' numbers (so that two of them cannot wait for each other
/// in a ring), checks every condition, logs one record for all, applies it everywhere, makes it visible by one store
/// (<see cref="PendingCommit"/>) and gives the roles back. The conditions are checked before the record is logged, not
/// when it is applied: with all roles held nothing can change in between, and a replay of one partition alone could not
/// evaluate what stood in another. What is in the journal is therefore a decided commit.
/// It never blocks: each step is run by whoever made it possible.
/// </remarks>
internal sealed class CrossPartitionCommit : JournalEntry
{
    private readonly Part[] _parts;
    private readonly LogPosition[] _positions;
    private readonly int _operations;
    private readonly Journal? _journal;
    private readonly VersionOracle _oracle;
    private readonly TimeProvider _time;
    private readonly TaskCompletionSource<WriteResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private byte _format = GroupEntry.Format;
    private bool _tellsRemoved;
    private int _acquired;
    private ITimer? _admission;
    private long _version;
    private long _stamp;

    private CrossPartitionCommit(Part[] parts, int operations, Journal? journal, VersionOracle oracle, TimeProvider time)
    {
        _parts = parts;
        _positions = new LogPosition[parts.Length];
        _operations = operations;
        _journal = journal;
        _oracle = oracle;
        _time = time;
        Kind = RecordKind.Commit;
    }

    public override ReadOnlySpan<LogPosition> Positions => _positions;

    /// <summary>Commits a batch, which must not change before the task ends.</summary>
    public static Task<WriteResult> Run(CommandBuilder command, PartitionMap map, Journal journal, VersionOracle oracle, TimeProvider time)
    {
        var parts = new SortedDictionary<long, Part>();
        ReadOnlySpan<byte> bytes = command.Buffer.Written;
        for (int i = 0; ; i++)
        {
            ReadOnlySpan<byte> before = bytes;
            if (!OperationEncoding.TryRead(ref bytes, out Operation operation))
            {
                break;
            }

            if (operation.IsRange)
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

            PartOf(parts, owner).Add(before[..^bytes.Length], i);
        }

        Part[] ordered = [.. parts.Values];
        if (ordered.Length > 1 && ordered.Any(p => p.Writer.IsVolatile != ordered[0].Writer.IsVolatile))
        {
            return Task.FromResult(Refusals.MixedDurability);
        }

        Journal? log = ordered[0].Writer.IsVolatile ? null : journal;
        var commit = new CrossPartitionCommit(ordered, command.Count, log, oracle, time)
        {
            MayUseReserve = command.OnlyRemovals,
            _format = command.Format,
            _tellsRemoved = command.HasRemovals && command.Count > 1,
        };
        commit.AcquireNext();
        return commit._completion.Task;
    }

    /// <summary>The journal is done with the record, or there was none to write.</summary>
    public override void Completed()
    {
        if (Outcome == AppendOutcome.Appended)
        {
            Apply();
        }
        else
        {
            foreach (Part part in _parts)
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
            PartOf(parts, owner).AddRange(owner.Range, operation.Key, operation.To, number);
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
            _admission = _time.CreateTimer(static commit => ((CrossPartitionCommit)commit!).Log(), this, delay, Timeout.InfiniteTimeSpan);
        }
        else
        {
            Log();
        }
    }

    private void Log()
    {
        _admission?.Dispose();
        _stamp = _oracle.Now();
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

        foreach (Part part in _parts)
        {
            part.Writer.BeginVersions();
        }

        _version = _oracle.Take(1);
        foreach (Part part in _parts)
        {
            part.Writer.NoteVersions(_version);
        }

        if (_journal is null)
        {
            Apply();
            return;
        }

        Encode();
        _journal.Enqueue(this);
    }

    /// <summary>Of several conditions that do not hold, the first of the batch is told, wherever its key lies.</summary>
    private bool Check(out WriteResult refusal)
    {
        int first = int.MaxValue;
        refusal = default;
        foreach (Part part in _parts)
        {
            // Nothing is under way in the partition: what its indexes show is all there is.
            var outcome = default(CommandOutcome);
            if (!(CommandApplier.Check(part.Writer.Engine, part.Command.Written, _stamp, ref outcome)
                    && part.Writer.State.Allows(part.Command.Written, part.Writer.Engine.VisibleVersion + 1, _stamp, ref outcome))
                && part.Operations[outcome.FailedOperation] < first)
            {
                first = part.Operations[outcome.FailedOperation];
                outcome.FailedOperation = first;
                refusal = Refusals.FromFailure(outcome);
            }
        }

        return first == int.MaxValue;
    }

    private void Encode()
    {
        Span<byte> header = Payload.Append(GroupEntry.HeaderBytes);
        GroupEntry.WriteHeader(header, _format, _version, _stamp, _parts.Length);
        for (int i = 0; i < _parts.Length; i++)
        {
            _positions[i] = _parts[i].Writer.NextPosition();
            Payload.AppendUInt32((uint)_parts[i].Command.Length);
            Payload.Append(_parts[i].Command.Written);
        }
    }

    private void Apply()
    {
        var removed = new bool[_operations];
        var pending = new PendingCommit(_version);
        try
        {
            foreach (Part part in _parts)
            {
                part.Writer.Engine.SetPendingCommit(pending);
                part.Write(_version, _stamp, removed);
            }
        }
        catch (StoreException failure)
        {
            // Logged but not applied everywhere: the partitions stop, and opening the store again applies it.
            foreach (Part part in _parts)
            {
                part.Writer.Fail(failure);
            }

            Finish(Refusals.Failed(failure));
            return;
        }

        pending.Decide();
        foreach (Part part in _parts)
        {
            part.Writer.EndApply(_version, _stamp);
            part.Writer.Engine.SetPendingCommit(null);
        }

        Finish(new WriteResult { Status = Status.Ok, Version = _version, FailedOperation = -1, Removed = _tellsRemoved ? removed : null });
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

        public void Add(ReadOnlySpan<byte> operation, int number)
        {
            Command.Append(operation);
            _operations.Add(number);
        }

        /// <summary>Adds what a removed range and the partition's own have in common.</summary>
        public void AddRange(KeyRange own, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, int number)
        {
            ReadOnlySpan<byte> ownTo = own.To.Span;
            bool endsHere = !to.IsEmpty && (ownTo.IsEmpty || to.SequenceCompareTo(ownTo) < 0);
            OperationEncoding.AppendRemoveRange(
                Command, from.SequenceCompareTo(own.From.Span) > 0 ? from : own.From.Span, endsHere ? to : ownTo);
            _operations.Add(number);
        }

        public void Write(long version, long stamp, bool[] removed)
        {
            var outcome = default(CommandOutcome);
            var mine = new bool[_operations.Count];
            CommandApplier.Write(Writer.State, Command.Written, version, stamp, mine, ref outcome);
            Debug.Assert(outcome.Status == Status.Ok, "the conditions were checked");
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
