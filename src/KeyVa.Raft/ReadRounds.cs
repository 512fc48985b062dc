namespace KeyVa.Raft;

/// <summary>
/// Linearizable reads of a leader (§8; dissertation, §6.4). A read notes the commit index and waits for a round of
/// heartbeats that began after it: when a quorum has answered, nobody else led when the read came. All reads between two
/// takings of work share a round. With leases on, a round that a quorum has answered covers reads for a while after it began.
/// Owned by a leadership.
/// </summary>
internal sealed class ReadRounds
{
    /// <summary>Rounds whose beginnings are remembered; an answer to an older one extends no lease.</summary>
    private const int RememberedRounds = 64;

    private readonly GroupState _state;
    private readonly Replication _replication;
    private readonly long[] _begun = new long[RememberedRounds];
    private readonly Queue<(long Context, long From, long Index, long Round)> _waiting = new();
    private readonly Queue<(long Context, long From)> _early = new();
    private readonly Func<long, long> _roundOf;
    private readonly Func<long, long> _promisedRoundOf;

    // Until this index, the first of the term, is committed, the leader does not know what is (§8).
    private readonly long _firstCommit;

    private long _round;
    private bool _isWanted;
    private long _leaseFrom = long.MinValue;
    private bool _mayLease;

    public ReadRounds(GroupState state, Replication replication, long firstCommit)
    {
        _state = state;
        _replication = replication;
        _firstCommit = firstCommit;
        _mayLease = state.Options.LeaseReads;
        _roundOf = node => node == state.Id ? _round : replication.Find(node)?.Round ?? 0;
        _promisedRoundOf = node => node == state.Id ? _round : replication.Find(node)?.PromisedRound ?? 0;
    }

    public bool IsIdle => _waiting.Count == 0 && _early.Count == 0;

    /// <summary>Whether a read that comes now is answered at once.</summary>
    public bool HasLease
    {
        get
        {
            long now = _state.Options.Has(RaftDefects.LeaseOutlivesPause) ? _state.LastTick : _state.Now;
            return _mayLease && _leaseFrom != long.MinValue && now - _leaseFrom < _state.Options.LeaseLength && _state.Log.Commit >= _firstCommit;
        }
    }

    public Refusal Request(long context, long from)
    {
        if (_waiting.Count + _early.Count >= _state.Options.MaxPendingReads)
        {
            return Refusal.TooManyReads;
        }

        if (_state.Log.Commit < _firstCommit)
        {
            _early.Enqueue((context, from));
        }
        else if (HasLease || _state.Options.Has(RaftDefects.ReadsWithoutQuorum))
        {
            Answer(context, from, _state.Log.Commit);
        }
        else
        {
            Wait(context, from);
        }

        return Refusal.None;
    }

    /// <summary>Begins a round if a read asks for one.</summary>
    public void Flush()
    {
        if (_isWanted)
        {
            Begin();
        }
    }

    /// <summary>Begins a round.</summary>
    public void Begin(bool quiesce = false)
    {
        _isWanted = false;
        _begun[++_round % RememberedRounds] = _state.Now;
        _replication.Heartbeat(_round, quiesce);
        Confirm();
    }

    /// <summary>A follower answered a round, and promised to vote for nobody else for so long.</summary>
    public void OnReply(Progress follower, long round, long promise)
    {
        follower.Round = Math.Max(follower.Round, Math.Min(round, _round));
        if (promise >= _state.Options.ElectionTimeout || _state.Options.Has(RaftDefects.CountsUnpromised))
        {
            follower.PromisedRound = Math.Max(follower.PromisedRound, Math.Min(round, _round));
        }

        Confirm();
    }

    public void OnCommit()
    {
        while (_state.Log.Commit >= _firstCommit && _early.TryDequeue(out (long Context, long From) read))
        {
            Wait(read.Context, read.From);
        }
    }

    /// <summary>Other majorities decide from here on: what the old ones answered is no lease.</summary>
    public void DropLease() => _leaseFrom = long.MinValue;

    /// <summary>
    /// Leadership is offered to another, whose campaign followers will not resist; that message may be late, so this term has no
    /// lease any more, however the transfer ends.
    /// </summary>
    public void EndLeases() => _mayLease &= _state.Options.Has(RaftDefects.LeaseOutlivesTransfer);

    public void Abandon()
    {
        while (_early.TryDequeue(out (long Context, long From) read))
        {
            Refuse(read.Context, read.From);
        }

        while (_waiting.TryDequeue(out (long Context, long From, long Index, long Round) read))
        {
            Refuse(read.Context, read.From);
        }
    }

    private void Wait(long context, long from)
    {
        _waiting.Enqueue((context, from, _state.Log.Commit, _round + 1));
        _isWanted = true;
    }

    private void Confirm()
    {
        long agreed = _state.Membership.HighestAgreed(_roundOf);
        if (_mayLease && _state.Membership.HighestAgreed(_promisedRoundOf) is > 0 and var promised && promised > _round - RememberedRounds)
        {
            _leaseFrom = Math.Max(_leaseFrom, _begun[promised % RememberedRounds]);
        }

        while (_waiting.TryPeek(out (long Context, long From, long Index, long Round) read) && read.Round <= agreed)
        {
            _waiting.Dequeue();
            Answer(read.Context, read.From, read.Index);
        }
    }

    private void Answer(long context, long from, long index)
    {
        if (from == _state.Id)
        {
            _state.Reads.Add(new ConfirmedRead(context, index, Refusal.None));
        }
        else
        {
            _replication.Find(from)?.Await(index);
            _state.Send(new Message { Kind = MessageKind.ReadReply, To = from, Context = context, Index = index });
        }
    }

    private void Refuse(long context, long from)
    {
        if (from == _state.Id)
        {
            _state.Reads.Add(new ConfirmedRead(context, 0, Refusal.Abandoned));
        }
        else
        {
            _state.Send(new Message { Kind = MessageKind.ReadReply, To = from, Context = context, Reject = true });
        }
    }
}
