using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>Told once how many voters beside the leader have an entry on disk: as many as it asked for, or those that had it when its time was over.</summary>
internal interface ICountWaiter
{
    void Complete(byte others);
}

/// <summary>
/// Those who wait until so many voters have an entry on disk, on whatever node: a group that is applied and was asked for more replicas than a majority, or
/// a client that asks of its earlier writes. Everybody's question is one: how far the voters are. Owned by a replica.
/// </summary>
internal sealed class ReplicaCounts
{
    /// <summary>Those who wait at most.</summary>
    public const int Most = 1 << 16;

    private readonly List<(ICountWaiter Waiter, long Term, long Index, byte Others, long Deadline)> _waiting = [];

    /// <summary>How far the voters are, as was heard last.</summary>
    public MatchIndexes Matches { get; } = new();

    public bool IsEmpty => _waiting.Count == 0;

    /// <summary>When the leader is to be asked again.</summary>
    public long AskAt { get; set; }

    /// <summary>False: too many wait already.</summary>
    public bool TryAdd(ICountWaiter waiter, long term, long index, byte others, long deadline)
    {
        if (_waiting.Count >= Most)
        {
            return false;
        }

        _waiting.Add((waiter, term, index, others, deadline));
        AskAt = 0;
        return true;
    }

    /// <summary>Tells those whose count is reached, or whose time is over.</summary>
    public void Advance(RaftGroup group, long now)
    {
        for (int i = 0; i < _waiting.Count; i++)
        {
            (ICountWaiter waiter, long term, long index, byte others, long deadline) = _waiting[i];
            byte count = CountOf(group, term, index, out bool isLost);
            if (count >= others || isLost || now >= deadline)
            {
                _waiting.RemoveAt(i--);
                waiter.Complete(count);
            }
        }
    }

    /// <summary>Tells everybody what is known: the node stops.</summary>
    public void EndAll(RaftGroup group) => Advance(group, long.MaxValue);

    /// <summary>
    /// What is known for certain of an entry that is applied: it was committed under the membership that was in force where it stands, or under the joint one
    /// behind it, which needs a majority of that one too (§6). So a majority of these voters has it, one of them the leader or in its place.
    /// </summary>
    public static byte Certain(Membership members)
    {
        int voters = Math.Max(members.Voters.Length, members.OldVoters.Length);
        return voters == 0 ? (byte)1 : (byte)Quorum.Majority(voters);
    }

    private byte CountOf(RaftGroup group, long term, long index, out bool isLost)
    {
        isLost = false;
        if (index <= group.AppliedIndex)
        {
            // Unknown: so far behind that it was let go of; an entry in its place would have been seen long ago.
            isLost = group.Log.TermAt(index) is var there && there != term && there != ReplicatedLog.Unknown;
            if (isLost)
            {
                return 0;
            }

            // What a leader of before the entry's term has told was of others in its place, which it had not committed: how many have those says nothing of this one.
            byte told = Matches.Term >= term ? Matches.CountOf(index) : (byte)0;
            return Math.Max(told, (byte)(Certain(group.MembershipAt(index)) - 1));
        }

        // Not committed as far as is known here: only the leader that took it can say.
        return Matches.Term == term ? Matches.CountOf(index) : (byte)0;
    }
}
