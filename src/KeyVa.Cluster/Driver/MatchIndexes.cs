using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// How far the voters of a group are, as its leader of a term knew it at one moment. Owned by a replica; filled from its own group where that leads,
/// else from what the leader answers.
/// </summary>
internal sealed class MatchIndexes
{
    private readonly List<long> _matches = [];

    /// <summary>The leader's term; 0: nothing is known.</summary>
    public long Term { get; private set; }

    /// <summary>What the leader itself has on disk.</summary>
    public long Stable { get; private set; }

    /// <summary>What voters beside the leader have on disk, the furthest first.</summary>
    public IReadOnlyList<long> Others => _matches;

    /// <summary>Takes what the group says that leads; false: nothing has changed.</summary>
    public bool TakeFrom(RaftGroup group)
    {
        long before = Sum();
        (long term, int count) = (Term, _matches.Count);
        Membership members = group.Membership;
        _matches.Clear();
        foreach (FollowerStatus follower in group.Followers)
        {
            if (members.IsVoter(follower.Node))
            {
                _matches.Add(follower.Match);
            }
        }

        _matches.Sort(static (one, other) => other.CompareTo(one));
        Term = group.Term;
        Stable = group.Log.Stable;
        return Term != term || _matches.Count != count || Sum() != before;
    }

    /// <summary>Takes what a leader has answered.</summary>
    public void Take(long term, long stable, ReadOnlySpan<long> others)
    {
        if (term >= Term)
        {
            Term = term;
            Stable = stable;
            _matches.Clear();
            _matches.AddRange(others);
        }
    }

    /// <summary>How many voters beside the leader have everything up to an index on disk.</summary>
    public byte CountOf(long index)
    {
        int count = 0;
        while (count < _matches.Count && _matches[count] >= index)
        {
            count++;
        }

        return (byte)count;
    }

    // Matches and what is stable never fall within a term: if the sum is the same, so are they.
    private long Sum()
    {
        long sum = Stable;
        foreach (long match in _matches)
        {
            sum += match;
        }

        return sum;
    }
}
