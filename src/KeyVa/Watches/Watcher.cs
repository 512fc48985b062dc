using System.Threading.Tasks.Sources;

namespace KeyVa.Watches;

/// <summary>
/// One open watch: what it watches, and the bounded queue between the hub, which finds its changes, and its reader.
/// </summary>
/// <remarks>
/// Thread-safety: see the groups of fields. Invariants.
/// 1. While it is live, every change of its keys above <see cref="After"/> and up to the hub's delivered version was staged.
/// 2. While it is behind, the hub stages nothing; what its reader has to read again lies above <see cref="Position"/>.
/// 3. Versions are staged and published whole: the reader never sees part of one at the queue's end.
/// </remarks>
internal sealed class Watcher(long id, WatchTarget target, WatchOptions options, WatchHub hub) : IValueTaskSource
{
    // Immutable.
    private readonly int _maxEvents = options.MaxQueuedEvents;
    private readonly int _maxBytes = options.MaxQueuedBytes;

    // The hub's, under its lock.
    private readonly List<Change> _staged = [];
    private long _stagedVersion;
    private int _stagedFrom;
    private long _stagedPosition;
    private int _idleSweeps;

    // Shared: under the lock.
    private readonly Lock _lock = new();
    private readonly Queue<Change> _queue = new();
    private ManualResetValueTaskSourceCore<bool> _wake = new() { RunContinuationsAsynchronously = true };
    private bool _isWaiting;
    private bool _isBehind;
    private bool _isCancelled;
    private long _progress = -1;
    private StoreException? _end;

    // Shared: interlocked.
    private int _events;
    private long _bytes;
    private int _taken;

    public long Id { get; } = id;

    public WatchTarget Target { get; } = target;

    // The hub's, under its lock.
    internal IntervalNode? Node;
    internal Watcher? NextOfHash;
    internal bool IsLive;
    internal bool IsTouched;
    internal long After;

    /// <summary>Bulk loads that its reader has yet to read from the engine.</summary>
    internal List<PinnedLoad>? Loads;

    /// <summary>While it is behind: everything up to this version is in the queue, or read. The reader's, once it has seen that it is behind.</summary>
    public long Position { get; private set; }

    /// <summary>Whether so much is queued that nothing should come to it but the rest of a version.</summary>
    public bool IsFull => Volatile.Read(ref _events) >= _maxEvents || Volatile.Read(ref _bytes) >= _maxBytes || (hub.IsQueueMemoryFull && Volatile.Read(ref _events) > 0);

    /// <summary>Hub: adds a change to what is published next, or leaves the watcher behind. True if it is touched for the first time.</summary>
    public bool Stage(Change change)
    {
        if (_stagedVersion != change.Version)
        {
            if (IsFull)
            {
                return FallBehind(change.Version - 1);
            }

            _stagedVersion = change.Version;
            _stagedFrom = _staged.Count;
        }

        Count(change);
        if (change.Kind == ChangeKind.RemoveRange)
        {
            // It takes what was there before its command: the command's own puts come behind it.
            _staged.Insert(_stagedFrom, change);
        }
        else
        {
            _staged.Add(change);
        }

        return Touch();
    }

    /// <summary>Hub: from the version behind this one on the reader has to read for itself.</summary>
    public bool FallBehind(long position)
    {
        IsLive = false;
        _stagedPosition = position;
        return Touch();
    }

    /// <summary>Hub: takes back what was staged of a version and what comes behind it.</summary>
    public void Unstage(long from)
    {
        while (_staged.Count > 0 && _staged[^1].Version >= from)
        {
            Uncount(_staged[^1]);
            _staged.RemoveAt(_staged.Count - 1);
        }

        _stagedVersion = 0;
    }

    /// <summary>Hub: shows the reader what was staged.</summary>
    public void Publish()
    {
        IsTouched = false;
        lock (_lock)
        {
            foreach (Change change in _staged)
            {
                _queue.Enqueue(change);
            }

            if (!IsLive && !_isBehind)
            {
                _isBehind = true;
                Position = _stagedPosition;
            }

            WakeLocked();
        }

        _staged.Clear();
    }

    /// <summary>Hub: as it is registered.</summary>
    public void Begin(long after, bool isLive)
    {
        After = after;
        IsLive = isLive;
        _isBehind = !isLive;
        Position = after;
    }

    /// <summary>Hub: nothing up to this version is still to come, if nothing is queued.</summary>
    public void NoteProgress(long version)
    {
        int taken = Interlocked.Exchange(ref _taken, 0);
        _idleSweeps = taken > 0 ? 0 : _idleSweeps + 1;
        lock (_lock)
        {
            if (IsLive && _queue.Count == 0 && taken == 0)
            {
                _progress = version;
                WakeLocked();
            }
        }
    }

    /// <summary>Hub: how often progress was noted since the reader took something.</summary>
    public int IdleSweeps => _idleSweeps;

    /// <summary>Ends the watch, behind what is queued. The first end counts.</summary>
    public void End(StoreException why)
    {
        lock (_lock)
        {
            _end ??= why;
            WakeLocked();
        }
    }

    /// <summary>Wakes the reader, which looks at its cancellation.</summary>
    public void Cancel()
    {
        lock (_lock)
        {
            _isCancelled = true;
            WakeLocked();
        }
    }

    /// <summary>Reader: the next change, and whether another of its version follows.</summary>
    public bool TryTake(out Change? change, out bool hasMore)
    {
        lock (_lock)
        {
            if (!_queue.TryDequeue(out change))
            {
                hasMore = false;
                return false;
            }

            hasMore = _queue.TryPeek(out Change? next) && next.Version == change.Version;
        }

        Uncount(change);
        Interlocked.Increment(ref _taken);
        return true;
    }

    /// <summary>Reader: shows that it is alive, while it reads what is not in the queue.</summary>
    public void NoteTaken() => Volatile.Write(ref _taken, 1);

    /// <summary>Reader, with an empty queue: what there is besides changes.</summary>
    public WatcherState Look(out StoreException? end, out long progress)
    {
        lock (_lock)
        {
            end = _end;
            progress = _progress;
            if (_queue.Count > 0)
            {
                return WatcherState.HasChanges;
            }

            _progress = -1;
            return end is not null ? WatcherState.Ended
                : _isBehind ? WatcherState.Behind
                : progress >= 0 ? WatcherState.HasProgress
                : WatcherState.Idle;
        }
    }

    /// <summary>Reader, while it is behind: adds a change that it read for itself.</summary>
    public void Add(Change change)
    {
        Count(change);
        lock (_lock)
        {
            _queue.Enqueue(change);
        }
    }

    /// <summary>Reader, while it is behind: everything up to this version is in the queue, or told.</summary>
    public void MoveTo(long position) => Position = position;

    /// <summary>Hub and reader at once: it is behind no longer.</summary>
    public void CatchUp()
    {
        After = Position;
        IsLive = true;
        _stagedVersion = 0;
        lock (_lock)
        {
            _isBehind = false;
        }
    }

    /// <summary>Reader: whether changes are queued.</summary>
    public bool HasQueued
    {
        get
        {
            lock (_lock)
            {
                return _queue.Count > 0;
            }
        }
    }

    /// <summary>Reader: whether the watch goes on.</summary>
    public bool IsWanted
    {
        get
        {
            lock (_lock)
            {
                return !_isCancelled && _end is null;
            }
        }
    }

    /// <summary>Reader: ends when there is something to look at.</summary>
    public ValueTask WaitAsync()
    {
        lock (_lock)
        {
            if (_queue.Count > 0 || _isBehind || _isCancelled || _end is not null || _progress >= 0)
            {
                return default;
            }

            _wake.Reset();
            _isWaiting = true;
            return new ValueTask(this, _wake.Version);
        }
    }

    /// <summary>Reader: it is gone; what is queued counts no more.</summary>
    public void Clear()
    {
        lock (_lock)
        {
            while (_queue.TryDequeue(out Change? change))
            {
                Uncount(change);
            }
        }
    }

    void IValueTaskSource.GetResult(short token) => _wake.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _wake.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _wake.OnCompleted(continuation, state, token, flags);

    private bool Touch()
    {
        bool first = !IsTouched;
        IsTouched = true;
        return first;
    }

    private void Count(Change change)
    {
        Interlocked.Increment(ref _events);
        Interlocked.Add(ref _bytes, change.Bytes);
        hub.CountQueued(change.Bytes);
    }

    private void Uncount(Change change)
    {
        Interlocked.Decrement(ref _events);
        Interlocked.Add(ref _bytes, -change.Bytes);
        hub.CountQueued(-change.Bytes);
    }

    private void WakeLocked()
    {
        if (_isWaiting)
        {
            _isWaiting = false;
            _wake.SetResult(true);
        }
    }
}

/// <summary>What a watch's reader finds when no change is queued.</summary>
internal enum WatcherState
{
    Idle,
    HasChanges,
    HasProgress,
    Behind,
    Ended,
}
