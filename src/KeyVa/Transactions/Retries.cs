namespace KeyVa.Transactions;

/// <summary>
/// How often and how a transaction is done again that met others: at once, and when that was in vain often enough with locks, so
/// that one on keys that everybody wants is not put off for ever.
/// </summary>
/// <remarks>
/// Locks are dear to everybody: while one transaction holds some, all commits take theirs, and whoever meets one waits, for a
/// thread that the system may just have put aside. Short transactions on hot keys are through sooner by trying again:
/// with locks after three attempts, eight clients on ten keys did a tenth of what they do now. So locks come
/// after a few attempts only where the work is long, and after many otherwise. What is timed is the work without the commit,
/// and the shortest of several: neither a wait for locks, once there are some, nor a thread put aside makes it long.
/// </remarks>
internal struct Retries(TransactionOptions options, TimeProvider time)
{
    /// <summary>See <see cref="Naps"/>.</summary>
    public const int NapMilliseconds = 1;

    /// <summary>After so many in vain, the last result is given back.</summary>
    public const int MostAttempts = 64;

    /// <summary>After so many in vain it is pessimistic, however short they were.</summary>
    private const int OptimisticAttempts = 16;

    /// <summary>After so many it is, if the work of each took <see cref="LongWork"/>.</summary>
    private const int LongAttempts = 3;

    /// <summary>After so many in vain it is time to make way.</summary>
    private const int NapFailures = 2;

    private const int LongestPauseMilliseconds = 50;
    private const int ShortPauseSpins = 50;
    private const int MostDoublings = 6;

    private static readonly TimeSpan LongWork = TimeSpan.FromMilliseconds(1);

    private int _failures;
    private int _locked;
    private long _begun;
    private TimeSpan _shortest;

    public readonly TransactionOptions Options => _locked == 0 || options.Concurrency == Concurrency.Pessimistic
        ? options
        : options with { Concurrency = Concurrency.Pessimistic, LocksForUpdate = true };

    /// <summary>An attempt begins. The first is not timed: most are the only one.</summary>
    public void BeginWork() => _begun = _failures == 0 ? 0 : time.GetTimestamp();

    /// <summary>Its work is done, the commit comes.</summary>
    public void EndWork()
    {
        if (_begun != 0)
        {
            TimeSpan took = time.GetElapsedTime(_begun);
            _shortest = _failures == 1 || took < _shortest ? took : _shortest;
        }
    }

    /// <summary>Notes how an attempt ended; true if there is to be another.</summary>
    public bool GoesOn(Status status)
    {
        if (status is not (Status.Conflict or Status.Deadlock or Status.LockTimeout or Status.Busy))
        {
            return false;
        }

        _failures++;
        if (_locked > 0 || _failures >= OptimisticAttempts || (_failures >= LongAttempts && (options.Concurrency == Concurrency.Pessimistic || _shortest >= LongWork)))
        {
            _locked++;
        }

        return _failures < MostAttempts;
    }

    /// <summary>How long to pause before the next one, of random length; zero: <see cref="Spin"/>.</summary>
    public readonly TimeSpan Pause => _locked <= 1
        ? TimeSpan.Zero
        : TimeSpan.FromMilliseconds(Random.Shared.NextDouble() * Math.Min(LongestPauseMilliseconds, 1 << Math.Min(_locked, 10)));

    /// <summary>
    /// Whether a thread that waits for nothing else goes to sleep for a moment: it has met others twice, and whoever is left works
    /// undisturbed. Trying again at once, each of eight clients on ten keys made a quarter of its attempts in vain.
    /// </summary>
    public readonly bool Naps => _failures >= NapFailures && _locked == 0;

    public readonly void Spin() => Thread.SpinWait(Random.Shared.Next(ShortPauseSpins << Math.Min(_failures, MostDoublings)));
}
