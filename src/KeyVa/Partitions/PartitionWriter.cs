using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Log;
using KeyVa.Merges;

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
/// 1. Whoever sets <c>_role</c> from 0 to 1 holds the role, until it passes it to a waiting request or sets it to 0.
///    All fields of the role's group are touched by its holder alone; passing it on is a full fence.
/// 2. A request is pushed before its caller tries for the role, and the holder looks at the queue after it has given
///    the role up: so one of the two serves it (no lost wake-up).
/// 3. Groups take their log index, stamp and versions with the role held, and are applied in that order.
/// 4. <c>_inFlight</c> is set before a group takes versions and cleared after they are visible: when it is 0 or above
///    S, everything of this partition at or below S is visible (the closed version).
/// 5. A holder leads one group and hands over; an asynchronous group is led by the pool or the journal's sync thread,
///    and never blocks either.</para>
/// </remarks>
internal sealed class PartitionWriter : IThreadPoolWorkItem
{
    private const long Term = 1;
    private const long Undetermined = -1;

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

    // Shared.
    private readonly RequestQueue _queue;
    private readonly ClosedVersionWaiters _waiters = new();
    private readonly Func<long, bool> _isClosed;
    private int _role;
    private long _inFlight;
    private RoundPacing _pacing;

    // The role holder's.
    private WriteGroup _group;
    private long _index;
    private long _version;
    private long _stamp;
    private StoreException? _failure;

    public PartitionWriter(long partition, Engine engine, Journal? journal, VersionOracle oracle, IBackgroundWork background, TimeProvider time, MergeRegistry functions, int maxQueued, bool syncs)
    {
        _engine = engine;
        State = new PartitionState(engine, functions);
        _journal = journal;
        _oracle = oracle;
        _background = background;
        _pacing = new RoundPacing(syncs);
        _queue = new RequestQueue(maxQueued);
        _group = new WriteGroup(_queue);
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

    /// <summary>What stopped this partition from taking writes, or null. Sticky.</summary>
    public StoreException? Failure => _failure ?? _engine.Failure ?? _journal?.Failure;

    /// <summary>Set under the role: the partition is gone, requests end with this status.</summary>
    public Status Closed { get; private set; }

    /// <summary>Writes a command and waits until it is done. The request is the calling thread's.</summary>
    public void Write(SyncWriteRequest request)
    {
        if (_queue.IsEmpty && !_pacing.InCompany && TryEnter())
        {
            // Alone: no queue, no wake-up.
            _group.TakeAlone(request);
            LeadGroup();
            Debug.Assert(request.IsDone, "the leader's own request is in its group");
            return;
        }

        if (!Push(request))
        {
            return;
        }

        if (TryEnter())
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
    public void WriteAsync(AsyncWriteRequest request)
    {
        if (Push(request) && TryEnter())
        {
            LeadAsynchronously();
        }
    }

    /// <summary>Takes the role when its turn comes; see <see cref="ExclusiveRequest"/>. Never blocks.</summary>
    public void Enter(ExclusiveRequest request)
    {
        bool pushed = _queue.TryPush(request);
        Debug.Assert(pushed, "an exclusive request is never refused");
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
        while (true)
        {
            WriteRequest? next = _queue.Peek();
            if (next is null)
            {
                Volatile.Write(ref _role, 0);
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

    /// <summary>The pool leads the next group, with the role held.</summary>
    void IThreadPoolWorkItem.Execute() => LeadAsynchronously();

    /// <summary>
    /// Ends when everything of this partition at or below a version is visible; fails if applying failed half-way and it never will be.
    /// </summary>
    public ValueTask WaitUntilClosed(long version) =>
        IsClosed(version) ? default : new ValueTask(_waiters.Add(version, _isClosed));

    /// <summary>A version at or below <paramref name="newest"/> up to which everything of this partition is visible; 0 if that cannot be said this moment.</summary>
    public long ClosedUpTo(long newest)
    {
        long inFlight = Volatile.Read(ref _inFlight);
        return inFlight == 0 ? newest : inFlight == Undetermined ? 0 : Math.Min(newest, inFlight - 1);
    }

    /// <summary>Role held: takes the next index of the partition's log.</summary>
    public LogPosition NextPosition() => new(PartitionId, Term, _index + 1);

    /// <summary>Role held: from here on versions are taken that are not visible yet.</summary>
    public void BeginVersions() => Volatile.Write(ref _inFlight, Undetermined);

    /// <summary>Role held: everything below <paramref name="version"/> is visible.</summary>
    public void NoteVersions(long version) => Volatile.Write(ref _inFlight, version);

    /// <summary>Role held: the group or commit at the next index is applied; publishes it.</summary>
    public void EndApply(long version, long stamp)
    {
        State.EndGroup(++_index, version, stamp);
        EndVersions();
    }

    /// <summary>Role held: no versions are under way any more, applied or given up.</summary>
    public void EndVersions()
    {
        Volatile.Write(ref _inFlight, 0);
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

    /// <summary>Role held: applying failed half-way; nothing more may be applied.</summary>
    public void Fail(StoreException failure)
    {
        _failure ??= failure;
        State.EndVersions();
        _waiters.Fail(new StoreException($"partition {PartitionId} has stopped in the middle of a write, so a snapshot of several partitions cannot be had: {failure.Message}", failure));
    }

    /// <summary>Role held: no more writes.</summary>
    public void Close(Status status) => Closed = status;

    public void DisposeTimer() => _admission.Dispose();

    private bool IsClosed(long version)
    {
        long inFlight = Volatile.Read(ref _inFlight);
        return inFlight == 0 || inFlight > version;
    }

    private bool TryEnter() => Volatile.Read(ref _role) == 0 && Interlocked.CompareExchange(ref _role, 1, 0) == 0;

    private bool Push(WriteRequest request)
    {
        if (_queue.TryPush(request))
        {
            return true;
        }

        request.Result = Refusals.Busy(_queue.Count);
        request.Complete();
        return false;
    }

    /// <summary>Leads a group on the calling thread, which may wait for the disk, and passes the role on.</summary>
    private void LeadGroup()
    {
        while (!_group.IsEmpty)
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
            if (EndGroup(_journal is null ? AppendOutcome.Appended : _pacing.Append(_journal, _entry)))
            {
                break;
            }
        }

        Leave(direct: false);
    }

    private void LeadCompany()
    {
        if (_pacing.InCompany)
        {
            _pacing.AwaitCompany(_queue);
        }

        _group.TakeQueued();
        LeadGroup();
    }

    private void LeadAsynchronously()
    {
        _group.TakeQueued();
        if (_group.IsEmpty)
        {
            LeadExclusive();
            return;
        }

        if (!Admit(out TimeSpan delay))
        {
            Leave(direct: false);
        }
        else if (delay > TimeSpan.Zero)
        {
            _admission.Change(delay, Timeout.InfiniteTimeSpan);
        }
        else
        {
            AppendAsynchronously();
        }
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
        if (Closed != Status.Ok || Failure is not null)
        {
            WriteResult refusal = Closed != Status.Ok ? Refusals.Gone(PartitionId, Closed) : Refusals.Failed(Failure!);
            _group.Complete(refusal);
            return false;
        }

        delay = State.Admit(_group.Bytes);
        return true;
    }

    private void Encode()
    {
        _entry.Begin(Term, _index + 1);
        int count = 0;
        for (WriteRequest? request = _group.First; request is not null; request = request.Next)
        {
            _entry.Add(request.Command!);
            count++;
        }

        _pacing.NoteCallers(Math.Max(count, _queue.Count));

        BeginVersions();
        long stamp = _oracle.Now();
        long version = _oracle.Take(_entry.Count);
        NoteVersions(version);
        _entry.Seal(version, stamp);
        _version = version;
        _stamp = stamp;
    }

    /// <summary>
    /// Applies the group and completes its callers. False: the disk was full, the puts were refused, and the removals that
    /// are left are to be logged once more.
    /// </summary>
    private bool EndGroup(AppendOutcome outcome)
    {
        switch (outcome)
        {
            case AppendOutcome.Appended:
                Apply();
                _group.Complete();
                return true;
            case AppendOutcome.Full:
                EndVersions();
                return !_group.RefusePuts(reserveTried: _entry.MayUseReserve);
            default:
                EndVersions();
                _group.Complete(Refusals.Failed(_journal!.Failure ?? new StoreException("the journal has stopped")));
                return true;
        }
    }

    private void Apply()
    {
        long version = _version;
        try
        {
            for (WriteRequest? request = _group.First; request is not null; request = request.Next)
            {
                ApplyOne(request, version++);
            }

            EndApply(version - 1, _stamp);
        }
        catch (StoreException failure)
        {
            // Logged, but the engine could not read what the command depends on: nothing of the group is published, the
            // partition takes no more writes, and a replay comes to the result once the cause is mended.
            Fail(failure);
            _group.SetResults(Refusals.Failed(failure));
        }
    }

    private void ApplyOne(WriteRequest request, long version)
    {
        CommandBuilder command = request.Command!;
        ReadOnlySpan<byte> bytes = command.Buffer.Written;
        var outcome = new CommandOutcome { FailedOperation = -1 };
        bool[]? removed = null;
        if (CommandApplier.Check(State, bytes, version, _stamp, ref outcome) && State.Allows(bytes, version, _stamp, ref outcome))
        {
            removed = command.HasRemovals && command.Count > 1 ? new bool[command.Count] : null;
            CommandApplier.Write(State, bytes, version, _stamp, removed, ref outcome);
        }

        request.Result = Refusals.FromOutcome(outcome, command, version, removed);
        if (command.HasMerges && request.Result.IsOk)
        {
            request.Result = request.Result with { Merged = State.Merges.Copy() };
        }
    }
}
