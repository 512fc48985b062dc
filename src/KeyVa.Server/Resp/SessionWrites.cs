using KeyVa.Partitions;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>
/// What a session's commands have handed to the store and not replied yet: plain SETs that are gathered (<see cref="PipelinedSets"/>), or other single
/// writes (<see cref="PendingWrites"/>); there are never both.
/// </summary>
/// <remarks>
/// <para>One thread at a time: the session's, or that of the task that finishes them.</para>
/// <para>Held (<see cref="WriteHold"/>): where the thread holds its writes they cannot be finished before it releases them. The session stops there as if it
/// waited for a task, but none is made: whoever released them calls <see cref="Settle"/>.</para>
/// </remarks>
internal sealed class SessionWrites(RespSession session)
{
    private readonly RespDoor _door = session.Door;
    private PipelinedSets? _sets;

    // A key of the pipeline was set twice: its writes are pending ones from then on, not gathered.
    private bool _isRepeating;

    /// <summary>Writes of the pipeline that are on their way to the disk.</summary>
    public PendingWrites Pending { get; } = new(session);

    /// <summary>Whether nothing waits for its reply.</summary>
    public bool IsEmpty => _sets is null && Pending.IsEmpty;

    /// <summary>Whether SETs were gathered.</summary>
    public bool HasSets => _sets is { Count: > 0 };

    /// <summary>Whether a SET may be gathered with those before it.</summary>
    public bool Gathers => Pending.IsEmpty && !_isRepeating;

    /// <summary>They wait for the thread to release its writes.</summary>
    public bool IsHeld { get; private set; }

    /// <summary>The end of what has come: what follows is another pipeline.</summary>
    public void EndPipeline() => _isRepeating = false;

    /// <summary>Takes a SET; false: it is none that can be gathered, or not with those that were.</summary>
    public bool TryGather(RespCommand command)
    {
        if (command.Count < 3 || session.IsSilent || session.SkippedReplies > 0)
        {
            return false;
        }

        WriteOptions write = default;
        if (command.Count > 3)
        {
            if (!SetOptions.TryParse(command, 3, isGetEx: false, out SetOptions options)
                || options.Get || options.KeepTtl || options.IfAbsent || options.IfPresent
                || !options.TryExpiry(command, _door.Now(), "set", out Expiry expiry, out _))
            {
                return false;
            }

            write = new WriteOptions { Expiry = expiry };
        }

        _sets ??= _door.RentSets();
        return _sets.TryAdd(command[1], command[2], write);
    }

    /// <summary>Whether everything is done and replied; false: nothing else is done before.</summary>
    public bool TryFinish() => TryFinishSets() && TryFinishPending();

    /// <summary>The same of pending writes.</summary>
    public bool TryFinishPending()
    {
        if (Pending.IsEmpty || Pending.TryFinish())
        {
            return true;
        }

        return !IsHeldNow() && TryStart(Pending.FinishAsync());
    }

    /// <summary>The same of gathered SETs. <paramref name="isRepeated"/>: the next one is a SET as well, and could not be gathered.</summary>
    public bool TryFinishSets(bool isRepeated = false)
    {
        if (_sets is not { } sets || TryReturn(sets))
        {
            return true;
        }

        if (!IsHeldNow() && TryStart(FinishSetsAsync(sets)))
        {
            return true;
        }

        _isRepeating |= isRepeated;
        return false;
    }

    /// <summary>The thread has released its writes: replies to those that are done, and has a task wait for the others.</summary>
    public void Settle()
    {
        IsHeld = false;
        TryFinish();
    }

    private bool IsHeldNow() => IsHeld = WriteHold.Current is { HasWrites: true };

    private bool TryStart(Task finishing)
    {
        session.Start(finishing);
        return session.Busy is null;
    }

    private bool TryReturn(PipelinedSets sets)
    {
        if (!sets.TryFinish(session))
        {
            return false;
        }

        _sets = null;
        _door.ReturnSets(sets);
        return true;
    }

    private async Task FinishSetsAsync(PipelinedSets sets)
    {
        await sets.FinishAsync(session);
        _sets = null;
        _door.ReturnSets(sets);
    }
}
