namespace KeyVa.Cluster.Driver;

/// <summary>
/// Who runs a node's driver: a thread of its own, or whoever brings it something and lends its thread (<see cref="TryRun"/>), while nobody else does. So a lone request pays no change of
/// threads on its way into the loop. Thread-safe.
/// </summary>
/// <remarks>
/// <para>It sleeps on a counter of the kernel's and under no lock: with a monitor, who signals still holds it when the thread wakes, and both change places several times before it is let go
/// (50 µs of a put's 500, measured).</para>
/// <para>Nobody waits for the turn. Who does not get it signals instead; and who has it, and finds a signal or an earlier deadline when it gives the turn up, wakes the thread. A thread that is lent runs
/// the driver once, so it serves others no longer than that.</para>
/// </remarks>
internal sealed class DriverThread : IDisposable
{
    private readonly WakeUp _wakeUp = new();
    private readonly Thread _thread;
    private Func<long>? _run;
    private Action<Exception>? _failed;

    // Shared: 1 while somebody runs the driver; before the start and behind the end nobody may.
    private int _turn = 1;
    private int _isSignalled;
    private volatile bool _isEnding;

    // Written by who has the turn, read by anybody: when the driver is to run again at the latest.
    private long _next;

    // Written by the thread, read by anybody: when it wakes by itself.
    private long _sleepsUntil = long.MinValue;

    public DriverThread() => _thread = new Thread(Loop) { IsBackground = true, Name = "KeyVa replication" };

    /// <summary>What failed in the loop, which is over then; a mistake of this program's.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>Milliseconds, going on from the machine's start and while it sleeps.</summary>
    public static long Clock() => BootClock.Milliseconds;

    /// <summary>Begins to call <paramref name="run"/>; <paramref name="failed"/> is told what it throws.</summary>
    public void Start(Func<long> run, Action<Exception> failed)
    {
        _run = run;
        _failed = failed;
        _next = Clock();
        Volatile.Write(ref _turn, 0);
        _thread.Start();
    }

    public void Signal()
    {
        Volatile.Write(ref _isSignalled, 1);
        _wakeUp.Wake();
    }

    /// <summary>
    /// Runs the driver once on the calling thread, which must hold no lock, if nobody else does. False: it did not; <see cref="Signal"/> is to be called, if something is to be looked at.
    /// </summary>
    public bool TryRun()
    {
        if (_isEnding || !TryEnter())
        {
            return false;
        }

        Run();
        Leave();
        if (Volatile.Read(ref _isSignalled) == 1 || Volatile.Read(ref _next) < Volatile.Read(ref _sleepsUntil))
        {
            _wakeUp.Wake();
        }

        return true;
    }

    public void Dispose()
    {
        _isEnding = true;
        _wakeUp.Wake();
        if (_thread.ThreadState != ThreadState.Unstarted)
        {
            _thread.Join();

            // Who was lent ends its one run; from here on nobody gets the turn.
            SpinWait wait = default;
            while (!TryEnter())
            {
                wait.SpinOnce();
            }
        }

        _wakeUp.Dispose();
    }

    private bool TryEnter() => Volatile.Read(ref _turn) == 0 && Interlocked.CompareExchange(ref _turn, 1, 0) == 0;

    private void Leave() => Interlocked.Exchange(ref _turn, 0);

    /// <summary>With the turn.</summary>
    private void Run()
    {
        Interlocked.Exchange(ref _isSignalled, 0);
        try
        {
            Volatile.Write(ref _next, _run!());
        }
        catch (Exception failure)
        {
            // Whatever it is: a replica must not go on beside the rules, and whoever waits must not wait for ever.
            Failure = failure;
            _failed!(failure);
            Volatile.Write(ref _next, long.MaxValue);
        }
    }

    private void Loop()
    {
        while (!_isEnding)
        {
            if (IsDue() && TryEnter())
            {
                Run();
                Leave();
            }
            else
            {
                Sleep();
            }
        }
    }

    private bool IsDue() => Volatile.Read(ref _isSignalled) == 1 || (Volatile.Read(ref _next) is < long.MaxValue and var next && next <= Clock());

    /// <summary>
    /// Sleeps until something is due, or somebody wakes the thread. Who signals, or leaves the turn, behind the look finds the thread asleep, with no time yet at which it would wake by itself.
    /// </summary>
    private void Sleep()
    {
        Volatile.Write(ref _sleepsUntil, long.MaxValue);
        _wakeUp.BeginSleep();
        int milliseconds = int.MaxValue;
        if (_isEnding)
        {
            milliseconds = 0;
        }
        else if (Volatile.Read(ref _turn) == 0)
        {
            long next = Volatile.Read(ref _next);
            milliseconds = IsDue() ? 0 : next == long.MaxValue ? int.MaxValue : (int)Math.Clamp(next - Clock(), 0, int.MaxValue);
            Volatile.Write(ref _sleepsUntil, next);
        }

        _wakeUp.Sleep(milliseconds);
        Volatile.Write(ref _sleepsUntil, long.MinValue);
    }
}
