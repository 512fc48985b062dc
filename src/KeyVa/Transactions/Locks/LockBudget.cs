namespace KeyVa.Transactions.Locks;

/// <summary>How many locks there may be. Owners take their shares in portions, so that not every lock meets one counter.</summary>
/// <remarks>
/// Thread-safe. An owner's share is its caller's; while it waits, it belongs to whoever guards its request. Invariant: an
/// owner with a lock, or a request for one that waits, has a share; so the sum tells whether there are any.
/// </remarks>
internal sealed class LockBudget(LockLimits limits)
{
    private const int Portion = 16;

    private long _reserved;

    /// <summary>Whether anybody has a share: one volatile read.</summary>
    public bool IsUsed => Volatile.Read(ref _reserved) != 0;

    /// <summary>How many locks one counts for whose keys have so many bytes.</summary>
    public static int UnitsOf(int bytes) => 1 + (Math.Max(bytes - 1, 0) / LockLimits.BytesPerUnit);

    /// <summary>Takes units of the owner's share, which grows if need be; otherwise the result says why not.</summary>
    public bool TryReserve(LockOwner owner, int units, out LockResult result)
    {
        result = default;
        int needed = owner.Units + units;
        if (needed > limits.MaxLocksPerOwner)
        {
            result = new LockResult(LockOutcome.LimitExceeded, LockText.OwnerLimit(owner, limits.MaxLocksPerOwner));
            return false;
        }

        int missing = needed - owner.Reserved;
        if (missing > 0 && !TryTake(owner, Math.Max(missing, Portion)) && !TryTake(owner, missing))
        {
            result = new LockResult(LockOutcome.LimitExceeded, LockText.TableLimit(owner, limits.MaxLocks));
            return false;
        }

        owner.Units = needed;
        return true;
    }

    /// <summary>Gives the owner's share back when it needs none of it.</summary>
    public void Settle(LockOwner owner)
    {
        if (owner.Units == 0 && owner.Reserved > 0)
        {
            Interlocked.Add(ref _reserved, -owner.Reserved);
            owner.Reserved = 0;
        }
    }

    private bool TryTake(LockOwner owner, int units)
    {
        if (Interlocked.Add(ref _reserved, units) > limits.MaxLocks)
        {
            Interlocked.Add(ref _reserved, -units);
            return false;
        }

        owner.Reserved += units;
        return true;
    }
}
