using System.Globalization;
using System.Threading.Tasks.Sources;

namespace KeyVa.Transactions.Locks;

/// <summary>A place in the order in which an owner took its locks: what <see cref="LockTable.ReleaseTo"/> goes back to.</summary>
internal readonly record struct LockMark(long Sequence);

/// <summary>
/// Who holds locks: a transaction, or one plain write. It may be used again and again (<see cref="Renew"/>).
/// </summary>
/// <remarks>
/// <para>Thread-safety: one call on the table at a time for an owner, from any thread (the next may begin when the one before has
/// returned or its value task has completed); <see cref="LockTable.Abort"/> alone may come at any time.</para>
/// <para>Invariants. 1. While <see cref="Waiting"/> is set its caller waits, so whoever holds the parts of the table that
/// guard the request owns the fields here. 2. Whoever clears it, and nobody else, completes the wait, exactly once.</para>
/// </remarks>
internal class LockOwner : IValueTaskSource<LockResult>
{
    private const int Pending = 0;
    private const int Parked = 1;
    private const int Done = 2;

    // About ten microseconds: a short transaction is over by then, a longer one takes longer than parking costs.
    private const int Spins = 60;
    private const int SpinIterations = 8;

    // The caller's, or, while it waits, whoever's who guards the request.
    internal LockRequest? Newest;
    internal long Sequence;
    internal long LastUpgrade;
    internal int Ranges;
    internal int Units;
    internal int Reserved;
    internal LockResult Result;
    private int _held;

    // Guarded by the parts of the table that guard the request.
    internal LockRequest? Waiting;

    // Guarded by the clock's lock: the list of all that wait.
    internal LockOwner? NextWaiting;
    internal LockOwner? PreviousWaiting;
    internal long Deadline;
    internal TimeSpan Timeout;

    // Whoever completes the wait: the list of what it completes.
    internal LockOwner? NextWoken;

    // Guarded by the whole table: a search of the wait-for graph.
    internal LockOwner? PathParent;
    internal long Searched;

    /// <summary>Why it gets no lock any more. Written by whoever holds the whole table, read anywhere.</summary>
    private string? _abortReason;

    private object? _parking;
    private int _state;
    private bool _asynchronous;
    private ManualResetValueTaskSourceCore<LockResult> _source;

    public LockOwner(long id)
    {
        Id = id;

        // Whoever releases a lock must not run what waited for it.
        _source.RunContinuationsAsynchronously = true;
    }

    /// <summary>Rises with the time at which owners begin: of owners that cost the same, the youngest is the victim.</summary>
    public long Id { get; private set; }

    /// <summary>What errors call it.</summary>
    public virtual string Name => string.Create(CultureInfo.InvariantCulture, $"txn {Id}");

    /// <summary>
    /// What is lost if it is ended, in any unit that is the same for all owners: of a deadlock's owners, the one that costs the
    /// least is its victim. Read while the table is locked, from the thread of another owner: it must not wait, nor
    /// call the table.
    /// </summary>
    public virtual long Cost => Held;

    /// <summary>The locks that it holds.</summary>
    public int Held
    {
        get => Volatile.Read(ref _held);
        internal set => Volatile.Write(ref _held, value);
    }

    /// <summary>The place behind the locks that it holds now.</summary>
    public LockMark Mark => new(Sequence);

    /// <summary>Whether <see cref="LockTable.Abort"/> was called for it; from then on it gets no lock.</summary>
    public bool IsAborted => AbortReason is not null;

    internal string? AbortReason
    {
        get => Volatile.Read(ref _abortReason);
        set => Volatile.Write(ref _abortReason, value);
    }

    /// <summary>Makes a new owner of one that holds nothing (any more).</summary>
    public void Renew(long id)
    {
        if (Newest is not null || Waiting is not null)
        {
            throw new InvalidOperationException($"{Name} cannot be renewed: it holds {Held} locks, or waits for one");
        }

        Id = id;
        Sequence = 0;
        LastUpgrade = 0;
        AbortReason = null;
    }

    /// <summary>Before the request is queued: how the caller will wait.</summary>
    internal void BeginWait(LockRequest request, bool asynchronous)
    {
        _asynchronous = asynchronous;
        if (asynchronous)
        {
            _source.Reset();
        }
        else
        {
            Volatile.Write(ref _state, Pending);
        }

        Waiting = request;
    }

    /// <summary>The asynchronous wait that has begun.</summary>
    internal ValueTask<LockResult> AsTask() => new(this, _source.Version);

    /// <summary>Waits awake for a moment; whether the wait is over.</summary>
    internal bool Spin()
    {
        for (int i = 0; i < Spins; i++)
        {
            if (Volatile.Read(ref _state) == Done)
            {
                return true;
            }

            Thread.SpinWait(SpinIterations);
        }

        return false;
    }

    /// <summary>Waits asleep until the wait is over.</summary>
    internal LockResult Wait()
    {
        object parking = _parking ??= new object();
        if (Interlocked.CompareExchange(ref _state, Parked, Pending) == Pending)
        {
            lock (parking)
            {
                while (Volatile.Read(ref _state) == Parked)
                {
                    Monitor.Wait(parking);
                }
            }
        }

        return Result;
    }

    /// <summary>
    /// <see cref="Result"/> is set and the wait is over; with no part of the table held. A wake-up that comes late, in the wait
    /// after, is harmless, since the state decides.
    /// </summary>
    internal void Complete()
    {
        if (_asynchronous)
        {
            _source.SetResult(Result);
        }
        else if (Interlocked.Exchange(ref _state, Done) == Parked)
        {
            object parking = _parking!;
            lock (parking)
            {
                Monitor.Pulse(parking);
            }
        }
    }

    /// <summary>Puts what was granted to the end of the chain.</summary>
    internal void Chain(LockRequest request)
    {
        request.Sequence = ++Sequence;
        request.Older = Newest;
        request.Newer = null;
        if (Newest is not null)
        {
            Newest.Newer = request;
        }

        Newest = request;
        Held++;
        Ranges += request.Key is null ? 1 : 0;
    }

    internal void Unchain(LockRequest request)
    {
        if (request.Newer is null)
        {
            Newest = request.Older;
        }
        else
        {
            request.Newer.Older = request.Older;
        }

        if (request.Older is not null)
        {
            request.Older.Newer = request.Newer;
        }

        request.Older = null;
        request.Newer = null;
        Held--;
        Ranges -= request.Key is null ? 1 : 0;
    }

    LockResult IValueTaskSource<LockResult>.GetResult(short token) => _source.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<LockResult>.GetStatus(short token) => _source.GetStatus(token);

    void IValueTaskSource<LockResult>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _source.OnCompleted(continuation, state, token, flags);
}

/// <summary>Owners whose waits are over, to be told so when no part of the table is held any more.</summary>
internal struct WokenOwners
{
    private LockOwner? _first;
    private LockOwner? _last;

    public void Add(LockOwner owner)
    {
        if (_last is null)
        {
            _first = owner;
        }
        else
        {
            _last.NextWoken = owner;
        }

        _last = owner;
    }

    public void Complete()
    {
        LockOwner? owner = _first;
        while (owner is not null)
        {
            // From its completion on the owner is its caller's.
            LockOwner? next = owner.NextWoken;
            owner.NextWoken = null;
            owner.Complete();
            owner = next;
        }

        this = default;
    }
}
