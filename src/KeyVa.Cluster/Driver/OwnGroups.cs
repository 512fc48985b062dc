using KeyVa.Replication;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// The groups of this node's callers: those that nobody has yet, in the order in which they came, and those that are under way, by number. Each is in one of
/// the two until it is answered. Owned by its replica.
/// </summary>
internal sealed class OwnGroups(Func<long> nextNumber, long partition)
{
    private readonly LinkedList<OwnGroup> _waiting = new();

    // Of those that nobody has: steps of commits that others wait for, which come first.
    private readonly LinkedList<OwnGroup> _urgent = new();
    private readonly Dictionary<long, OwnGroup> _underWay = [];

    /// <summary>Whether nobody has some of them.</summary>
    public bool HasWaiting => _waiting.Count > 0 || _urgent.Count > 0;

    public bool HasUnderWay => _underWay.Count > 0;

    public int Count => _waiting.Count + _urgent.Count + _underWay.Count;

    /// <summary>The first that nobody has, or null.</summary>
    public OwnGroup? FirstWaiting => (_urgent.First ?? _waiting.First)?.Value;

    public void Add(ReplicatedGroup requests, long deadline, bool isUrgent = false) => ListOf(isUrgent).AddLast(new OwnGroup(requests, nextNumber(), deadline) { IsUrgent = isUrgent });

    /// <summary>One that nobody had is under way now. Others may have come before it since it was the first.</summary>
    public void Begin(OwnGroup own)
    {
        ListOf(own.IsUrgent).Remove(own);
        _underWay[own.Number] = own;
    }

    /// <summary>One that a node has, in a term; null: that is over.</summary>
    public OwnGroup? Find(long number, long holder, long term) =>
        _underWay.TryGetValue(number, out OwnGroup? own) && own.Holder == holder && own.Term == term ? own : null;

    /// <summary>Takes one that is under way out; whoever does so answers it. Null: there is none of that number.</summary>
    public OwnGroup? Take(long number) => _underWay.Remove(number, out OwnGroup? own) ? own : null;

    /// <summary>Nothing was done of one that is under way: it is tried again, in the order in which it came.</summary>
    public void WaitAgain(OwnGroup own)
    {
        _underWay.Remove(own.Number);
        own.Number = nextNumber();
        LinkedList<OwnGroup> waiting = ListOf(own.IsUrgent);
        LinkedListNode<OwnGroup>? behind = waiting.First;
        while (behind is not null && behind.Value.Order < own.Order)
        {
            behind = behind.Next;
        }

        if (behind is null)
        {
            waiting.AddLast(own);
        }
        else
        {
            waiting.AddBefore(behind, own);
        }
    }

    /// <summary>A frame to a peer could not be sent: what was handed over with it, nobody has. False: that was nothing.</summary>
    public bool NotSent(long peer, ulong frame)
    {
        bool any = false;
        foreach (OwnGroup own in _underWay.Values)
        {
            if (own.Holder == peer && own.Frame == frame)
            {
                WaitAgain(own);
                any = true;
            }
        }

        return any;
    }

    /// <summary>What leaders of terms before this one have, they will not bring through: it is tried again. All but one, which is being applied.</summary>
    public void Supersede(long term, long applied = 0)
    {
        foreach (OwnGroup own in _underWay.Values)
        {
            if (own.Term < term && own.Number != applied)
            {
                WaitAgain(own);
            }
        }
    }

    /// <summary>Tells the callers whose time is over what can be told.</summary>
    public void Expire(long now)
    {
        Expire(_waiting, now);
        Expire(_urgent, now);

        foreach (OwnGroup own in _underWay.Values)
        {
            if (now >= own.Deadline)
            {
                _underWay.Remove(own.Number);
                own.Requests.Complete(ReplicaRefusals.Unknown(partition, own.Reached));
            }
        }
    }

    /// <summary>What became of those that are under way, nobody can say.</summary>
    public void EndUnderWay()
    {
        foreach (OwnGroup own in _underWay.Values)
        {
            own.Requests.Complete(ReplicaRefusals.Unknown(partition, own.Reached));
        }

        _underWay.Clear();
    }

    /// <summary>Ends all of them: the node stops.</summary>
    public void EndAll()
    {
        Expire(_waiting, long.MaxValue);
        Expire(_urgent, long.MaxValue);
        EndUnderWay();
    }

    private LinkedList<OwnGroup> ListOf(bool isUrgent) => isUrgent ? _urgent : _waiting;

    private void Expire(LinkedList<OwnGroup> waiting, long now)
    {
        while (waiting.First is { } first && now >= first.Value.Deadline)
        {
            waiting.RemoveFirst();
            first.Value.Requests.Complete(ReplicaRefusals.Unavailable(partition));
        }
    }
}
