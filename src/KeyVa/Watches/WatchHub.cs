using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Watches;

/// <summary>
/// Brings changes to those who watch. Each partition's writer copies its changes into a <see cref="ChangeLog"/>; a pump, one for the
/// store and without a thread of its own, merges the logs by version as far as all partitions have closed it, finds the
/// watchers of each change, and puts it into their bounded queues.
/// </summary>
/// <remarks>
/// <para>So a put pays for one copy and one look whether the pump is awake, however many watch. A watcher whose queue is full is
/// left behind: its own reader reads on from the logs, on its own thread, until it has come up with the pump. What the
/// logs have forgotten is told as compacted. Nobody who reads slowly holds up the pump, the writers or memory.</para>
/// <para>Thread-safe. The lock guards the watchers' index and the pump's position; a writer never takes it. Order of locks: the gate of the
/// feed, the hub's, then one of the feed's, a watcher's, the loads', the memory's.</para>
/// <para>Invariants.
/// 1. Every change up to <c>_delivered</c> was staged for each live watcher of it; nothing above was.
/// 2. <c>_delivered</c> is closed in every partition that has not failed: nothing at or below it can still come.
/// 3. <c>_state</c> is Idle only if nothing was closed since the pump last looked: the one who makes it Again from Idle starts it. When it rests
///    the timer starts it.</para>
/// </remarks>
internal sealed class WatchHub : IThreadPoolWorkItem, IDisposable
{
    /// <summary>Changes that the pump goes through before it lets others have the lock.</summary>
    private const int StepChanges = 4096;

    /// <summary>Of the memory budget, for the logs at most.</summary>
    private const int MostOfBudget = 4;

    private const int Idle = 0;
    private const int Running = 1;
    private const int Again = 2;
    private const int Resting = 3;

    /// <summary>
    /// A pump that found something rests for so long before it looks again, and writers do not wake it meanwhile: waking a thread for each
    /// put would cost as much as the put, and staying awake a processor.
    /// </summary>
    private static readonly TimeSpan Rest = TimeSpan.FromMilliseconds(1);

    // Immutable.
    private readonly StoreOptions _options;
    private readonly VersionOracle _oracle;
    private readonly ChangeMemory _memory;
    private readonly PinnedLoads _loads;
    private readonly ChangeFeed _feed;
    private readonly RecentChanges _recent;
    private readonly RetainedChanges _retained;
    private readonly ITimer _sweepTimer;
    private readonly ITimer _lingerTimer;
    private readonly ITimer _restTimer;

    // Under the lock.
    private readonly Lock _lock = new();
    private readonly HashSet<Watcher> _watchers = [];
    private readonly WatchIndex _index = new();
    private readonly Dictionary<long, KeyRange> _previous = [];
    private readonly List<Watcher> _found = [];
    private readonly List<Watcher> _touched = [];
    private ChangeLog[] _logs = [];
    private ChangeMerge _merge = new([]);
    private long _delivered;
    private long _nextId;
    private int _users;
    private bool _sweepIsDue;
    private StoreException? _closed;

    // Shared: volatile or interlocked.
    private PreviousFilter? _previousFilter;
    private int _watcherCount;
    private int _state;
    private long _queuedBytes;
    private long _told;
    private long _compacted;

    public WatchHub(StoreContext context)
    {
        _options = context.Options;
        _oracle = context.Oracle;
        MemoryBudget budget = context.BlockCache.Memory;
        _memory = new ChangeMemory(Math.Min(_options.WatchHistoryBytes, budget.Bytes / MostOfBudget), budget);
        _loads = new PinnedLoads(context.Snapshots);
        _recent = new RecentChanges(this);
        _retained = new RetainedChanges(this, context);
        _feed = new ChangeFeed(this, _oracle, _memory, _options.WatchHistoryAlways);
        _sweepTimer = context.Time.CreateTimer(static hub => ((WatchHub)hub!).Sweep(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _restTimer = context.Time.CreateTimer(static hub => ((IThreadPoolWorkItem)hub!).Execute(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _lingerTimer = context.Time.CreateTimer(static hub => ((WatchHub)hub!).Cease(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>The partitions, and the logs of their changes.</summary>
    public ChangeFeed Feed => _feed;

    /// <summary>Of which keys changes are to tell what they replace.</summary>
    public PreviousFilter? PreviousFilter => Volatile.Read(ref _previousFilter);

    /// <summary>Whether all queues together are past their bound.</summary>
    public bool IsQueueMemoryFull => Volatile.Read(ref _queuedBytes) > _options.WatchQueueBytes;

    public WatchFigures Figures => new(
        Volatile.Read(ref _watcherCount), _memory.Used, Volatile.Read(ref _queuedBytes), Volatile.Read(ref _told), Volatile.Read(ref _compacted));

    /// <summary>
    /// Opens a watch, and says behind which version everything will be told. Throws <see cref="RefusedException"/>.
    /// </summary>
    public async ValueTask<(Watcher Watcher, long Progress)> OpenAsync(WatchOptions options, Func<PartitionMap> map, CancellationToken cancellation)
    {
        WatchTarget target = WatchRules.Check(options);
        var watcher = new Watcher(Admit(target), target, options, this);
        try
        {
            await _feed.FollowAsync(target, cancellation).ConfigureAwait(false);
            long progress = Register(watcher, options.StartVersion, map());
            Signal();
            return (watcher, progress);
        }
        catch
        {
            Leave(watcher);
            throw;
        }
    }

    /// <summary>Ends a watch; its reader has gone.</summary>
    public void Close(Watcher watcher)
    {
        lock (_lock)
        {
            if (_watchers.Remove(watcher))
            {
                _index.Remove(watcher);
                Volatile.Write(ref _watcherCount, _watchers.Count);
                if (_watchers.Count == 0)
                {
                    _merge.Close();
                    _loads.ReleaseAll();
                    _sweepTimer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
                }
            }
        }

        _loads.Release(watcher, long.MaxValue);
        watcher.Clear();
        Leave(watcher);
    }

    /// <summary>
    /// Reader of a watcher that is behind: reads on. Returns the version of a bulk load that comes next, for the reader to read from the engine; else 0.
    /// Throws <see cref="CompactedException"/> if what comes next is gone.
    /// </summary>
    public long ReadOn(Watcher watcher)
    {
        const int Tries = 4;
        HistoryRead read = default;
        for (int i = 0; !watcher.IsFull && read == default; i++)
        {
            long cap;
            lock (_lock)
            {
                cap = _delivered;
                if (i == Tries)
                {
                    // So far the pump was always a little ahead: it waits for the rest, which is in memory by now.
                    read = _recent.TryReadSince(watcher, cap);
                    if (read.IsGone)
                    {
                        return 0;
                    }
                }

                if (i > 0 && read == default && watcher.Position >= cap && IsKept(watcher.Target.Range, watcher.Position))
                {
                    watcher.CatchUp();
                    return 0;
                }
            }

            read = read == default ? ReadOnce(watcher, cap) : read;
        }

        // What was read before comes first; then it is asked again.
        return read == default || watcher.HasQueued ? 0 : read.IsGone ? throw Compacted(read.StartVersion) : read.LoadVersion;
    }

    /// <summary>The loads of a version that a watcher has to read; throws <see cref="CompactedException"/> if one is not kept for it.</summary>
    public PinnedLoad[] LoadsOf(Watcher watcher, long version)
    {
        PinnedLoad[] loads = _loads.Of(watcher, version);
        return loads.Length > 0 ? loads : throw Compacted(version + 1);
    }

    /// <summary>Has a watcher read a version of the past like a load; false if that has been forgotten.</summary>
    public bool TryPinVersion(Watcher watcher, ChangeLog[] logs, long version) => _loads.TryPinPast(watcher, logs, version, _oracle);

    public void DoneWithLoads(Watcher watcher, long version) => _loads.Release(watcher, version);

    /// <summary>Writer of a bulk load, before it is visible.</summary>
    public void PinLoad(ChangeLog log, long version, long stamp)
    {
        if (Volatile.Read(ref _watcherCount) > 0)
        {
            _loads.Pin(log, version, stamp);
        }
    }

    public CompactedException Compacted(long startVersion)
    {
        Interlocked.Increment(ref _compacted);
        return new CompactedException(startVersion);
    }

    public ChangeLog[] LogsOf(KeyRange range) => Array.FindAll(_feed.Logs, log => log.Partition.Range.Overlaps(range));

    /// <summary>The feed: these are the logs from here on.</summary>
    public void Merge(ChangeLog[] logs)
    {
        lock (_lock)
        {
            _merge.Close();
            _logs = logs;
            _merge = new ChangeMerge(logs);
            if (_watchers.Count > 0)
            {
                _merge.OpenKept(_delivered);
            }
        }
    }

    /// <summary>The feed: this log is read no more.</summary>
    public void Forget(ChangeLog log) => _loads.ReleaseUnassigned(log);

    /// <summary>Ends all who watch a key of a range.</summary>
    public void EndOverlapping(KeyRange range, StoreException why)
    {
        lock (_lock)
        {
            _found.Clear();
            _index.Find(range.From.Span, range.To.Span, _found);
            foreach (Watcher watcher in _found)
            {
                watcher.IsLive = false;
                watcher.End(why);
            }
        }
    }

    public void CountQueued(long bytes) => Interlocked.Add(ref _queuedBytes, bytes);

    public void CountTold() => Interlocked.Increment(ref _told);

    /// <summary>Writer: versions have been closed. Never waits.</summary>
    public void Signal()
    {
        if (Volatile.Read(ref _watcherCount) != 0
            && Volatile.Read(ref _state) is Idle or Running && Interlocked.Exchange(ref _state, Again) == Idle)
        {
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
    }

    /// <summary>The pump.</summary>
    void IThreadPoolWorkItem.Execute()
    {
        do
        {
            Interlocked.Exchange(ref _state, Running);
            bool found = false;
            while (Step(ref found))
            {
            }

            if (found)
            {
                // Whatever is closed from here on is found when the timer fires.
                Interlocked.Exchange(ref _state, Resting);
                _restTimer.Change(Rest, Timeout.InfiniteTimeSpan);
                return;
            }
        }
        while (Interlocked.CompareExchange(ref _state, Idle, Running) != Running);
    }

    /// <summary>The store is being closed: every watch ends.</summary>
    public void End()
    {
        lock (_lock)
        {
            _closed = new StoreClosedException();
            foreach (Watcher watcher in _watchers)
            {
                watcher.End(_closed);
            }
        }
    }

    /// <summary>Nothing is written any more. Frees all memory but what a reader has pinned this moment.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _closed ??= new StoreClosedException();
            _merge.Close();
            _loads.ReleaseAll();
            _logs = [];
            _merge = new ChangeMerge([]);
        }

        _sweepTimer.Dispose();
        _restTimer.Dispose();
        _lingerTimer.Dispose();
        _feed.Dispose();
        _memory.Dispose();
    }

    /// <summary>Counts one more user, and has changes of its keys read for what they replace if it asks for that.</summary>
    private long Admit(in WatchTarget target)
    {
        lock (_lock)
        {
            if (_closed is not null)
            {
                throw _closed;
            }

            if (_users >= _options.MaxWatchers)
            {
                throw new RefusedException(Status.Busy, string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{_users} watches are open, which is the most (max-watchers)"));
            }

            _users++;
            long id = ++_nextId;
            if (target.PreviousValues)
            {
                _previous.Add(id, target.Range);
                Volatile.Write(ref _previousFilter, PreviousFilter.Of(_previous.Values));
            }

            return id;
        }
    }

    private void Leave(Watcher watcher)
    {
        lock (_lock)
        {
            if (_previous.Remove(watcher.Id))
            {
                Volatile.Write(ref _previousFilter, PreviousFilter.Of(_previous.Values));
            }

            if (--_users == 0 && !_options.WatchHistoryAlways && _closed is null)
            {
                _lingerTimer.Change(_options.WatchLinger, Timeout.InfiniteTimeSpan);
            }
        }
    }

    /// <summary>Nobody has watched for a while.</summary>
    private void Cease() => _ = _feed.CeaseAsync(() =>
    {
        lock (_lock)
        {
            return _users == 0 && _closed is null;
        }
    });

    private long Register(Watcher watcher, long startVersion, PartitionMap map)
    {
        KeyRange range = watcher.Target.Range;
        lock (_lock)
        {
            long newest = _oracle.LastVersion;
            WatchRules.Check(range, startVersion, newest, map);
            if (_closed is not null)
            {
                throw _closed;
            }

            if (_watchers.Count == 0)
            {
                _delivered = Math.Max(_delivered, Closed(newest));
                _merge.OpenKept(_delivered);
                _sweepTimer.Change(_options.WatchProgressInterval, _options.WatchProgressInterval);
            }

            long after = startVersion == 0 ? newest : startVersion - 1;
            watcher.Begin(after, after >= _delivered && IsKept(range, after));
            _watchers.Add(watcher);
            _index.Add(watcher);
            Volatile.Write(ref _watcherCount, _watchers.Count);
            return startVersion == 0 ? Math.Min(after, _feed.Durable) : after;
        }
    }

    /// <summary>Whether memory has all changes of a range above a version.</summary>
    private bool IsKept(KeyRange range, long after) => Array.TrueForAll(LogsOf(range), log => log.Floor <= after);

    /// <summary>Reads on from memory or, if that has forgotten what comes next, from what the engines retain.</summary>
    private HistoryRead ReadOnce(Watcher watcher, long cap)
    {
        HistoryRead read = _recent.TryReadSince(watcher, cap);
        return read.IsGone ? _retained.TryReadSince(watcher, cap) : read;
    }

    /// <summary>Delivers a bounded number of changes; true if more may be there.</summary>
    private bool Step(ref bool found)
    {
        lock (_lock)
        {
            if (_watchers.Count == 0 || _closed is not null)
            {
                return false;
            }

            long cap = Math.Max(_delivered, Closed(_oracle.LastVersion));
            bool isThrough = Deliver(cap, ref found);
            foreach (Watcher watcher in _touched)
            {
                watcher.Publish();
            }

            _touched.Clear();
            if (isThrough && _sweepIsDue)
            {
                NoteProgress();
            }

            return !isThrough;
        }
    }

    /// <summary>Stages changes up to a version, or a step's worth, versions whole; true if it came to the end.</summary>
    private bool Deliver(long cap, ref bool found)
    {
        long version = _delivered;
        Begin(cap, version + 1);
        for (int i = 0; _merge.Next is var next and < long.MaxValue; i++)
        {
            if (next != version && i >= StepChanges)
            {
                _delivered = version;
                return false;
            }

            found = true;
            version = next;
            Dispatch(_merge.At);
            _merge.Advance();
            if (_merge.HasLost)
            {
                LeaveBehind(version);
                Begin(cap, version);
            }
        }

        _delivered = cap;
        return true;
    }

    private void Begin(long cap, long version)
    {
        _merge.Begin(cap);
        while (_merge.HasLost)
        {
            LeaveBehind(version);
            _merge.Begin(cap);
        }
    }

    private void Dispatch(ChangeCursor at)
    {
        ChangeRecord record = at.Current;
        _found.Clear();
        if (record.Kind == ChangeKind.Load)
        {
            DispatchLoad(at.Log, record.Version);
            return;
        }

        _index.Find(record, _found);
        Change? change = null;
        foreach (Watcher watcher in _found)
        {
            if (watcher.IsLive && watcher.After < record.Version && watcher.Stage(change ??= new Change(record)))
            {
                _touched.Add(watcher);
            }
        }
    }

    /// <summary>Whoever watches there reads for himself what of it is his.</summary>
    private void DispatchLoad(ChangeLog log, long version)
    {
        _index.Find(log.Partition.Range.From.Span, log.Partition.Range.To.Span, _found);
        _found.RemoveAll(watcher => watcher.IsLive ? watcher.After >= version : watcher.Position >= version);
        _loads.Assign(log, version, _found);
        foreach (Watcher watcher in _found)
        {
            if (watcher.IsLive && watcher.FallBehind(version - 1))
            {
                _touched.Add(watcher);
            }
        }
    }

    /// <summary>
    /// The pump was too slow for a log, of which it has all below a version: those who watch there are left behind before it, and find
    /// what is gone. The log goes on for others with what it has.
    /// </summary>
    private void LeaveBehind(long version)
    {
        foreach (ChangeCursor cursor in _merge.Cursors)
        {
            if (!cursor.IsLost)
            {
                continue;
            }

            _found.Clear();
            _index.Find(cursor.Log.Partition.Range.From.Span, cursor.Log.Partition.Range.To.Span, _found);
            foreach (Watcher watcher in _found)
            {
                if (watcher.IsLive)
                {
                    watcher.Unstage(version);
                    if (watcher.FallBehind(Math.Max(version - 1, watcher.After)))
                    {
                        _touched.Add(watcher);
                    }
                }
            }

            cursor.Open(Math.Max(cursor.Log.Floor, version - 1));
            _loads.ReleaseUnassigned(cursor.Log);
        }
    }

    /// <summary>The newest version that all partitions have closed. Those that have stopped are closed to watchers.</summary>
    private long Closed(long newest)
    {
        long closed = newest;
        foreach (ChangeLog log in _logs)
        {
            PartitionWriter writer = log.Partition.Writer;
            if (log.HasStopped)
            {
                continue;
            }

            if (writer.Failure is { } failure)
            {
                log.HasStopped = true;
                EndOverlapping(log.Partition.Range, new StoreException($"the watch ends since its partition has stopped: {failure.Message}", failure));
            }
            else
            {
                closed = Math.Min(closed, writer.ClosedUpTo(newest));
            }
        }

        return closed;
    }

    private void Sweep()
    {
        lock (_lock)
        {
            _sweepIsDue = true;
        }

        Signal();
    }

    private void NoteProgress()
    {
        _sweepIsDue = false;
        long progress = Math.Min(_delivered, _feed.Durable);
        foreach (Watcher watcher in _watchers)
        {
            watcher.NoteProgress(progress);
            if (watcher.Loads is { Count: > 0 } && watcher.IdleSweeps >= PinnedLoads.PatientSweeps)
            {
                _loads.Release(watcher, long.MaxValue);
            }
        }
    }
}

/// <summary>A hub's figures: gauges, and counters since the store was opened.</summary>
internal readonly record struct WatchFigures(int Watchers, long HistoryBytes, long QueuedBytes, long Told, long Compacted);
