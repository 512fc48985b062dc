namespace KeyVa.Histories;

/// <summary>
/// Records what workers do to registers. Each worker has a log of its own and shares nothing but the clock, so that
/// recording orders nothing that the store did not order. Thread-safety: a <see cref="RegisterLog"/> belongs to one worker
/// (a thread, or one asynchronous loop); <see cref="ToHistory"/> wants all workers at rest.
/// </summary>
public sealed class RegisterRecorder
{
    private readonly RegisterLog[] _logs;

    public RegisterRecorder(int workers, HistoryClock? clock = null)
    {
        Clock = clock ?? HistoryClock.Start();
        _logs = new RegisterLog[workers];
        for (int i = 0; i < workers; i++)
        {
            _logs[i] = new RegisterLog(Clock, i, workers);
        }
    }

    public HistoryClock Clock { get; }

    /// <summary>The log of a worker, counted from 0.</summary>
    public RegisterLog this[int worker] => _logs[worker];

    /// <summary>Everything recorded so far. What is under way has an unknown outcome.</summary>
    public RegisterHistory ToHistory() => new(_logs.SelectMany(static log => log.All()));
}

/// <summary>
/// What one worker did. Begin an operation, do it, then say how it ended. After an unknown outcome the worker goes on as a
/// new process, since the operation of the old one may still be under way.
/// </summary>
public sealed class RegisterLog
{
    private readonly List<RegisterOperation> _done = [];
    private readonly HistoryClock _clock;
    private readonly int _stride;
    private RegisterOperation? _pending;

    internal RegisterLog(HistoryClock clock, int process, int stride)
    {
        _clock = clock;
        Process = process;
        _stride = stride;
    }

    public int Process { get; private set; }

    public void BeginRead(int key) => Begin(RegisterAction.Read, key, null, null);

    public void BeginWrite(int key, int value) => Begin(RegisterAction.Write, key, null, value);

    /// <summary><paramref name="value"/> null: a conditional removal. <paramref name="expected"/> null: if absent.</summary>
    public void BeginCompareAndSet(int key, int? expected, int? value) => Begin(RegisterAction.CompareAndSet, key, expected, value);

    public void BeginRemove(int key) => Begin(RegisterAction.Remove, key, null, null);

    /// <summary>Ends the operation as the client answered.</summary>
    public void End(in RegisterReply reply)
    {
        long now = _clock.Complete();
        RegisterOperation one = _pending ?? throw new InvalidOperationException("no operation is under way");
        bool isOk = reply.Outcome == Outcome.Ok;
        _done.Add(one with
        {
            Outcome = reply.Outcome,
            Completed = reply.Outcome == Outcome.Unknown ? RegisterOperation.Never : now,
            Value = one.Action == RegisterAction.Read ? (isOk ? reply.Value : null) : one.Value,
            Held = isOk && one.Action is RegisterAction.CompareAndSet or RegisterAction.Remove ? reply.Held : null,
        });
        _pending = null;
        if (reply.Outcome == Outcome.Unknown)
        {
            Process += _stride;
        }
    }

    internal IEnumerable<RegisterOperation> All() => _pending is { } one ? _done.Append(one) : _done;

    private void Begin(RegisterAction action, int key, int? expected, int? value)
    {
        if (_pending is not null)
        {
            throw new InvalidOperationException("the operation before has not ended");
        }

        _pending = new RegisterOperation
        {
            Process = Process,
            Key = key,
            Action = action,
            Expected = expected,
            Value = value,
            Outcome = Outcome.Unknown,
            Completed = RegisterOperation.Never,
            Invoked = _clock.Invoke(),
        };
    }
}
