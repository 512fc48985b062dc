namespace KeyVa.Raft;

/// <summary>
/// Who belongs to a group (§6). While a change is under way it is joint: <see cref="OldVoters"/> is C_old, <see cref="Voters"/>
/// is C_new, and every decision needs a majority of each. Learners get the log and decide nothing. A node may be an old
/// voter and a learner at once: it becomes a learner when the change ends. Immutable; all lists are sorted.
/// </summary>
public sealed class Membership : IEquatable<Membership>
{
    /// <summary>Nodes in each of the three lists, at most.</summary>
    public const int MaxMembers = 64;

    private readonly long[] _voters;
    private readonly long[] _oldVoters;
    private readonly long[] _learners;

    internal Membership(long[] voters, long[] oldVoters, long[] learners)
    {
        _voters = Sorted(voters);
        _oldVoters = Sorted(oldVoters);
        _learners = Sorted(learners);
        if (_voters.Intersect(_learners).Any())
        {
            throw new ArgumentException("a node is a voter or a learner, not both");
        }
    }

    /// <summary>A membership that is not joint.</summary>
    public Membership(IEnumerable<long> voters, IEnumerable<long>? learners = null)
        : this([.. voters], [], [.. learners ?? []])
    {
    }

    /// <summary>Nobody.</summary>
    public static Membership Empty { get; } = new([], [], []);

    /// <summary>Who votes; C_new while the membership is joint.</summary>
    public ReadOnlySpan<long> Voters => _voters;

    /// <summary>C_old while the membership is joint, else nobody.</summary>
    public ReadOnlySpan<long> OldVoters => _oldVoters;

    /// <summary>Who gets the log without a vote.</summary>
    public ReadOnlySpan<long> Learners => _learners;

    /// <summary>Whether a change is under way.</summary>
    public bool IsJoint => _oldVoters.Length > 0;

    /// <summary>Whether a node votes, now.</summary>
    public bool IsVoter(long node) => Array.BinarySearch(_voters, node) >= 0 || Array.BinarySearch(_oldVoters, node) >= 0;

    /// <summary>Whether a node gets the log.</summary>
    public bool Contains(long node) => IsVoter(node) || Array.BinarySearch(_learners, node) >= 0;

    /// <summary>Everybody, each once, in rising order.</summary>
    public long[] All() => [.. _voters.Union(_oldVoters).Union(_learners).Order()];

    /// <inheritdoc/>
    public bool Equals(Membership? other) => other is not null
        && Voters.SequenceEqual(other.Voters) && OldVoters.SequenceEqual(other.OldVoters) && Learners.SequenceEqual(other.Learners);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as Membership);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_voters.Length, _oldVoters.Length, _learners.Length, _voters.Sum());

    /// <summary>As in <c>voters 1 2 3, old 1 2 4, learners 5</c>.</summary>
    public override string ToString() => $"voters {string.Join(' ', _voters)}"
        + (IsJoint ? $", old {string.Join(' ', _oldVoters)}" : "") + (_learners.Length > 0 ? $", learners {string.Join(' ', _learners)}" : "");

    /// <summary>C_old,new on the way from this membership to another.</summary>
    internal Membership JointTo(Membership next) => new(next._voters, _voters, next._learners);

    /// <summary>C_new, where this is C_old,new.</summary>
    internal Membership Left() => new(_voters, [], _learners);

    /// <summary>The highest number that a majority (of both sides, if joint) has reached.</summary>
    internal long HighestAgreed(Func<long, long> reached)
    {
        long agreed = Highest(_voters, reached);
        return IsJoint ? Math.Min(agreed, Highest(_oldVoters, reached)) : agreed;
    }

    /// <summary>How a vote stands, given who granted (true), refused (false) or is silent (null).</summary>
    internal bool? Tally(Func<long, bool?> votes)
    {
        bool? one = Tally(_voters, votes);
        bool? other = IsJoint ? Tally(_oldVoters, votes) : true;
        return one == false || other == false ? false : one == true && other == true ? true : null;
    }

    private static long Highest(long[] voters, Func<long, long> reached)
    {
        if (voters.Length == 0)
        {
            return 0;
        }

        Span<long> values = stackalloc long[MaxMembers];
        values = values[..voters.Length];
        for (int i = 0; i < voters.Length; i++)
        {
            values[i] = reached(voters[i]);
        }

        return Quorum.ReplicatedIndex(values);
    }

    private static bool? Tally(long[] voters, Func<long, bool?> votes)
    {
        int granted = 0, refused = 0;
        foreach (long voter in voters)
        {
            bool? vote = votes(voter);
            granted += vote == true ? 1 : 0;
            refused += vote == false ? 1 : 0;
        }

        int majority = (voters.Length / 2) + 1;
        return granted >= majority ? true : voters.Length - refused < majority ? false : null;
    }

    private static long[] Sorted(long[] nodes)
    {
        long[] sorted = [.. nodes.Distinct().Order()];
        ArgumentOutOfRangeException.ThrowIfGreaterThan(sorted.Length, MaxMembers);
        if (sorted.Length != nodes.Length || (sorted.Length > 0 && sorted[0] <= NodeId.None))
        {
            throw new ArgumentException("nodes are numbers above 0, each once");
        }

        return sorted;
    }
}
