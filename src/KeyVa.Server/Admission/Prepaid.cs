namespace KeyVa.Server.Admission;

/// <summary>
/// Requests that one connection has paid and not sent yet, so that a busy one asks the limits, which all share, seldom. What is paid at once grows with use: never
/// more than have come already, so that whoever sends one request on each connection pays for one. Thread-safe.
/// </summary>
internal sealed class Prepaid(RateSet rates)
{
    private int _paid;
    private int _portion = 1;

    /// <summary>Pays for a request; false: come back after a while.</summary>
    public bool TryEnter(out TimeSpan retryAfter)
    {
        // Debts are looked at each time: whoever has paid for requests must not go on sending large ones.
        if (!rates.TrySettle(out retryAfter))
        {
            return false;
        }

        int paid = Volatile.Read(ref _paid);
        while (paid > 0)
        {
            int seen = Interlocked.CompareExchange(ref _paid, paid - 1, paid);
            if (seen == paid)
            {
                return true;
            }

            paid = seen;
        }

        int portion = Volatile.Read(ref _portion);
        if (portion > 1 && rates.TryTake(portion, out _))
        {
            Interlocked.Add(ref _paid, portion - 1);
        }
        else if (!rates.TryTake(1, out retryAfter))
        {
            Volatile.Write(ref _portion, 1);
            return false;
        }

        Volatile.Write(ref _portion, Math.Min(portion * 2, rates.Portion));
        return true;
    }
}
