using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Numerics;

namespace KeyVa.Transactions.Locks;

/// <summary>What an owner's request for a key meets among the ranges.</summary>
internal enum RangeVerdict
{
    /// <summary>Nothing that concerns it.</summary>
    Free,

    /// <summary>The owner holds a range with the key in it, strongly enough.</summary>
    Covered,

    /// <summary>Another owner holds, or waits for, a range with the key in it.</summary>
    Blocked,
}

/// <summary>
/// Keys and ranges with what is held and waited for, and the rules by which one request is in the way of another.
/// </summary>
/// <remarks>
/// <para>Guarding. A key, its requests and the waits of their owners are guarded by the gate of the key's stripe. Ranges,
/// their requests, and tickets are written with all gates held (taken in the order of the stripes), so they may be read
/// under any one of them. A request begins to wait with all gates held, and so the wait-for graph stands still for
/// whoever holds them.</para>
/// <para>Invariants. 1. A request is held up by what other owners hold, and by what they wait for with a lower ticket, of
/// the same keys, in a mode that conflicts. 2. Where no gate is held, every waiting request is held up by something. So
/// whoever takes something away looks again at what it may have held up: at the key's queue under its gate alone, at
/// ranges with all gates held. That is done if a range waits there: one that came since has seen the change itself.
/// 3. Granting takes nothing away, since what holds up by its ticket goes on to hold up by being held.</para>
/// </remarks>
internal sealed class LockSpace
{
    // A request that goes before another takes the ticket below; arrivals are far apart.
    private const int TicketShift = 20;

    private readonly LockStripe[] _stripes;
    private readonly WaitClock _clock;
    private readonly List<LockRequest> _found = [];
    private RequestList _heldRanges = new(waiting: false);
    private RequestList _waitingRanges = new(waiting: true);
    private long _arrivals;

    public LockSpace(int stripes, WaitClock clock)
    {
        if (!BitOperations.IsPow2(stripes))
        {
            throw new ArgumentOutOfRangeException(nameof(stripes), stripes, "a power of two");
        }

        _stripes = new LockStripe[stripes];
        _clock = clock;
        for (int i = 0; i < stripes; i++)
        {
            _stripes[i] = new LockStripe();
        }
    }

    public ReadOnlySpan<LockStripe> Stripes => _stripes;

    public RequestList HeldRanges => _heldRanges;

    public RequestList WaitingRanges => _waitingRanges;

    /// <summary>Whether any range is held or waited for. Under any gate.</summary>
    public bool HasRanges => _heldRanges.First is not null || _waitingRanges.First is not null;

    public LockStripe StripeOf(uint hash) => _stripes[hash & (uint)(_stripes.Length - 1)];

    /// <summary>Takes all gates, in their order, until what it returns is disposed.</summary>
    public AllGates EnterAll()
    {
        foreach (LockStripe stripe in _stripes)
        {
            stripe.Gate.Enter();
        }

        return new AllGates(_stripes);
    }

    /// <summary>What a request for a key that comes now meets among the ranges. Under any gate.</summary>
    public RangeVerdict Meets(LockOwner owner, ReadOnlySpan<byte> key, LockMode mode)
    {
        bool blocked = false;
        for (LockRequest? range = _heldRanges.First; range is not null; range = _heldRanges.Next(range))
        {
            bool own = range.Owner == owner;
            if ((own ? range.Held >= mode : !blocked && LockRequest.Conflict(range.Held, mode)) && range.Contains(key))
            {
                if (own)
                {
                    return RangeVerdict.Covered;
                }

                blocked = true;
            }
        }

        for (LockRequest? range = _waitingRanges.First; range is not null && !blocked; range = _waitingRanges.Next(range))
        {
            blocked = LockRequest.Conflict(range.Wanted, mode) && range.Contains(key);
        }

        return blocked ? RangeVerdict.Blocked : RangeVerdict.Free;
    }

    /// <summary>Whether a range with the key in it is held by another owner. Under any gate.</summary>
    public bool IsInRangeOfOther(ReadOnlySpan<byte> key, LockOwner? owner)
    {
        for (LockRequest? range = _heldRanges.First; range is not null; range = _heldRanges.Next(range))
        {
            if (range.Owner != owner && range.Contains(key))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether a range with the key in it is waited for. Under any gate.</summary>
    public bool IsInWaitingRange(LockedKey key)
    {
        for (LockRequest? range = _waitingRanges.First; range is not null; range = _waitingRanges.Next(range))
        {
            if (range.Contains(key.Span))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>A range that the owner holds with all keys of the given one, strongly enough; else just that range. Under any gate.</summary>
    public (LockRequest? Covering, LockRequest? Same) OwnRange(LockOwner owner, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, LockMode mode)
    {
        LockRequest? same = null;
        for (LockRequest? range = _heldRanges.First; owner.Ranges > 0 && range is not null; range = _heldRanges.Next(range))
        {
            if (range.Owner != owner)
            {
                continue;
            }

            if (range.Held >= mode && range.Covers(from, to))
            {
                return (range, null);
            }

            if (from.SequenceEqual(range.From) && to.SequenceEqual(range.To))
            {
                same = range;
            }
        }

        return (null, same);
    }

    /// <summary>
    /// Gives a request its place: the last, but before all that waits for its owner's locks in its way, since to wait for
    /// these would be a deadlock without need. An upgrade thus goes first. With all gates held.
    /// </summary>
    public void Place(LockRequest request)
    {
        request.Arrival = ++_arrivals;
        request.Ticket = _arrivals << TicketShift;
        if (request.Owner.Held == 0)
        {
            return;
        }

        _found.Clear();
        CollectBlockers(request, _found);
        long ticket = request.Ticket;
        foreach (LockRequest other in _found)
        {
            if (LockRequest.Conflict(other.Wanted, request.Wanted) && IsHeldUpBy(other, request.Owner))
            {
                ticket = Math.Min(ticket, other.Ticket - 1);
            }
        }

        request.Ticket = ticket;
        _found.Clear();
    }

    /// <summary>Puts a placed request among those that wait. With all gates held.</summary>
    public void Queue(LockRequest request)
    {
        if (request.Key is { } key)
        {
            key.Waiting.Add(request);
        }
        else
        {
            _waitingRanges.Add(request);
        }
    }

    public void Unqueue(LockRequest request)
    {
        if (request.Key is { } key)
        {
            key.Waiting.Remove(request);
        }
        else
        {
            _waitingRanges.Remove(request);
        }

        request.Wanted = LockRequest.None;
    }

    /// <summary>The owner holds from now on what the request wants. Under the key's gate; for a range all.</summary>
    public void Grant(LockRequest request)
    {
        LockOwner owner = request.Owner;
        if (request.Held != LockRequest.None)
        {
            request.Upgraded = ++owner.Sequence;
            owner.LastUpgrade = owner.Sequence;
        }
        else if (request.Key is { } key)
        {
            owner.Chain(request);
            key.Held.Add(request);
            key.Stripe.Held++;
        }
        else
        {
            owner.Chain(request);
            _heldRanges.Add(request);
        }

        request.Held = request.Wanted;
        request.Wanted = LockRequest.None;
    }

    /// <summary>Takes a held request away from its owner and its list; what it held up is to be looked at again.</summary>
    public void Drop(LockRequest request)
    {
        LockOwner owner = request.Owner;
        owner.Unchain(request);
        owner.Units -= request.Units;
        request.Held = LockRequest.None;
        if (request.Key is { } key)
        {
            key.Held.Remove(request);
            key.Stripe.Held--;
        }
        else
        {
            _heldRanges.Remove(request);
        }
    }

    /// <summary>Grants what nothing holds up any more in a key's queue. Under its gate.</summary>
    public void GrantWaiting(LockedKey key, ref WokenOwners woken)
    {
        LockRequest? next;
        for (LockRequest? request = key.Waiting.First; request is not null; request = next)
        {
            next = key.Waiting.Next(request);
            if (!IsBlocked(request))
            {
                GrantWaiter(request, ref woken);
            }
            else if (request.Wanted == LockMode.Exclusive)
            {
                // It holds up all behind it.
                return;
            }
        }
    }

    /// <summary>Grants what nothing holds up any more among ranges. With all gates held.</summary>
    public void GrantWaitingRanges(ref WokenOwners woken)
    {
        LockRequest? next;
        for (LockRequest? request = _waitingRanges.First; request is not null; request = next)
        {
            next = _waitingRanges.Next(request);
            if (!IsBlocked(request))
            {
                GrantWaiter(request, ref woken);
            }
        }
    }

    /// <summary>Grants what nothing holds up any more after a range was taken away. With all gates held.</summary>
    public void GrantWaitingAround(LockRequest range, ref WokenOwners woken)
    {
        Debug.Assert(range.Key is null, "a range was taken away");
        foreach (LockStripe stripe in _stripes)
        {
            for (LockedKey? key = stripe.Keys.FirstFrom(range.From); IsInside(key, range); key = KeyTree.Next(key))
            {
                GrantWaiting(key, ref woken);
            }
        }

        GrantWaitingRanges(ref woken);
    }

    /// <summary>Whether anything is in the way of a request that wants something. Under the key's gate; for a range all.</summary>
    public bool IsBlocked(LockRequest request) =>
        (request.Key is { } key ? IsBlockedAt(key, request) : IsBlockedInside(request))
        || IsBlockedByRanges(request);

    /// <summary>All that is in the way of a request that wants something. With all gates held.</summary>
    public void CollectBlockers(LockRequest request, List<LockRequest> blockers)
    {
        if (request.Key is { } own)
        {
            CollectAt(own, request, blockers);
        }
        else
        {
            foreach (LockStripe stripe in _stripes)
            {
                for (LockedKey? key = stripe.Keys.FirstFrom(request.From); IsInside(key, request); key = KeyTree.Next(key))
                {
                    CollectAt(key, request, blockers);
                }
            }
        }

        for (LockRequest? range = _heldRanges.First; range is not null; range = _heldRanges.Next(range))
        {
            if (HoldsUp(range, request) && range.Overlaps(request))
            {
                blockers.Add(range);
            }
        }

        for (LockRequest? range = _waitingRanges.First; range is not null; range = _waitingRanges.Next(range))
        {
            if (WaitsBefore(range, request) && range.Overlaps(request))
            {
                blockers.Add(range);
            }
        }
    }

    private static bool HoldsUp(LockRequest held, LockRequest request) =>
        held.Owner != request.Owner && LockRequest.Conflict(held.Held, request.Wanted);

    private static bool WaitsBefore(LockRequest waiting, LockRequest request) =>
        waiting.Owner != request.Owner && LockRequest.Conflict(waiting.Wanted, request.Wanted) && waiting.IsBefore(request);

    private static bool IsInside([NotNullWhen(true)] LockedKey? key, LockRequest range) =>
        key is not null && (range.To.Length == 0 || key.Span.SequenceCompareTo(range.To) < 0);

    private static bool IsBlockedAt(LockedKey key, LockRequest request)
    {
        for (LockRequest? held = key.Held.First; held is not null; held = key.Held.Next(held))
        {
            if (HoldsUp(held, request))
            {
                return true;
            }
        }

        for (LockRequest? other = key.Waiting.First; other is not null && other.IsBefore(request); other = key.Waiting.Next(other))
        {
            if (WaitsBefore(other, request))
            {
                return true;
            }
        }

        return false;
    }

    // The nearest waiters come first, so that a search of the graph sees the last of a queue before the first.
    private static void CollectAt(LockedKey key, LockRequest request, List<LockRequest> blockers)
    {
        for (LockRequest? held = key.Held.First; held is not null; held = key.Held.Next(held))
        {
            if (HoldsUp(held, request))
            {
                blockers.Add(held);
            }
        }

        for (LockRequest? other = key.Waiting.Last; other is not null; other = key.Waiting.Previous(other))
        {
            if (WaitsBefore(other, request))
            {
                blockers.Add(other);
            }
        }
    }

    /// <summary>Whether an owner's own locks are in the way of another's request. With all gates held.</summary>
    private bool IsHeldUpBy(LockRequest request, LockOwner owner)
    {
        if (request.Key is { } key && key.HeldBy(owner) is { } own && LockRequest.Conflict(own.Held, request.Wanted))
        {
            return true;
        }

        // A key's request can meet the owner's ranges besides, which stand in a shorter list than all that it holds.
        bool ranges = request.Key is not null;
        LockRequest? held = ranges ? _heldRanges.First : owner.Newest;
        while (held is not null)
        {
            if (held.Owner == owner && LockRequest.Conflict(held.Held, request.Wanted) && held.Overlaps(request))
            {
                return true;
            }

            held = ranges ? _heldRanges.Next(held) : held.Older;
        }

        return false;
    }

    private void GrantWaiter(LockRequest request, ref WokenOwners woken)
    {
        LockMode wanted = request.Wanted;
        LockOwner owner = request.Owner;
        Unqueue(request);
        request.Wanted = wanted;
        Grant(request);
        owner.Waiting = null;
        owner.Result = default;
        _clock.Remove(owner);
        woken.Add(owner);
    }

    private bool IsBlockedInside(LockRequest request)
    {
        foreach (LockStripe stripe in _stripes)
        {
            for (LockedKey? key = stripe.Keys.FirstFrom(request.From); IsInside(key, request); key = KeyTree.Next(key))
            {
                if (IsBlockedAt(key, request))
                {
                    return true;
                }
            }
        }

        return false;
    }

    private bool IsBlockedByRanges(LockRequest request)
    {
        for (LockRequest? range = _heldRanges.First; range is not null; range = _heldRanges.Next(range))
        {
            if (HoldsUp(range, request) && range.Overlaps(request))
            {
                return true;
            }
        }

        for (LockRequest? range = _waitingRanges.First;
            range is not null && range.IsBefore(request);
            range = _waitingRanges.Next(range))
        {
            if (WaitsBefore(range, request) && range.Overlaps(request))
            {
                return true;
            }
        }

        return false;
    }
}

/// <summary>All gates of a table are held while this lives.</summary>
internal readonly ref struct AllGates(LockStripe[] stripes)
{
    public void Dispose()
    {
        for (int i = stripes.Length - 1; i >= 0; i--)
        {
            stripes[i].Gate.Exit();
        }
    }
}
