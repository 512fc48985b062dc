namespace KeyVa.Transactions.Locks;

/// <summary>A key that somebody holds or waits for; a node of its stripe's <see cref="KeyTree"/>. Guarded by the stripe's gate.</summary>
internal sealed class LockedKey(LockStripe stripe)
{
    /// <summary>Longer arrays are not kept for the next key.</summary>
    private const int LargestKept = 256;

    private const int SmallestArray = 32;

    public readonly LockStripe Stripe = stripe;

    public RequestList Held = new(waiting: false);
    public RequestList Waiting = new(waiting: true);

    /// <summary>The tree's own; <see cref="Left"/> links free nodes.</summary>
    public LockedKey? Parent;
    public LockedKey? Left;
    public LockedKey? Right;
    public uint Priority;

    /// <summary>What a search of the wait-for graph has looked at: the last request it came to, in which search.</summary>
    public long Searched;
    public LockRequest? SearchedTo;

    private byte[] _bytes = [];
    private int _length;

    public ReadOnlySpan<byte> Span => _bytes.AsSpan(0, _length);

    public bool IsUnused => Held.First is null && Waiting.First is null;

    public void SetKey(ReadOnlySpan<byte> key)
    {
        if (_bytes.Length < key.Length)
        {
            _bytes = new byte[Math.Max(key.Length, SmallestArray)];
        }

        key.CopyTo(_bytes);
        _length = key.Length;
    }

    /// <summary>Drops what should not be kept while it is free.</summary>
    public void Forget()
    {
        SearchedTo = null;
        if (_bytes.Length > LargestKept)
        {
            _bytes = [];
        }
    }

    /// <summary>What an owner holds of it; a walk over those that share it.</summary>
    public LockRequest? HeldBy(LockOwner owner)
    {
        for (LockRequest? held = Held.First; held is not null; held = Held.Next(held))
        {
            if (held.Owner == owner)
            {
                return held;
            }
        }

        return null;
    }

    /// <summary>Whether no other owner's lock and no other owner's wait is in the way of a request that comes now.</summary>
    public bool IsFreeFor(LockOwner owner, LockMode mode)
    {
        for (LockRequest? held = Held.First; held is not null; held = Held.Next(held))
        {
            if (held.Owner != owner && LockRequest.Conflict(held.Held, mode))
            {
                return false;
            }
        }

        for (LockRequest? waiting = Waiting.First; waiting is not null; waiting = Waiting.Next(waiting))
        {
            if (LockRequest.Conflict(waiting.Wanted, mode))
            {
                return false;
            }
        }

        return true;
    }
}
