using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// Of a leader: the entries of its term whose callers are to be told when the leader and so many voters have them on disk, which may be before they
/// are committed, or after (docs/decisions/acknowledgement.md). Owned by its replica.
/// </summary>
/// <remarks>Invariant: all are of <see cref="_term"/>, in the order of their indexes; those of an earlier term are dropped, since nothing can be said of them any more.</remarks>
internal sealed class EarlyReplies
{
    /// <summary>Entries that wait at most; more groups are not taken until some are told.</summary>
    public const int Most = 1 << 16;

    private readonly List<(long Index, long Version, long Node, long Group, byte Others, long Deadline)> _waiting = [];
    private readonly MatchIndexes _matches = new();
    private readonly List<(long Node, EarlyReply Reply)> _told = [];
    private long _term;
    private bool _hasNew;
    private long _nextDeadline = long.MaxValue;

    public bool IsEmpty => _waiting.Count == 0;

    public bool IsFull => _waiting.Count >= Most;

    /// <summary>When somebody has to be told that it takes too long.</summary>
    public long NextDeadline => IsEmpty ? long.MaxValue : _nextDeadline;

    /// <summary>An entry was proposed: a node wants to be told when so many voters beside the leader have it.</summary>
    public void Add(long term, long index, long version, long node, long group, byte others, long deadline)
    {
        if (term != _term)
        {
            _waiting.Clear();
            _term = term;
        }

        _waiting.Add((index, version, node, group, others, deadline));
        _nextDeadline = Math.Min(_nextDeadline, deadline);
        _hasNew = true;
    }

    /// <summary>Who is to be told what, now; valid until the next call.</summary>
    public List<(long Node, EarlyReply Reply)> Take(RaftGroup group, long now)
    {
        _told.Clear();
        if (group.Role != Role.Leader || group.Term != _term)
        {
            _waiting.Clear();
        }

        if (IsEmpty || (!_matches.TakeFrom(group) && !_hasNew && now < _nextDeadline))
        {
            return _told;
        }

        _hasNew = false;
        _nextDeadline = long.MaxValue;
        int kept = 0;
        for (int i = 0; i < _waiting.Count; i++)
        {
            (long index, long version, long node, long number, byte others, long deadline) = _waiting[i];
            var reply = new EarlyReply(_term, number, index, version, _matches.Stable >= index, _matches.CountOf(index));
            if ((reply.IsOnLeader && reply.Others >= others) || now >= deadline)
            {
                _told.Add((node, reply));
                continue;
            }

            _waiting[kept++] = _waiting[i];
            _nextDeadline = Math.Min(_nextDeadline, deadline);
        }

        _waiting.RemoveRange(kept, _waiting.Count - kept);
        return _told;
    }
}
