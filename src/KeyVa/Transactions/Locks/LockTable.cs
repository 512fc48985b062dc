using System.Diagnostics;

namespace KeyVa.Transactions.Locks;

/// <summary>
/// The locks of one store: on keys and on ranges of keys, shared or exclusive. What waits is served in the order of its
/// arrival; owners that wait for each other in a cycle are found when the cycle closes.
/// </summary>
/// <remarks>
/// <para>An owner holds a key or range once, however often it asks: asking for what it holds (or for what lies in a range that it
/// holds) is granted at once, asking for exclusive what it holds shared is an upgrade, which goes before those that wait
/// for the owner anyway.</para>
/// <para>A request that did not end with <see cref="LockOutcome.Granted"/> changed nothing: the owner holds what it held. After
/// <see cref="LockOutcome.Deadlock"/> it should release them, since others wait for them.</para>
/// <para>Time-outs: zero does not wait, <see cref="Timeout.InfiniteTimeSpan"/> waits for ever. Bounds of ranges: from
/// (inclusive) up to (exclusive); an empty one is open. A range that ends where it begins, or before, is no range.</para>
/// <para>Thread-safe; see <see cref="LockOwner"/> for what one owner may do at a time. A lock of a key takes the gate of the
/// key's stripe and nothing else, unless it must wait. How things are guarded stands at <see cref="LockSpace"/>.</para>
/// </remarks>
internal sealed class LockTable : IDisposable
{
    private const string Closing = "the store is closing";

    private readonly LockLimits _limits;
    private readonly LockSpace _space;
    private readonly LockWaits _waits;
    private readonly LockBudget _budget;

    // Guarded by all gates.
    private bool _isClosed;

    public LockTable(TimeProvider time, LockLimits limits)
    {
        _limits = limits;
        _budget = new LockBudget(limits);
        _waits = new LockWaits(time, limits.Stripes, _budget);
        _space = _waits.Space;
    }

    /// <summary>
    /// Whether anybody holds a lock or waits for one: one volatile read. It turns true before the first lock is granted.
    /// </summary>
    public bool HasLocks => _budget.IsUsed;

    public LockFigures Figures
    {
        get
        {
            long held = 0;
            foreach (LockStripe stripe in _space.Stripes)
            {
                held += stripe.Held;
            }

            int heldRanges = _space.HeldRanges.Count;
            return new LockFigures(
                held + heldRanges,
                heldRanges + _space.WaitingRanges.Count,
                _waits.Count,
                _waits.Begun,
                _waits.Deadlocks,
                _waits.TimedOut);
        }
    }

    /// <summary>Locks a key; waits on the caller's thread.</summary>
    public LockResult Acquire(LockOwner owner, ReadOnlySpan<byte> key, LockMode mode, TimeSpan timeout) =>
        RequestKey(owner, key, mode, timeout, asynchronous: false, out LockResult result) ? result : _waits.WaitHere(owner);

    /// <summary>Locks a key; completed when it returns if nobody is in the way. The key is copied. Await it once.</summary>
    public ValueTask<LockResult> AcquireAsync(LockOwner owner, ReadOnlySpan<byte> key, LockMode mode, TimeSpan timeout) =>
        RequestKey(owner, key, mode, timeout, asynchronous: true, out LockResult result) ? new(result) : owner.AsTask();

    /// <summary>Locks a key if nobody is in the way; otherwise <see cref="LockOutcome.TimedOut"/>.</summary>
    public LockResult TryAcquire(LockOwner owner, ReadOnlySpan<byte> key, LockMode mode) => Acquire(owner, key, mode, TimeSpan.Zero);

    /// <summary>Locks all keys of a range, those that are not there too; waits on the caller's thread.</summary>
    public LockResult AcquireRange(LockOwner owner, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, LockMode mode, TimeSpan timeout) =>
        RequestRange(owner, from, to, mode, timeout, asynchronous: false, out LockResult result) ? result : _waits.WaitHere(owner);

    /// <summary>Locks all keys of a range; completed when it returns if nobody is in the way. The bounds are copied. Await it once.</summary>
    public ValueTask<LockResult> AcquireRangeAsync(
        LockOwner owner, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, LockMode mode, TimeSpan timeout) =>
        RequestRange(owner, from, to, mode, timeout, asynchronous: true, out LockResult result) ? new(result) : owner.AsTask();

    /// <summary>Locks all keys of a range if nobody is in the way; otherwise <see cref="LockOutcome.TimedOut"/>.</summary>
    public LockResult TryAcquireRange(LockOwner owner, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, LockMode mode) =>
        AcquireRange(owner, from, to, mode, TimeSpan.Zero);

    /// <summary>Releases everything that the owner holds. It must not be waiting.</summary>
    public void ReleaseAll(LockOwner owner)
    {
        ReleaseTo(owner, default);
        owner.Sequence = 0;
        owner.LastUpgrade = 0;
    }

    /// <summary>Releases what the owner took since the mark; what it upgraded since is shared again. It must not be waiting.</summary>
    public void ReleaseTo(LockOwner owner, LockMark mark)
    {
        CheckIdle(owner);
        WokenOwners woken = default;
        if (owner.Ranges > 0)
        {
            ReleaseRanges(owner, mark, ref woken);
        }

        bool rangesWait = ReleaseKeys(owner, mark, ref woken);
        if (rangesWait)
        {
            using AllGates all = _space.EnterAll();
            _space.GrantWaitingRanges(ref woken);
        }

        _budget.Settle(owner);
        woken.Complete();
    }

    /// <summary>
    /// Ends the owner's wait, if it waits, with <see cref="LockOutcome.Aborted"/>, and all its requests to come (until
    /// <see cref="LockOwner.Renew"/>). It keeps what it holds: releasing is its own to do. At any time, from any thread.
    /// </summary>
    /// <param name="owner">Whose wait ends.</param>
    /// <param name="reason">Goes into the result: "its time limit passed", for example.</param>
    public void Abort(LockOwner owner, string reason)
    {
        WokenOwners woken = default;
        using (_space.EnterAll())
        {
            owner.AbortReason ??= reason;
            if (owner.Waiting is { } request)
            {
                _waits.End(request, new LockResult(LockOutcome.Aborted, LockText.Aborted(request, reason)), ref woken);
            }
        }

        woken.Complete();
    }

    /// <summary>Whether an owner other than <paramref name="owner"/> holds the key, shared or exclusive, by itself or in a range.</summary>
    public bool IsLockedByOther(ReadOnlySpan<byte> key, LockOwner? owner)
    {
        LockStripe stripe = _space.StripeOf(LockStripe.Hash(key));
        lock (stripe.Gate)
        {
            LockedKey? locked = stripe.Keys.Find(key);
            for (LockRequest? held = locked?.Held.First; held is not null; held = locked!.Held.Next(held))
            {
                if (held.Owner != owner)
                {
                    return true;
                }
            }

            return _space.IsInRangeOfOther(key, owner);
        }
    }

    /// <summary>At most <paramref name="most"/> locks and waiting requests, as they are at one moment: first ranges, then keys that somebody waits for.</summary>
    public IReadOnlyList<LockDescription> Describe(int most)
    {
        LockListing listing = new(most);
        using (_space.EnterAll())
        {
            listing.Fill(_space);
        }

        return listing.Locks;
    }

    /// <summary>What an owner waits for and the newest <paramref name="most"/> of the locks that it holds. At any time, from any thread.</summary>
    public LockListing Describe(LockOwner owner, int most)
    {
        LockListing listing = new(most);
        using (_space.EnterAll())
        {
            listing.Fill(_space, owner);
        }

        return listing;
    }

    /// <summary>Ends all waits with <see cref="LockOutcome.Aborted"/>, and all requests to come.</summary>
    public void Dispose()
    {
        WokenOwners woken = default;
        using (_space.EnterAll())
        {
            _isClosed = true;
            _waits.EndAll(Closing, ref woken);
        }

        woken.Complete();
        _waits.Dispose();
    }

    private static void CheckIdle(LockOwner owner)
    {
        if (owner.Waiting is not null)
        {
            throw new InvalidOperationException($"{owner.Name} waits for a lock: it can do one thing at a time");
        }
    }

    /// <summary>Whether the request is over; otherwise the owner waits.</summary>
    private bool RequestKey(
        LockOwner owner, ReadOnlySpan<byte> key, LockMode mode, TimeSpan timeout, bool asynchronous, out LockResult result)
    {
        CheckTimeout(timeout);
        CheckIdle(owner);
        uint hash = LockStripe.Hash(key);
        if (TryAtOnce(owner, key, hash, mode, out result))
        {
            return true;
        }

        WokenOwners woken = default;
        bool over;
        using (_space.EnterAll())
        {
            LockRequest? request = TakeKey(owner, key, hash, out result);
            over = request is null || Submit(request, mode, timeout, asynchronous, ref woken, out result);
        }

        woken.Complete();
        return over;
    }

    /// <summary>The owner's request for a key, its old one if it holds the key; null: refused. With all gates held.</summary>
    private LockRequest? TakeKey(LockOwner owner, ReadOnlySpan<byte> key, uint hash, out LockResult result)
    {
        LockStripe stripe = _space.StripeOf(hash);
        LockedKey? locked = stripe.Keys.Find(key);
        LockRequest? request = locked?.HeldBy(owner);
        if (IsRefused(owner, out result) || (request is null && !_budget.TryReserve(owner, LockBudget.UnitsOf(key.Length), out result)))
        {
            return null;
        }

        return request ?? stripe.TakeRequest(owner, locked, key, hash, LockBudget.UnitsOf(key.Length));
    }

    /// <summary>The way without waiting, under one gate. False: somebody may be in the way.</summary>
    private bool TryAtOnce(LockOwner owner, ReadOnlySpan<byte> key, uint hash, LockMode mode, out LockResult result)
    {
        result = default;
        if (owner.IsAborted)
        {
            return false;
        }

        LockStripe stripe = _space.StripeOf(hash);
        lock (stripe.Gate)
        {
            LockedKey? locked = stripe.Keys.Find(key);
            LockRequest? request = locked?.HeldBy(owner);
            if (request is not null && request.Held >= mode)
            {
                return true;
            }

            RangeVerdict verdict = _space.HasRanges ? _space.Meets(owner, key, mode) : RangeVerdict.Free;
            if (verdict != RangeVerdict.Free)
            {
                return verdict == RangeVerdict.Covered;
            }

            if (_isClosed || (locked is not null && !locked.IsFreeFor(owner, mode)))
            {
                return false;
            }

            if (request is null)
            {
                if (!_budget.TryReserve(owner, LockBudget.UnitsOf(key.Length), out result))
                {
                    return true;
                }

                request = stripe.TakeRequest(owner, locked, key, hash, LockBudget.UnitsOf(key.Length));
            }

            request.Wanted = mode;
            _space.Grant(request);
            return true;
        }
    }

    /// <summary>Whether the request is over; otherwise the owner waits.</summary>
    private bool RequestRange(
        LockOwner owner,
        ReadOnlySpan<byte> from,
        ReadOnlySpan<byte> to,
        LockMode mode,
        TimeSpan timeout,
        bool asynchronous,
        out LockResult result)
    {
        CheckTimeout(timeout);
        CheckIdle(owner);
        if (!to.IsEmpty && from.SequenceCompareTo(to) >= 0)
        {
            throw new ArgumentException("the range ends where it begins, or before", nameof(to));
        }

        WokenOwners woken = default;
        bool over;
        using (_space.EnterAll())
        {
            LockRequest? request = TakeRange(owner, from, to, mode, out result);
            over = request is null || Submit(request, mode, timeout, asynchronous, ref woken, out result);
        }

        woken.Complete();
        return over;
    }

    /// <summary>The owner's request for a range, its old one if it holds just that; null: refused, or held already. With all gates held.</summary>
    private LockRequest? TakeRange(
        LockOwner owner, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, LockMode mode, out LockResult result)
    {
        if (IsRefused(owner, out result))
        {
            return null;
        }

        (LockRequest? covering, LockRequest? request) = _space.OwnRange(owner, from, to, mode);
        if (covering is not null || request is not null)
        {
            return request;
        }

        int units = LockBudget.UnitsOf(from.Length + to.Length);
        return HasRoomForRange(owner, out result) && _budget.TryReserve(owner, units, out result)
            ? new LockRequest { Owner = owner, From = from.ToArray(), To = to.ToArray(), Units = units }
            : null;
    }

    private static void CheckTimeout(TimeSpan timeout)
    {
        if (timeout < TimeSpan.Zero && timeout != Timeout.InfiniteTimeSpan)
        {
            throw new ArgumentOutOfRangeException(nameof(timeout), timeout, "a time-out is not negative");
        }
    }

    /// <summary>Grants the request, refuses it, or lets its owner wait (false). With all gates held.</summary>
    private bool Submit(
        LockRequest request, LockMode mode, TimeSpan timeout, bool asynchronous, ref WokenOwners woken, out LockResult result)
    {
        request.Wanted = mode;
        _space.Place(request);
        result = default;
        if (!_space.IsBlocked(request))
        {
            _space.Grant(request);
            return true;
        }

        if (timeout == TimeSpan.Zero)
        {
            result = _waits.Refuse(request);
            return true;
        }

        _waits.Begin(request, timeout, asynchronous, ref woken);
        return false;
    }

    private void ReleaseRanges(LockOwner owner, LockMark mark, ref WokenOwners woken)
    {
        using AllGates all = _space.EnterAll();
        LockRequest? older;
        for (LockRequest? request = owner.Newest; request is not null; request = older)
        {
            older = request.Older;
            if (request.Key is not null)
            {
                continue;
            }

            if (request.Sequence > mark.Sequence)
            {
                _space.Drop(request);
                _space.GrantWaitingAround(request, ref woken);
            }
            else if (request.Upgraded > mark.Sequence)
            {
                Downgrade(request);
                _space.GrantWaitingAround(request, ref woken);
            }
        }
    }

    /// <summary>Releases and downgrades keys; whether ranges wait that are to be looked at again.</summary>
    private bool ReleaseKeys(LockOwner owner, LockMark mark, ref WokenOwners woken)
    {
        bool rangesWait = false;
        LockRequest? older;
        for (LockRequest? request = owner.Newest; request is not null; request = older)
        {
            older = request.Older;
            bool dropped = request.Sequence > mark.Sequence;
            if (!dropped && owner.LastUpgrade <= mark.Sequence)
            {
                break;
            }

            if (request.Key is not { } key || (!dropped && request.Upgraded <= mark.Sequence))
            {
                continue;
            }

            LockStripe stripe = key.Stripe;
            lock (stripe.Gate)
            {
                if (dropped)
                {
                    _space.Drop(request);
                }
                else
                {
                    Downgrade(request);
                }

                _space.GrantWaiting(key, ref woken);
                rangesWait |= _space.IsInWaitingRange(key);
                if (dropped)
                {
                    stripe.Give(request);
                }
            }
        }

        return rangesWait;
    }

    private static void Downgrade(LockRequest request)
    {
        Debug.Assert(request.Held == LockMode.Exclusive, "what was upgraded is exclusive");
        request.Held = LockMode.Shared;
        request.Upgraded = 0;
    }

    private bool IsRefused(LockOwner owner, out LockResult result)
    {
        string? reason = owner.AbortReason ?? (_isClosed ? Closing : null);
        result = reason is null ? default : new LockResult(LockOutcome.Aborted, LockText.Refused(owner, reason));
        return reason is not null;
    }

    private bool HasRoomForRange(LockOwner owner, out LockResult result)
    {
        bool room = _space.HeldRanges.Count + _space.WaitingRanges.Count < _limits.MaxRanges;
        result = room ? default : new LockResult(LockOutcome.LimitExceeded, LockText.RangeLimit(owner, _limits.MaxRanges));
        return room;
    }
}
