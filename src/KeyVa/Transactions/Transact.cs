namespace KeyVa.Transactions;

/// <summary>Does work in transactions until one commits (see <see cref="Retries"/>).</summary>
internal static class Transact
{
    public static CommitResult Run(LiveTransactions live, Action<Transaction> work, TransactionOptions options)
    {
        ArgumentNullException.ThrowIfNull(work);
        var retries = new Retries(options);
        while (true)
        {
            CommitResult result;
            using (Transaction transaction = live.Begin(retries.Options))
            {
                work(transaction);
                result = transaction.EndOfWork() ?? transaction.Commit();
            }

            if (!retries.GoesOn(result.Status))
            {
                return result;
            }

            if (retries.Pause is { Ticks: > 0 } pause)
            {
                Thread.Sleep(pause);
            }
            else
            {
                retries.Spin();
            }
        }
    }

    public static async Task<CommitResult> RunAsync(LiveTransactions live, Func<Transaction, ValueTask> work, TransactionOptions options, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(work);
        var retries = new Retries(options);
        while (true)
        {
            cancellation.ThrowIfCancellationRequested();
            CommitResult result;
            Transaction transaction = live.Begin(retries.Options);
            await using (transaction.ConfigureAwait(false))
            {
                await work(transaction).ConfigureAwait(false);
                result = transaction.EndOfWork() ?? await transaction.CommitAsync(cancellation).ConfigureAwait(false);
            }

            if (!retries.GoesOn(result.Status))
            {
                return result;
            }

            if (retries.Pause is { Ticks: > 0 } pause)
            {
                await live.Delay(pause, cancellation).ConfigureAwait(false);
            }
            else
            {
                retries.Spin();
            }
        }
    }
}
