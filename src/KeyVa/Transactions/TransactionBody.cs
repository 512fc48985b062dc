using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using KeyVa.Engines;
using KeyVa.Indexes;
using KeyVa.Merges;
using KeyVa.Partitions;
using KeyVa.Transactions.Locks;

namespace KeyVa.Transactions;

/// <summary>
/// What a transaction is made of: the snapshot it reads at, what it has written and must validate, its locks and its end. Used
/// again and again; <see cref="Transaction"/> is the handle that its owner holds.
/// </summary>
/// <remarks>
/// <para>Thread-safety: its owner's calls come one at a time. The store ends it from another thread when its time is over
/// (<see cref="End"/>), at any moment.</para>
/// <para>Invariants.
/// 1. <c>_state</c> leaves Active once: to Committing (its owner's alone, from there to Ended), or to Ended. Whoever takes it to
///    Ended lets the snapshot go; the buffers stay the owner's.
/// 2. The snapshot is let go after the state has changed. So a read that was under way at that moment and may have missed what
///    an engine forgot sees the state afterwards, and gives nothing back.
/// 3. Only a body that its owner has ended is used again: the store may still be busy with one that it has ended.
/// 4. Locks are asked for and released by whoever holds <c>_lockCalls</c> (one call on the table at a time for an owner).</para>
/// </remarks>
internal sealed class TransactionBody : LockOwner, IDisposable
{
    private const int MaxSavepoints = 1 << 16;
    private const long Active = 0;
    private const long Committing = 1;
    private const long Ended = 2;
    private const long StateMask = 3;
    private const int StatusShift = 2;
    private const int RoundShift = 10;

    private readonly Snapshot _snapshot = new();
    private readonly List<WriteSet.Mark> _savepoints = [];

    // Bits 0 and 1 the state, bits 2 to 9 why it ended, above how often it has been begun.
    private long _state = Ended;
    private int _lockCalls;
    private string? _detail;

    // The use in which somebody ended it before its time; -1: none.
    private long _endedEarly = -1;
    private LiveTransactions? _live;

    // The list of live transactions, under its lock.
    internal TransactionBody? Previous;
    internal TransactionBody? Next;
    internal bool IsListed;

    public TransactionBody()
        : base(0)
    {
    }

    /// <summary>The command of its commit.</summary>
    public CommandBuilder Command { get; } = new();

    public WriteSet Writes { get; } = new();

    public ReadSet Reads { get; } = new();

    /// <summary>Cursors that are open, by <see cref="TransactionCursor.Next"/>.</summary>
    public TransactionCursor? Cursors { get; set; }

    /// <summary>Cursors over indexes that are open and note what they read.</summary>
    public List<IndexCursor> Queries { get; } = [];

    public WriteOrder KeyOrder => field ??= new WriteOrder(Writes, byHash: false);

    public WriteOrder HashOrder => field ??= new WriteOrder(Writes, byHash: true);

    /// <summary>What it has read, where its merges are to know.</summary>
    public SeenKeys Seen => field ??= new SeenKeys();

    /// <summary>Where merges are put together.</summary>
    public ArrayBufferWriter<byte> MergeSteps => field ??= new ArrayBufferWriter<byte>();

    /// <summary>Where merges are evaluated.</summary>
    public MergeResult MergeResult => field ??= new MergeResult();

    public TransactionOptions Options { get; private set; } = TransactionOptions.Default;

    public LiveTransactions Live => _live!;

    /// <summary>In ticks of the store's clock.</summary>
    public long EndsAt { get; private set; }

    /// <summary>Rises each time it is used again.</summary>
    public int Generation { get; private set; }

    /// <summary>Why it was ended by the store; Ok while it runs, or if its owner ended it.</summary>
    public Status EndStatus => (Status)(byte)(Volatile.Read(ref _state) >> StatusShift);

    /// <summary>What went wrong with the last call for a lock, or merge that was evaluated, or why it was ended.</summary>
    public string? Detail => EndStatus switch
    {
        Status.Expired => Volatile.Read(ref _endedEarly) == State >> RoundShift
            ? "the transaction was ended by an operator, and rolled back"
            : "the transaction's time limit passed, and it was rolled back",
        Status.Failed => "the store is closed",
        _ => _detail,
    };

    public bool IsActive => (Volatile.Read(ref _state) & StateMask) == Active;

    public bool IsEnded => (Volatile.Read(ref _state) & StateMask) == Ended;

    public bool IsCommitting => (Volatile.Read(ref _state) & StateMask) == Committing;

    /// <summary>For <see cref="End(long, Status)"/>: the state of this use, as it is.</summary>
    public long State => Volatile.Read(ref _state);

    public Snapshot Snapshot => _snapshot;

    /// <summary>Where reads stand: the snapshot's version, or <see cref="ReadVersion.Latest"/>.</summary>
    public long At { get; private set; }

    /// <summary>Whether every read is noted and validated.</summary>
    public bool NotesReads { get; private set; }

    /// <summary>Whether what it reads is kept in <see cref="Seen"/>.</summary>
    public bool SeesKeys { get; private set; }

    public bool IsReadOnly => Options.ReadOnly;

    public bool IsPessimistic { get; private set; }

    /// <summary>Reads of the newest state, each key locked before.</summary>
    public bool LocksReads { get; private set; }

    /// <summary>How it locks what it reads.</summary>
    public LockMode ReadMode => Options.LocksForUpdate ? LockMode.Exclusive : LockMode.Shared;

    /// <summary>Whether a call has not got its lock in time: what its caller made of that, nobody knows.</summary>
    public bool MissedLock { get; private set; }

    public bool SeesUncommitted { get; private set; }

    /// <summary>Among the transactions of the store.</summary>
    public long Number { get; private set; }

    public override string Name => Options.Name is { } name
        ? string.Create(CultureInfo.InvariantCulture, $"txn {Number} '{name}'")
        : string.Create(CultureInfo.InvariantCulture, $"txn {Number}");

    public override long Cost => Writes.Bytes + Reads.Bytes;

    /// <summary>Whether it has read more than its bound, together with what it has written: it reads no further.</summary>
    public bool IsFull => Writes.Bytes + Reads.Bytes > Live.StoreOptions.MaxTransactionBytes;

    /// <summary>Takes a body that is at rest into use.</summary>
    public void Begin(LiveTransactions live, TransactionOptions options, long id, long deadline)
    {
        Debug.Assert(!IsActive && Writes.IsEmpty && Reads.IsEmpty, "a body is at rest between two transactions");
        _live = live;
        Options = options;
        EndsAt = deadline;
        _detail = null;
        MissedLock = false;
        Number = id;
        IsolationLevel isolation = options.Isolation;
        bool writes = !options.ReadOnly;
        IsPessimistic = writes && options.Concurrency == Concurrency.Pessimistic;
        if (IsPessimistic)
        {
            Renew(id);
        }

        NotesReads = writes && isolation == IsolationLevel.Serializable;
        LocksReads = NotesReads && IsPessimistic;
        SeesKeys = writes && isolation == IsolationLevel.RepeatableRead;
        SeesUncommitted = isolation == IsolationLevel.ReadUncommitted;
        At = ReadVersion.Latest;
        if (isolation <= IsolationLevel.RepeatableRead && !LocksReads)
        {
            live.OpenSnapshot(_snapshot);
            At = _snapshot.Version;
        }

        _lockCalls = 0;
        Volatile.Write(ref _state, ((_state >> RoundShift) + 1) << RoundShift);
    }

    /// <summary>Its owner is about to commit; false if it has ended before.</summary>
    public bool TryBeginCommit()
    {
        long state = State;
        return (state & StateMask) == Active && Interlocked.CompareExchange(ref _state, state | Committing, state) == state;
    }

    /// <summary>The commit is through, one way or the other.</summary>
    public void EndCommit()
    {
        Debug.Assert((State & StateMask) == Committing, "only a commit ends so");
        Volatile.Write(ref _state, (State & ~StateMask) | Ended);
        Release(Live);
    }

    /// <summary>
    /// Ends it, if it is as it was when <see cref="State"/> was <paramref name="state"/>, which is active: Ok by its owner,
    /// otherwise by the store for the reason given. False if it is not any more.
    /// </summary>
    public bool End(long state, Status status)
    {
        // Before the state changes: once it has ended, its owner may let go of it while it is being released here, and Reset forgets
        // whose it was. If the exchange succeeds it is still in the use of that state, so this is the one of that use.
        LiveTransactions live = _live!;
        long ended = state | Ended | ((long)status << StatusShift);
        if ((state & StateMask) != Active || Interlocked.CompareExchange(ref _state, ended, state) != state)
        {
            return false;
        }

        Release(live);
        return true;
    }

    /// <summary>As <see cref="End"/>, with Expired, by somebody who does not wait for its time limit.</summary>
    public bool EndEarly(long state)
    {
        // Said before it is so, for whoever finds it ended. In another use it means nothing.
        Volatile.Write(ref _endedEarly, state >> RoundShift);
        return End(state, Status.Expired);
    }

    /// <summary>
    /// Locks a key or, if <paramref name="isRange"/>, a range, and waits as long as it may. Not Ok: it has not got the lock;
    /// after a deadlock, or if it was ended, it has none.
    /// </summary>
    public Status Lock(ReadOnlySpan<byte> key, ReadOnlySpan<byte> to, bool isRange, LockMode mode)
    {
        if (!TryEnterLocks())
        {
            return EndStatus;
        }

        LockTable locks = Live.Locks;
        TimeSpan timeout = Live.LockTimeout(Options);
        return LeaveLocks(isRange ? locks.AcquireRange(this, key, to, mode, timeout) : locks.Acquire(this, key, mode, timeout));
    }

    /// <summary>As <see cref="Lock"/>, without blocking the thread.</summary>
    public ValueTask<Status> LockAsync(ReadOnlySpan<byte> key, ReadOnlySpan<byte> to, bool isRange, LockMode mode)
    {
        if (!TryEnterLocks())
        {
            return ValueTask.FromResult(EndStatus);
        }

        LockTable locks = Live.Locks;
        TimeSpan timeout = Live.LockTimeout(Options);
        ValueTask<LockResult> result = isRange ? locks.AcquireRangeAsync(this, key, to, mode, timeout) : locks.AcquireAsync(this, key, mode, timeout);
        return result.IsCompletedSuccessfully ? ValueTask.FromResult(LeaveLocks(result.Result)) : AwaitLock(result);
    }

    /// <summary>A call was refused for a reason that its status does not tell.</summary>
    public void NoteRefusal(string? detail) => _detail = detail;

    public Savepoint SetSavepoint()
    {
        if (_savepoints.Count == MaxSavepoints)
        {
            throw new RefusedException(Status.TooLarge, string.Create(CultureInfo.InvariantCulture, $"a transaction has at most {MaxSavepoints} savepoints"));
        }

        _savepoints.Add(Writes.Here());
        return new Savepoint(_savepoints.Count);
    }

    public bool TryRollBackTo(Savepoint savepoint)
    {
        if (savepoint.Number > _savepoints.Count)
        {
            return false;
        }

        TakeBackTo(savepoint.Number == 0 ? default : _savepoints[savepoint.Number - 1]);
        _savepoints.RemoveRange(savepoint.Number, _savepoints.Count - savepoint.Number);
        return true;
    }

    /// <summary>Takes back what was written since a mark. No savepoint was set since.</summary>
    public void TakeBackTo(in WriteSet.Mark mark)
    {
        lock (Writes.Gate)
        {
            Writes.RollBackTo(mark);
        }
    }

    /// <summary>Its owner has let go of a body that has ended: forgets everything. True if it may be used again.</summary>
    public bool Reset()
    {
        Debug.Assert((State & StateMask) == Ended, "its owner has ended it");
        Generation++;
        Cursors = null;
        Queries.Clear();
        lock (Writes.Gate)
        {
            Writes.Clear();
        }

        Reads.Clear();
        if (SeesKeys)
        {
            Seen.Clear();
        }

        Command.Clear();
        KeyOrder.Clear();
        HashOrder.Clear();
        _savepoints.Clear();
        _live = null;
        return EndStatus == Status.Ok;
    }

    /// <summary>Gives the memory back; for a body that is not used again.</summary>
    public void Dispose() => Command.Dispose();

    private async ValueTask<Status> AwaitLock(ValueTask<LockResult> result) => LeaveLocks(await result.ConfigureAwait(false));

    private bool TryEnterLocks() => IsActive && Interlocked.CompareExchange(ref _lockCalls, 1, 0) == 0;

    private Status LeaveLocks(in LockResult result)
    {
        long state = State;
        if (result.Outcome == LockOutcome.Deadlock)
        {
            _detail = result.Detail;
        }

        Volatile.Write(ref _lockCalls, 0);
        Interlocked.MemoryBarrier();
        if (result.Outcome == LockOutcome.Deadlock)
        {
            End(state, Status.Deadlock);
        }

        if ((State & StateMask) == Ended)
        {
            // Ended by the store while the lock was asked for: it may have left the releasing to us.
            ReleaseLocks(Live);
            return EndStatus;
        }

        _detail = result.Detail;
        MissedLock |= result.Outcome == LockOutcome.TimedOut;
        return result.Outcome switch
        {
            LockOutcome.Granted => Status.Ok,
            LockOutcome.TimedOut => Status.LockTimeout,
            LockOutcome.LimitExceeded => Status.TooLarge,
            _ => throw new UnreachableException($"lock outcome {result.Outcome} of a transaction that runs"),
        };
    }

    private void Release(LiveTransactions live)
    {
        _snapshot.Dispose();
        if (IsPessimistic)
        {
            if (EndStatus != Status.Ok)
            {
                live.Locks.Abort(this, Detail ?? "it was ended");
            }

            ReleaseLocks(live);
        }

        live.Remove(this);
    }

    /// <summary>
    /// Unless a call for a lock is under way, which does it when it is through. The right to call stays taken: a transaction
    /// that has ended asks for no lock.
    /// </summary>
    private void ReleaseLocks(LiveTransactions live)
    {
        if (Interlocked.CompareExchange(ref _lockCalls, 1, 0) == 0)
        {
            live.Locks.ReleaseAll(this);
        }
    }
}
