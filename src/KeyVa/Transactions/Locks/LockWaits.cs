namespace KeyVa.Transactions.Locks;

/// <summary>
/// The waits of a lock table: how they begin and end, by a grant, a time-out, an abort, or because they would never end.
/// </summary>
/// <remarks>
/// Everything but <see cref="WaitHere"/> and the figures is called with all gates of the <see cref="Space"/> held. Whoever ends a wait adds its owner to
/// <see cref="WokenOwners"/>, which are told when no gate is held any more: so no wake-up is lost, and none comes under a lock.
/// </remarks>
internal sealed class LockWaits : IDisposable
{
    private readonly WaitClock _clock;
    private readonly WaitGraph _graph;
    private readonly LockBudget _budget;

    // Guarded by all gates.
    private readonly List<LockRequest> _blockers = [];
    private readonly List<LockOwner> _ending = [];
    private bool _isOver;

    // Interlocked.
    private int _awake;
    private long _begun;
    private long _deadlocks;
    private long _timedOut;

    public LockWaits(TimeProvider time, int stripes, LockBudget budget)
    {
        _budget = budget;
        _clock = new WaitClock(time, EndDue);
        Space = new LockSpace(stripes, _clock);
        _graph = new WaitGraph(Space);
    }

    public LockSpace Space { get; }

    /// <summary>Requests that wait.</summary>
    public int Count => _clock.Count;

    /// <summary>Requests that ever had to wait.</summary>
    public long Begun => Interlocked.Read(ref _begun);

    /// <summary>Requests that were ended to break a cycle.</summary>
    public long Deadlocks => Interlocked.Read(ref _deadlocks);

    /// <summary>Requests whose time passed.</summary>
    public long TimedOut => Interlocked.Read(ref _timedOut);

    /// <summary>Waits on the caller's thread; no gate is held.</summary>
    public LockResult WaitHere(LockOwner owner)
    {
        // Whoever may be released by another thread at this moment is worth waiting for awake, if a processor is left for that thread.
        bool over = Interlocked.Increment(ref _awake) < Environment.ProcessorCount && owner.Spin();
        Interlocked.Decrement(ref _awake);
        return over ? owner.Result : owner.Wait();
    }

    /// <summary>A placed request that is blocked and must not wait.</summary>
    public LockResult Refuse(LockRequest request)
    {
        LockResult result = TimeOut(request, TimeSpan.Zero);
        request.Wanted = LockRequest.None;
        Discard(request);
        return result;
    }

    /// <summary>Lets the owner of a placed request wait, and ends waits as long as there is a cycle.</summary>
    public void Begin(LockRequest request, TimeSpan timeout, bool asynchronous, ref WokenOwners woken)
    {
        LockOwner owner = request.Owner;
        Interlocked.Increment(ref _begun);
        owner.BeginWait(request, asynchronous);
        owner.Timeout = timeout;
        Space.Queue(request);
        _clock.Add(owner, timeout);
        while (owner.Waiting is not null && _graph.FindCycle(owner))
        {
            EndCheapestOfCycle(ref woken);
        }
    }

    /// <summary>Ends a wait without a grant, and grants what it had held up. With all gates held.</summary>
    public void End(LockRequest request, LockResult result, ref WokenOwners woken)
    {
        LockOwner owner = request.Owner;
        _clock.Remove(owner);
        Space.Unqueue(request);
        owner.Waiting = null;
        owner.Result = result;
        woken.Add(owner);
        if (request.Key is { } key)
        {
            Space.GrantWaiting(key, ref woken);
            Space.GrantWaitingRanges(ref woken);
        }
        else
        {
            Space.GrantWaitingAround(request, ref woken);
        }

        Discard(request);
    }

    /// <summary>Ends all waits, and there will be no more.</summary>
    public void EndAll(string reason, ref WokenOwners woken)
    {
        _isOver = true;
        _clock.CollectAll(_ending);
        foreach (LockOwner owner in _ending)
        {
            // It may have got its lock because the one before it in this list gave up.
            if (owner.Waiting is { } request)
            {
                End(request, new LockResult(LockOutcome.Aborted, LockText.Aborted(request, reason)), ref woken);
            }
        }

        _ending.Clear();
    }

    public void Dispose() => _clock.Dispose();

    private void EndCheapestOfCycle(ref WokenOwners woken)
    {
        LockOwner victim = _graph.CheapestOfCycle();
        string text = LockText.Deadlock(_graph.Cycle, victim, Space, _blockers);
        Interlocked.Increment(ref _deadlocks);
        End(victim.Waiting!, new LockResult(LockOutcome.Deadlock, text), ref woken);
    }

    private LockResult TimeOut(LockRequest request, TimeSpan timeout)
    {
        Interlocked.Increment(ref _timedOut);
        _blockers.Clear();
        Space.CollectBlockers(request, _blockers);
        LockResult result = new(LockOutcome.TimedOut, LockText.TimedOut(request, _blockers, timeout));
        _blockers.Clear();
        return result;
    }

    /// <summary>The timer's.</summary>
    private void EndDue()
    {
        WokenOwners woken = default;
        using (Space.EnterAll())
        {
            if (!_isOver)
            {
                _clock.CollectDue(_ending);
            }

            foreach (LockOwner owner in _ending)
            {
                // It may have got its lock because the one before it in this list gave up.
                if (owner.Waiting is { } request)
                {
                    End(request, TimeOut(request, owner.Timeout), ref woken);
                }
            }

            _ending.Clear();
        }

        woken.Complete();
    }

    /// <summary>Forgets a request that waits no more, unless its owner holds something by it. With all gates held.</summary>
    private void Discard(LockRequest request)
    {
        if (request.Held != LockRequest.None)
        {
            return;
        }

        LockOwner owner = request.Owner;
        owner.Units -= request.Units;
        request.Key?.Stripe.Give(request);
        _budget.Settle(owner);
    }
}
