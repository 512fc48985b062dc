namespace KeyVa.Raft;

/// <summary>
/// Votes, asked for and given (§5.2, §5.4.1), with pre-votes (dissertation, §9.6) and leader stickiness (§4.2.3). Owned by its
/// group.
/// </summary>
internal sealed class Elections
{
    private readonly GroupState _state;
    private readonly Dictionary<long, bool> _votes = [];
    private readonly Func<long, bool?> _voteOf;
    private bool _force;
    private long _askedAt;

    public Elections(GroupState state)
    {
        _state = state;
        _voteOf = node => _votes.TryGetValue(node, out bool granted) ? granted : null;
    }

    /// <summary>What the votes so far say; a candidate's own counts once it is durable.</summary>
    public bool? Outcome
    {
        get
        {
            if (_state.Role == Role.Candidate && _state.IsStatePersisted)
            {
                _votes[_state.Id] = true;
            }

            return _state.Membership.Tally(_voteOf);
        }
    }

    /// <summary>Asks whether an election would be won, without beginning a term.</summary>
    public void Ask()
    {
        _state.Role = Role.PreCandidate;
        _askedAt = _state.Now;
        _force = false;
        Begin();
        _votes[_state.Id] = true;
        SendToVoters(MessageKind.PreVote, _state.Term + 1);
    }

    /// <summary>Begins a term and asks for votes (figure 2, "candidates").</summary>
    public void Stand(bool force)
    {
        _state.SetTerm(_state.Term + 1, _state.Id);
        _state.Role = Role.Candidate;
        _force = force;
        Begin();
        SendToVoters(MessageKind.Vote, _state.Term);
    }

    public void OnReply(in Message message) => _votes.TryAdd(message.From, !message.Reject);

    /// <summary>
    /// A pre-vote promises nothing: it is granted if the vote would be. But of two that ask each other at once one alone is to stand, or each has its own vote and none gets the
    /// other's, and the group waits for one more election timeout at least: the lower gets no answer, and is asked once more instead.
    /// </summary>
    public void OnPreVote(in Message message)
    {
        if (_state.IsSticky)
        {
            return;
        }

        bool grant = message.Term > _state.Term && (IsUpToDate(message) || _state.Options.Has(RaftDefects.PreVotesForStaleLogs));
        if (grant && GoesBefore(message))
        {
            Send(MessageKind.PreVote, message.From, _state.Term + 1);
            return;
        }

        _state.Send(new Message { Kind = MessageKind.PreVoteReply, To = message.From, Term = message.Term, Reject = !grant });
    }

    /// <summary>
    /// Figure 2, RequestVote: once per term, and only for a log that is at least as up-to-date. Stickiness holds in this term as for a higher one: the node may have come to it by a refusal,
    /// without a vote and without a leader, and may have promised the leader of a former term that it votes for nobody.
    /// </summary>
    public void OnVote(in Message message)
    {
        bool isFree = _state.Vote == NodeId.None && (message.Force || !_state.IsSticky);
        bool grant = (isFree || _state.Vote == message.From) && IsUpToDate(message);
        if (grant)
        {
            if (_state.Vote == NodeId.None)
            {
                _state.SetTerm(_state.Term, message.From);
            }

            _state.ResetElectionDeadline();
        }

        _state.Send(new Message { Kind = MessageKind.VoteReply, To = message.From, Reject = !grant });
    }

    /// <summary>
    /// Whether this node asks as well, since a moment ago, and is to go first: of equal logs the higher number. Later on nobody is held up by one that asks in vain, since some of the
    /// others do not reach it.
    /// </summary>
    private bool GoesBefore(in Message message) => _state.Role == Role.PreCandidate
        && _state.Now - _askedAt < _state.Options.HeartbeatInterval
        && message.Term == _state.Term + 1
        && message.From < _state.Id
        && _state.Membership.IsVoter(message.From)
        && new LogPosition(message.LogTerm, message.Index) == _state.Log.Last;

    private bool IsUpToDate(in Message message) => new LogPosition(message.LogTerm, message.Index).IsAtLeastAsUpToDateAs(_state.Log.Last);

    private void Begin()
    {
        _state.Leader = NodeId.None;
        _state.ResetElectionDeadline();
        _votes.Clear();
    }

    private void SendToVoters(MessageKind kind, long term)
    {
        foreach (long node in _state.Membership.All())
        {
            if (node != _state.Id && _state.Membership.IsVoter(node))
            {
                Send(kind, node, term);
            }
        }
    }

    private void Send(MessageKind kind, long to, long term)
    {
        (long lastTerm, long lastIndex) = _state.Log.Last;
        _state.Send(new Message { Kind = kind, To = to, Term = term, LogTerm = lastTerm, Index = lastIndex, Force = _force });
    }
}
