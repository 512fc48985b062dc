namespace KeyVa.Raft;

/// <summary>
/// A leader's log on its way to its followers (§5.3), and how far it is committed (§5.3, §5.4.2). Nothing is sent where
/// something happens, but once, when work is taken: so all that was proposed in between goes in the same messages. Owned by a
/// leadership.
/// </summary>
internal sealed class Replication
{
    private readonly GroupState _state;
    private readonly ReplicatedLog _log;
    private readonly List<Progress> _followers = [];
    private readonly Func<long, long> _matchOf;
    private readonly Func<long, long> _replyOf;

    public Replication(GroupState state)
    {
        _state = state;
        _log = state.Log;
        _matchOf = node => node == state.Id ? _log.Stable : Find(node)?.Match ?? 0;
        _replyOf = node => node == state.Id ? state.Now : Find(node)?.LastReply ?? 0;
        FollowMembership();
    }

    /// <summary>Everybody but this node, by number. A list and no interface, so that walking it allocates nothing.</summary>
    public List<Progress> Followers => _followers;

    /// <summary>The latest time at which a quorum had answered.</summary>
    public long LastQuorum => _state.Membership.HighestAgreed(_replyOf);

    /// <summary>When somebody is to be told what is committed; who is overdue cannot be told now.</summary>
    public long NextDeadline
    {
        get
        {
            long next = long.MaxValue;
            foreach (Progress follower in _followers)
            {
                next = follower.State == ProgressState.Replicate && follower.CommitDue > _state.Now ? Math.Min(next, follower.CommitDue) : next;
            }

            return next;
        }
    }

    public Progress? Find(long node)
    {
        foreach (Progress one in _followers)
        {
            if (one.Id == node)
            {
                return one;
            }
        }

        return null;
    }

    /// <summary>The membership has changed: whom to send to follows it.</summary>
    public void FollowMembership()
    {
        _followers.RemoveAll(one => !_state.Membership.Contains(one.Id));
        foreach (long node in _state.Membership.All())
        {
            if (node != _state.Id && Find(node) is null)
            {
                _followers.Add(new Progress(node, _log.LastIndex + 1, _state.Now, _state.Options));
            }
        }

        _followers.Sort(static (a, b) => a.Id.CompareTo(b.Id));
    }

    public void OnReply(Progress follower, in Message message)
    {
        if (message.Reject)
        {
            follower.Refused(message.Index, Guess(message.HintIndex, message.HintTerm));
            return;
        }

        Invariant.Holds(message.Index <= _log.LastIndex, "a follower has nothing of this term that its leader has not");
        follower.Acknowledge(message.Index, _log.FirstIndex);
    }

    /// <summary>
    /// Commits what a quorum has on disk, this node's own disk among them, if it is of this term; with it, all before (§5.4.2).
    /// </summary>
    public bool TryCommit()
    {
        long agreed = _state.Membership.HighestAgreed(_matchOf);
        return agreed > _log.Commit
            && (_log.TermAt(agreed) == _state.Term || _state.Options.Has(RaftDefects.CommitsOldTerms))
            && _log.CommitTo(agreed);
    }

    /// <summary>Sends to every follower what it may get now; <paramref name="isLast"/>: nothing follows, so nothing is put off.</summary>
    public void Flush(bool isLast = false)
    {
        foreach (Progress follower in _followers)
        {
            if (isLast)
            {
                follower.Await(_log.Commit);
            }

            while (TrySend(follower))
            {
            }
        }
    }

    public void Heartbeat(long round, bool quiesce)
    {
        foreach (Progress follower in _followers)
        {
            (long lastTerm, long lastIndex) = _log.Last;
            _state.Send(new Message
            {
                Kind = MessageKind.Heartbeat,
                To = follower.Id,
                Context = round,
                Commit = Math.Min(follower.Match, _log.Commit),
                Quiesce = quiesce,
                Index = quiesce ? lastIndex : 0,
                LogTerm = quiesce ? lastTerm : 0,
            });
        }
    }

    private bool TrySend(Progress follower)
    {
        bool hasEntries = follower.Next <= _log.LastIndex;
        bool isOpen = follower.State switch
        {
            ProgressState.Probe => !follower.IsProbeSent && (hasEntries || follower.Match < _log.LastIndex || follower.ToldCommit < _log.Commit),
            ProgressState.Replicate => (hasEntries && !follower.Inflight.IsFull) || follower.OwesCommit(_log.Commit, _state.Now) || follower.IsNudged,
            _ => false,
        };
        if (!isOpen)
        {
            return false;
        }

        long term = _log.TermAt(follower.Next - 1);
        if (term == ReplicatedLog.Unknown)
        {
            return TrySendSnapshot(follower);
        }

        ReadOnlyMemory<Entry> entries = hasEntries && !follower.Inflight.IsFull ? _log.Read(follower.Next, _state.Options.MaxAppendBytes) : default;
        _state.Send(new Message
        {
            Kind = MessageKind.Append,
            To = follower.Id,
            Index = follower.Next - 1,
            LogTerm = term,
            Commit = _log.Commit,
            Entries = entries,
        });
        follower.Sent(entries.Span, _log.Commit);
        return true;
    }

    /// <summary>
    /// The log is not kept for whoever is slow: what is behind its beginning gets the state itself (§7). Not while nothing
    /// is heard from it: a snapshot is much to send to nobody.
    /// </summary>
    private bool TrySendSnapshot(Progress follower)
    {
        if (_log.Snapshot is not { } snapshot || snapshot.Index <= follower.Match || _state.Now - follower.LastReply > _state.Options.ElectionTimeout)
        {
            return false;
        }

        _state.Send(new Message { Kind = MessageKind.InstallSnapshot, To = follower.Id, Snapshot = snapshot, Index = snapshot.Index, LogTerm = snapshot.Term });
        follower.BeginSnapshot();
        return true;
    }

    /// <summary>The other half of the fast way back (§5.3): terms above the follower's cannot be what it has there.</summary>
    private long Guess(long index, long term)
    {
        index = Math.Min(index, _log.LastIndex);
        while (index >= _log.FirstIndex && _log.TermAt(index) > term)
        {
            index--;
        }

        return index;
    }
}
