namespace KeyVa.Histories;

/// <summary>
/// Records what workers do to lists. As <see cref="RegisterRecorder"/>: a log per worker, one clock, nothing else shared;
/// <see cref="ToHistory"/> wants all workers at rest.
/// </summary>
public sealed class ListRecorder
{
    private readonly ListLog[] _logs;

    public ListRecorder(int workers, HistoryClock? clock = null)
    {
        Clock = clock ?? HistoryClock.Start();
        _logs = new ListLog[workers];
        for (int i = 0; i < workers; i++)
        {
            _logs[i] = new ListLog(Clock, i, workers);
        }
    }

    public HistoryClock Clock { get; }

    /// <summary>The log of a worker, counted from 0.</summary>
    public ListLog this[int worker] => _logs[worker];

    /// <summary>Everything recorded so far. What is under way has an unknown outcome.</summary>
    public ListHistory ToHistory() => new(_logs.SelectMany(static log => log.All()));
}

/// <summary>
/// What one worker did. Begin a transaction, note its operations as they end, then say how it ended. After an unknown
/// outcome the worker goes on as a new process.
/// </summary>
public sealed class ListLog
{
    private readonly List<ListTransaction> _done = [];
    private readonly List<ListOperation> _operations = [];
    private readonly HistoryClock _clock;
    private readonly int _stride;
    private long _invoked;
    private bool _isOpen;

    internal ListLog(HistoryClock clock, int process, int stride)
    {
        _clock = clock;
        Process = process;
        _stride = stride;
    }

    public int Process { get; private set; }

    /// <summary>To be called before the store's transaction begins.</summary>
    public void Begin()
    {
        if (_isOpen)
        {
            throw new InvalidOperationException("the transaction before has not ended");
        }

        _isOpen = true;
        _operations.Clear();
        _invoked = _clock.Invoke();
    }

    /// <summary>An append that was asked for. Note it before it is sent: it may happen though no answer comes.</summary>
    public void Append(int key, int value) => _operations.Add(ListOperation.Append(key, value));

    /// <summary>What a read found; null: no answer.</summary>
    public void Read(int key, int[]? list) => _operations.Add(ListOperation.Read(key, list));

    public void End(Outcome outcome)
    {
        long now = _clock.Complete();
        if (!_isOpen)
        {
            throw new InvalidOperationException("no transaction is under way");
        }

        _isOpen = false;
        _done.Add(Make(outcome, outcome == Outcome.Unknown ? RegisterOperation.Never : now));
        if (outcome == Outcome.Unknown)
        {
            Process += _stride;
        }
    }

    internal IEnumerable<ListTransaction> All() => _isOpen ? _done.Append(Make(Outcome.Unknown, RegisterOperation.Never)) : _done;

    private ListTransaction Make(Outcome outcome, long completed) => new()
    {
        Process = Process,
        Invoked = _invoked,
        Completed = completed,
        Outcome = outcome,
        Operations = _operations.ToArray(),
    };
}
