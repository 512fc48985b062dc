using System.Diagnostics;

namespace KeyVa.Transactions.Locks;

/// <summary>
/// Finds cycles in the graph of who waits for whom. An owner waits for one request at a time, so its edges lead to the owners
/// of all that is in this request's way: what they hold, and what they wait for with a lower ticket.
/// </summary>
/// <remarks>
/// Guarded by all gates of the table. An edge only ever comes with a request that begins to wait, or leads to an
/// owner that was granted something and waits for nothing; so if there was no cycle before, one can only
/// lead through the owner that begins to wait, and the search starts there.
/// </remarks>
internal sealed class WaitGraph(LockSpace space)
{
    private readonly List<LockOwner> _reached = [];
    private readonly List<LockRequest> _blockers = [];
    private readonly List<LockOwner> _cycle = [];
    private long _search;

    /// <summary>The cycle found last: each waits for the next, the last for the first.</summary>
    public IReadOnlyList<LockOwner> Cycle => _cycle;

    /// <summary>
    /// Whether an owner waits for itself over others; <see cref="Cycle"/> is then a shortest such way. One of held locks alone
    /// comes first: one of its owners must end in any case, which may spare those that only stand in a queue.
    /// </summary>
    public bool FindCycle(LockOwner start) => Search(start, heldOnly: true) || Search(start, heldOnly: false);

    /// <summary>The owner of the cycle that costs the least; of several the youngest.</summary>
    public LockOwner CheapestOfCycle()
    {
        LockOwner victim = _cycle[0];
        long least = victim.Cost;
        foreach (LockOwner owner in _cycle)
        {
            long cost = owner.Cost;
            if (cost < least || (cost == least && owner.Id > victim.Id))
            {
                victim = owner;
                least = cost;
            }
        }

        return victim;
    }

    private bool Search(LockOwner start, bool heldOnly)
    {
        _search++;
        _cycle.Clear();
        _reached.Clear();
        _reached.Add(start);
        start.Searched = _search;
        bool found = false;
        for (int i = 0; i < _reached.Count && !found; i++)
        {
            found = _reached[i].Waiting is { } request && !IsKnown(request, isStart: i == 0) && Expand(request, start, heldOnly);
        }

        foreach (LockOwner owner in _reached)
        {
            owner.PathParent = null;
        }

        _reached.Clear();
        return found;
    }

    // A long queue of one key would be walked once for each that stands in it. Whoever stands further behind, wanting as
    // much, meets all that this one meets. The start's own locks are no edges of its own, so its walk proves nothing.
    private bool IsKnown(LockRequest request, bool isStart)
    {
        if (isStart || request.Key is not { } key)
        {
            return false;
        }

        if (key.Searched == _search && request.IsBefore(key.SearchedTo!) && key.SearchedTo!.Wanted >= request.Wanted)
        {
            return true;
        }

        key.Searched = _search;
        key.SearchedTo = request;
        return false;
    }

    private bool Expand(LockRequest request, LockOwner start, bool heldOnly)
    {
        _blockers.Clear();
        space.CollectBlockers(request, _blockers);
        bool found = false;
        foreach (LockRequest blocker in _blockers)
        {
            LockOwner owner = blocker.Owner;
            if (heldOnly && !LockRequest.Conflict(blocker.Held, request.Wanted))
            {
                continue;
            }

            if (owner == start)
            {
                NoteCycle(request.Owner);
                found = true;
                break;
            }

            if (owner.Searched != _search)
            {
                owner.Searched = _search;
                owner.PathParent = request.Owner;
                _reached.Add(owner);
            }
        }

        _blockers.Clear();
        return found;
    }

    private void NoteCycle(LockOwner last)
    {
        for (LockOwner? owner = last; owner is not null; owner = owner.PathParent)
        {
            Debug.Assert(owner.Waiting is not null, "all of a cycle wait");
            _cycle.Add(owner);
        }

        _cycle.Reverse();
    }
}
