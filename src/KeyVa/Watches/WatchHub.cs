using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Watches;

/// <summary>
/// Brings changes to those who watch. Each partition's writer copies its changes into a <see cref="ChangeLog"/>; the <see cref="WatchPump"/>
/// finds the watchers of each change, and puts it into their bounded queues. The hub admits watchers, and lets those who are behind read on.
/// </summary>
/// <remarks>
/// Thread-safe. The lock guards the watchers' index and the pump's position; a writer never takes it. Order of locks: the gate of the
/// feed, the hub's, then one of the feed's, a watcher's, the loads', the memory's.
/// </remarks>
internal sealed class WatchHub : IDisposable
{
    /// <summary>Of the memory budget, for the logs at most.</summary>
    private const int MostOfBudget = 4;

    // Immutable.
    private readonly StoreOptions _options;
    private readonly VersionOracle _oracle;
    private readonly bool _isReplicated;
    private readonly ChangeMemory _memory;
    private readonly PinnedLoads _loads;
    private readonly ChangeFeed _feed;
    private readonly RecentChanges _recent;
    private readonly RetainedChanges _retained;
    private readonly ITimer _sweepTimer;
    private readonly ITimer _lingerTimer;
    private readonly WatchPump _pump;

    // Under the lock.
    private readonly Lock _lock = new();
    private readonly HashSet<Watcher> _watchers = [];
    private readonly WatchIndex _index = new();
    private readonly Dictionary<long, KeyRange> _previous = [];
    private readonly List<Watcher> _found = [];
    private readonly List<Watcher> _waiting = [];
    private long _nextId;
    private int _users;
    private StoreException? _closed;

    // Shared: volatile or interlocked.
    private PreviousFilter? _previousFilter;
    private int _watcherCount;
    private long _queuedBytes;
    private long _told;
    private long _compacted;

    public WatchHub(StoreContext context)
    {
        _options = context.Options;
        _oracle = context.Oracle;
        _isReplicated = context.Replication is not null;
        MemoryBudget budget = context.BlockCache.Memory;
        _memory = new ChangeMemory(Math.Min(_options.WatchHistoryBytes, budget.Bytes / MostOfBudget), budget);
        _loads = new PinnedLoads(context.Snapshots);
        _recent = new RecentChanges(this);
        _retained = new RetainedChanges(this, context);
        _feed = new ChangeFeed(this, _oracle, _memory, _options.WatchHistoryAlways);
        _pump = new WatchPump(this, _lock, _watchers, _index, _loads, context);
        _sweepTimer = context.Time.CreateTimer(static pump => ((WatchPump)pump!).Sweep(), _pump, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
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
            _pump.Signal();
            if (_isReplicated && options.StartVersion == 0)
            {
                await ReachAsync(watcher, cancellation).ConfigureAwait(false);
            }

            return (watcher, progress);
        }
        catch
        {
            Close(watcher);
            throw;
        }
    }

    /// <summary>
    /// A watch that begins now begins behind one version in all its partitions. Each has a leader of its own, which may be behind: once they have reached it, whatever is written has a version above.
    /// </summary>
    private async ValueTask ReachAsync(Watcher watcher, CancellationToken cancellation)
    {
        foreach (ChangeLog log in LogsOf(watcher.Target.Range))
        {
            ValueTask reached = log.Partition.Writer.WaitUntilClosed(watcher.After);
            if (!reached.IsCompletedSuccessfully)
            {
                await reached.AsTask().WaitAsync(cancellation).ConfigureAwait(false);
            }
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
                _waiting.Remove(watcher);
                Volatile.Write(ref _watcherCount, _watchers.Count);
                if (_watchers.Count == 0)
                {
                    _pump.Stop();
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
                cap = _pump.Delivered;
                if (i == Tries)
                {
                    // So far the pump was always a little ahead: it waits for the rest, which is in memory by now.
                    read = _recent.TryReadSince(watcher, cap);
                    if (read.IsGone)
                    {
                        if (watcher.Position >= cap)
                        {
                            // What comes next is gone from memory, and above what is closed in all partitions: until the pump has come on
                            // there is nothing to read. It moves under this lock, so that its next move is not missed.
                            watcher.WaitForPump();
                            _waiting.Add(watcher);
                        }

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
        if (loads.Length == 0 && _retained.TryPinLoad(watcher, version))
        {
            // It began to watch after the load, whose change is still in memory.
            loads = _loads.Of(watcher, version);
        }

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
            _pump.Follow(logs);
        }
    }

    /// <summary>The feed: this log is read no more.</summary>
    public void Forget(ChangeLog log) => _loads.ReleaseUnassigned(log);

    /// <summary>The pump, under the lock: it has come on.</summary>
    public void WakeWaiting()
    {
        _waiting.ForEach(static watcher => watcher.PumpHasMoved());
        _waiting.Clear();
    }

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

    /// <summary>Writer: versions have been closed. Never waits.</summary>
    public void Signal()
    {
        if (Volatile.Read(ref _watcherCount) != 0)
        {
            _pump.Signal();
        }
    }

    public void CountQueued(long bytes) => Interlocked.Add(ref _queuedBytes, bytes);

    public void CountTold() => Interlocked.Increment(ref _told);

    /// <summary>The store is being closed: every watch ends.</summary>
    public void End()
    {
        lock (_lock)
        {
            _closed = new StoreClosedException();
            _pump.End();
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
            _pump.End();
            _loads.ReleaseAll();
        }

        _sweepTimer.Dispose();
        _pump.Dispose();
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
                _pump.Start();
                _sweepTimer.Change(_options.WatchProgressInterval, _options.WatchProgressInterval);
            }

            long after = startVersion == 0 ? Newest(range) : startVersion - 1;
            watcher.Begin(after, after >= _pump.Delivered && IsKept(range, after));
            _watchers.Add(watcher);
            _index.Add(watcher);
            Volatile.Write(ref _watcherCount, _watchers.Count);
            return startVersion == 0 ? Math.Min(after, _feed.Durable) : after;
        }
    }

    /// <summary>Behind which version a watch of a range begins that begins now.</summary>
    private long Newest(KeyRange range)
    {
        long newest = 0;
        foreach (ChangeLog log in LogsOf(range))
        {
            newest = Math.Max(newest, _isReplicated && !log.Partition.Definition.IsVolatile ? log.Partition.Engine.VisibleVersion : _oracle.LastVersion);
        }

        return newest;
    }

    /// <summary>Whether memory has all changes of a range above a version.</summary>
    private bool IsKept(KeyRange range, long after) => Array.TrueForAll(LogsOf(range), log => log.Floor <= after);

    /// <summary>Reads on from memory or, if that has forgotten what comes next, from what the engines retain.</summary>
    private HistoryRead ReadOnce(Watcher watcher, long cap)
    {
        HistoryRead read = _recent.TryReadSince(watcher, cap);
        return read.IsGone ? _retained.TryReadSince(watcher, cap) : read;
    }
}

/// <summary>A hub's figures: gauges, and counters since the store was opened.</summary>
internal readonly record struct WatchFigures(int Watchers, long HistoryBytes, long QueuedBytes, long Told, long Compacted);
