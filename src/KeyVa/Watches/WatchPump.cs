using KeyVa.Partitions;

namespace KeyVa.Watches;

/// <summary>
/// One for a store and without a thread of its own: merges the change logs by version as far as all partitions have closed it, finds the watchers of
/// each change, and puts it into their bounded queues.
/// </summary>
/// <remarks>
/// <para>So a put pays for one copy and one look whether the pump is awake, however many watch. A watcher whose queue is full is
/// left behind: its own reader reads on from the logs, on its own thread, until it has come up with the pump. What the
/// logs have forgotten is told as compacted, unless the engines retain it. Nobody who reads slowly holds up the pump, the writers or memory.</para>
/// <para>Thread-safe; what is not public, and what says so, with the hub's lock held, which guards everything but the state.</para>
/// <para>Invariants.
/// 1. Every change up to <see cref="Delivered"/> was staged for each live watcher of it; nothing above was.
/// 2. It is closed in every partition that has not failed: nothing at or below it can still come.
/// 3. <c>_state</c> is Idle only if nothing was closed since the pump last looked: the one who makes it Again from Idle starts it. When it rests
///    the timer starts it.</para>
/// </remarks>
internal sealed class WatchPump : IThreadPoolWorkItem, IDisposable
{
    /// <summary>Changes that the pump goes through before it lets others have the lock.</summary>
    private const int StepChanges = 4096;

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
    private readonly WatchHub _hub;
    private readonly Lock _lock;
    private readonly PinnedLoads _loads;
    private readonly StoreContext _context;
    private readonly ITimer _restTimer;

    // Under the lock, which is the hub's; so are the watchers and their index.
    private readonly HashSet<Watcher> _watchers;
    private readonly WatchIndex _index;
    private readonly List<Watcher> _found = [];
    private readonly List<Watcher> _touched = [];
    private ChangeLog[] _logs = [];
    private ChangeMerge _merge = new([]);
    private bool _sweepIsDue;
    private bool _isOver;

    // Shared: interlocked.
    private int _state;

    public WatchPump(WatchHub hub, Lock gate, HashSet<Watcher> watchers, WatchIndex index, PinnedLoads loads, StoreContext context)
    {
        _hub = hub;
        _lock = gate;
        _watchers = watchers;
        _index = index;
        _loads = loads;
        _context = context;
        _restTimer = context.Time.CreateTimer(static pump => ((IThreadPoolWorkItem)pump!).Execute(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Up to this version all was delivered. Under the lock.</summary>
    public long Delivered { get; private set; }

    /// <summary>Writer: versions have been closed. Never waits.</summary>
    public void Signal()
    {
        if (Volatile.Read(ref _state) is Idle or Running && Interlocked.Exchange(ref _state, Again) == Idle)
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

    /// <summary>The first watcher has come. Under the lock.</summary>
    public void Start()
    {
        Delivered = Math.Max(Delivered, Closed());
        _merge.OpenKept(Delivered);
    }

    /// <summary>The last watcher has gone. Under the lock.</summary>
    public void Stop() => _merge.Close();

    /// <summary>These are the logs from here on. Under the lock.</summary>
    public void Follow(ChangeLog[] logs)
    {
        _merge.Close();
        _logs = logs;
        _merge = new ChangeMerge(logs);
        if (_watchers.Count > 0)
        {
            _merge.OpenKept(Delivered);
        }
    }

    /// <summary>Nothing more is delivered. Under the lock.</summary>
    public void End()
    {
        _isOver = true;
        Follow([]);
    }

    /// <summary>Time to tell those to whom nothing else is told how far all is told.</summary>
    public void Sweep()
    {
        lock (_lock)
        {
            _sweepIsDue = true;
        }

        Signal();
    }

    public void Dispose() => _restTimer.Dispose();

    /// <summary>Delivers a bounded number of changes; true if more may be there.</summary>
    private bool Step(ref bool found)
    {
        lock (_lock)
        {
            if (_watchers.Count == 0 || _isOver)
            {
                return false;
            }

            long cap = Math.Max(Delivered, Closed());
            long before = Delivered;
            bool isThrough = Deliver(cap, ref found);
            if (Delivered > before)
            {
                _hub.WakeWaiting();
            }

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
        long version = Delivered;
        Begin(cap, version + 1);
        for (int i = 0; _merge.Next is var next and < long.MaxValue; i++)
        {
            if (next != version && i >= StepChanges)
            {
                Delivered = version;
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

        Delivered = cap;
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

    /// <summary>The newest version that all partitions have closed. Those that have stopped are closed to _watchers.</summary>
    private long Closed()
    {
        // Where partitions are replicated: what is visible. Versions that were only handed out are other nodes' too, and nobody waits to be told of them.
        long newest = _context.AcrossPartitions.SnapshotVersion;
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
                _hub.EndOverlapping(log.Partition.Range, new StoreException($"the watch ends since its partition has stopped: {failure.Message}", failure));
            }
            else
            {
                closed = Math.Min(closed, writer.ClosedUpTo(newest));
            }
        }

        return closed;
    }

    private void NoteProgress()
    {
        _sweepIsDue = false;
        long progress = Math.Min(Delivered, _hub.Feed.Durable);
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
