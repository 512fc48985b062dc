using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Log;
using KeyVa.Measurements;
using KeyVa.Merges;
using KeyVa.Replication;
using KeyVa.Sessions;

namespace KeyVa.Partitions;

/// <summary>
/// The one logical writer of a partition, without a thread of its own (flat combining: Hendler, Incze, Shavit and
/// Tzafrir, 2010). A caller that finds the role free takes it, encodes what is queued into one group, logs it, applies
/// it, completes every caller of the group and passes the role on.
/// </summary>
/// <remarks>
/// <para>The plain design, a writer thread fed by a queue, costs a lone caller two context switches per write. Here a lone
/// caller does everything on its own thread, and a thousand callers share one sync.</para>
/// <para>Invariants.
/// 1. Whoever sets <c>_role</c> to <c>Held</c> holds the role, until it passes it to a waiting request or gives it up.
///    All fields of the role's are touched by its holder alone; passing it on is a full fence.
/// 2. A request is pushed before its caller tries for the role, and the holder looks at the queue after it has given
///    the role up: so one of the two serves it (no lost wake-up).
/// 3. Groups take their log index, stamp and versions with the role held, and are applied in that order.
/// 4. <see cref="WriteRound.InFlight"/> is set before a group takes versions and cleared after they are visible: when it is 0
///    or above S in both rounds, everything of this partition at or below S is visible (the closed version).
/// 5. A holder leads one group and hands over; an asynchronous group is led by the pool or the journal's sync thread,
///    and never blocks either.
/// 6. A synchronous leader in company gives the role up once its group is logged and the one before is applied, and applies it
///    while the next is logged (<see cref="ApplyTurn"/>). Only synchronous leaders take the role then, up to
///    <see cref="MaxBytesAhead"/>: in everybody else's hands it means that all that is logged is applied.</para>
/// </remarks>
internal sealed class PartitionWriter : IThreadPoolWorkItem
{
    private const long Term = 1;

    /// <summary>Bytes of commands that are logged without the engine being asked, while others are being applied.</summary>
    private const long MaxBytesAhead = 64 << 10;

    /// <summary>
    /// A sync that took longer is left to the journal's own thread, where writes were held: others of the thread that holds them wait as long. To hand over, and
    /// to be told of the end, costs some tenths of a millisecond where processors are busy.
    /// </summary>
    private static readonly long LongestHeldSyncTicks = Stopwatch.Frequency / 1000;

    /// <summary>After others have waited, leaders make way for them for so many rounds.</summary>
    private const int CompanyRounds = 64;

    // What the role may be. Unapplied: it is free for synchronous leaders, while the last group is being applied.
    private const int Free = 0;
    private const int Held = 1;
    private const int Unapplied = 2;

    [ThreadStatic]
    private static PartitionWriter? _enqueuing;

    [ThreadStatic]
    private static bool _completedInline;

    // Immutable.
    private readonly Engine _engine;
    private readonly Journal? _journal;
    private readonly VersionOracle _oracle;
    private readonly IBackgroundWork _background;
    private readonly GroupEntry _entry;
    private readonly ITimer _admission;
    private readonly WriteTiming _timing;

    // Shared.
    private readonly RequestQueue _queue;
    private readonly ClosedVersionWaiters _waiters = new();
    private readonly WriteRound[] _rounds;
    private readonly Func<long, bool> _isClosed;
    private int _role;
    private ApplyTurn _turn;
    private RoundPacing _pacing;

    // Set while opening: the log is replicated, and the role is its driver's for good.
    private IReplication? _replication;

    // Written by whoever applies.
    private StoreException? _failure;

    // The role holder's: the round of the next group, and the one that is free or being applied.
    private WriteRound _round;
    private WriteRound _other;
    private long _index;
    private long _bytesAhead;
    private bool _isSlowedDown;
    private int _companyRounds;

    public PartitionWriter(long partition, Engine engine, Journal? journal, VersionOracle oracle, IBackgroundWork background, TimeProvider time, MergeRegistry functions, int maxQueued, bool syncs, RequestQueue? queue = null, WriteTiming? timing = null)
    {
        _engine = engine;
        State = new PartitionState(engine, functions);
        _journal = journal;
        _oracle = oracle;
        _background = background;
        _timing = timing ?? WriteTiming.Off;
        _pacing = new RoundPacing(syncs);
        _queue = queue ?? new RequestQueue(maxQueued);
        _round = new WriteRound(_queue);
        _other = new WriteRound(_queue);
        _rounds = [_round, _other];
        _entry = new GroupEntry(partition, OnAppended);
        _admission = time.CreateTimer(static writer => ((PartitionWriter)writer!).AppendAsynchronously(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _index = engine.AppliedIndex;
        _isClosed = IsClosed;
        PartitionId = partition;
    }

    public long PartitionId { get; }

    public Engine Engine => _engine;

    public PartitionState State { get; }

    public bool IsVolatile => _journal is null;

    public int Queued => _queue.Count;

    /// <summary>For the writer that takes this one's place.</summary>
    public RequestQueue Queue => _queue;

    /// <summary>What stopped this partition from taking writes, or null. Sticky.</summary>
    public StoreException? Failure => _failure ?? _engine.Failure ?? _journal?.Failure;

    /// <summary>Set under the role: the partition is gone, requests end with this status.</summary>
    public Status Closed { get; private set; }

    /// <summary>Writes a command and waits until it is done. The request is the calling thread's.</summary>
    public void Write(SyncWriteRequest request)
    {
        if (_queue.IsEmpty && !_pacing.InCompany && TryEnterToLog())
        {
            // Alone: no queue, no wake-up.
            _round.Group.TakeAlone(request);
            LeadGroup();
            Debug.Assert(request.IsDone, "the leader's own request is in its group");
            return;
        }

        if (!Push(request))
        {
            return;
        }

        if (TryEnterToLog())
        {
            LeadCompany();
        }

        while (!request.WaitForDoneOrLead(_pacing.SpinTicks()))
        {
            LeadCompany();
        }
    }

    /// <summary>
    /// Logs and applies a group without operations and waits for it: the log's stamp comes up to the clock, which only the
    /// log may decide.
    /// </summary>
    public WriteResult WriteEmptyGroup()
    {
        SyncWriteRequest request = SyncWriteRequest.ForThisThread;
        request.OwnCommand.Clear();
        request.Begin(request.OwnCommand);
        Write(request);
        return request.Result;
    }

    /// <summary>Writes a command; the request is completed here, or later from another thread.</summary>
    public void WriteAsync(WriteRequest request)
    {
        if (!Push(request))
        {
            return;
        }

        if (_pacing.Syncs && _journal is not null && _replication is null && WriteHold.Current is { } hold)
        {
            hold.Add(this);
        }
        else if (TryEnter())
        {
            LeadAsynchronously();
        }
    }

    /// <summary>Leads what is queued, if nobody does: see <see cref="WriteHold"/>.</summary>
    public void LeadHeld()
    {
        if (!TryEnter())
        {
            // Whoever has the role looks at the queue when it gives the role up.
            return;
        }

        if (_entry.SyncTicks > LongestHeldSyncTicks || _queue.Peek() is not { Command: not null })
        {
            LeadAsynchronously();
            return;
        }

        _round.Group.TakeQueued();
        if (!TryAdmitWithoutWaiting())
        {
            return;
        }

        Encode();
        _round.ApplyBegun = 0;
        if (EndGroup(_pacing.Append(_journal!, _entry)))
        {
            Leave(direct: false);
        }
        else
        {
            AppendAsynchronously();
        }
    }

    /// <summary>Takes the role when its turn comes; see <see cref="ExclusiveRequest"/>. Never blocks.</summary>
    public void Enter(ExclusiveRequest request)
    {
        bool pushed = _queue.TryPush(request);
        Debug.Assert(pushed, "an exclusive request is never refused");
        _replication?.Wake(PartitionId);
        if (TryEnter())
        {
            LeadAsynchronously();
        }
    }

    /// <summary>
    /// Gives the role up, or passes it to the next request. <paramref name="direct"/>: on the journal's sync thread, which
    /// may lead the next asynchronous group itself; elsewhere the pool does, so that no caller serves others for ever.
    /// </summary>
    public void Leave(bool direct)
    {
        while (_replication is null)
        {
            WriteRequest? next = _queue.Peek();
            if (next is null)
            {
                Volatile.Write(ref _role, Free);
                Interlocked.MemoryBarrier();
                if (_queue.IsEmpty || !TryEnter())
                {
                    return;
                }

                continue;
            }

            if (next.CanLead)
            {
                next.Lead();
            }
            else if (direct)
            {
                LeadAsynchronously();
            }
            else
            {
                ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
            }

            return;
        }
    }

    /// <summary>While opening: from here on the log is replicated, and whoever drives it has the role.</summary>
    public ReplicatedWriter Replicate(IReplication replication)
    {
        // The engine may ask for a flush already, which takes a moment.
        var wait = default(SpinWait);
        while (!TryEnter())
        {
            wait.SpinOnce();
        }

        _replication = replication;
        return new ReplicatedWriter(this, _queue, _oracle);
    }

    /// <summary>The store could not be opened, and nobody drives the log: the role goes to whoever asks for it next.</summary>
    public void EndReplication()
    {
        if (_replication is not null)
        {
            _replication = null;
            Leave(direct: false);
        }
    }

    /// <summary>The pool leads the next group, with the role held.</summary>
    void IThreadPoolWorkItem.Execute() => LeadAsynchronously();

    /// <summary>
    /// Ends when everything of this partition at or below a version is visible; fails if applying failed half-way and it never will be. Where the log is
    /// replicated, with a <see cref="RefusedException"/> if nobody leads who could say that nothing below will come.
    /// </summary>
    public ValueTask WaitUntilClosed(long version) =>
        _replication is not null ? WaitUntilReached(version)
        : IsClosed(version) ? default : new ValueTask(_waiters.Add(version, _isClosed));

    /// <summary>A version at or below <paramref name="newest"/> up to which everything of this partition is visible; 0 if that cannot be said this moment.</summary>
    /// <remarks>
    /// Versions rise along a replicated log, wherever they were handed out: what is visible is closed. An idle partition is brought up to where the others are.
    /// </remarks>
    public long ClosedUpTo(long newest)
    {
        if (_replication is null)
        {
            return _rounds[1].ClosedUpTo(_rounds[0].ClosedUpTo(newest));
        }

        long visible = _engine.VisibleVersion;
        if (visible < newest && IsClosed(newest) && Closed == Status.Ok)
        {
            // Whoever asks comes again when this partition's groups end.
            _ = _replication.ReachAsync(PartitionId, newest);
        }

        return Math.Min(visible, newest);
    }

    /// <summary>Role held: takes the next index of the partition's log.</summary>
    public LogPosition NextPosition() => new(PartitionId, Term, _index + 1);

    /// <summary>Role held: from here on versions are taken that are not visible yet.</summary>
    public void BeginVersions() => _round.InFlight = WriteRound.Undetermined;

    /// <summary>Role held: everything below <paramref name="version"/> is visible.</summary>
    public void NoteVersions(long version) => _round.InFlight = version;

    /// <summary>Role held: the group or commit at the next index is applied; publishes it.</summary>
    public void EndApply(long version, long stamp)
    {
        State.EndGroup(++_index, version, stamp);
        EndVersions();
    }

    /// <summary>Role held: no versions are under way any more, applied or given up.</summary>
    public void EndVersions() => EndVersions(_round);

    private void EndVersions(WriteRound round)
    {
        round.InFlight = 0;
        _waiters.Release(_isClosed);
        State.EndVersions();
    }

    /// <summary>While opening: makes room for the next record.</summary>
    public void AdmitReplay(long bytes)
    {
        for (TimeSpan delay = State.Admit(bytes); delay > TimeSpan.Zero; delay = State.Admit(bytes))
        {
            _background.Pause(delay);
        }
    }

    /// <summary>By whoever applies: it failed half-way; nothing more may be applied.</summary>
    public void Fail(StoreException failure)
    {
        _failure ??= failure;
        State.EndVersions();
        _waiters.Fail(new StoreException($"partition {PartitionId} has stopped in the middle of a write, so a snapshot of several partitions cannot be had: {failure.Message}", failure));
    }

    /// <summary>Role held: no more writes.</summary>
    public void Close(Status status) => Closed = status;

    public void DisposeTimer() => _admission.Dispose();

    private bool IsClosed(long version) => _rounds[0].IsClosed(version) && _rounds[1].IsClosed(version);

    private ValueTask WaitUntilReached(long version)
    {
        if (_engine.VisibleVersion >= version)
        {
            return default;
        }

        return _failure is { } failure
            ? ValueTask.FromException(new StoreException($"partition {PartitionId} has stopped, so a snapshot of several partitions cannot be had: {failure.Message}", failure))
            : new ValueTask(ReachAsync(_replication!, version));
    }

    private async Task ReachAsync(IReplication replication, long version)
    {
        WriteResult reached = await replication.ReachAsync(PartitionId, version).ConfigureAwait(false);
        if (!reached.IsOk)
        {
            throw new RefusedException(reached.Status, $"a snapshot of several partitions cannot be had: {reached.Detail}");
        }
    }

    private bool TryEnter() => TryEnterFrom(Free);

    /// <summary>For a synchronous leader, which can wait for its turn to apply.</summary>
    private bool TryEnterToLog() => TryEnterFrom(Free) || TryEnterFrom(Unapplied);

    private bool TryEnterFrom(int role) => Volatile.Read(ref _role) == role && Interlocked.CompareExchange(ref _role, Held, role) == role;

    private bool Push(WriteRequest request)
    {
        if (_queue.TryPush(request))
        {
            _replication?.Wake(PartitionId);
            return true;
        }

        request.Result = Refusals.Busy(_queue.Count);
        request.Complete();
        return false;
    }

    /// <summary>Leads a group on the calling thread, which may wait for the disk, and passes the role on.</summary>
    private void LeadGroup()
    {
        WriteRound round = _round;
        while (!round.Group.IsEmpty)
        {
            if (!Admit(out TimeSpan delay))
            {
                break;
            }

            if (delay > TimeSpan.Zero)
            {
                _background.Pause(delay);
            }

            Encode();
            AppendOutcome outcome = _journal is null ? AppendOutcome.Appended : _pacing.Append(_journal, _entry);
            _turn.Await();
            round.ApplyBegun = _pacing.BeginApply();
            if (outcome == AppendOutcome.Appended && TryMakeWay())
            {
                Apply(round);
                EndAhead(round);
                return;
            }

            if (EndGroup(outcome))
            {
                break;
            }
        }

        _turn.Await();
        Leave(direct: false);
    }

    /// <summary>
    /// The group is logged: gives the role up to those who wait or may come, so that the next group is logged while this one is
    /// applied. False: the role is kept, since nobody is there, or one who must not wait for the engine is next.
    /// </summary>
    private bool TryMakeWay()
    {
        if (!_queue.IsEmpty)
        {
            _companyRounds = CompanyRounds;
        }
        else if (_companyRounds == 0)
        {
            return false;
        }

        _companyRounds--;
        if (_journal is null || _pacing.Syncs || _pacing.InCompany)
        {
            return false;
        }

        _index = _round.Index;
        (_round, _other) = (_other, _round);
        _turn.Take();
        while (true)
        {
            WriteRequest? next = _queue.Peek();
            if (next is { CanLead: true })
            {
                next.Lead();
                return true;
            }

            if (next is not null)
            {
                _turn.GiveBack();
                (_round, _other) = (_other, _round);
                return false;
            }

            Volatile.Write(ref _role, Unapplied);
            Interlocked.MemoryBarrier();
            if (_queue.IsEmpty || !TryEnterFrom(Unapplied))
            {
                return true;
            }
        }
    }

    /// <summary>The group that was applied without the role is visible: the next may be, and its callers go on.</summary>
    private void EndAhead(WriteRound round)
    {
        // Before the turn ends nobody can have logged another group and given the role up: whoever finds it unapplied here
        // has applied the last.
        bool isLast = TryEnterFrom(Unapplied);
        WriteGroup group = round.Group.Move();
        _turn.End();
        if (isLast)
        {
            Leave(direct: false);
        }

        group.Complete();
    }

    private void LeadCompany()
    {
        if (_pacing.InCompany)
        {
            _pacing.AwaitCompany(_queue);
        }

        _round.Group.TakeQueued();
        LeadGroup();
    }

    private void LeadAsynchronously()
    {
        Debug.Assert(!_turn.IsTaken, "who does not wait has the role when all is applied");
        _round.Group.TakeQueued();
        if (_round.Group.IsEmpty)
        {
            LeadExclusive();
            return;
        }

        if (TryAdmitWithoutWaiting())
        {
            AppendAsynchronously();
        }
    }

    /// <summary>False: the group was refused and the role given up, or the group is logged later, by a timer.</summary>
    private bool TryAdmitWithoutWaiting()
    {
        if (!Admit(out TimeSpan delay))
        {
            Leave(direct: false);
            return false;
        }

        if (delay > TimeSpan.Zero)
        {
            // Timers know whole milliseconds alone.
            _admission.Change(TimeSpan.FromMilliseconds(Math.Ceiling(delay.TotalMilliseconds)), Timeout.InfiniteTimeSpan);
            return false;
        }

        return true;
    }

    private void LeadExclusive()
    {
        if (_queue.Peek() is ExclusiveRequest exclusive)
        {
            _queue.Dequeue();
            _queue.Leave();
            exclusive.Acquired(this);
        }
        else
        {
            Leave(direct: false);
        }
    }

    private void AppendAsynchronously()
    {
        Encode();
        _round.ApplyBegun = 0;
        bool inline;
        if (_journal is null)
        {
            _entry.Outcome = AppendOutcome.Appended;
            inline = true;
        }
        else
        {
            _enqueuing = this;
            _completedInline = false;
            _journal.Enqueue(_entry);
            inline = _completedInline;
            _enqueuing = null;
        }

        // Not inline: the sync thread has the role now, and may be two groups further.
        if (inline)
        {
            FinishAsynchronously(direct: false);
        }
    }

    private void OnAppended()
    {
        if (_enqueuing == this)
        {
            _completedInline = true;
            return;
        }

        FinishAsynchronously(direct: true);
    }

    private void FinishAsynchronously(bool direct)
    {
        if (EndGroup(_entry.Outcome))
        {
            Leave(direct);
        }
        else
        {
            AppendAsynchronously();
        }
    }

    /// <summary>Whether the group may go on; if not, all its requests are completed with the reason.</summary>
    private bool Admit(out TimeSpan delay)
    {
        delay = TimeSpan.Zero;
        ref WriteGroup group = ref _round.Group;
        if (_turn.IsTaken)
        {
            if (!_isSlowedDown && _bytesAhead + group.Bytes <= MaxBytesAhead && Failure is null)
            {
                _bytesAhead += group.Bytes;
                return true;
            }

            _turn.Await();
        }

        if (Closed != Status.Ok || Failure is not null)
        {
            group.Complete(Closed != Status.Ok ? Refusals.Gone(PartitionId, Closed) : Refusals.Failed(Failure!));
            return false;
        }

        delay = State.Admit(group.Bytes + _bytesAhead);
        _bytesAhead = 0;
        _isSlowedDown = delay > TimeSpan.Zero;
        return true;
    }

    private void Encode()
    {
        WriteRound round = _round;
        round.Formed = _timing.IsOn ? Stopwatch.GetTimestamp() : 0;
        _entry.Begin(Term, _index + 1);
        int count = 0;
        for (WriteRequest? request = round.Group.First; request is not null; request = request.Next)
        {
            _entry.Add(request.Command!);
            count++;
        }

        _pacing.NoteCallers(Math.Max(count, _queue.Count));
        if (count > 1)
        {
            _companyRounds = CompanyRounds;
        }

        BeginVersions();
        long stamp = _oracle.Now();
        long version = _oracle.Take(_entry.Count);
        NoteVersions(version);
        _entry.Seal(version, stamp);
        round.Index = _index + 1;
        round.Version = version;
        round.Stamp = stamp;
    }

    /// <summary>
    /// Applies the group and completes its callers. False: the disk was full, the puts were refused, and the removals that
    /// are left are to be logged once more.
    /// </summary>
    private bool EndGroup(AppendOutcome outcome)
    {
        ref WriteGroup group = ref _round.Group;
        switch (outcome)
        {
            case AppendOutcome.Appended:
                _index = _round.Index;
                Apply(_round);
                group.Complete();
                return true;
            case AppendOutcome.Full:
                EndVersions();
                return !group.RefusePuts(reserveTried: _entry.MayUseReserve);
            default:
                EndVersions();
                group.Complete(Refusals.Failed(_journal!.Failure ?? new StoreException("the journal has stopped")));
                return true;
        }
    }

    private void Apply(WriteRound round)
    {
        if (_failure is not null)
        {
            // Logged while the group before failed to be applied: it must not be applied without that one.
            round.Group.SetResults(Refusals.Failed(_failure));
            return;
        }

        long version = round.Version;
        var receipt = new WriteReceipt
        {
            Partition = PartitionId,
            Term = Term,
            Index = round.Index,
            Class = AcknowledgementClass.Sync,
            Replicas = _pacing.Syncs && _journal is not null ? (byte)1 : (byte)0,
        };
        long logged = round.Formed != 0 ? Stopwatch.GetTimestamp() : 0;
        try
        {
            for (WriteRequest? request = round.Group.First; request is not null; request = request.Next)
            {
                ApplyOne(request, version++, round.Stamp, receipt);
            }

            State.EndGroup(round.Index, version - 1, round.Stamp);
            EndVersions(round);
            _pacing.EndApply(round.ApplyBegun, (int)(version - round.Version));
            if (logged != 0)
            {
                NoteTimes(round, logged, (int)(version - round.Version));
            }
        }
        catch (StoreException failure)
        {
            // Logged, but the engine could not read what the command depends on: nothing of the group is published, the
            // partition takes no more writes, and a replay comes to the result once the cause is mended.
            Fail(failure);
            round.Group.SetResults(Refusals.Failed(failure));
        }
    }

    /// <summary>Says of the requests that took long where their time went.</summary>
    private void NoteTimes(WriteRound round, long logged, int groupSize)
    {
        long applied = Stopwatch.GetTimestamp();

        // Where nothing is synced the entry may be another group's by now.
        long sync = _pacing.Syncs && _journal is not null ? Math.Min(_entry.SyncTicks, logged - round.Formed) : 0;
        for (WriteRequest? request = round.Group.First; request is not null; request = request.Next)
        {
            if (request.Began is not 0 and var began && applied - began >= _timing.ThresholdTicks)
            {
                request.Result = request.Result with { Times = new WriteTimes(PartitionId, began, round.Formed, logged, sync, applied, groupSize) };
            }
        }
    }

    /// <summary>Role held: evaluates and applies a request's command, and sets its result.</summary>
    public void ApplyOne(WriteRequest request, long version, long stamp, in WriteReceipt receipt)
    {
        CommandBuilder command = request.Command!;
        ReadOnlySpan<byte> bytes = command.Buffer.Written;
        if (command.Session.IsSet)
        {
            request.Result = SessionWrites.Apply(State, command.Session, bytes, version, stamp, receipt);
            return;
        }

        var outcome = new CommandOutcome { FailedOperation = -1 };
        bool[]? removed = null;
        if (CommandApplier.Check(State, bytes, version, stamp, ref outcome) && State.Allows(bytes, version, stamp, ref outcome))
        {
            removed = command.HasRemovals && command.Count > 1 ? new bool[command.Count] : null;
            CommandApplier.Write(State, bytes, version, stamp, removed, ref outcome);
        }

        request.Result = Refusals.FromOutcome(outcome, command, version, removed, receipt);
        if (command.HasMerges && request.Result.IsOk)
        {
            request.Result = request.Result with { Merged = State.Merges.Copy() };
        }
    }
}
