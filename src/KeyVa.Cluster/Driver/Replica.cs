using System.Globalization;
using KeyVa.Cluster.Commits;
using KeyVa.Cluster.Wire;
using KeyVa.Commits;
using KeyVa.Log;
using KeyVa.Raft;
using KeyVa.Replication;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// This node's part in one partition's group: carries what the group wants to the journal, the peers and the partition, and brings back what
/// they say. Owned by its driver's loop.
/// </summary>
/// <remarks>
/// <para>A group of requests is proposed here if this node leads, else it is handed to the leader. Either way it is answered when its entry is
/// applied here, by this node's own state. It is given up only when it can be said what became of it: an entry of a later term that is
/// applied before it says that it never will be; then it is tried again, as nothing of it was done.</para>
/// <para>Invariant: a leader hands out versions only once it has applied an entry of its own term: then it knows all that were handed out before.</para>
/// </remarks>
internal sealed class Replica
{
    private const int MaxReads = 4096;

    private readonly ClusterDriver _driver;
    private readonly DriverOptions _options;
    private readonly RaftGroup _group;
    private readonly ReplicaLog _log;
    private readonly ReplicaJournal _journal;
    private readonly PendingReads _reads;
    private readonly Acknowledgements _acknowledgements;
    private readonly Action<long, EarlyReply> _told;
    private readonly Work _work = new();

    // Another's once a snapshot has taken the place of the partition's state.
    private ReplicatedWriter _writer;

    // Requests of this node's callers.
    private readonly OwnGroups _own;

    private readonly PreparedGate _gate = new();

    // What this node proposed and has not applied, in the log's order.
    private readonly Queue<long> _proposed = new();

    // Handed out by the group, and not applied yet.
    private ReadOnlyMemory<Entry> _committed;
    private long _applyAt;
    private bool _isAdmitted;

    // A snapshot that has arrived and is being offered to the group.
    private (SnapshotMetadata Snapshot, string Directory, byte[] Head)? _arrived;

    // When something was last asked of the group here, and whether it was silent when it was driven last.
    private long _askedAt;
    private bool _wasSilent;

    private long _appliedTerm;

    // The newest term in which this node looked after reads as the leader.
    private long _readsLedIn;
    private long _durableIndex;
    private long _retryAt;
    private long _writeAgainAt = long.MaxValue;

    public Replica(ClusterDriver driver, DriverOptions options, ReplicatedWriter writer, HardState state, SnapshotMetadata stand, IReadOnlyList<Entry> entries, long now)
    {
        _driver = driver;
        _options = options;
        _writer = writer;
        _log = new ReplicaLog(stand, entries);
        _journal = new ReplicaJournal(writer.PartitionId, state, stand, driver.Completed, driver.Write) { Options = options };
        _acknowledgements = new Acknowledgements(driver, options, writer.PartitionId);
        _own = new OwnGroups(driver.NextNumber, writer.PartitionId);
        _told = (from, reply) => Told(from, reply);
        _reads = new PendingReads(options.RequestTimeout, MaxReads);
        long applied = Math.Max(writer.Engine.AppliedIndex, stand.Index);
        _durableIndex = stand.Index;
        applied += options.Has(DriverDefects.RepeatsAnEntry) && applied > stand.Index ? -1 : options.Has(DriverDefects.SkipsAnEntry) && applied < _log.LastIndex ? 1 : 0;
        _group = new RaftGroup(options.ToRaft(writer.PartitionId), _log, state, applied, now);
        _appliedTerm = _log.TermAt(applied);
    }

    public long Partition => _writer.PartitionId;

    /// <summary>Nodes that count when replicas are asked for: the voters. 0: this node does not know them yet.</summary>
    private int Voters => _group.Membership.Voters.Length;

    /// <summary>Before something that could not be done now is tried again.</summary>
    private long Pause => Math.Max(1, _options.HeartbeatInterval / 10);

    public RaftGroup Group => _group;

    public ReplicaLog Log => _log;

    /// <summary>Where the membership in force stands in the log.</summary>
    public long MembershipIndex => _group.Log.MembershipIndex;

    public ReplicatedWriter Writer => _writer;

    /// <summary>What stopped the replica, or null: it takes no part any more, as if its node had stopped.</summary>
    public StoreException? Failure { get; private set; }

    /// <summary>Whether this node leads and may propose.</summary>
    public bool IsLeading => _group.Role == Role.Leader && (_appliedTerm == _group.Term || _options.Has(DriverDefects.LeadsUnprepared));

    /// <summary>Whether the group is silent: no heartbeats come or go, and nobody waits for them.</summary>
    public bool IsSilent => Failure is null && _group.IsQuiescent;

    /// <summary>Reads and groups of this node's callers that are not answered yet.</summary>
    public int Unanswered => _reads.Count + _own.Count;

    /// <summary>Until then nothing happens of its own accord; known once it was driven.</summary>
    public long WakeAt { get; private set; }

    public void Tick(long now)
    {
        if (Failure is not null)
        {
            return;
        }

        if (now >= _group.NextDeadline && !TryFallSilent(now))
        {
            _group.Tick(now);
        }

        if (now >= _writeAgainAt)
        {
            _writeAgainAt = long.MaxValue;
            _journal.WriteAgain();
        }
    }

    public void Step(in Message message, long now)
    {
        if (Failure is null)
        {
            _askedAt = message.Kind == MessageKind.Read ? now : _askedAt;
            _group.Step(message, now);
        }
    }

    public void Read(IReadWaiter waiter, long now)
    {
        if (_options.Has(DriverDefects.ReadsLocally))
        {
            waiter.Complete(Status.Ok);
        }
        else if (Failure is not null || !_reads.TryAdd(waiter, now))
        {
            waiter.Complete(Failure is null ? Status.Busy : Status.Failed);
        }
    }

    /// <summary>Tells a waiter when so many voters beside the leader have an entry, and everything before it, on disk.</summary>
    public void Count(ICountWaiter waiter, long term, long index, byte others, long deadline)
    {
        if (Failure is not null || _driver.IsStopping || !_acknowledgements.TryCount(waiter, term, index, others, deadline))
        {
            waiter.Complete(0);
        }
    }

    /// <summary>A peer wants to know how far the voters are.</summary>
    public void Asked(long from)
    {
        if (Failure is null)
        {
            _acknowledgements.Asked(from, _group);
        }
    }

    /// <summary>The leader has told how far the voters are.</summary>
    public void MatchesTold(in FrameItem item) => _acknowledgements.Told(item);

    /// <summary>The leader has told of a group that it took.</summary>
    public void Told(long from, in EarlyReply reply)
    {
        if (_own.Find(reply.Group, from, reply.Term) is { } own)
        {
            own.Reached = reply;
            if (own.Early > 0 && reply.IsOnLeader && reply.Others + 1 >= own.Early && _writer.IsSureOf(own.Requests))
            {
                _own.Take(own.Number);
                own.Requests.CompleteEarly(reply.Version, reply.ToReceipt(Partition));
            }
        }
    }

    /// <summary>Does everything that there is to do now. An engine that failed in the background ends it: a leader that can apply nothing would lead on for ever.</summary>
    public void Drive(long now)
    {
        if (Failure is null && _writer.Engine.Failure is { } broken)
        {
            Stop(broken);
        }

        bool again = true;
        while (again && Failure is null)
        {
            if (_options.Has(DriverDefects.RetriesWhatMayBeDone))
            {
                _own.Supersede(_group.Term);
            }

            TakeRequests(now);
            SendRequests(now);
            AskReads(now);
            again = Work(now);
            _journal.TryWrite();
        }

        if (Failure is null)
        {
            _acknowledgements.Advance(_group, _told, now);
            Trim();
            _reads.Expire(now);
            _own.Expire(now);
        }
        else
        {
            TakeRequests(now);
        }

        // Whoever ended a silence may want more.
        _askedAt = _wasSilent && !_group.IsQuiescent ? now : _askedAt;
        _wasSilent = _group.IsQuiescent;
        WakeAt = NextDeadline(now);
    }

    /// <summary>A record of this replica's is in the journal, or is not.</summary>
    public void Completed(ReplicaRecord record, long now)
    {
        if (record.Outcome == AppendOutcome.Failed && !_options.Has(DriverDefects.TakesFailedForWritten))
        {
            Stop(new StoreException(string.Create(CultureInfo.InvariantCulture, $"the journal has stopped, and with it this node's replica of partition {Partition}")));
            return;
        }

        if (_journal.End(record.Outcome) is not { } number)
        {
            // Without room nothing is acknowledged, and the others go on.
            _writeAgainAt = now + _options.HeartbeatInterval;
            return;
        }

        if (number > 0 && !_options.Has(DriverDefects.AcknowledgesUnwritten))
        {
            _group.Persisted(number);
        }

        if (record.Base is { } stand)
        {
            _driver.Release(Partition, _options.Has(DriverDefects.ReleasesUnflushed) ? _group.AppliedIndex : stand);
        }
    }

    /// <summary>The partition's files have everything up to an index.</summary>
    public void DurableAdvanced(long index)
    {
        if (Failure is null && index > _durableIndex && index >= _log.FirstIndex - 1)
        {
            _durableIndex = index;
            _journal.Stand(new SnapshotMetadata(index, _log.TermAt(index), _options.Has(DriverDefects.StandsOnNewestMembership) ? _group.Membership : _group.MembershipAt(index)));
        }
    }

    /// <summary>Has a step of a commit over several partitions done, as a write would be.</summary>
    public void Submit(StepRequest request, long now)
    {
        ReplicatedGroup group = _writer.Alone(request);
        if (Failure is not null || _driver.IsStopping)
        {
            group.Complete(ReplicaRefusals.Unavailable(Partition));
            return;
        }

        _own.Add(group, now + _options.RequestTimeout, request.Step.PassesPrepared);
    }

    /// <summary>A peer's callers want something done, and it takes this node for the leader of a term.</summary>
    public void Forwarded(long from, in FrameItem item, long now)
    {
        if (Failure is not null || _group.Role != Role.Leader || _group.Term != item.Term)
        {
            _driver.Refuse(from, Partition, item, ForwardRefusal.NotLeader, _group.Leader);
            return;
        }

        if (!ReplicatedWriter.IsWhole(item.Bytes.Span))
        {
            _driver.Refuse(from, Partition, item, ForwardRefusal.Malformed, _group.Leader);
            return;
        }

        if (item.Early > Voters)
        {
            _driver.Refuse(from, Partition, item, ForwardRefusal.TooFewReplicas, _group.Leader);
            return;
        }

        byte[] data = new byte[CommandEntry.HeadBytes + item.Bytes.Length];
        item.Bytes.Span.CopyTo(data.AsSpan(CommandEntry.HeadBytes));
        CommandEntry.WriteHead(data, from, item.Group);
        if (!IsLeading || !_committed.IsEmpty || !TryPropose(data, from, item.Group, item.Early, now))
        {
            _driver.Refuse(from, Partition, item, ForwardRefusal.NotNow, _group.Leader);
        }
    }

    /// <summary>The leader did not take a group: nothing of it was done.</summary>
    public void ForwardRefused(long from, in FrameItem item, long now)
    {
        if (_own.Find(item.Group, from, item.Term) is not { } own)
        {
            return;
        }

        if (item.Reason == ForwardRefusal.Malformed)
        {
            _own.Take(own.Number);
            own.Requests.Complete(ReplicaRefusals.Malformed(Partition, from));
            return;
        }

        if (item.Reason == ForwardRefusal.TooFewReplicas)
        {
            _own.Take(own.Number);
            own.Requests.Complete(ReplicaRefusals.TooFew(own.Early - 1, Voters - 1));
            return;
        }

        _own.WaitAgain(own);
        _retryAt = Math.Max(_retryAt, now + Pause);
    }

    /// <summary>A frame to a peer could not be sent: what was handed over with it, nobody has.</summary>
    public void NotSent(long peer, ulong frame)
    {
        if (_own.NotSent(peer, frame))
        {
            WakeAt = 0;
        }
    }

    /// <summary>Ends a silence, since something became of a peer whose last sign of life was at <paramref name="heardAt"/>.</summary>
    public void Wake(long now, long heardAt)
    {
        if (Failure is null)
        {
            _group.Wake(now, heardAt);
        }
    }

    /// <summary>A leader's copy of the partition has arrived. False: it is of no use, and its files may go.</summary>
    public bool TakeSnapshot(long from, long term, SnapshotMetadata snapshot, string directory, byte[] head, long now)
    {
        if (Failure is not null)
        {
            return false;
        }

        _arrived = (snapshot, directory, head);
        _group.Step(new Message { Kind = MessageKind.InstallSnapshot, From = from, To = _options.Node, Term = term, Index = snapshot.Index, LogTerm = snapshot.Term, Snapshot = snapshot }, now);
        Drive(now);
        bool isTaken = _arrived is null;
        _arrived = null;
        return isTaken;
    }

    /// <summary>It takes no part any more. Its callers are told what can be told.</summary>
    public void Stop(StoreException failure)
    {
        Failure ??= failure;
        _writer.Fail(failure);
        EndRequests();
    }

    /// <summary>Ends everything that waits: the node stops.</summary>
    public void EndRequests()
    {
        _own.EndAll();
        _acknowledgements.End(_group);
        _reads.EndAll(Status.Unavailable);
    }

    /// <summary>Takes what callers have queued, and runs what asks for the writer's role.</summary>
    public void TakeRequests(long now)
    {
        while (_writer.TakeGroup() is { } requests)
        {
            if (Failure is not null || _driver.IsStopping || (!requests.HasOperations && _group.Role != Role.Leader))
            {
                // The log's stamp is the leader's to bring up to the clock.
                requests.Complete(ReplicaRefusals.Unavailable(Partition));
                continue;
            }

            if (requests.Early > 1 && requests.Early > Voters && Voters > 0)
            {
                requests.Complete(ReplicaRefusals.TooFew(requests.Early - 1, Voters - 1));
                continue;
            }

            _own.Add(requests, now + _options.RequestTimeout);
        }
    }

    /// <summary>Nothing was asked of the group for a while, nothing is under way, no commit over several partitions is to be ended, and everybody has everything: no more heartbeats until something happens.</summary>
    private bool TryFallSilent(long now) => _options.FallsSilent
        && IsLeading
        && now - _askedAt >= _options.ElectionTimeout
        && _group.AppliedIndex == _group.CommitIndex
        && !_own.HasWaiting && !_own.HasUnderWay && _reads.IsEmpty
        && !_driver.IsSendingSnapshot(this)
        && _writer.Engine.Commits.IsSettled
        && _group.TryQuiesce(now);

    private long NextDeadline(long now)
    {
        if (Failure is not null)
        {
            return long.MaxValue;
        }

        long next = Math.Min(Math.Min(_group.NextDeadline, _writeAgainAt), _acknowledgements.NextDeadline(now + Pause));
        if (!_committed.IsEmpty)
        {
            next = Math.Min(next, _applyAt);
        }

        if (_own.HasWaiting || _reads.HasUnasked)
        {
            return Math.Min(next, Math.Max(_retryAt, now + Pause));
        }

        return _own.HasUnderWay || !_reads.IsEmpty ? Math.Min(next, now + _options.HeartbeatInterval) : next;
    }

    private void SendRequests(long now)
    {
        while (_own.FirstWaiting is { } first && now >= _retryAt && TrySend(first, now))
        {
            _own.Begin(first);
        }
    }

    private bool TrySend(OwnGroup own, long now)
    {
        StepKind kind = own.Requests.First!.Command!.Step?.Kind ?? StepKind.None;
        if (!_gate.Admits(kind, _writer.Engine))
        {
            return false;
        }

        if (_group.Role == Role.Leader)
        {
            if (!IsLeading || !_committed.IsEmpty || !TryPropose(Encode(own), _options.Node, own.Number, own.Early, now))
            {
                return false;
            }

            own.Holder = _options.Node;
            own.Frame = 0;
        }
        else
        {
            long leader = _group.Leader;
            if (leader == NodeId.None)
            {
                // Somebody wants something: this ends a silence whose leader may be gone.
                _group.Wake(now);
                return false;
            }

            own.Holder = leader;
            _group.Wake(now);
            own.Frame = _driver.Forward(leader, Partition, _group.Term, own.Number, own.Early, Encode(own).AsSpan(CommandEntry.HeadBytes));
        }

        own.Reached = default;
        own.Term = _group.Term;
        return true;
    }

    private byte[] Encode(OwnGroup own)
    {
        byte[] data = own.Requests.Encode(CommandEntry.HeadBytes);
        CommandEntry.WriteHead(data, _options.Node, own.Number);
        return data;
    }

    /// <summary>The log has the bytes from here on; they get versions and stamp before anybody looks at them.</summary>
    private bool TryPropose(byte[] data, long node, long group, byte early, long now)
    {
        if (early > 0 && _acknowledgements.IsFull)
        {
            _retryAt = now + Pause;
            return false;
        }

        StepKind kind = ReplicatedWriter.StepOf(data.AsSpan(CommandEntry.HeadBytes));
        if (!_gate.Admits(kind, _writer.Engine))
        {
            return false;
        }

        Proposed proposed = _group.Propose(data, now);
        if (proposed.Refusal != Refusal.None)
        {
            _retryAt = now + Pause;
            return false;
        }

        _askedAt = now;
        _writer.Seal(data.AsSpan(CommandEntry.HeadBytes));
        _proposed.Enqueue(proposed.Index);
        _gate.Proposed(kind, proposed.Index);
        if (node != _options.Node)
        {
            _group.Await(node, proposed.Index);
        }

        if (early > 0)
        {
            long version = ReplicatedWriter.VersionOf(data.AsSpan(CommandEntry.HeadBytes));
            _acknowledgements.Proposed(_group.Term, proposed.Index, version, node, group, early, now);
        }

        return true;
    }

    private void AskReads(long now)
    {
        if (_group.Role != Role.Leader)
        {
            _reads.AskAgain(now - (2 * _options.HeartbeatInterval));
        }
        else if (_readsLedIn != _group.Term)
        {
            // What was asked of the leader before, which may be gone, this node answers itself now.
            _readsLedIn = _group.Term;
            _reads.AskAgain(long.MaxValue);
        }

        if (!_reads.HasUnasked || now < _retryAt)
        {
            return;
        }

        _askedAt = now;
        long context = _driver.NextNumber();
        if (_group.Read(context, now) == Refusal.None)
        {
            _reads.Asked(context, now);
        }
        else
        {
            _group.Wake(now);
            _retryAt = now + Pause;
        }
    }

    // True if something was applied or decided that may let more happen.
    private bool Work(long now)
    {
        bool moved = false;
        while (Failure is null && _group.TryTakeWork(_work))
        {
            if (_work.Number > 0)
            {
                if (_work.Snapshot is { } snapshot)
                {
                    Install(snapshot);
                    if (Failure is not null)
                    {
                        return false;
                    }
                }

                _log.Append(_work.Entries.Span);
                _journal.Add(_work);
                if (_options.Has(DriverDefects.AcknowledgesUnwritten))
                {
                    _group.Persisted(_work.Number);
                }
            }

            foreach (Message message in _work.Messages)
            {
                _driver.Send(this, message);
            }

            foreach (ConfirmedRead read in _work.Reads)
            {
                _reads.On(read);
            }

            if (!_work.Committed.IsEmpty)
            {
                // The disk has its next record while this one is applied.
                _journal.TryWrite();
                _committed = _work.Committed;
                _applyAt = now;
            }

            moved |= Apply(now);
        }

        moved |= Apply(now);
        _reads.Applied(PreparedGate.ReadableThrough(_group.AppliedIndex, _writer.Engine));
        return moved && _own.HasWaiting;
    }

    /// <summary>The group goes on behind a snapshot: the partition becomes what its files hold. If that fails, nothing is written of it: no log stands on files that are not there.</summary>
    private void Install(SnapshotMetadata snapshot)
    {
        if (_arrived is not { } arrived || !ReferenceEquals(arrived.Snapshot, snapshot))
        {
            throw new System.Diagnostics.UnreachableException("a snapshot is installed that did not arrive");
        }

        // Behind what is in hand, which is part of it.
        _committed = default;
        _isAdmitted = false;
        _gate.Reset();
        while (_proposed.TryDequeue(out _))
        {
            _writer.EndSealed();
        }

        // Whether they are in the snapshot, nobody can say.
        _own.EndUnderWay();
        try
        {
            _writer = _driver.Install(Partition, arrived.Directory, arrived.Head);
        }
        catch (StoreException failure)
        {
            Stop(failure);
            return;
        }

        if (_options.Has(DriverDefects.InstallsWithoutPrepared))
        {
            _gate.Forget(_writer.Engine);
        }

        _arrived = null;
        _log.Reset(snapshot);
        _appliedTerm = snapshot.Term;
        _durableIndex = snapshot.Index;
    }

    private bool Apply(long now)
    {
        if (_committed.IsEmpty || now < _applyAt)
        {
            return false;
        }

        if (!_isAdmitted && !Admit(now))
        {
            return false;
        }

        ReadOnlyMemory<Entry> committed = _committed;
        _committed = default;
        _isAdmitted = false;
        try
        {
            foreach (ref readonly Entry entry in committed.Span)
            {
                Apply(entry);
            }
        }
        catch (StoreException failure)
        {
            if (!_options.Has(DriverDefects.PassesOverDamage))
            {
                Stop(failure);
                return false;
            }
        }

        _group.Applied(committed.Span[^1].Index);
        return true;
    }

    /// <summary>Asks the engine for room, once for what is in hand; false: it wants a pause first (backpressure).</summary>
    private bool Admit(long now)
    {
        // What is prepared may be written by what comes, beside what that brings itself.
        long bytes = _writer.Engine.Commits.Prepared?.Operations.Length ?? 0;
        foreach (ref readonly Entry entry in _committed.Span)
        {
            bytes += entry.Data.Length;
        }

        TimeSpan delay = _writer.Admit(bytes);
        _isAdmitted = true;
        if (delay > TimeSpan.Zero)
        {
            _applyAt = now + Math.Max(1, (long)delay.TotalMilliseconds);
            return false;
        }

        return true;
    }

    private void Apply(in Entry entry)
    {
        _options.Applied?.Invoke(Partition, entry);
        if (entry.Term > _appliedTerm)
        {
            _appliedTerm = entry.Term;
            Superseded(entry);
        }

        OwnGroup? own = null;
        byte certain = 0;
        if (entry.Kind != EntryKind.Command)
        {
            _writer.Skip(entry.Index);
        }
        else if (CommandEntry.TryRead(entry.Data.Span, out long node, out long number, out ReadOnlySpan<byte> payload))
        {
            own = node == _options.Node ? _own.Take(number) : null;
            certain = own is null ? (byte)0 : ReplicaCounts.Certain(_group.MembershipAt(entry.Index));
            var receipt = new WriteReceipt { Partition = Partition, Term = entry.Term, Index = entry.Index, Class = AcknowledgementClass.Sync, Replicas = certain };
            _writer.Apply(receipt, payload, own?.Requests);
        }
        else
        {
            throw new StoreException(string.Create(CultureInfo.InvariantCulture, $"entry {entry.Index} of partition {Partition} has a format that this build does not know; use a newer KeyVa on this node"));
        }

        while (_proposed.TryPeek(out long proposed) && proposed <= entry.Index)
        {
            _proposed.Dequeue();
            _writer.EndSealed();
        }

        if (own is null)
        {
            return;
        }

        if (own.Early <= certain || !_acknowledgements.TryCount(own, entry.Term, entry.Index, (byte)(own.Early - 1), own.Deadline))
        {
            own.Requests.Complete();
        }
    }

    /// <summary>
    /// The first entry of a later term is applied: what leaders of earlier terms had and have not brought through, they never will. The
    /// entry itself may be one of those.
    /// </summary>
    private void Superseded(in Entry first)
    {
        _ = CommandEntry.TryRead(first.Data.Span, out long node, out long number, out _);
        _own.Supersede(first.Term, applied: node == _options.Node ? number : 0);
        _gate.Reset();
        if (_options.Has(DriverDefects.ForgetsPreparedWhenElected) && _group.Role == Role.Leader)
        {
            _gate.Forget(_writer.Engine);
        }

        // A leader proposes behind an entry of its own term: all of these are of earlier ones, and those before this entry are applied.
        while (_proposed.TryDequeue(out _))
        {
            _writer.EndSealed();
        }
    }

    /// <summary>Lets go of what the partition's files have and nobody is likely to ask for.</summary>
    private void Trim()
    {
        if (_log.Bytes <= _options.RetainedBytes || _driver.IsSendingSnapshot(this))
        {
            return;
        }

        long through = Math.Min(_journal.Base.Index, _group.AppliedIndex);
        long index = _log.FirstIndex - 1;
        for (long bytes = _log.Bytes; index < through && bytes > _options.RetainedBytes; index++)
        {
            bytes -= _log.SizeAt(index + 1);
        }

        if (index >= _log.FirstIndex)
        {
            _log.TrimThrough(new SnapshotMetadata(index, _log.TermAt(index), _group.MembershipAt(index)));
        }
    }
}
