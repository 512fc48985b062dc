namespace KeyVa.Transactions.Locks;

/// <summary>What a table holds, copied for people to look at: at most as many locks as asked for. Belongs to one call.</summary>
internal sealed class LockListing(int most)
{
    private const int MostBlockers = 8;

    private readonly List<LockDescription> _locks = [];

    private readonly List<string> _blockers = [];

    public IReadOnlyList<LockDescription> Locks => _locks;

    /// <summary>Of one owner that waits: names of those in its way.</summary>
    public IReadOnlyList<string> Blockers => _blockers;

    /// <summary>With all gates of the table held: first ranges, then keys that somebody waits for, then the others.</summary>
    public void Fill(LockSpace space)
    {
        Add(space.HeldRanges, waiting: false);
        Add(space.WaitingRanges, waiting: true);
        AddKeys(space, contended: true);
        AddKeys(space, contended: false);
    }

    /// <summary>With all gates of the table held: what an owner waits for, and the newest of what it holds.</summary>
    public void Fill(LockSpace space, LockOwner owner)
    {
        if (owner.Waiting is { } waiting)
        {
            _locks.Add(Describe(waiting, isWaiting: true));
            List<LockRequest> found = [];
            space.CollectBlockers(waiting, found);
            _blockers.AddRange(found.Select(static one => one.Owner.Name).Distinct().Take(MostBlockers));
        }

        int held = 0;
        for (LockRequest? request = owner.Newest; request is not null && held < most; request = request.Older, held++)
        {
            _locks.Add(Describe(request, isWaiting: false));
        }
    }

    private void AddKeys(LockSpace space, bool contended)
    {
        foreach (LockStripe stripe in space.Stripes)
        {
            for (LockedKey? key = stripe.Keys.FirstFrom([]); key is not null && _locks.Count < most; key = KeyTree.Next(key))
            {
                if (key.Waiting.First is not null == contended)
                {
                    Add(key.Held, waiting: false);
                    Add(key.Waiting, waiting: true);
                }
            }
        }
    }

    private void Add(RequestList list, bool waiting)
    {
        for (LockRequest? request = list.First; request is not null && _locks.Count < most; request = list.Next(request))
        {
            _locks.Add(Describe(request, waiting));
        }
    }

    private static LockDescription Describe(LockRequest request, bool isWaiting) => new(
        request.Owner.Id,
        request.Owner.Name,
        request.Key is null,
        request.Key is { } key ? key.Span.ToArray() : request.From,
        request.To,
        isWaiting ? request.Wanted : request.Held,
        isWaiting);
}
