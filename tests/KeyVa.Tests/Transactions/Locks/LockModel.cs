using KeyVa.Transactions.Locks;

namespace KeyVa.Tests.Transactions.Locks;

/// <summary>A lock or a wait of the model. A key is the range that holds it alone.</summary>
internal sealed record ModelLock
{
    public required int Owner { get; init; }

    public required bool IsRange { get; init; }

    /// <summary>Positions of keys: from up to, exclusive.</summary>
    public required int From { get; init; }

    public required int To { get; init; }

    public LockMode Held { get; set; }

    public LockMode Wanted { get; set; }

    public long Ticket { get; set; }

    public long Arrival { get; set; }

    public long Sequence { get; set; }

    public long Upgraded { get; set; }

    public bool Overlaps(ModelLock other) => From < other.To && other.From < To;

    public bool IsBefore(ModelLock other) => (Ticket, Arrival).CompareTo((other.Ticket, other.Arrival)) < 0;

    public override string ToString() => $"{Owner}:{(IsRange ? "range" : "key")}[{From},{To}) held {Held} wanted {Wanted}";
}

/// <summary>
/// The rules of the lock table in their plainest form: one list of all locks, each question answered by looking at all of
/// it. Sequential. Who ends for a deadlock is the table's choice; the model checks that it was one.
/// </summary>
internal sealed class LockModel(int owners)
{
    private const long Spacing = 1 << 20;

    private readonly List<ModelLock> _locks = [];
    private readonly long[] _sequences = new long[owners];
    private readonly bool[] _aborted = new bool[owners];
    private long _arrivals;

    public IReadOnlyList<ModelLock> Locks => _locks;

    public LockModel Copy()
    {
        LockModel copy = new(owners) { _arrivals = _arrivals };
        copy._locks.AddRange(_locks.Select(static l => l with { }));
        _sequences.CopyTo(copy._sequences, 0);
        _aborted.CopyTo(copy._aborted, 0);
        return copy;
    }

    public bool IsWaiting(int owner) => _locks.Any(l => l.Owner == owner && l.Wanted != 0);

    public int HeldBy(int owner) => _locks.Count(l => l.Owner == owner && l.Held != 0);

    public long Mark(int owner) => _sequences[owner];

    /// <summary>Granted, aborted or timed out; or null: it waits (which may be a deadlock).</summary>
    public LockOutcome? Acquire(int owner, bool isRange, int from, int to, LockMode mode, bool waits)
    {
        if (_locks.Any(l => l.Owner == owner && l.Held >= mode
            && (l.IsRange ? l.From <= from && l.To >= to : !isRange && l.From == from)) && !_aborted[owner])
        {
            return LockOutcome.Granted;
        }

        if (_aborted[owner])
        {
            return LockOutcome.Aborted;
        }

        ModelLock? mine = _locks.Find(l => l.Owner == owner && l.IsRange == isRange && l.From == from && l.To == to);
        ModelLock request = mine ?? new ModelLock { Owner = owner, IsRange = isRange, From = from, To = to };
        request.Wanted = mode;
        Place(request);
        if (!Blockers(request).Any())
        {
            Grant(request);
            return LockOutcome.Granted;
        }

        if (!waits)
        {
            request.Wanted = 0;
            return LockOutcome.TimedOut;
        }

        if (mine is null)
        {
            _locks.Add(request);
        }

        return null;
    }

    public void ReleaseTo(int owner, long mark)
    {
        _locks.RemoveAll(l => l.Owner == owner && l.Sequence > mark);
        foreach (ModelLock kept in _locks.Where(l => l.Owner == owner && l.Upgraded > mark))
        {
            kept.Held = LockMode.Shared;
            kept.Upgraded = 0;
        }

        if (mark == 0)
        {
            _sequences[owner] = 0;
        }
    }

    public void Abort(int owner) => _aborted[owner] = true;

    public void Renew(int owner)
    {
        _aborted[owner] = false;
        _sequences[owner] = 0;
    }

    public void EndWait(int owner)
    {
        ModelLock request = _locks.Single(l => l.Owner == owner && l.Wanted != 0);
        request.Wanted = 0;
        if (request.Held == 0)
        {
            _locks.Remove(request);
        }
    }

    /// <summary>Grants all that nothing holds up.</summary>
    public void Settle()
    {
        while (_locks.Find(l => l.Wanted != 0 && !Blockers(l).Any()) is { } free)
        {
            Grant(free);
        }
    }

    /// <summary>Whether an owner waits for itself, over owners that cost as much at least (all of them: no victim given).</summary>
    public bool IsInCycle(int owner, Func<int, bool> mayTakePart)
    {
        HashSet<int> seen = [];
        Stack<int> open = new([owner]);
        while (open.TryPop(out int next))
        {
            foreach (ModelLock request in _locks.Where(l => l.Owner == next && l.Wanted != 0))
            {
                foreach (int blocker in Blockers(request).Select(static l => l.Owner))
                {
                    if (blocker == owner)
                    {
                        return true;
                    }

                    if (mayTakePart(blocker) && seen.Add(blocker))
                    {
                        open.Push(blocker);
                    }
                }
            }
        }

        return false;
    }

    private static bool Conflict(LockMode one, LockMode other) =>
        one != 0 && other != 0 && (one == LockMode.Exclusive || other == LockMode.Exclusive);

    private IEnumerable<ModelLock> Blockers(ModelLock request) => _locks.Where(l =>
        l.Owner != request.Owner && l.Overlaps(request)
        && (Conflict(l.Held, request.Wanted) || (Conflict(l.Wanted, request.Wanted) && l.IsBefore(request))));

    private void Place(ModelLock request)
    {
        request.Arrival = ++_arrivals;
        request.Ticket = _arrivals * Spacing;
        long[] behind = [.. _locks
            .Where(w => w.Owner != request.Owner && w.Overlaps(request) && Conflict(w.Wanted, request.Wanted)
                && _locks.Any(h => h.Owner == request.Owner && h.Overlaps(w) && Conflict(h.Held, w.Wanted)))
            .Select(static w => w.Ticket - 1)];
        request.Ticket = behind.Append(request.Ticket).Min();
    }

    private void Grant(ModelLock request)
    {
        long sequence = ++_sequences[request.Owner];
        if (request.Held != 0)
        {
            request.Upgraded = sequence;
        }
        else
        {
            request.Sequence = sequence;
        }

        request.Held = request.Wanted;
        request.Wanted = 0;
        if (!_locks.Contains(request))
        {
            _locks.Add(request);
        }
    }
}
