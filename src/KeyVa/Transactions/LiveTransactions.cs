using System.Diagnostics;
using System.Globalization;
using KeyVa.Engines;
using KeyVa.Indexes;
using KeyVa.Log;
using KeyVa.Measurements;
using KeyVa.Merges;
using KeyVa.Partitions;
using KeyVa.Transactions.Locks;

namespace KeyVa.Transactions;

/// <summary>
/// The transactions of a store that have begun and not ended: their number is bounded, their time is limited, and those that
/// read what is not committed look here. Thread-safe.
/// </summary>
/// <remarks>
/// One timer for all: it stands at the earliest deadline there was when it was set. Those that end before it goes off, as nearly
/// all do, cost it nothing: beginning a transaction sets it only if its deadline is earlier than the timer's.
/// </remarks>
internal sealed class LiveTransactions : IDisposable
{
    private static readonly TimeSpan LongestTime = TimeSpan.FromDays(1);
    private const int LongestName = 64;
    private const int MaxPooled = 4;

    [ThreadStatic]
    private static Stack<TransactionBody>? _pool;

    private readonly PartitionRegistry _registry;
    private readonly StoreContext _context;
    private readonly Journal _journal;
    private readonly UniqueGuard _guard;
    private readonly StoreCounters _counters;
    private readonly LatencyHistogram _latency;
    private readonly ITimer _timer;
    private readonly Lock _lock = new();

    // Under the lock.
    private TransactionBody? _first;
    private int _count;
    private long _wakeAt = long.MaxValue;
    private bool _closed;

    private long _sequence;

    public LiveTransactions(PartitionRegistry registry, StoreContext context, Journal journal, StoreIndexes indexes, StoreCounters counters, LatencyHistogram latency)
    {
        _registry = registry;
        _context = context;
        _journal = journal;
        Indexes = indexes;
        _guard = indexes.Guard;
        _counters = counters;
        _latency = latency;
        _timer = context.Time.CreateTimer(static live => ((LiveTransactions)live!).EndOverdue(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public StoreIndexes Indexes { get; }

    public PartitionMap Map => _registry.Map;

    public VersionOracle Oracle => _context.Oracle;

    public ISnapshotSource AcrossPartitions => _context.AcrossPartitions;

    public SnapshotList Snapshots => _context.Snapshots;

    public StoreOptions StoreOptions => _context.Options;

    public StoreCounters Counters => _counters;

    public TimeProvider Time => _context.Time;

    public MergeRegistry MergeFunctions => _context.MergeFunctions;

    public Defects Defects => _context.Defects;

    /// <summary>Made when a transaction first needs it.</summary>
    public LockTable Locks => _context.Locks ?? _context.MakeLocks();

    /// <summary>All zero while no transaction has needed a lock; that makes none.</summary>
    public LockFigures LockFigures => _context.Locks?.Figures ?? default;

    public int Count => Volatile.Read(ref _count);

    /// <summary>Begins a transaction; throws <see cref="RefusedException"/> if there are too many, or the store is closed.</summary>
    public Transaction Begin(TransactionOptions options)
    {
        Check(options);
        if (_context.Replication is not null && options.LocksForUpdate)
        {
            // Locks are one node's, and what holds them is not looked at again: it goes on as it began.
            options = options with { Concurrency = Concurrency.Optimistic, LocksForUpdate = false };
        }

        if (_context.Replication is not null && options.Concurrency == Concurrency.Pessimistic)
        {
            throw new RefusedException(Status.Unsupported, Refusals.NotReplicated("a pessimistic transaction").Detail! + "; an optimistic one is");
        }

        Stack<TransactionBody> pool = _pool ??= new Stack<TransactionBody>(MaxPooled);
        TransactionBody body = pool.Count > 0 ? pool.Pop() : new TransactionBody();
        long deadline = _context.Time.GetTimestamp() + (long)(options.TimeLimit.TotalSeconds * _context.Time.TimestampFrequency);
        body.Begin(this, options, _context.NextOwner(), deadline);
        if (!TryList(body, deadline, options.TimeLimit))
        {
            body.End(body.State, Status.Ok);
            Return(body);
            throw Refusal();
        }

        return new Transaction(body);
    }

    private bool TryList(TransactionBody body, long deadline, TimeSpan limit)
    {
        lock (_lock)
        {
            if (_closed || _count >= StoreOptions.MaxTransactions)
            {
                return false;
            }

            _count++;
            body.Next = _first;
            body.Previous = null;
            if (_first is not null)
            {
                _first.Previous = body;
            }

            _first = body;
            body.IsListed = true;
            if (deadline < _wakeAt)
            {
                _wakeAt = deadline;
                _timer.Change(limit, Timeout.InfiniteTimeSpan);
            }

            return true;
        }
    }

    /// <summary>It has ended.</summary>
    public void Remove(TransactionBody body)
    {
        lock (_lock)
        {
            if (!body.IsListed)
            {
                return;
            }

            body.IsListed = false;
            _count--;
            if (body.Previous is null)
            {
                _first = body.Next;
            }
            else
            {
                body.Previous.Next = body.Next;
            }

            if (body.Next is not null)
            {
                body.Next.Previous = body.Previous;
            }

            body.Previous = body.Next = null;
        }
    }

    /// <summary>Its owner has let go of it.</summary>
    public static void Return(TransactionBody body)
    {
        Stack<TransactionBody> pool = _pool ??= new Stack<TransactionBody>(MaxPooled);
        if (!body.Reset())
        {
            return;
        }

        if (pool.Count < MaxPooled)
        {
            pool.Push(body);
        }
        else
        {
            body.Dispose();
        }
    }

    /// <summary>A snapshot of everything: at what is visible in the only partition, or at the newest version handed out.</summary>
    public void OpenSnapshot(Snapshot snapshot)
    {
        Epochs.Enter();
        try
        {
            ReadOnlySpan<Partition> partitions = Map.Partitions;
            Snapshots.Open(partitions.Length == 1 ? partitions[0].Engine : AcrossPartitions, snapshot);
        }
        finally
        {
            Epochs.Exit();
        }
    }

    public TimeSpan LockTimeout(TransactionOptions options) => options.LockTimeout ?? StoreOptions.LockTimeout;

    /// <summary>The next place in the order of what is written and not committed.</summary>
    public long NextSequence() => Interlocked.Increment(ref _sequence);

    /// <summary>A pause by the store's clock.</summary>
    public Task Delay(TimeSpan pause, CancellationToken cancellation) => Task.Delay(pause, _context.Time, cancellation);

    /// <summary>
    /// Logs and applies a commit, and waits for it. <paramref name="timeout"/>: how long it waits for the locks of others; null if
    /// it has those it needs.
    /// </summary>
    public WriteResult Write(CommandBuilder command, TimeSpan? timeout)
    {
        if (timeout is null || _context.HeldLocks is not { } locks)
        {
            return Write(command);
        }

        LockOwner? owner = CommandLocks.Acquire(_context, locks, command, timeout.GetValueOrDefault(), out WriteResult refusal);
        if (owner is null)
        {
            return refusal;
        }

        try
        {
            return Write(command);
        }
        finally
        {
            locks.ReleaseAll(owner);
        }
    }

    /// <summary>As <see cref="Write(CommandBuilder, TimeSpan?)"/>; the command must not change before the task ends.</summary>
    public ValueTask<WriteResult> WriteAsync(CommandBuilder command, TimeSpan? timeout) =>
        timeout is null || _context.HeldLocks is not { } locks ? WriteAsync(command) : WriteLocked(locks, command, timeout.GetValueOrDefault());

    /// <summary>Everything that is written and not committed, by all, put together: the oldest first, the reader's own last.</summary>
    public WriteSet CollectUncommitted(TransactionBody reader)
    {
        var entries = new List<UncommittedWrite>();
        lock (_lock)
        {
            for (TransactionBody? body = _first; body is not null; body = body.Next)
            {
                UncommittedWrite.Collect(body.Writes, body == reader, entries);
            }
        }

        return UncommittedWrite.Merge(entries);
    }

    /// <summary>As <see cref="CollectUncommitted(TransactionBody)"/>, of one key; null if nobody has written it.</summary>
    public WriteSet? CollectUncommitted(TransactionBody reader, ReadOnlySpan<byte> key)
    {
        List<UncommittedWrite>? entries = null;
        lock (_lock)
        {
            for (TransactionBody? body = _first; body is not null; body = body.Next)
            {
                UncommittedWrite.Collect(body.Writes, key, body == reader, ref entries);
            }
        }

        return entries is null ? null : UncommittedWrite.Merge(entries);
    }

    /// <summary>The transactions under way, the oldest <paramref name="most"/> of them, and the newest <paramref name="mostLocks"/> locks of each.</summary>
    public IReadOnlyList<TransactionInfo> List(int most, int mostLocks)
    {
        var listing = new TransactionListing(_context.Locks, _context.Time, mostLocks);
        lock (_lock)
        {
            // What is listed is not used for anything else: whoever ends it takes it off the list first, under the lock.
            for (TransactionBody? body = _first; body is not null; body = body.Next)
            {
                listing.Add(body);
            }
        }

        return listing.Oldest(most);
    }

    /// <summary>Ends a transaction by its number. NotFound: there is none (any more); Busy: its commit is on its way.</summary>
    public Status End(long number)
    {
        TransactionBody? found = null;
        long state = 0;
        lock (_lock)
        {
            for (TransactionBody? body = _first; body is not null && found is null; body = body.Next)
            {
                if (body.Number == number)
                {
                    (found, state) = (body, body.State);
                }
            }
        }

        return found is null ? Status.NotFound
            : found.EndEarly(state) ? Status.Ok
            : found.IsCommitting && found.Number == number ? Status.Busy : Status.NotFound;
    }

    /// <summary>The store closes: ends all, and takes no more.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _closed = true;
        }

        _timer.Dispose();
        EndDue(long.MaxValue, Status.Failed);
        _context.Locks?.Dispose();
    }

    private async ValueTask<WriteResult> WriteLocked(LockTable locks, CommandBuilder command, TimeSpan timeout)
    {
        (LockOwner? owner, WriteResult refusal) = await CommandLocks.AcquireAsync(_context, locks, command, timeout).ConfigureAwait(false);
        if (owner is null)
        {
            return refusal;
        }

        try
        {
            return await WriteAsync(command).ConfigureAwait(false);
        }
        finally
        {
            locks.ReleaseAll(owner);
        }
    }

    // As a plain write does: the locks come first, then the values of unique indexes.
    private WriteResult Write(CommandBuilder command)
    {
        if (!_guard.IsNeeded)
        {
            return WriteNow(command);
        }

        using UniquePermit permit = _guard.EnterAsync(command).AsTask().GetAwaiter().GetResult();
        return permit.Refusal is { } refusal ? Refused(refusal) : WriteNow(command);
    }

    private ValueTask<WriteResult> WriteAsync(CommandBuilder command) => _guard.IsNeeded ? WriteGuardedAsync(command) : WriteNowAsync(command);

    private async ValueTask<WriteResult> WriteGuardedAsync(CommandBuilder command)
    {
        using UniquePermit permit = await _guard.EnterAsync(command).ConfigureAwait(false);
        return permit.Refusal is { } refusal ? Refused(refusal) : await WriteNowAsync(command).ConfigureAwait(false);
    }

    private WriteResult Refused(WriteResult refusal)
    {
        _counters.Add(Counter.Refused);
        return refusal;
    }

    private WriteResult WriteNow(CommandBuilder command)
    {
        PartitionMap map = Map;
        Counter counter = command.HasRemovals ? Counter.Removes : Counter.Sets;
        if (map.OwnerOfAll(command) is not { } owner)
        {
            WriteResult across = CrossPartitionCommit.Run(command, map, _journal, _context).GetAwaiter().GetResult();
            _counters.Add(across.Status > Status.NotFound ? Counter.Refused : counter, across.Status > Status.NotFound ? 1 : command.Count);
            return across;
        }

        SyncWriteRequest request = SyncWriteRequest.ForThisThread;
        request.Begin(command);
        _counters.Add(counter, command.Count);
        long start = Stopwatch.GetTimestamp();
        owner.Writer.Write(request);
        _latency.RecordSince(start);
        if (request.Result.Status > Status.NotFound)
        {
            _counters.AddRefused(counter, command.Count);
        }

        return request.Result;
    }

    private ValueTask<WriteResult> WriteNowAsync(CommandBuilder command)
    {
        PartitionMap map = Map;
        if (map.OwnerOfAll(command) is not { } owner)
        {
            return WriteAcross(command, map);
        }

        AsyncWriteRequest request = AsyncWriteRequest.Rent();
        request.Begin(command, _latency, _counters);
        _counters.Add(command.HasRemovals ? Counter.Removes : Counter.Sets, command.Count);
        var result = new ValueTask<WriteResult>(request, request.Token);
        owner.Writer.WriteAsync(request);
        return result;
    }

    private async ValueTask<WriteResult> WriteAcross(CommandBuilder command, PartitionMap map)
    {
        long start = Stopwatch.GetTimestamp();
        WriteResult result = await CrossPartitionCommit.Run(command, map, _journal, _context).ConfigureAwait(false);
        _latency.RecordSince(start);
        bool refused = result.Status > Status.NotFound;
        _counters.Add(refused ? Counter.Refused : command.HasRemovals ? Counter.Removes : Counter.Sets, refused ? 1 : command.Count);
        return result;
    }

    private static void Check(TransactionOptions options)
    {
        if (options.TimeLimit < TimeSpan.FromMilliseconds(1) || options.TimeLimit > LongestTime)
        {
            throw new RefusedException(Status.Invalid, "the time limit of a transaction is 1 millisecond to 1 day");
        }

        if (options.LockTimeout is { } timeout && (timeout < TimeSpan.Zero || timeout > LongestTime))
        {
            throw new RefusedException(Status.Invalid, "the lock time-out of a transaction is 0 to 1 day");
        }

        if (options.Name?.Length > LongestName)
        {
            throw new RefusedException(Status.Invalid, "the name of a transaction has at most 64 characters");
        }
    }

    private RefusedException Refusal() => _closed
        ? new RefusedException(Status.Failed, "the store is closed")
        : new RefusedException(Status.Busy, string.Create(CultureInfo.InvariantCulture, $"{StoreOptions.MaxTransactions} transactions are under way already (max-transactions); try again in a moment"));

    private void EndOverdue()
    {
        long now = _context.Time.GetTimestamp();
        EndDue(now, Status.Expired);
        lock (_lock)
        {
            _wakeAt = long.MaxValue;
            for (TransactionBody? body = _first; body is not null; body = body.Next)
            {
                _wakeAt = Math.Min(_wakeAt, body.EndsAt);
            }

            if (_wakeAt != long.MaxValue && !_closed)
            {
                TimeSpan due = _context.Time.GetElapsedTime(now, _wakeAt);
                _timer.Change(due > TimeSpan.FromMilliseconds(1) ? due : TimeSpan.FromMilliseconds(1), Timeout.InfiniteTimeSpan);
            }
        }
    }

    private void EndDue(long now, Status status)
    {
        List<(TransactionBody Body, long State)> due = [];
        lock (_lock)
        {
            for (TransactionBody? body = _first; body is not null; body = body.Next)
            {
                if (body.EndsAt <= now)
                {
                    due.Add((body, body.State));
                }
            }
        }

        // Ending takes it off the list. One that has ended meanwhile, and may be in use again, is not what it was.
        foreach ((TransactionBody body, long state) in due)
        {
            body.End(state, status);
        }
    }
}
