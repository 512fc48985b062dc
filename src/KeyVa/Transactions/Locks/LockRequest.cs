using System.Diagnostics;

namespace KeyVa.Transactions.Locks;

/// <summary>The neighbours of a request in one of the lists that it stands in.</summary>
internal struct RequestLinks
{
    public LockRequest? Next;
    public LockRequest? Previous;
}

/// <summary>
/// What one owner holds of one key or range, or waits for, or both: an upgrade holds shared and waits for exclusive.
/// Guarded as its key is, or as ranges are (see <see cref="LockSpace"/>).
/// </summary>
internal sealed class LockRequest
{
    /// <summary>No mode: nothing held, nothing waited for. It conflicts with nothing.</summary>
    public const LockMode None = 0;

    public LockOwner Owner = null!;

    /// <summary>What is locked; null for a range.</summary>
    public LockedKey? Key;

    /// <summary>Where the range begins and ends; an empty one is open.</summary>
    public byte[] From = [];
    public byte[] To = [];

    public LockMode Held;
    public LockMode Wanted;

    /// <summary>The place among all that waits: lower ones go first, of equal ones those that arrived first.</summary>
    public long Ticket;
    public long Arrival;

    /// <summary>When it was granted, in the owner's own count, and when it was upgraded (0: never).</summary>
    public long Sequence;
    public long Upgraded;

    /// <summary>How many locks it counts for.</summary>
    public int Units;

    /// <summary>Its places among what is held and what waits of its key, or among ranges.</summary>
    public RequestLinks HeldLinks;
    public RequestLinks WaitingLinks;

    /// <summary>The owner's chain: what it was granted before and after this one.</summary>
    public LockRequest? Older;
    public LockRequest? Newer;

    // Shared is 1 and exclusive is 2, so what can go together sums up to 2 at most.
    public static bool Conflict(LockMode one, LockMode other) => (int)one + (int)other > 2;

    public bool IsBefore(LockRequest other) => Ticket < other.Ticket || (Ticket == other.Ticket && Arrival < other.Arrival);

    /// <summary>Whether a range holds a key.</summary>
    public bool Contains(ReadOnlySpan<byte> key)
    {
        Debug.Assert(Key is null, "only ranges hold keys");
        return key.SequenceCompareTo(From) >= 0 && (To.Length == 0 || key.SequenceCompareTo(To) < 0);
    }

    /// <summary>Whether a range holds all keys of another one.</summary>
    public bool Covers(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to) =>
        from.SequenceCompareTo(From) >= 0 && (To.Length == 0 || (!to.IsEmpty && to.SequenceCompareTo(To) <= 0));

    public bool Overlaps(LockRequest other)
    {
        if (Key is not null)
        {
            return other.Key is not null ? Key == other.Key : other.Contains(Key.Span);
        }

        return other.Key is not null
            ? Contains(other.Key.Span)
            : (other.To.Length == 0 || From.AsSpan().SequenceCompareTo(other.To) < 0)
                && (To.Length == 0 || other.From.AsSpan().SequenceCompareTo(To) < 0);
    }
}

/// <summary>
/// A list of requests through their own links: what is held, in no order, or what waits, by ticket. Guarded as the requests are.
/// </summary>
internal struct RequestList(bool waiting)
{
    private readonly bool _waiting = waiting;

    public LockRequest? First { get; private set; }

    public LockRequest? Last { get; private set; }

    public int Count { get; private set; }

    public readonly LockRequest? Next(LockRequest request) => Links(request).Next;

    public readonly LockRequest? Previous(LockRequest request) => Links(request).Previous;

    /// <summary>Puts it to the end, or to where its ticket belongs.</summary>
    public void Add(LockRequest request)
    {
        LockRequest? previous = Last;
        while (_waiting && previous is not null && request.IsBefore(previous))
        {
            previous = Links(previous).Previous;
        }

        LockRequest? next = previous is null ? First : Links(previous).Next;
        Links(request) = new RequestLinks { Next = next, Previous = previous };
        Join(previous, request);
        Join(request, next);
        Count++;
    }

    public void Remove(LockRequest request)
    {
        RequestLinks links = Links(request);
        Debug.Assert((links.Previous is null) == (First == request) && (links.Next is null) == (Last == request), "it stands in this list");
        if (links.Previous is null)
        {
            First = links.Next;
        }
        else
        {
            Links(links.Previous).Next = links.Next;
        }

        if (links.Next is null)
        {
            Last = links.Previous;
        }
        else
        {
            Links(links.Next).Previous = links.Previous;
        }

        Links(request) = default;
        Count--;
    }

    private void Join(LockRequest? previous, LockRequest? next)
    {
        if (previous is null)
        {
            First = next;
        }
        else
        {
            Links(previous).Next = next;
        }

        if (next is null)
        {
            Last = previous;
        }
        else
        {
            Links(next).Previous = previous;
        }
    }

    private readonly ref RequestLinks Links(LockRequest request) =>
        ref _waiting ? ref request.WaitingLinks : ref request.HeldLinks;
}
