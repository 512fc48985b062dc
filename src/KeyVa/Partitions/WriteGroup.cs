namespace KeyVa.Partitions;

/// <summary>
/// The requests that one round of a partition's writer logs, applies and completes together, in the order they came: a
/// chain through the requests themselves, so that forming a group allocates nothing.
/// </summary>
/// <remarks>
/// <para>A field of its <see cref="PartitionWriter"/>, never copied but by <see cref="Move"/>. The role holder's alone.</para>
/// <para>Invariants.
/// 1. Every request of a group has a command; one that takes the role for itself ends the group before it.
/// 2. A request is its caller's again once it is completed: its place in the chain is read before.
/// 3. Either all of a group came through the queue, and leave their places there when they are completed, or it is one
///    request that did not.</para>
/// </remarks>
internal struct WriteGroup(RequestQueue queue)
{
    /// <summary>Bytes of commands in one group; a single larger command is a group of its own.</summary>
    public const int MaxBytes = 1 << 20;

    private readonly RequestQueue _queue = queue;
    private WriteRequest? _last;
    private bool _queued;

    /// <summary>The first request, the others behind it by <see cref="WriteRequest.Next"/>; null: the group is empty.</summary>
    public WriteRequest? First { get; private set; }

    /// <summary>Bytes of the commands.</summary>
    public long Bytes { get; private set; }

    public readonly bool IsEmpty => First is null;

    /// <summary>A group of one request that was never queued.</summary>
    public void TakeAlone(WriteRequest request)
    {
        request.Next = null;
        First = _last = request;
        Bytes = request.Command!.Weight;
        _queued = false;
    }

    /// <summary>
    /// A group of what is queued, up to the next exclusive request, the byte bound, or the next request that is to be answered at another moment;
    /// empty if an exclusive one is next.
    /// </summary>
    public void TakeQueued()
    {
        Clear();
        _queued = true;
        while (_queue.Peek() is { Command: { } command } request && (IsEmpty || (Bytes + command.Weight <= MaxBytes && command.Early == First!.Command!.Early)))
        {
            _queue.Dequeue();
            Add(request);
        }
    }

    /// <summary>Moves the requests into a group of their own, with which they may be completed; this one is empty then, and may be formed anew.</summary>
    public WriteGroup Move()
    {
        WriteGroup moved = this;
        Clear();
        return moved;
    }

    /// <summary>Gives every request the same result, and completes none.</summary>
    public readonly void SetResults(in WriteResult result)
    {
        for (WriteRequest? request = First; request is not null; request = request.Next)
        {
            request.Result = result;
        }
    }

    /// <summary>Completes every request with this result; the group is empty then.</summary>
    public void Complete(in WriteResult result)
    {
        SetResults(result);
        Complete();
    }

    /// <summary>Completes every request with the result that it has; the group is empty then.</summary>
    public void Complete()
    {
        WriteRequest? request = First;
        Clear();
        while (request is not null)
        {
            WriteRequest? next = request.Next;
            request.Next = null;
            CompleteOne(request);
            request = next;
        }
    }

    /// <summary>
    /// The disk is full: completes what puts as refused and keeps what only removes, unless the disk reserve was tried for
    /// it already; true if any is left.
    /// </summary>
    public bool RefusePuts(bool reserveTried)
    {
        WriteRequest? request = First;
        Clear();
        while (request is not null)
        {
            WriteRequest? next = request.Next;
            request.Next = null;
            if (request.Command!.OnlyRemovals && !reserveTried)
            {
                Add(request);
            }
            else
            {
                request.Result = Refusals.Full;
                CompleteOne(request);
            }

            request = next;
        }

        return !IsEmpty;
    }

    private void Add(WriteRequest request)
    {
        if (_last is null)
        {
            First = request;
        }
        else
        {
            _last.Next = request;
        }

        _last = request;
        Bytes += request.Command!.Weight;
    }

    private void Clear()
    {
        First = _last = null;
        Bytes = 0;
    }

    private readonly void CompleteOne(WriteRequest request)
    {
        if (_queued)
        {
            _queue.Leave();
        }

        request.Complete();
    }
}
