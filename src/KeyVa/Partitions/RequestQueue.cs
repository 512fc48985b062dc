namespace KeyVa.Partitions;

/// <summary>
/// Many callers push, the holder of the writer's role takes everything at once. Lock-free: a stack (Treiber, 1986) that
/// is emptied by one exchange and turned round; since it is only ever emptied whole, there is no ABA.
/// </summary>
internal sealed class RequestQueue(int capacity)
{
    private WriteRequest? _top;
    private int _count;

    /// <summary>Requests pushed and not yet <see cref="Leave">left</see>: waiting, or in a group under way.</summary>
    public int Count => Volatile.Read(ref _count);

    public bool IsEmpty => Volatile.Read(ref _top) is null;

    /// <summary>False if the queue is full. A full fence stands behind the push.</summary>
    public bool TryPush(WriteRequest request)
    {
        if (Interlocked.Increment(ref _count) > capacity && request.Command is not null)
        {
            Interlocked.Decrement(ref _count);
            return false;
        }

        WriteRequest? top = Volatile.Read(ref _top);
        while (true)
        {
            request.Next = top;
            WriteRequest? seen = Interlocked.CompareExchange(ref _top, request, top);
            if (seen == top)
            {
                return true;
            }

            top = seen;
        }
    }

    /// <summary>Takes all that is queued, first come first; null if nothing is. Role's holder only.</summary>
    public WriteRequest? TakeAll()
    {
        WriteRequest? top = Interlocked.Exchange(ref _top, null);
        WriteRequest? first = null;
        while (top is not null)
        {
            WriteRequest? next = top.Next;
            top.Next = first;
            first = top;
            top = next;
        }

        return first;
    }

    /// <summary>A pushed request is about to be completed: its place is free.</summary>
    public void Leave() => Interlocked.Decrement(ref _count);
}
