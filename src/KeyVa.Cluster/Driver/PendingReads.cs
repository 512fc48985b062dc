using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>Told once whether what was committed before it was asked is applied here now.</summary>
internal interface IReadWaiter
{
    void Complete(Status status);
}

/// <summary>
/// Reads that must see everything that was acknowledged before they came (docs/replication.md, Reads). All that come while one question is on
/// its way share the next. Owned by a replica.
/// </summary>
internal sealed class PendingReads(long timeout, int capacity)
{
    private readonly List<(IReadWaiter Waiter, long Deadline)> _unasked = [];
    private readonly Dictionary<long, (List<(IReadWaiter Waiter, long Deadline)> Waiters, long AskedAt)> _asked = [];
    private readonly List<(long Index, List<(IReadWaiter Waiter, long Deadline)> Waiters)> _confirmed = [];
    private int _count;

    public bool IsEmpty => _count == 0;

    public int Count => _count;

    /// <summary>False if there are too many already.</summary>
    public bool TryAdd(IReadWaiter waiter, long now)
    {
        if (_count >= capacity)
        {
            return false;
        }

        _count++;
        _unasked.Add((waiter, now + timeout));
        return true;
    }

    public bool HasUnasked => _unasked.Count > 0;

    /// <summary>Everything that waits to be asked is, under this context.</summary>
    public void Asked(long context, long now)
    {
        _asked[context] = ([.. _unasked], now);
        _unasked.Clear();
    }

    public void On(in ConfirmedRead read)
    {
        if (!_asked.Remove(read.Context, out (List<(IReadWaiter, long)> Waiters, long AskedAt) question))
        {
            return;
        }

        if (read.Refusal == Refusal.None)
        {
            _confirmed.Add((read.Index, question.Waiters));
        }
        else
        {
            _unasked.AddRange(question.Waiters);
        }
    }

    /// <summary>Questions that were asked before a time may be lost: they are asked again.</summary>
    public void AskAgain(long askedBefore)
    {
        foreach ((long context, (List<(IReadWaiter, long)> waiters, long askedAt)) in _asked)
        {
            if (askedAt < askedBefore)
            {
                _asked.Remove(context);
                _unasked.AddRange(waiters);
            }
        }
    }

    /// <summary>Everything up to an index is applied.</summary>
    public void Applied(long index)
    {
        for (int i = 0; i < _confirmed.Count; i++)
        {
            if (_confirmed[i].Index <= index)
            {
                End(_confirmed[i].Waiters, Status.Ok);
                _confirmed.RemoveAt(i--);
            }
        }
    }

    /// <summary>Those that have waited too long are told so.</summary>
    public void Expire(long now)
    {
        _count -= _unasked.RemoveAll(one => IsLate(one, now));
        foreach ((List<(IReadWaiter, long)> waiters, _) in _asked.Values)
        {
            _count -= waiters.RemoveAll(one => IsLate(one, now));
        }

        foreach ((_, List<(IReadWaiter, long)> waiters) in _confirmed)
        {
            _count -= waiters.RemoveAll(one => IsLate(one, now));
        }
    }

    public void EndAll(Status status)
    {
        End(_unasked, status);
        _unasked.Clear();
        foreach ((List<(IReadWaiter, long)> waiters, _) in _asked.Values)
        {
            End(waiters, status);
        }

        _asked.Clear();
        foreach ((_, List<(IReadWaiter, long)> waiters) in _confirmed)
        {
            End(waiters, status);
        }

        _confirmed.Clear();
    }

    private static bool IsLate((IReadWaiter Waiter, long Deadline) one, long now)
    {
        if (now < one.Deadline)
        {
            return false;
        }

        one.Waiter.Complete(Status.Unavailable);
        return true;
    }

    private void End(List<(IReadWaiter Waiter, long Deadline)> waiters, Status status)
    {
        _count -= waiters.Count;
        foreach ((IReadWaiter waiter, _) in waiters)
        {
            waiter.Complete(status);
        }
    }
}
