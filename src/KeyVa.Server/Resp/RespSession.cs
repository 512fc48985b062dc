using System.Diagnostics;
using System.Net;
using KeyVa.Measurements;
using KeyVa.Protocol.Resp;
using KeyVa.Server.Admission;
using KeyVa.Server.Identity;

namespace KeyVa.Server.Resp;

/// <summary>
/// One connection's conversation: bytes in, calls on the store, bytes out, in the order in which the commands came. It knows nothing of sockets.
/// </summary>
/// <remarks>
/// <para>Reads are answered where they are read; plain SETs are gathered, and of other single writes a pipeline has
/// several under way (<see cref="SessionWrites"/>); everything else that may have to wait for the
/// disk is a task, <see cref="Busy"/>, and nothing else of this connection is looked at before it has ended.</para>
/// <para>Thread-safety. One thread at a time calls <see cref="Process"/>, the next one after <see cref="Busy"/> has ended, and behind
/// <see cref="SessionWrites.Settle"/> if writes were held. Shared: <see cref="Outbox"/>,
/// <see cref="Kill"/>, and what CLIENT LIST shows.</para>
/// </remarks>
internal sealed class RespSession : IDisposable
{
    /// <summary>With so many bytes to send nothing more is read: a client that does not take its replies gets no others.</summary>
    private const int HighWater = 1 << 20;

    /// <summary>After so long the others of the same thread have their turn, however many commands are still there.</summary>
    private static readonly TimeSpan LongestTurn = TimeSpan.FromMilliseconds(5);

    private readonly RespReader _reader;
    private readonly SessionTransaction _transaction;
    private volatile bool _isKilled;

    // Bytes of the conversation that are done.
    private long _taken;

    // Of the command that is being done: when it began, what it is where a pipeline may go on behind it, whether one did, and Store.Detours before it.
    private long _began;
    private RespCommand? _pipelined;
    private bool _isPending;
    private long _detours;

    // Where the time of the command's write or read went, if that was noted.
    private WriteTimes? _times;
    private ReadTimes? _reads;

    private readonly SessionRates _rates;

    public RespSession(RespDoor door, long id, EndPoint? peer, AddressEntry address, Action wake)
    {
        Door = door;
        Address = address;
        Id = id;
        Peer = peer?.ToString() ?? "";
        _reader = new RespReader(door.Limits);
        _rates = new SessionRates(door.Rates);
        Call = new DataCall(door, Output);
        _transaction = new SessionTransaction(this);
        Outbox = new Outbox(wake);
        Subscriptions = new Subscriptions(this);
        Writes = new SessionWrites(this);
        Reads = new ConfirmedReads(this);
        Receipts = door.Cluster is null ? null : new WrittenReceipts();
        Wake = wake;
        Created = door.Now();
        LastCommand = CommandTable.Get;
        Identity = new SessionIdentity(this, Became);
    }

    public RespDoor Door { get; }

    public long Id { get; }

    public string Peer { get; }

    public AddressEntry Address { get; }

    /// <summary>Who speaks; from any thread.</summary>
    public Caller Caller => Identity.Caller;

    public SessionIdentity Identity { get; }

    public RespOutput Output { get; } = new();

    /// <summary>For reads outside of transactions, and for the transaction that runs.</summary>
    public DataCall Call { get; }

    public SessionTransaction Transaction => _transaction;

    /// <summary>Which commands may read where they stand.</summary>
    public ConfirmedReads Reads { get; }

    /// <summary>Where this connection's writes stand, for WAIT; null: there are no replicas to wait for.</summary>
    public WrittenReceipts? Receipts { get; }

    /// <summary>What was written and not replied yet.</summary>
    public SessionWrites Writes { get; }

    /// <summary>Messages of channels that wait to be sent.</summary>
    public Outbox Outbox { get; }

    public Subscriptions Subscriptions { get; }

    /// <summary>What the next bytes wait for; null: nothing.</summary>
    public Task? Busy { get; private set; }

    /// <summary>The connection ends when what is written has been sent.</summary>
    public bool IsClosing { get; set; }

    public bool IsKilled => _isKilled;

    /// <summary>Tells the connection's thread to look at it.</summary>
    public Action Wake { get; }

    public string Name { get; set; } = "";

    public string User => Caller.Name.Length > 0 ? Caller.Name : "(none)";

    public long Created { get; }

    /// <summary>The command that came last, for CLIENT LIST.</summary>
    public CommandInfo LastCommand { get; private set; }

    /// <summary>CLIENT REPLY: replies are dropped.</summary>
    public bool IsSilent { get; set; }

    /// <summary>CLIENT REPLY SKIP: so many replies are dropped, that of SKIP itself among them.</summary>
    public int SkippedReplies { get; set; }

    /// <summary>What was given and not taken is no whole command.</summary>
    public bool NeedsInput { get; private set; }

    /// <summary>Ends the connection, from any thread.</summary>
    public void Kill()
    {
        _isKilled = true;
        Wake();
    }

    /// <summary>
    /// Does the commands that are there, from <paramref name="start"/> on, which moves behind them. It ends early if it has to wait
    /// (<see cref="Busy"/>), if there is much to send, or at the end of the conversation; what is left must be given again.
    /// </summary>
    public void Process(byte[] buffer, ref int start, int end)
    {
        int begin = start;
        ProcessFrom(buffer, ref start, end, _taken - begin);
        _taken += start - begin;
    }

    /// <summary><paramref name="origin"/>: what is added to a place of the buffer to have its place in the conversation.</summary>
    private void ProcessFrom(byte[] buffer, ref int start, int end, long origin)
    {
        NeedsInput = false;
        Identity.Refresh();
        PipelinedGets gets = PipelinedGets.OfThisThread;
        long began = Stopwatch.GetTimestamp();
        while (!IsClosing)
        {
            RespRead read = _reader.Read(buffer, start, end);
            if (read == RespRead.Complete && _reader.Command.Count > 0)
            {
                _rates.Pay();
            }

            if (Door.ConfirmsReads && read == RespRead.Complete && !Reads.Allows(origin + start) && _transaction.IsIdle && ConfirmedReads.Concerns(_reader.Command))
            {
                if ((!gets.IsEmpty && !gets.TryReply(this, HighWater, ref start)) || !Writes.TryFinish())
                {
                    _reader.Restart();
                    return;
                }

                if (!Reads.IsAsked(origin + start))
                {
                    // Nothing more is received before it is answered.
                    _reader.Restart();
                    Start(Reads.AskAsync(origin + end));
                    if (Busy is not null)
                    {
                        return;
                    }

                    continue;
                }

                Reads.TakeAsked();
                int place = Output.Length;
                Output.Error(Reads.Refusal);
                SkipReply(place);
                start += _reader.Consumed;
                _rates.End();
                _reader.Command.Clear();
                continue;
            }

            if (read == RespRead.Complete && IsPlainGet(_reader))
            {
                if (!Writes.TryFinish())
                {
                    return;
                }

                gets.Add(Door.Store, _reader.Command.Memory(1), start);
                start += _reader.Consumed;
                _rates.End();
                if (gets.IsFull && (!gets.TryReply(this, HighWater, ref start) || Output.Length > HighWater))
                {
                    return;
                }

                continue;
            }

            if (!gets.IsEmpty && !gets.TryReply(this, HighWater, ref start))
            {
                // What was read of the command behind them is read again when its turn comes.
                _reader.Restart();
                return;
            }

            if (read == RespRead.Complete)
            {
                if (_reader.Command.Count > 0 && !TryExecute(_reader.Command))
                {
                    return;
                }

                start += _reader.Consumed;
                _rates.End();
                _reader.Command.Clear();
                bool isGathered = !Writes.IsEmpty;
                if (Busy is null && Output.Length <= HighWater && (isGathered || Stopwatch.GetElapsedTime(began) < LongestTurn))
                {
                    continue;
                }

                if (Busy is null)
                {
                    // Writes that were gathered must not wait for bytes that may never come.
                    Writes.TryFinish();
                }

                return;
            }

            NeedsInput = read == RespRead.Incomplete;
            if (!Writes.TryFinish())
            {
                return;
            }

            Writes.EndPipeline();

            if (read == RespRead.Broken)
            {
                Output.Error("ERR " + _reader.Error);
                IsClosing = true;
            }

            return;
        }
    }

    /// <summary><see cref="Busy"/> has ended. What it threw is a defect, and belongs to whoever runs this connection.</summary>
    public void EndBusy()
    {
        Task? task = Busy;
        Busy = null;
        task?.GetAwaiter().GetResult();
    }

    /// <summary>Runs a command of keys in a transaction of its own, again if it meets others.</summary>
    public void RunInTransaction(CommandInfo info, RespCommand command) => Start(_transaction.RunAsync(info, command.Copy()));

    /// <summary>Replies when a write has ended.</summary>
    public void Await(ValueTask<WriteResult> write, Action<RespOutput, WriteResult> reply) => Await(write, null, reply);

    /// <summary>As the other; what the write needs is disposed behind it.</summary>
    public void Await(ValueTask<WriteResult> write, IDisposable? needed, Action<RespOutput, WriteResult> reply)
    {
        if (_pipelined is { } command && (!Writes.Pending.IsEmpty || !write.IsCompletedSuccessfully))
        {
            _isPending = true;
            Writes.Pending.Add(write, needed, reply, LastCommand, command, _began);
            if (Door.Store.Detours != _detours && !Writes.Pending.TryFinish())
            {
                // Another write could overtake this one: nothing else is done before it has ended.
                Start(Writes.Pending.FinishAsync());
            }

            return;
        }

        if (!write.IsCompletedSuccessfully)
        {
            Start(ReplyLaterAsync(write, needed, reply));
            return;
        }

        WriteResult result = write.Result;
        _times = result.Times;
        Receipts?.Note(result);
        reply(Output, result);
        needed?.Dispose();
    }

    /// <summary>A command has ended that began at a timestamp and whose reply stands at a place.</summary>
    public void Observe(CommandInfo info, RespCommand command, long began, int place, WriteTimes? times)
    {
        NoteAudit(info, command, began, Output.WrittenFrom(place));
        bool failed = Output.Length > place && Output.WrittenFrom(place)[0] == (byte)'-';
        RespObservation request = new(this, command, failed, times, info.IsWrite ? null : _reads);
        Door.Observer.End(Door.Meter, info.Operation, began, ref request);
    }

    /// <summary>A command has ended that began at a timestamp: if it is one of the control plane, that is noted, and counted there.</summary>
    public void NoteAudit(CommandInfo info, RespCommand command, long began, ReadOnlySpan<byte> reply)
    {
        if (info.Permission.IsAudited)
        {
            // A reply that is dropped is never sent.
            _rates.MoveToControl(command.Bytes + (IsSilent || SkippedReplies > 0 ? 0 : reply.Length));
            RespAudit.Done(this, info, command, reply, Stopwatch.GetElapsedTime(began));
        }
    }

    /// <summary>Where the time of the write went that the command has made; null: that was not noted.</summary>
    public void NoteTimes(WriteTimes? times) => _times = times;

    /// <summary>Nothing else is done before a task has ended.</summary>
    public void Start(Task task)
    {
        if (!task.IsCompleted)
        {
            Busy = task;
        }
        else
        {
            // What it could not do is a defect, and belongs to whoever runs this connection.
            task.GetAwaiter().GetResult();
        }
    }

    /// <summary>Counts bytes that were received.</summary>
    public void CountReceived(int bytes) => _rates.CountReceived(bytes);

    /// <summary>Counts bytes that were sent.</summary>
    public void CountSent(int bytes) => _rates.CountSent(bytes);

    private void Became(Caller caller)
    {
        Call.Rights = caller.Data;
        _rates.Become(caller);
        _reader.Limits = caller.IsKnown ? Door.Limits : RespLimits.OfStrangers;
    }

    /// <summary>As a new connection.</summary>
    public void Reset()
    {
        Receipts?.Clear();
        _transaction.Discard();
        Subscriptions.Clear();
        Name = "";
        IsSilent = false;
        SkippedReplies = 0;
        TakeMessages();
        Output.Version = 2;
        Identity.Forget();
    }

    /// <summary>What others have published until now is sent before what is written next: of a channel that was left nothing comes after the reply that says so.</summary>
    public void TakeMessages()
    {
        if (!IsSilent && SkippedReplies == 0)
        {
            Outbox.MoveTo(Output, int.MaxValue);
        }
    }

    public void Dispose()
    {
        Subscriptions.Clear();
        _rates.OweReceived();
        Door.Forget(this);
        Output.Dispose();
    }

    /// <summary>False: SETs that came before must be done first.</summary>
    private bool TryExecute(RespCommand command)
    {
        CommandInfo? info = CommandTable.Find(command[0]);
        bool isSet = info == CommandTable.Set && Writes.Gathers && _transaction.IsIdle && !Subscriptions.Restrict(Output) && _rates.RetryAfter == TimeSpan.Zero
            && (Identity.WritesAll || (command.Count > 1 && Caller.Data.Allows(Level.Write, command[1])));
        if (isSet && Writes.TryGather(command))
        {
            return true;
        }

        bool wasFirst = !Writes.HasSets;
        if (!Writes.TryFinishSets(isRepeated: isSet))
        {
            return false;
        }

        if (isSet && !wasFirst && Writes.TryGather(command))
        {
            return true;
        }

        bool pipelines = Pipelines(info, command);
        if ((!pipelines || Writes.Pending.IsFull) && !Writes.TryFinishPending())
        {
            return false;
        }

        int place = Output.Length;
        bool isBehind = !Writes.Pending.IsEmpty;
        _pipelined = pipelines ? command : null;
        _detours = Door.Store.Detours;
        try
        {
            Dispatch(info, command);
        }
        catch (StoreException failure)
        {
            Refuse(failure, place);
        }

        _pipelined = null;
        if (isBehind && Busy is null && !Writes.Pending.IsEmpty && Output.Length > place)
        {
            // What was refused at once is told when its turn comes.
            Writes.Pending.Add(Output.WrittenFrom(place).ToArray());
            Output.Truncate(place);
        }

        if (Busy is null)
        {
            SkipReply(place);
        }
        else if (IsSilent || SkippedReplies > 0)
        {
            Busy = SkipLaterAsync(Busy, place);
        }

        return true;
    }

    /// <summary>A GET that is answered where it stands, whose bytes stay where they are meanwhile.</summary>
    private bool IsPlainGet(RespReader reader) =>
        reader.Command.Count == 2 && !reader.IsInline && CommandTable.Find(reader.Command[0]) == CommandTable.Get
        && _transaction.IsIdle && !IsSilent && SkippedReplies == 0 && !Subscriptions.Restrict(Output) && _rates.RetryAfter == TimeSpan.Zero
        && (Identity.ReadsAll || Caller.Data.Allows(Level.Read, reader.Command[1]));

    /// <summary>Whether the pipeline may go on behind a command before it is on the disk.</summary>
    private bool Pipelines(CommandInfo? info, RespCommand command) =>
        info?.Pipelines is { } rule && Door.MayPend && !IsSilent && SkippedReplies == 0 && _transaction.IsIdle && !Subscriptions.Restrict(Output)
        && (!info.TakesArguments(command.Count) || rule(this, command));

    private void Dispatch(CommandInfo? info, RespCommand command)
    {
        if (info is null)
        {
            if (IsBrowser(command[0]))
            {
                // A web page that makes a browser speak to this port; what follows could hold commands.
                IsClosing = true;
                return;
            }

            Reject(RespErrors.UnknownCommand(command));
            return;
        }

        if (info.Subcommands.Length > 0 && command.Count > 1)
        {
            CommandInfo? subcommand = CommandTable.FindSubcommand(info, command[1]);
            if (subcommand is null)
            {
                Reject(RespErrors.UnknownSubcommand(info, command));
                return;
            }

            info = subcommand;
        }

        if (Refusal(info, command) is { } refusal)
        {
            RespAudit.Refused(this, info, command, refusal);
            Reject(refusal);
            return;
        }

        LastCommand = info;
        if (_transaction.IsQueuing && !info.Is(CommandFlags.NotQueued))
        {
            if (info.Is(CommandFlags.NoMulti) || (info.Permission.IsOpen && !Door.Users.IsOpen))
            {
                RespAudit.Refused(this, info, command, RespErrors.NotInTransaction);
                Reject(RespErrors.NotInTransaction);
            }
            else
            {
                _transaction.Queue(info, command);
            }

            return;
        }

        _began = Reads.TakeAsked() is > 0 and var asked ? asked : Stopwatch.GetTimestamp();
        _times = null;
        _reads = null;
        int place = Output.Length;
        _isPending = false;
        Run(info, command);
        if (_isPending || !Writes.Pending.IsEmpty)
        {
            // Observed when its turn to reply comes.
            return;
        }

        if (Busy is null)
        {
            Observe(info, command, _began, place, _times);
        }
        else
        {
            Busy = ObserveLaterAsync(Busy, info, command.Copy(), _began, place);
        }
    }

    /// <summary>Why a command is not begun; null: it is.</summary>
    private string? Refusal(CommandInfo info, RespCommand command)
    {
        if (!info.TakesArguments(command.Count))
        {
            return RespErrors.WrongArity(info);
        }

        if (info.Permission.CountedOn == Plane.Control)
        {
            _rates.PayControl();
        }

        if (_rates.RetryAfter > TimeSpan.Zero && !info.Permission.IsOpen)
        {
            return RespErrors.ComeBack(_rates.RetryAfter);
        }

        return RespAccess.Refusal(this, info, command) is { } refusal ? refusal
            : Subscriptions.Restrict(Output) && !info.Is(CommandFlags.WhileSubscribed)
            ? $"ERR Can't execute '{info.Name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            : null;
    }

    private void Run(CommandInfo info, RespCommand command)
    {
        if (info.Session is { } handler)
        {
            handler(this, command);
        }
        else if (info.IsWrite)
        {
            RunInTransaction(info, command);
        }
        else if (info.Is(CommandFlags.ReadsAll) || (info.Is(CommandFlags.Scans) && !Door.HasOnePartition))
        {
            // As long as there are keys, or a snapshot of several partitions that waits: not on a thread that others wait for.
            RespCommand copy = command.Copy();
            Start(Task.Run(() => ReadAll(info, copy)));
        }
        else if (info.LastKeyOf(command.Count) > info.FirstKey)
        {
            // The snapshot may have to wait for writes under way, and this buffer does not.
            Start(_transaction.ReadAsync(info, command.Copy()));
        }
        else
        {
            long asked = ReadTimes.Begin(Door.Observer.Tracer);
            Call.Begin(null);
            Call.Run(info, command);
            _reads = ReadTimes.End(asked);
        }
    }

    private void ReadAll(CommandInfo info, RespCommand command)
    {
        int place = Output.Length;
        try
        {
            Call.Begin(null);
            Call.Run(info, command);
        }
        catch (StoreException failure)
        {
            Refuse(failure, place);
        }
    }

    private async Task ReplyLaterAsync(ValueTask<WriteResult> write, IDisposable? needed, Action<RespOutput, WriteResult> reply)
    {
        int place = Output.Length;
        try
        {
            WriteResult result = await write;
            _times = result.Times;
            Receipts?.Note(result);
            reply(Output, result);
        }
        catch (StoreException failure)
        {
            Refuse(failure, place);
        }

        needed?.Dispose();
    }

    private async Task ObserveLaterAsync(Task task, CommandInfo info, RespCommand command, long began, int place)
    {
        await task;
        Observe(info, command, began, place, _times);
    }

    private async Task SkipLaterAsync(Task task, int place)
    {
        await task;
        SkipReply(place);
    }

    private void SkipReply(int place)
    {
        if (IsSilent || SkippedReplies > 0)
        {
            SkippedReplies = Math.Max(0, SkippedReplies - 1);
            Output.Truncate(place);
        }
    }

    /// <summary>An error that also spoils the transaction that is being queued.</summary>
    private void Reject(string error)
    {
        _transaction.Spoil();
        Output.Error(error);
    }

    /// <summary>The store failed under a command: its reply is the failure.</summary>
    public void Refuse(StoreException failure, int place)
    {
        Output.Truncate(place);
        if (failure is RefusedException refused)
        {
            Output.Error(RespErrors.Of(refused.Status, refused.Message));
            return;
        }

        Door.Failures.Report(failure, LastCommand.Name, "resp");
        Output.Error(RespErrors.Of(Status.Failed, failure.Message));
    }

    private static bool IsBrowser(ReadOnlySpan<byte> name) =>
        System.Text.Ascii.EqualsIgnoreCase(name, "post"u8) || System.Text.Ascii.EqualsIgnoreCase(name, "host:"u8);
}
