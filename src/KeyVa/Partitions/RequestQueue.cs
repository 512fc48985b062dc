namespace KeyVa.Partitions;

/// <summary>
/// Many callers push, the holder of the writer's role takes them in the order they came. Lock-free: a stack (Treiber, 1986)
/// that is emptied by one exchange and turned round into the holder's backlog; since it is only ever emptied whole, there
/// is no ABA.
/// </summary>
internal sealed class RequestQueue(int capacity)
{
    // Shared.
    private WriteRequest? _top;
    private int _count;

    // The role holder's: taken off the stack, first come first.
    private WriteRequest? _backlog;

    /// <summary>Requests pushed and not yet <see cref="Leave">left</see>: waiting, or in a group under way.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Whether nothing was pushed since the holder of the role took all that was.</summary>
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

    /// <summary>The request whose turn it is, null if there is none. Role's holder only.</summary>
    public WriteRequest? Peek() => _backlog ??= TakeAll();

    /// <summary>Takes the request that <see cref="Peek"/> has shown off the queue; its place stays taken until it leaves. Role's holder only.</summary>
    public void Dequeue()
    {
        WriteRequest request = _backlog!;
        _backlog = request.Next;
        request.Next = null;
    }

    /// <summary>A pushed request is about to be completed: its place is free.</summary>
    public void Leave() => Interlocked.Decrement(ref _count);

    private WriteRequest? TakeAll()
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
}
