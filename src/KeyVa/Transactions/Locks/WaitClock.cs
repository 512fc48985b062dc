namespace KeyVa.Transactions.Locks;

/// <summary>
/// All owners that wait, those that have waited longest first, and the one timer of the table. It does not sort them by deadline: few
/// wait, and the timer runs about once per time-out, not once per wait.
/// </summary>
/// <remarks>
/// Thread-safety: its own lock, taken last. Owners are added with the whole table held, and removed with at least the
/// part held that guards their request; so who holds the whole table may walk the list.
/// </remarks>
internal sealed class WaitClock : IDisposable
{
    private const long Never = long.MaxValue;

    private readonly TimeProvider _time;
    private readonly Lock _lock = new();
    private readonly ITimer _timer;
    private LockOwner? _first;
    private LockOwner? _last;
    private long _armedFor = Never;
    private int _count;

    public WaitClock(TimeProvider time, Action expired)
    {
        _time = time;
        _timer = time.CreateTimer(static action => ((Action)action!)(), expired, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>How many wait.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>The longest time that is counted; longer ones wait for ever.</summary>
    public static TimeSpan Longest { get; } = TimeSpan.FromDays(24);

    public void Add(LockOwner owner, TimeSpan timeout)
    {
        long now = _time.GetTimestamp();
        long deadline = timeout == Timeout.InfiniteTimeSpan || timeout > Longest
            ? Never
            : now + (long)Math.Ceiling(timeout.TotalSeconds * _time.TimestampFrequency);
        lock (_lock)
        {
            owner.Deadline = deadline;
            owner.NextWaiting = null;
            owner.PreviousWaiting = _last;
            if (_last is null)
            {
                _first = owner;
            }
            else
            {
                _last.NextWaiting = owner;
            }

            _last = owner;
            Volatile.Write(ref _count, _count + 1);
            if (deadline < _armedFor)
            {
                Arm(deadline, now);
            }
        }
    }

    public void Remove(LockOwner owner)
    {
        lock (_lock)
        {
            if (owner.PreviousWaiting is null)
            {
                _first = owner.NextWaiting;
            }
            else
            {
                owner.PreviousWaiting.NextWaiting = owner.NextWaiting;
            }

            if (owner.NextWaiting is null)
            {
                _last = owner.PreviousWaiting;
            }
            else
            {
                owner.NextWaiting.PreviousWaiting = owner.PreviousWaiting;
            }

            owner.NextWaiting = null;
            owner.PreviousWaiting = null;
            Volatile.Write(ref _count, _count - 1);
        }
    }

    /// <summary>Those whose time has passed, and the timer set for the next one. With the whole table held.</summary>
    public void CollectDue(List<LockOwner> due)
    {
        long now = _time.GetTimestamp();
        long next = Never;
        lock (_lock)
        {
            for (LockOwner? owner = _first; owner is not null; owner = owner.NextWaiting)
            {
                if (owner.Deadline <= now)
                {
                    due.Add(owner);
                }
                else
                {
                    next = Math.Min(next, owner.Deadline);
                }
            }

            _armedFor = Never;
            if (next != Never)
            {
                Arm(next, now);
            }
        }
    }

    /// <summary>All that wait. With the whole table held.</summary>
    public void CollectAll(List<LockOwner> all)
    {
        lock (_lock)
        {
            for (LockOwner? owner = _first; owner is not null; owner = owner.NextWaiting)
            {
                all.Add(owner);
            }
        }
    }

    public void Dispose() => _timer.Dispose();

    private void Arm(long deadline, long now)
    {
        // Rounded up: a timer that comes early would find nothing due, again and again.
        double milliseconds = Math.Ceiling((deadline - now) * 1000.0 / _time.TimestampFrequency);
        _armedFor = deadline;
        _timer.Change(TimeSpan.FromMilliseconds(Math.Max(1, milliseconds)), Timeout.InfiniteTimeSpan);
    }
}
