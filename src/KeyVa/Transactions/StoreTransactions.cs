using KeyVa.Transactions;

namespace KeyVa;

/// <summary>Transactions over any store, embedded or remote. Stateless.</summary>
public static class StoreTransactions
{
    private const int RetryPauseMilliseconds = 1;

    /// <summary>
    /// Begins a transaction, does the work and commits; begins again if it met others, at most 64 times with short random pauses,
    /// later with locks (the sooner the longer the work takes). The work must have no effect but through its transaction; it may roll it back, which
    /// ends with Ok. The result is that of the last commit.
    /// </summary>
    public static async Task<CommitResult> TransactAsync(
        this IStore store, Func<ITransaction, ValueTask> work, TransactionOptions? options = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(store);
        ArgumentNullException.ThrowIfNull(work);
        var retries = new Retries(options ?? TransactionOptions.Default, TimeProvider.System);
        while (true)
        {
            retries.BeginWork();
            CommitResult result = await AttemptAsync(store, work, retries.Options, cancellation).ConfigureAwait(false);
            retries.EndWork();
            if (!retries.GoesOn(result.Status))
            {
                return result;
            }

            TimeSpan pause = retries.Pause.Ticks > 0 ? retries.Pause : TimeSpan.FromMilliseconds(Random.Shared.NextDouble() * RetryPauseMilliseconds);
            await Task.Delay(pause, cancellation).ConfigureAwait(false);
        }
    }

    private static async ValueTask<CommitResult> AttemptAsync(
        IStore store, Func<ITransaction, ValueTask> work, TransactionOptions options, CancellationToken cancellation)
    {
        ITransaction transaction = await store.BeginAsync(options, cancellation).ConfigureAwait(false);
        await using (transaction.ConfigureAwait(false))
        {
            try
            {
                await work(transaction).ConfigureAwait(false);
            }
            catch (RefusedException refused) when (refused.Status is Status.Conflict or Status.Deadlock or Status.LockTimeout or Status.Busy)
            {
                // A scan has no result to tell it by.
                return new CommitResult { Status = refused.Status, Detail = refused.Message };
            }

            return (transaction as IAttempt)?.EndOfWork() ?? await transaction.CommitAsync(cancellation).ConfigureAwait(false);
        }
    }
}
