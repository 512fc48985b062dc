using System.Diagnostics;
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
/// <para>Thread-safe. The lock guards the watchers' index and the pump's position; a writer never takes it. The gate makes
/// beginning and ceasing to follow the partitions one after the other. Order: gate, lock, a watcher's, a log's memory.</para>
/// <para>Invariants.
/// 1. Every change up to <c>_delivered</c> was staged for each live watcher of it; nothing above was.
/// 2. <c>_delivered</c> is closed in every partition that has not failed: nothing at or below it can still come.
/// 3. <c>_state</c> is Again if something may have been closed since the pump last looked: the one who makes it so from Idle starts it.</para>
/// </remarks>
internal sealed class WatchHub : IThreadPoolWorkItem, IDisposable
{
    /// <summary>Changes that the pump goes through before it lets others have the lock.</summary>
    private const int StepChanges = 4096;

    private const int Idle = 0;
    private const int Running = 1;
    private const int Again = 2;
    private const int SpinIterations = 30;

    /// <summary>The pump stays awake for so long: a writer that comes back within it need not wake a thread.</summary>
    private static readonly long LingerTicks = Environment.ProcessorCount > 1 ? Stopwatch.Frequency / 50_000 : 0;

    // Immutable.
    private readonly StoreOptions _options;
    private readonly VersionOracle _oracle;
    private readonly ChangeMemory _memory;
    private readonly PinnedLoads _loads;
    private readonly IChangeHistory[] _histories;
    private readonly ITimer _sweepTimer;
    private readonly ITimer _lingerTimer;
    private readonly SemaphoreSlim _gate = new(1);

    // Under the gate.
    private bool _isFollowing;

    // Under the lock.
    private readonly Lock _lock = new();
    private readonly List<Partition> _partitions = [];
    private readonly HashSet<Watcher> _watchers = [];
    private readonly WatchIndex _index = new();
    private readonly Dictionary<long, KeyRange> _previous = [];
    private readonly List<Watcher> _found = [];
    private readonly List<Watcher> _touched = [];
    private ChangeMerge _merge = new([]);
    private long _delivered;
    private long _durable;
    private long _nextId;
    private int _users;
    private bool _sweepIsDue;
    private StoreException? _closed;

    // Shared: volatile or interlocked.
    private ChangeLog[] _logs = [];
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
        _memory = new ChangeMemory(_options.WatchHistoryBytes, context.BlockCache.Memory);
        _loads = new PinnedLoads(context.Snapshots);
        _histories = [new RecentChanges(this)];
        _isFollowing = _options.WatchHistoryAlways;
        _sweepTimer = context.Time.CreateTimer(static hub => ((WatchHub)hub!).Sweep(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _lingerTimer = context.Time.CreateTimer(static hub => _ = ((WatchHub)hub!).CeaseAsync(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Of which keys changes are to tell what they replace.</summary>
    public PreviousFilter? PreviousFilter => Volatile.Read(ref _previousFilter);

    /// <summary>Whether all queues together are past their bound.</summary>
    public bool IsQueueMemoryFull => Volatile.Read(ref _queuedBytes) > _options.WatchQueueBytes;

    public WatchFigures Figures => new(
        Volatile.Read(ref _watcherCount), _memory.Used, Volatile.Read(ref _queuedBytes), Volatile.Read(ref _told), Volatile.Read(ref _compacted));

    /// <summary>A partition is there; nothing was written to it yet since its engine was opened.</summary>
    public void Opened(Partition partition, bool isNew)
    {
        _gate.Wait();
        try
        {
            lock (_lock)
            {
                _partitions.Add(partition);
            }

            if (_isFollowing)
            {
                var log = new ChangeLog(partition, this, _memory);
                log.RaiseFloor(isNew ? _oracle.LastVersion : partition.Engine.VisibleVersion);
                partition.Writer.State.Follow(log);
                Publish([.. _logs, log]);
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>A partition was removed: nothing is written to it any more, and the map does not have it.</summary>
    public void Removed(Partition partition)
    {
        _gate.Wait();
        try
        {
            lock (_lock)
            {
                _partitions.Remove(partition);
                EndOverlapping(partition.Range, new RefusedException(Status.BadNode, Refusals.Gone(partition.Id, Status.BadNode).Detail!));
            }

            if (Array.Find(_logs, log => log.Partition == partition) is { } removed)
            {
                Publish([.. _logs.Where(log => log != removed)]);
                _memory.Remove(removed);
                _loads.ReleaseUnassigned(removed);
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>
    /// Opens a watch, and says behind which version everything will be told. Throws <see cref="RefusedException"/>.
    /// </summary>
    public async ValueTask<(Watcher Watcher, long Progress)> OpenAsync(WatchOptions options, Func<PartitionMap> map, CancellationToken cancellation)
    {
        WatchTarget target = WatchRules.Check(options);
        long id;
        await _gate.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            id = Admit(target);
            if (!_isFollowing)
            {
                await FollowAsync().ConfigureAwait(false);
            }

            if (target.PreviousValues)
            {
                // From here on each writer sees the filter: groups that it began before are not told of.
                await VisitAsync(PartitionsOf(target.Range), static _ => { }).ConfigureAwait(false);
            }
        }
        finally
        {
            _gate.Release();
        }

        var watcher = new Watcher(id, target, options, this);
        try
        {
            long progress = Register(watcher, options.StartVersion, map());
            Signal();
            return (watcher, progress);
        }
        catch (StoreException)
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
        for (int i = 0; !watcher.IsFull; i++)
        {
            long cap;
            lock (_lock)
            {
                if (i == Tries)
                {
                    // So far the pump was always a little ahead: it waits for the rest.
                    return ReadOnce(watcher, _delivered) is var load and > 0 ? load : Rejoin(watcher);
                }

                cap = _delivered;
                if (i > 0 && watcher.Position >= cap)
                {
                    return Rejoin(watcher);
                }
            }

            if (ReadOnce(watcher, cap) is var next and > 0)
            {
                return next;
            }
        }

        return 0;
    }

    /// <summary>The loads of a version that a watcher has to read; throws <see cref="CompactedException"/> if one is not kept for it.</summary>
    public PinnedLoad[] LoadsOf(Watcher watcher, long version)
    {
        PinnedLoad[] loads = _loads.Of(watcher, version);
        return loads.Length > 0 ? loads : throw Compacted(version + 1);
    }

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

    public ChangeLog[] LogsOf(KeyRange range) => Array.FindAll(Volatile.Read(ref _logs), log => log.Partition.Range.Overlaps(range));

    public void CountQueued(long bytes) => Interlocked.Add(ref _queuedBytes, bytes);

    public void CountTold() => Interlocked.Increment(ref _told);

    /// <summary>Writer: versions have been closed. Never waits.</summary>
    public void Signal()
    {
        if (Volatile.Read(ref _watcherCount) != 0
            && Volatile.Read(ref _state) != Again && Interlocked.Exchange(ref _state, Again) == Idle)
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
            while (Step())
            {
            }

            long begun = Stopwatch.GetTimestamp();
            while (Volatile.Read(ref _state) == Running && Stopwatch.GetTimestamp() - begun < LingerTicks)
            {
                Thread.SpinWait(SpinIterations);
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
            Volatile.Write(ref _logs, []);
            _merge = new ChangeMerge([]);
        }

        _sweepTimer.Dispose();
        _lingerTimer.Dispose();
        _memory.Dispose();
    }

    /// <summary>Ends when each partition's writer has done this in its turn.</summary>
    private static async Task VisitAsync(IEnumerable<Partition> partitions, Action<PartitionWriter> visit)
    {
        foreach (Partition partition in partitions)
        {
            var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            partition.Writer.Enter(new ExclusiveAction(writer =>
            {
                visit(writer);
                done.SetResult();
            }));
            await done.Task.ConfigureAwait(false);
        }
    }

    private Partition[] PartitionsOf(KeyRange range)
    {
        lock (_lock)
        {
            return [.. _partitions.Where(partition => partition.Range.Overlaps(range))];
        }
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

    /// <summary>Gate held.</summary>
    private async Task FollowAsync()
    {
        ChangeLog[] logs = [.. PartitionsOf(KeyRange.All).Select(partition => new ChangeLog(partition, this, _memory))];
        foreach (ChangeLog log in logs)
        {
            await VisitAsync([log.Partition], writer =>
            {
                writer.State.Follow(log);
                log.RaiseFloor(_oracle.LastVersion);
            }).ConfigureAwait(false);
        }

        Publish(logs);
        _isFollowing = true;
    }

    /// <summary>Nobody has watched for a while: writers copy no more, and what they copied goes.</summary>
    private async Task CeaseAsync()
    {
        await _gate.WaitAsync().ConfigureAwait(false);
        try
        {
            lock (_lock)
            {
                if (_users > 0 || _closed is not null || !_isFollowing)
                {
                    return;
                }
            }

            _isFollowing = false;
            foreach (ChangeLog log in _logs)
            {
                await VisitAsync([log.Partition], writer => writer.State.Unfollow(log)).ConfigureAwait(false);
                _memory.Remove(log);
            }

            Publish([]);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Gate held: these are the logs from here on.</summary>
    private void Publish(ChangeLog[] logs)
    {
        foreach (ChangeLog log in logs.Except(_logs))
        {
            _memory.Add(log);
        }

        lock (_lock)
        {
            _merge.Close();
            Volatile.Write(ref _logs, logs);
            _merge = new ChangeMerge(logs);
            if (_watchers.Count > 0)
            {
                _merge.OpenKept(_delivered);
            }
        }
    }

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
            ChangeLog[] logs = LogsOf(range);
            watcher.Begin(after, after >= _delivered && Array.TrueForAll(logs, log => log.Floor <= after));
            _watchers.Add(watcher);
            _index.Add(watcher);
            Volatile.Write(ref _watcherCount, _watchers.Count);
            return startVersion == 0 ? Math.Min(after, Durable()) : after;
        }
    }

    /// <summary>Reads what history has once; returns the version of a load that comes next, or 0.</summary>
    private long ReadOnce(Watcher watcher, long cap)
    {
        HistoryRead read = default;
        foreach (IChangeHistory history in _histories)
        {
            read = history.TryReadSince(watcher, cap);
            if (!read.IsGone)
            {
                return read.LoadVersion;
            }
        }

        throw Compacted(read.StartVersion);
    }

    /// <summary>Lock held: a watcher that has come up with the pump is live again.</summary>
    private long Rejoin(Watcher watcher)
    {
        if (watcher.Position >= _delivered)
        {
            watcher.CatchUp();
        }

        return 0;
    }

    /// <summary>Delivers a bounded number of changes; true if more may be there.</summary>
    private bool Step()
    {
        lock (_lock)
        {
            if (_watchers.Count == 0 || _closed is not null)
            {
                return false;
            }

            long cap = Math.Max(_delivered, Closed(_oracle.LastVersion));
            bool isThrough = Deliver(cap);
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
    private bool Deliver(long cap)
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

    private void EndOverlapping(KeyRange range, StoreException why)
    {
        _found.Clear();
        _index.Find(range.From.Span, range.To.Span, _found);
        foreach (Watcher watcher in _found)
        {
            watcher.IsLive = false;
            watcher.End(why);
        }
    }

    /// <summary>The newest version that a restart will know: one that was only handed out may be given to another write then.</summary>
    private long Durable()
    {
        long durable = _partitions.TrueForAll(static partition => partition.Definition.IsVolatile) ? long.MaxValue : _durable;
        foreach (Partition partition in _partitions)
        {
            if (!partition.Definition.IsVolatile)
            {
                _durable = durable = Math.Max(durable, partition.Engine.VisibleVersion);
            }
        }

        return durable;
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
        long progress = Math.Min(_delivered, Durable());
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
