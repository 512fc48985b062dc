using System.Diagnostics;
using KeyVa.Protocol.Resp;
using KeyVa.Transactions.Locks;

namespace KeyVa.Server.Resp;

/// <summary>
/// MULTI, EXEC and WATCH of one session, and commands that are transactions by themselves. All run in serializable transactions of the store, over
/// partitions too, and again if they meet others: nobody is told of a conflict but one who has asked by WATCH. One thread at a time.
/// </summary>
internal sealed class SessionTransaction(RespSession session)
{
    /// <summary>Bytes of the commands that a transaction queues at most, with what each command and each argument takes beside its bytes.</summary>
    private const long MaxQueuedBytes = 64 << 20;
    private const int CommandOverhead = 128;
    private const int ArgumentOverhead = 8;

    /// <summary>Keys that a session watches at most, and their bytes.</summary>
    private const int MaxWatched = 1 << 16;
    private const long MaxWatchedBytes = 16 << 20;

    private static readonly TransactionOptions ReadOnly = new() { ReadOnly = true };

    private readonly List<(CommandInfo Info, RespCommand Command)> _queue = [];
    private readonly Dictionary<byte[], long> _watched = new(BytesComparer.Instance);
    private readonly List<int> _lengths = [];
    private long _queuedBytes;
    private long _watchedBytes;
    private bool _isSpoilt;

    /// <summary>Whether MULTI has begun.</summary>
    public bool IsQueuing { get; private set; }

    /// <summary>Whether the replies of a transaction that is done are being put together.</summary>
    public bool IsReplying { get; private set; }

    /// <summary>Whether commands are done as they come.</summary>
    public bool IsIdle => !IsQueuing;

    public int Queued => _queue.Count;

    public int Watched => _watched.Count;

    private RespOutput Output => session.Output;

    public void Begin()
    {
        if (IsQueuing)
        {
            Output.Error("ERR MULTI calls can not be nested");
            return;
        }

        IsQueuing = true;
        Output.Ok();
    }

    public void Queue(CommandInfo info, RespCommand command)
    {
        _queuedBytes += command.Bytes + CommandOverhead + (ArgumentOverhead * (long)command.Count);
        if (_queuedBytes > MaxQueuedBytes)
        {
            Spoil();
            Output.Error($"ERR the transaction has more than {MaxQueuedBytes} bytes of commands");
            return;
        }

        if (!_isSpoilt)
        {
            _queue.Add((info, command.Copy()));
        }

        Output.Simple("QUEUED"u8);
    }

    /// <summary>A command was refused when it came: EXEC will do nothing.</summary>
    public void Spoil() => _isSpoilt |= IsQueuing;

    public void Discard()
    {
        _queue.Clear();
        _queuedBytes = 0;
        ForgetWatched();
        _isSpoilt = false;
        IsQueuing = false;
    }

    public void Watch(RespCommand command)
    {
        if (IsQueuing)
        {
            Output.Error("ERR WATCH inside MULTI is not allowed");
            return;
        }

        Dictionary<byte[], long>.AlternateLookup<ReadOnlySpan<byte>> watched = _watched.GetAlternateLookup<ReadOnlySpan<byte>>();
        for (int i = 1; i < command.Count; i++)
        {
            // A key that nobody can write stays as it is.
            ReadOnlySpan<byte> key = command[i];
            if (key.Length is 0 or > Limits.MaxKeyBytes || watched.ContainsKey(key))
            {
                continue;
            }

            if (_watched.Count == MaxWatched || _watchedBytes + key.Length > MaxWatchedBytes)
            {
                Output.Error($"ERR more than {MaxWatched} keys, or {MaxWatchedBytes} bytes of keys, are watched");
                return;
            }

            using ValueLease lease = session.Door.Store.Get(key);
            watched[key] = lease.Version;
            _watchedBytes += key.Length;
        }

        Output.Ok();
    }

    public void Unwatch()
    {
        ForgetWatched();
        Output.Ok();
    }

    /// <summary>EXEC.</summary>
    public void Execute()
    {
        if (!IsQueuing)
        {
            Output.Error("ERR EXEC without MULTI");
        }
        else if (_isSpoilt)
        {
            Discard();
            Output.Error("EXECABORT Transaction discarded because of previous errors.");
        }
        else if (_queue.Exists(one => RespAccess.Refusal(session, one.Info, one.Command) is not null))
        {
            // The users have changed since the commands came.
            foreach ((CommandInfo info, RespCommand command) in _queue)
            {
                RespAudit.Refused(session, info, command, RespErrors.NoPermission(info));
            }

            Discard();
            Output.Error("EXECABORT Transaction discarded because this user has no permissions any more to run one of its commands.");
        }
        else if (_queue.Exists(static one => one.Info.Is(CommandFlags.ReadsAll | CommandFlags.Scans)))
        {
            // As long as there are keys: not on a thread that others wait for.
            session.Start(Task.Run(ExecuteAsync));
        }
        else
        {
            session.Start(ExecuteAsync());
        }
    }

    /// <summary>One command in a transaction. The command must not change until the task has ended.</summary>
    public async Task RunAsync(CommandInfo info, RespCommand command)
    {
        int place = Output.Length;
        await CommitAsync(place, async transaction =>
        {
            Output.Truncate(place);
            if (await TryPrepareAsync(transaction, info, command))
            {
                session.Call.Begin(transaction);
                session.Call.Run(info, command);
            }
        });
    }

    /// <summary>One command that reads several keys, as of one moment. As with <see cref="RunAsync"/>.</summary>
    public async Task ReadAsync(CommandInfo info, RespCommand command)
    {
        int place = Output.Length;
        try
        {
            using Transaction transaction = session.Door.Store.Begin(ReadOnly);
            if (await TryPrepareAsync(transaction, info, command))
            {
                session.Call.Begin(transaction);
                session.Call.Run(info, command);
            }
        }
        catch (StoreException failure)
        {
            session.Refuse(failure, place);
        }
    }

    private void ForgetWatched()
    {
        _watched.Clear();
        _watchedBytes = 0;
    }

    private async Task ExecuteAsync()
    {
        int place = Output.Length;
        bool holds = true;
        bool isDone = true;
        if (_queue.Exists(static one => one.Info.Data is not null) || _watched.Count > 0)
        {
            isDone = await CommitAsync(place, async transaction =>
            {
                Output.Truncate(place);
                holds = await WatchedHoldAsync(transaction);
                if (holds)
                {
                    await RunQueueAsync(transaction);
                }
                else
                {
                    transaction.Rollback();
                }
            });
        }
        else
        {
            _lengths.Clear();
            _lengths.AddRange(_queue.Select(static _ => 0));
        }

        if (!isDone || !holds)
        {
            foreach ((CommandInfo info, RespCommand command) in _queue)
            {
                RespAudit.Undone(session, info, command);
            }

            Discard();
        }

        if (!isDone)
        {
            return;
        }

        if (!holds)
        {
            Output.Truncate(place);
            Output.NullArray();
            return;
        }

        Assemble(place);
    }

    /// <summary>Replies of keys are written; those of other commands, which are done now that the transaction is, come between them.</summary>
    private void Assemble(int place)
    {
        byte[] replies = Output.WrittenFrom(place).ToArray();
        Output.Truncate(place);
        (CommandInfo Info, RespCommand Command)[] queue = [.. _queue];
        Discard();
        Output.Array(queue.Length);
        IsReplying = true;
        int at = 0;
        for (int i = 0; i < queue.Length; i++)
        {
            (CommandInfo info, RespCommand command) = queue[i];
            int before = Output.Length;
            long began = Stopwatch.GetTimestamp();
            if (info.Data is null)
            {
                info.Session!(session, command);
            }
            else
            {
                Output.Raw(replies.AsSpan(at, _lengths[i]));
                at += _lengths[i];
            }

            session.NoteAudit(info, command, began, Output.WrittenFrom(before));
        }

        IsReplying = false;
    }

    private async ValueTask RunQueueAsync(Transaction transaction)
    {
        _lengths.Clear();
        session.Call.Begin(transaction);
        foreach ((CommandInfo info, RespCommand command) in _queue)
        {
            int before = Output.Length;
            if (info.Data is not null)
            {
                if (!await TryPrepareAsync(transaction, info, command))
                {
                    return;
                }

                session.Call.Run(info, command);
            }

            _lengths.Add(Output.Length - before);
        }
    }

    private async ValueTask<bool> WatchedHoldAsync(Transaction transaction)
    {
        foreach ((byte[] key, long version) in _watched)
        {
            WriteResult check = await transaction.CheckAsync(
                key, version == 0 ? Condition.IfAbsent : Condition.IfVersion(version), CancellationToken.None);
            if (check.Status == Status.ConditionFailed)
            {
                return false;
            }

            EndIfRefused(check.Status);
        }

        return true;
    }

    /// <summary>Waits until the keys of a command can be read and written without waiting; false: the transaction has ended.</summary>
    private static async ValueTask<bool> TryPrepareAsync(Transaction transaction, CommandInfo info, RespCommand command)
    {
        int last = info.LastKeyOf(command.Count);
        for (int i = info.FirstKey; i <= last && i > 0; i += info.KeyStep)
        {
            Status status = await transaction.PrepareAsync(command.Memory(i), LockMode.Exclusive);
            if (status != Status.Ok)
            {
                EndIfRefused(status);
                return false;
            }
        }

        return true;
    }

    /// <summary>The store gives no more locks: unlike after a deadlock or a timeout the transaction goes on, and would be committed without what was not done.</summary>
    private static void EndIfRefused(Status status)
    {
        if (status == Status.TooLarge)
        {
            throw new RefusedException(status, "the transaction needs more locks than the store gives to one, or to all together; name fewer keys");
        }
    }

    /// <summary>Does work until it commits; false: it was refused, and the reply says why.</summary>
    private async Task<bool> CommitAsync(int place, Func<Transaction, ValueTask> work)
    {
        try
        {
            // What is read and not written is not looked at again when it commits.
            if (await session.Reads.AwaitAsync() is not Status.Ok and var behind)
            {
                Output.Truncate(place);
                Output.Error(RespErrors.Of(behind, ConsistentReads.Detail(behind)));
                return false;
            }

            CommitResult result;
            do
            {
                result = await session.Door.Store.TransactAsync(work, cancellation: session.Door.Stopping);
            }
            while (result.Status is Status.Conflict or Status.Deadlock);

            session.NoteTimes(result.Times);
            session.Receipts?.Note(result);

            if (!result.IsOk)
            {
                Output.Truncate(place);
                Output.Error(RespErrors.Of(result.Status, result.Detail));
            }

            return result.IsOk;
        }
        catch (StoreException failure)
        {
            session.Refuse(failure, place);
            return false;
        }
        catch (OperationCanceledException)
        {
            Output.Truncate(place);
            Output.Error("TRYAGAIN the server stops, and others held what this needs");
            return false;
        }
    }
}
