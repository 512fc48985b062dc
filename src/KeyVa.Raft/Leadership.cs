namespace KeyVa.Raft;

/// <summary>
/// One node's leadership of one term: made when it wins, dropped when it ends, so that nothing of it outlives its term.
/// Proposals, changes of the membership, transfer, and the leader's own watch over its quorum. Owned by its group.
/// </summary>
internal sealed class Leadership
{
    private readonly GroupState _state;
    private readonly ReplicatedLog _log;

    // Sizes of what was proposed in this term and is not committed, in the log's order; the first is at _firstSized.
    private readonly Queue<int> _uncommitted = new();
    private long _firstSized;
    private long _uncommittedBytes;

    private long _heartbeatDeadline;
    private long _transferee;
    private long _transferDeadline;
    private bool _isTransferSent;

    public Leadership(GroupState state)
    {
        _state = state;
        _log = state.Log;
        Replication = new Replication(state);
        Reads = new ReadRounds(state, Replication, _log.LastIndex + 1);
        _firstSized = _log.LastIndex + 1;
        FirstIndex = _firstSized;
        Append(EntryKind.Empty, default);
    }

    public Replication Replication { get; }

    public ReadRounds Reads { get; }

    /// <summary>The index of the entry that began the term.</summary>
    public long FirstIndex { get; }

    /// <summary>Leadership is to end: a membership without this node is committed.</summary>
    public bool IsOver { get; private set; }

    public long NextDeadline
    {
        get
        {
            long next = Math.Min(_heartbeatDeadline, Replication.NextDeadline);
            return _transferee == NodeId.None ? next : Math.Min(next, _transferDeadline);
        }
    }

    public Proposed Propose(ReadOnlySpan<ReadOnlyMemory<byte>> commands)
    {
        if (_transferee != NodeId.None)
        {
            return new Proposed(Refusal.Transferring, 0, 0);
        }

        long bytes = 0;
        foreach (ReadOnlyMemory<byte> command in commands)
        {
            bytes += command.Length + Entry.OverheadBytes;
        }

        if (_uncommittedBytes > 0 && _uncommittedBytes + bytes > _state.Options.MaxUncommittedBytes)
        {
            return new Proposed(Refusal.TooMuchUncommitted, 0, 0);
        }

        long index = _log.LastIndex + 1;
        foreach (ReadOnlyMemory<byte> command in commands)
        {
            Append(EntryKind.Command, command);
        }

        return new Proposed(Refusal.None, _state.Term, index);
    }

    /// <summary>
    /// Begins a change (§6): to C_old,new, and from there, once that is committed, to C_new, by whoever leads then. If only learners
    /// change, no majority does, and one step is enough.
    /// </summary>
    public Proposed Change(Membership next)
    {
        Membership present = _state.Membership;
        if (_transferee != NodeId.None)
        {
            return new Proposed(Refusal.Transferring, 0, 0);
        }

        if (_log.Commit < FirstIndex || _log.MembershipIndex > _log.Commit || present.IsJoint)
        {
            return new Proposed(Refusal.ChangeInProgress, 0, 0);
        }

        if (next.Equals(present) || next.Voters.Length == 0 || next.IsJoint)
        {
            return new Proposed(Refusal.NoChange, 0, 0);
        }

        bool isDirect = next.Voters.SequenceEqual(present.Voters) || _state.Options.Has(RaftDefects.SkipsJointMembership);
        AppendMembership(isDirect ? next : present.JointTo(next));
        return new Proposed(Refusal.None, _state.Term, _log.LastIndex);
    }

    /// <summary>Hands leadership to a voter that answers, as soon as it has everything (dissertation, §3.10).</summary>
    public Refusal Transfer(long node)
    {
        if (node == _state.Id)
        {
            return Refusal.NoChange;
        }

        if (!_state.Membership.IsVoter(node))
        {
            return Refusal.NotVoter;
        }

        if (_transferee != NodeId.None)
        {
            return Refusal.Transferring;
        }

        // Proposals wait meanwhile, and the term's leases end: too much to be done in vain, and again each time that somebody asks.
        if (Replication.Find(node) is not { } follower || _state.Now - follower.LastReply > _state.Options.ElectionTimeout)
        {
            return Refusal.NotAnswering;
        }

        _transferee = node;
        _transferDeadline = _state.Now + _state.Options.ElectionTimeout;
        _isTransferSent = false;
        Reads.EndLeases();
        if (_state.Options.Has(RaftDefects.TakesBackUncommitted) && _log.Commit >= FirstIndex)
        {
            TakeBack();
        }

        HandOver();
        return Refusal.None;
    }

    /// <summary>Heartbeats, and an end if no quorum answers any more (dissertation, §6.2); false if so.</summary>
    public bool Tick()
    {
        if (_state.Now - Replication.LastQuorum > _state.Options.ElectionTimeout)
        {
            return false;
        }

        if (_transferee != NodeId.None && _state.Now >= _transferDeadline)
        {
            _transferee = NodeId.None;
        }

        if (_state.Now >= _heartbeatDeadline)
        {
            _heartbeatDeadline = _state.Now + _state.Options.HeartbeatInterval;
            Reads.Begin();
            foreach (Progress follower in Replication.Followers)
            {
                // A snapshot whose end nobody reported, to somebody who is silent: begin again when there is somebody.
                if (follower.State == ProgressState.Snapshot && _state.Now - follower.LastReply > _state.Options.ElectionTimeout)
                {
                    follower.Probe();
                }
            }
        }

        return true;
    }

    public void OnAppendReply(in Message message)
    {
        if (Replication.Find(message.From) is { } follower)
        {
            follower.LastReply = _state.Now;
            Replication.OnReply(follower, message);
            TryCommit();
            HandOver();
        }
    }

    public void OnHeartbeatReply(in Message message)
    {
        if (Replication.Find(message.From) is { } follower)
        {
            follower.LastReply = _state.Now;
            if (follower.Match < _log.LastIndex)
            {
                follower.Nudge();
            }

            Reads.OnReply(follower, message.Context, message.HintIndex);
        }
    }

    public void TryCommit()
    {
        if (!Replication.TryCommit())
        {
            return;
        }

        while (_uncommitted.Count > 0 && _firstSized <= _log.Commit)
        {
            _uncommittedBytes -= _uncommitted.Dequeue();
            _firstSized++;
        }

        Reads.OnCommit();
        if (_log.MembershipIndex > _log.Commit)
        {
            return;
        }

        if (_state.Membership.IsJoint)
        {
            AppendMembership(_state.Membership.Left());
        }
        else if (!_state.IsVoter)
        {
            IsOver = true;
        }
    }

    public void Flush()
    {
        Reads.Flush();
        Replication.Flush();
    }

    /// <summary>The last acts of a leader that is no member any more (§6): the others learn what is committed, and one of them begins at once.</summary>
    public void Leave()
    {
        Replication.Flush(isLast: true);
        Progress? best = null;
        foreach (Progress follower in Replication.Followers)
        {
            best = _state.Membership.IsVoter(follower.Id) && follower.Match > (best?.Match ?? 0) ? follower : best;
        }

        if (best is not null)
        {
            _state.Send(new Message { Kind = MessageKind.TimeoutNow, To = best.Id });
        }
    }

    /// <summary>Whether nothing is left to say: everybody has everything, knows that it is committed, and answered lately.</summary>
    public bool CanQuiesce()
    {
        if (_log.Commit != _log.LastIndex || _log.Stable != _log.LastIndex || !Reads.IsIdle || _transferee != NodeId.None || _state.Membership.IsJoint)
        {
            return false;
        }

        foreach (Progress follower in Replication.Followers)
        {
            if (follower.Match != _log.LastIndex || _state.Now - follower.LastReply > _state.Options.HeartbeatInterval * 2)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Goes on after a quiet time: nobody was asked to answer, so nobody is late.</summary>
    public void Wake()
    {
        _heartbeatDeadline = _state.Now;
        foreach (Progress follower in Replication.Followers)
        {
            follower.LastReply = _state.Now;
        }
    }

    private void HandOver()
    {
        if (_transferee != NodeId.None && !_isTransferSent && Replication.Find(_transferee) is { } follower && follower.Match == _log.LastIndex)
        {
            _state.Send(new Message { Kind = MessageKind.TimeoutNow, To = _transferee });
            _isTransferSent = true;
        }
    }

    /// <summary>For a defect: cuts off what is not committed.</summary>
    private void TakeBack()
    {
        _log.CutFrom(_log.Commit + 1);
        _uncommitted.Clear();
        (_firstSized, _uncommittedBytes) = (_log.LastIndex + 1, 0);
        Replication.FollowMembership();
    }

    private void AppendMembership(Membership membership)
    {
        Append(EntryKind.Membership, MembershipEncoding.Encode(membership));
        Replication.FollowMembership();
        Reads.DropLease();
    }

    private void Append(EntryKind kind, ReadOnlyMemory<byte> data)
    {
        Entry entry = new(_state.Term, _log.LastIndex + 1, kind, data);
        _log.Append(entry);
        _state.NoteEntries();
        _uncommitted.Enqueue(entry.Size);
        _uncommittedBytes += entry.Size;
    }
}
