namespace KeyVa.Transactions;

/// <summary>
/// How often and how a transaction is done again that met others: soon, after a short pause of random length, and after a few
/// failures with locks, so that one on keys that everybody wants is not put off for ever.
/// </summary>
internal struct Retries(TransactionOptions options)
{
    /// <summary>After so many in vain, the last result is given back.</summary>
    public const int MostAttempts = 64;

    /// <summary>From this attempt on it is pessimistic.</summary>
    private const int OptimisticAttempts = 3;

    private const int LongestPauseMilliseconds = 50;
    private const int ShortPauseSpins = 200;

    private int _failures;

    public readonly TransactionOptions Options => _failures < OptimisticAttempts || options.Concurrency == Concurrency.Pessimistic
        ? options
        : options with { Concurrency = Concurrency.Pessimistic, LocksForUpdate = true };

    /// <summary>Notes how an attempt ended; true if there is to be another.</summary>
    public bool GoesOn(Status status) =>
        status is Status.Conflict or Status.Deadlock or Status.LockTimeout or Status.Busy && ++_failures < MostAttempts;

    /// <summary>How long to pause before the next one; zero: <see cref="Spin"/>.</summary>
    public readonly TimeSpan Pause => _failures <= OptimisticAttempts
        ? TimeSpan.Zero
        : TimeSpan.FromMilliseconds(Random.Shared.NextDouble() * Math.Min(LongestPauseMilliseconds, 1 << Math.Min(_failures - OptimisticAttempts, 10)));

    public readonly void Spin() => Thread.SpinWait(Random.Shared.Next(ShortPauseSpins << _failures));
}
