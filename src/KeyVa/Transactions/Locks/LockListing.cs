namespace KeyVa.Transactions.Locks;

/// <summary>What a table holds, copied for people to look at: at most as many locks as asked for. Belongs to one call.</summary>
internal sealed class LockListing(int most)
{
    private readonly List<LockDescription> _locks = [];

    public IReadOnlyList<LockDescription> Locks => _locks;

    /// <summary>With all gates of the table held: first ranges, then keys that somebody waits for, then the others.</summary>
    public void Fill(LockSpace space)
    {
        Add(space.HeldRanges, waiting: false);
        Add(space.WaitingRanges, waiting: true);
        AddKeys(space, contended: true);
        AddKeys(space, contended: false);
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
            _locks.Add(new LockDescription(
                request.Owner.Id,
                request.Owner.Name,
                request.Key is null,
                request.Key is { } key ? key.Span.ToArray() : request.From,
                request.To,
                waiting ? request.Wanted : request.Held,
                waiting));
        }
    }
}
