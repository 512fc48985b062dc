namespace KeyVa.Raft;

/// <summary>
/// One node's part in one replicated group: the Raft of the extended paper (Ongaro and Ousterhout, 2014), with pre-votes, leader
/// stickiness, a leader that watches its quorum, transfer and read rounds from Ongaro's dissertation (2014). Pure: calls and
/// messages go in, <see cref="Work"/> comes out; it has no clock, thread, disk or network of its own.
/// <para>
/// Every input carries the time, read from the driver's clock when it came: any unit, never falling, going on while the machine
/// sleeps. Ticks come about once per heartbeat interval, and may be left out until <see cref="NextDeadline"/>.
/// </para>
/// <para>Not thread-safe: one caller at a time. After any call there may be work.</para>
/// </summary>
public sealed class RaftGroup
{
    /// <summary>What no read of a driver's has.</summary>
    private const long NoContext = 0;

    private readonly GroupState _state;
    private readonly Elections _elections;
    private readonly Following _following;
    private Leadership? _leadership;

    /// <summary>
    /// Opens a group. <paramref name="state"/> and <paramref name="storage"/> are what was persisted; <paramref name="applied"/> is how far the state
    /// machine is, the snapshot's index or more.
    /// </summary>
    public RaftGroup(RaftOptions options, ILogStorage storage, HardState state, long applied, long now)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(storage);
        _state = new GroupState(options, storage, state, applied, now);
        _elections = new Elections(_state);
        _following = new Following(_state);
    }

    /// <summary>This node.</summary>
    public long Id => _state.Id;

    /// <summary>The latest term that it has seen.</summary>
    public long Term => _state.Term;

    /// <summary>Whom it voted for in this term.</summary>
    public long Vote => _state.Vote;

    /// <summary>What it is.</summary>
    public Role Role => _state.Role;

    /// <summary>Who leads, as far as it knows.</summary>
    public long Leader => _state.Leader;

    /// <summary>Everything up to here is committed, as far as it knows.</summary>
    public long CommitIndex => _state.Log.Commit;

    /// <summary>What was reported to <see cref="Applied"/>.</summary>
    public long AppliedIndex => _state.Log.Applied;

    /// <summary>The end of its log.</summary>
    public LogPosition Last => _state.Log.Last;

    /// <summary>The membership in force: the newest in the log, committed or not (§6).</summary>
    public Membership Membership => _state.Membership;

    /// <summary>Whether the group is silent until something happens.</summary>
    public bool IsQuiescent => _state.IsQuiescent;

    /// <summary>Whether this node leads and would answer a read that comes now by its lease.</summary>
    public bool HasLease(long now)
    {
        _state.Observe(now);
        return _leadership?.Reads.HasLease ?? false;
    }

    /// <summary>Until then a tick does nothing.</summary>
    public long NextDeadline => _state.IsQuiescent ? long.MaxValue : _leadership?.NextDeadline ?? _state.ElectionDeadline;

    internal ReplicatedLog Log => _state.Log;

    /// <summary>The membership at an applied index, for a snapshot that is taken there.</summary>
    public Membership MembershipAt(long index) => _state.Log.MembershipAt(index);

    /// <summary>How far the others are; nothing unless this node leads.</summary>
    public IEnumerable<FollowerStatus> Followers => _leadership?.Replication.Followers.Select(static one => one.Status) ?? [];

    /// <summary>Time has passed.</summary>
    public void Tick(long now)
    {
        _state.Observe(now, isTick: true);
        if (_state.IsQuiescent)
        {
            return;
        }

        if (_leadership is { } leadership)
        {
            if (!leadership.Tick())
            {
                BecomeFollower(_state.Term, NodeId.None);
            }
        }
        else if (_state.Now >= _state.ElectionDeadline)
        {
            if (_state.MayCampaign)
            {
                Ask();
            }
            else
            {
                _state.ResetElectionDeadline();
            }
        }
    }

    /// <summary>A message has come. What makes no sense is dropped, as if it had been lost.</summary>
    public void Step(in Message message, long now)
    {
        _state.Observe(now);
        if (message.To != Id || !IsWhole(message))
        {
            return;
        }

        WakeFor(message);
        if (message.Term < Term)
        {
            Answer(message);
        }
        else if (message.Term == Term || Follow(message))
        {
            Dispatch(message);
        }
    }

    /// <summary>Proposes a command. Its bytes belong to the log from here on.</summary>
    public Proposed Propose(ReadOnlyMemory<byte> command, long now) => Propose([command], now);

    /// <summary>Proposes commands that follow each other in the log, all or none.</summary>
    public Proposed Propose(ReadOnlySpan<ReadOnlyMemory<byte>> commands, long now) =>
        Lead(now) is { } leadership ? leadership.Propose(commands) : new Proposed(Refusal.NotLeader, 0, 0);

    /// <summary>
    /// Proposes another membership. It is in force at once, joint with the present one, and ends by itself when it is committed. New voters
    /// had best been learners until they had most of the log: until they have it, they may be needed for a majority.
    /// </summary>
    public Proposed Change(Membership next, long now)
    {
        ArgumentNullException.ThrowIfNull(next);
        return Lead(now) is { } leadership ? leadership.Change(next) : new Proposed(Refusal.NotLeader, 0, 0);
    }

    /// <summary>
    /// Hands leadership to a voter. Proposals are refused meanwhile; if it has not happened within an election timeout, it is
    /// given up.
    /// </summary>
    public Refusal Transfer(long node, long now) => Lead(now) is { } leadership ? leadership.Transfer(node) : Refusal.NotLeader;

    /// <summary>
    /// Asks for a linearizable read. The answer is among <see cref="Work.Reads"/>, under <paramref name="context"/>, which this node
    /// never uses again, not even after a restart, and is not 0. A follower asks its leader; then the answer may be lost, and the driver asks again.
    /// </summary>
    public Refusal Read(long context, long now)
    {
        if (Lead(now) is { } leadership)
        {
            return leadership.Reads.Request(context, Id);
        }

        if (_state.Leader == NodeId.None)
        {
            return Refusal.NotLeader;
        }

        EndSilence(_state.Now);
        _state.Send(new Message { Kind = MessageKind.Read, To = _state.Leader, Context = context });
        return Refusal.None;
    }

    /// <summary>Asks the others for votes now, if no leader was heard of lately.</summary>
    public Refusal Campaign(long now)
    {
        _state.Observe(now);
        EndSilence(_state.Now);
        if (_state.IsSticky)
        {
            return Refusal.LeaderIsAlive;
        }

        if (!_state.MayCampaign)
        {
            return Refusal.NotVoter;
        }

        Ask();
        return Refusal.None;
    }

    /// <summary>
    /// Falls silent, if this node leads and nobody lacks anything: no heartbeats and no election timeouts until something
    /// happens. A leader that dies meanwhile is not missed: who finds its node gone, or wants something of the group, calls
    /// <see cref="Wake(long, long)"/>.
    /// </summary>
    public bool TryQuiesce(long now)
    {
        _state.Observe(now);
        if (_state.IsQuiescent || _leadership?.CanQuiesce() != true)
        {
            return _state.IsQuiescent;
        }

        _leadership.Reads.Begin(quiesce: true);
        _state.IsQuiescent = true;
        return true;
    }

    /// <summary>Ends a silence; a follower asks its leader for a sign of life.</summary>
    public void Wake(long now) => Wake(now, now);

    /// <summary>
    /// Ends a silence, because a node of the group gave its last sign of life at <paramref name="heardAt"/>: a follower's patience counts from there, as if
    /// that had been its leader's last heartbeat.
    /// </summary>
    public void Wake(long now, long heardAt)
    {
        _state.Observe(now);
        if (EndSilence(Math.Min(heardAt, _state.Now)))
        {
            AskForSign();
        }
    }

    /// <summary>Somebody waits on another node for an entry: it is told at once when that is committed, whatever <see cref="RaftOptions.CommitDelay"/> is.</summary>
    public void Await(long node, long index) => _leadership?.Replication.Find(node)?.Await(index);

    /// <summary>A message to a node could not be sent: what follows it would be in vain.</summary>
    public void Unreachable(long node)
    {
        if (_leadership?.Replication.Find(node) is { State: ProgressState.Replicate } follower)
        {
            follower.Probe();
        }
    }

    /// <summary>The state that belongs to an <see cref="MessageKind.InstallSnapshot"/> has arrived there, or has not; told once for each.</summary>
    public void SnapshotSent(long node, SnapshotMetadata snapshot, bool arrived)
    {
        ArgumentNullException.ThrowIfNull(snapshot);
        if (_leadership?.Replication.Find(node) is { State: ProgressState.Snapshot } follower)
        {
            follower.Probe(arrived ? snapshot.Index + 1 : 0);
        }
    }

    /// <summary>All work up to a number is durable.</summary>
    public void Persisted(long number)
    {
        _state.MarkPersisted(number);
        if (_leadership is { } leadership)
        {
            leadership.TryCommit();
            EndIfOver();
        }
        else if (_state.Role == Role.Candidate)
        {
            Count();
        }
    }

    /// <summary>The state machine is this far.</summary>
    public void Applied(long index) => _state.Log.AppliedTo(index);

    /// <summary>Fills <paramref name="work"/> anew with everything that is to be done; false if there is nothing.</summary>
    public bool TryTakeWork(Work work)
    {
        ArgumentNullException.ThrowIfNull(work);
        work.Clear();
        _leadership?.Flush();
        _state.TakeInto(work);
        work.Committed = _state.Log.NextToApply(_state.Options.MaxApplyBytes);
        return !work.IsEmpty;
    }

    private static bool IsWhole(in Message message)
    {
        ReadOnlySpan<Entry> entries = message.Entries.Span;
        for (int i = 0; i < entries.Length; i++)
        {
            if (entries[i].Index != message.Index + 1 + i || entries[i].Term > message.Term)
            {
                return false;
            }
        }

        return message.Term >= 0 && message.Index >= 0 && (message.Kind != MessageKind.InstallSnapshot || message.Snapshot is not null);
    }

    /// <summary>A higher term (figure 2, "all servers"): whether the message is to be looked at, now in that term.</summary>
    private bool Follow(in Message message)
    {
        switch (message.Kind)
        {
            case MessageKind.Vote when !message.Force && _state.IsSticky:
                // Whoever hears a leader neither votes nor takes the term over (dissertation, §4.2.3).
                return false;
            case MessageKind.PreVote:
            case MessageKind.PreVoteReply when !message.Reject:
                return true;
            default:
                bool isLeader = message.Kind is MessageKind.Append or MessageKind.Heartbeat or MessageKind.InstallSnapshot or MessageKind.TimeoutNow;
                BecomeFollower(message.Term, isLeader ? message.From : NodeId.None);
                return true;
        }
    }

    /// <summary>
    /// A lower term. Whoever leads in it is told of this one, as nothing else may: a node whose term is ahead cannot win pre-votes from
    /// those who hear that leader, and would stay outside.
    /// </summary>
    private void Answer(in Message message)
    {
        switch (message.Kind)
        {
            case MessageKind.Append or MessageKind.Heartbeat or MessageKind.InstallSnapshot:
                _state.Send(new Message { Kind = MessageKind.AppendReply, To = message.From, Index = message.Index, Reject = true });
                break;
            case MessageKind.PreVote:
                _elections.OnPreVote(message);
                break;
            case MessageKind.Vote:
                _state.Send(new Message { Kind = MessageKind.VoteReply, To = message.From, Reject = true });
                break;
        }
    }

    private void Dispatch(in Message message)
    {
        switch (message.Kind)
        {
            case MessageKind.PreVote:
                _elections.OnPreVote(message);
                break;
            case MessageKind.Vote:
                _elections.OnVote(message);
                break;
            case MessageKind.PreVoteReply when Role == Role.PreCandidate && (message.Reject || message.Term == Term + 1):
            case MessageKind.VoteReply when Role == Role.Candidate:
                _elections.OnReply(message);
                Count();
                break;
            case MessageKind.Append or MessageKind.Heartbeat or MessageKind.InstallSnapshot:
                OnLeader(message);
                break;
            case MessageKind.TimeoutNow when _leadership is null && _state.MayCampaign:
                Stand(force: true);
                break;
            case MessageKind.AppendReply:
                _leadership?.OnAppendReply(message);
                EndIfOver();
                break;
            case MessageKind.HeartbeatReply:
                _leadership?.OnHeartbeatReply(message);
                break;
            case MessageKind.Read:
                if (_leadership is null || _leadership.Reads.Request(message.Context, message.From) != Refusal.None)
                {
                    _state.Send(new Message { Kind = MessageKind.ReadReply, To = message.From, Context = message.Context, Reject = true });
                }

                break;
            case MessageKind.ReadReply when message.Context != NoContext:
                _state.Reads.Add(new ConfirmedRead(message.Context, message.Index, message.Reject ? Refusal.Abandoned : Refusal.None));
                break;
        }
    }

    private void OnLeader(in Message message)
    {
        Invariant.Holds(_leadership is null, "a term has one leader");
        if (Role != Role.Follower)
        {
            BecomeFollower(Term, message.From);
        }

        switch (message.Kind)
        {
            case MessageKind.Append:
                _following.OnAppend(message);
                break;
            case MessageKind.Heartbeat:
                _following.OnHeartbeat(message);
                break;
            default:
                _following.OnSnapshot(message);
                break;
        }
    }

    private void Ask()
    {
        _elections.Ask();
        Count();
    }

    private void Stand(bool force)
    {
        _elections.Stand(force);
        Count();
    }

    private void Count()
    {
        switch (_elections.Outcome)
        {
            case true when Role == Role.PreCandidate:
                Stand(force: false);
                break;
            case true when _state.IsStatePersisted:
                _state.Role = Role.Leader;
                _state.Leader = Id;
                _leadership = new Leadership(_state);
                break;
            case false:
                BecomeFollower(Term, NodeId.None);
                break;
        }
    }

    private void BecomeFollower(long term, long leader)
    {
        if (term > Term)
        {
            _state.SetTerm(term, NodeId.None);
        }

        _leadership?.Reads.Abandon();
        _leadership = null;
        _state.Role = Role.Follower;
        _state.Leader = leader;
        _state.IsQuiescent = false;
        _state.ResetElectionDeadline();
    }

    private void EndIfOver()
    {
        if (_leadership is { IsOver: true } leadership)
        {
            leadership.Leave();
            BecomeFollower(Term, NodeId.None);
        }
    }

    private Leadership? Lead(long now)
    {
        _state.Observe(now);
        if (_leadership is not null)
        {
            EndSilence(_state.Now);
        }

        return _leadership;
    }

    /// <summary>False if there was none.</summary>
    private bool EndSilence(long heardAt)
    {
        if (!_state.IsQuiescent)
        {
            return false;
        }

        _state.IsQuiescent = false;
        _state.ResetElectionDeadline(heardAt);
        _leadership?.Wake();
        return true;
    }

    /// <summary>A read that nobody waits for: it wakes the leader, whose round of heartbeats wakes everybody else.</summary>
    private void AskForSign()
    {
        if (Role == Role.Follower && _state.Leader != NodeId.None && _state.Leader != Id)
        {
            _state.Send(new Message { Kind = MessageKind.Read, To = _state.Leader, Context = NoContext });
        }
    }

    private void WakeFor(in Message message)
    {
        if (!_state.IsQuiescent || message.Kind is MessageKind.HeartbeatReply or MessageKind.ReadReply
            || (message.Kind == MessageKind.AppendReply && !message.Reject && message.Term == Term))
        {
            return;
        }

        EndSilence(_state.Now);
        if (message.Kind == MessageKind.PreVote && message.From != _state.Leader)
        {
            // Somebody did not hear that the group is silent. The leader, if it lives, wakes too and gets the time to say so; if it asks itself, it leads no more.
            _state.StayLoyal();
            AskForSign();
        }
    }
}
