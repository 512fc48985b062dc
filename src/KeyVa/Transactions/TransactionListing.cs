using KeyVa.Transactions.Locks;

namespace KeyVa.Transactions;

/// <summary>Describes transactions that are under way. Belongs to one call.</summary>
internal sealed class TransactionListing(LockTable? locks, TimeProvider time, int mostLocks)
{
    private readonly List<TransactionInfo> _all = [];

    /// <summary>The oldest first.</summary>
    public IReadOnlyList<TransactionInfo> Oldest(int most)
    {
        _all.Sort(static (a, b) => a.Number.CompareTo(b.Number));
        return _all.Count <= most ? _all : _all[..most];
    }

    /// <summary>Adds one, which is listed and stays so for the time of the call.</summary>
    public void Add(TransactionBody body)
    {
        TransactionOptions options = body.Options;
        long now = time.GetTimestamp();
        TimeSpan left = time.GetElapsedTime(now, body.EndsAt);
        int keys = 0;
        int ranges;
        lock (body.Writes.Gate)
        {
            for (int key = 0; key < body.Writes.Keys.Count; key++)
            {
                keys += body.Writes.HasWrite(key) ? 1 : 0;
            }

            ranges = body.Writes.RangeCount;
        }

        LockListing? listing = locks is not null && body.IsPessimistic ? locks.Describe(body, mostLocks) : null;
        LockDescription? waits = listing?.Locks.FirstOrDefault(static one => one.IsWaiting);
        _all.Add(new TransactionInfo
        {
            Number = body.Number,
            Name = options.Name,
            Age = options.TimeLimit - left,
            TimeLeft = left > TimeSpan.Zero ? left : TimeSpan.Zero,
            Isolation = options.Isolation,
            Concurrency = body.IsPessimistic ? Concurrency.Pessimistic : Concurrency.Optimistic,
            IsReadOnly = options.ReadOnly,
            IsCommitting = body.IsCommitting,
            SnapshotVersion = Math.Max(0, body.At),
            KeysWritten = keys,
            RangesRemoved = ranges,
            Bytes = body.Cost,
            LocksHeld = listing is null ? 0 : body.Held,
            Locks = listing is null ? [] : [.. listing.Locks.Where(static one => !one.IsWaiting).Select(Of)],
            WaitsFor = waits is null ? null : Of(waits),
            BlockedBy = listing?.Blockers ?? [],
        });
    }

    private static TransactionLock Of(LockDescription description)
    {
        bool isExclusive = description.Mode == LockMode.Exclusive;
        return description.IsRange
            ? new TransactionLock(new KeyRange(description.From, description.To), false, isExclusive)
            : TransactionLock.OfKey(description.From, isExclusive);
    }
}
