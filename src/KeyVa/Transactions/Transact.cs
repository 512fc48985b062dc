namespace KeyVa.Transactions;

/// <summary>Does work in transactions until one commits (see <see cref="Retries"/>).</summary>
internal static class Transact
{
    public static CommitResult Run(LiveTransactions live, Action<Transaction> work, TransactionOptions options)
    {
        ArgumentNullException.ThrowIfNull(work);
        var retries = new Retries(options, live.Time);
        while (true)
        {
            CommitResult result;
            using (Transaction transaction = live.Begin(retries.Options))
            {
                retries.BeginWork();
                work(transaction);
                retries.EndWork();
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
            else if (retries.Naps)
            {
                Thread.Sleep(Retries.NapMilliseconds);
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
        var retries = new Retries(options, live.Time);
        while (true)
        {
            cancellation.ThrowIfCancellationRequested();
            CommitResult result;
            Transaction transaction = live.Begin(retries.Options);
            await using (transaction.ConfigureAwait(false))
            {
                retries.BeginWork();
                await work(transaction).ConfigureAwait(false);
                retries.EndWork();
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
