namespace KeyVa.Cluster.Driver;

/// <summary>The thread that runs a node's driver. Thread-safe.</summary>
internal sealed class DriverThread : IDisposable
{
    private readonly object _gate = new();
    private readonly Thread _thread;
    private Func<long>? _run;
    private Action<Exception>? _failed;
    private bool _isSignalled;
    private bool _isEnding;

    public DriverThread() => _thread = new Thread(Loop) { IsBackground = true, Name = "KeyVa replication" };

    /// <summary>What failed in the loop, which is over then; a mistake of this program's.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>Milliseconds, going on from the machine's start.</summary>
    public static long Clock() => Environment.TickCount64;

    /// <summary>Begins to call <paramref name="run"/>; <paramref name="failed"/> is told what it throws.</summary>
    public void Start(Func<long> run, Action<Exception> failed)
    {
        _run = run;
        _failed = failed;
        _thread.Start();
    }

    public void Signal()
    {
        lock (_gate)
        {
            _isSignalled = true;
            Monitor.Pulse(_gate);
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _isEnding = true;
            Monitor.Pulse(_gate);
        }

        if (_thread.ThreadState != ThreadState.Unstarted)
        {
            _thread.Join();
        }
    }

    private void Loop()
    {
        long next = Clock();
        while (TryWait(next))
        {
            try
            {
                next = _run!();
            }
            catch (Exception failure)
            {
                // Whatever it is: a replica must not go on beside the rules, and whoever waits must not wait for ever.
                Failure = failure;
                _failed!(failure);
                next = long.MaxValue;
            }
        }
    }

    // False when it is to end.
    private bool TryWait(long until)
    {
        lock (_gate)
        {
            while (!_isSignalled && !_isEnding)
            {
                long left = until == long.MaxValue ? int.MaxValue : until - Clock();
                if (left <= 0)
                {
                    break;
                }

                Monitor.Wait(_gate, (int)Math.Min(left, int.MaxValue));
            }

            _isSignalled = false;
            return !_isEnding;
        }
    }
}
