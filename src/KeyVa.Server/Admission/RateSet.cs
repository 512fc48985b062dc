namespace KeyVa.Server.Admission;

/// <summary>
/// The limits that one caller's requests on one plane come under: its user's, its address's and everybody's. Kept with the connection, so that no request
/// looks them up. Thread-safe.
/// </summary>
/// <remarks>
/// Requests are paid before they are done. Bytes are known afterwards: they are owed, and whoever owes more than has come in since is refused until it is
/// paid. So one large answer is never cut off, and the average holds.
/// </remarks>
internal sealed class RateSet(Rate[] requests, Rate[] bytes)
{
    private const int MostAtOnce = 32;
    private const long MostUnowedBytes = 4 << 10;

    public static RateSet None { get; } = new([], []);

    /// <summary>Whether bytes are to be counted at all.</summary>
    public bool CountsBytes => bytes.Length > 0;

    /// <summary>How many requests may be paid at once by whoever has many of them: few enough that others find some left.</summary>
    public int Portion { get; } = requests.Length == 0 ? MostAtOnce : (int)Math.Clamp(requests.Min(static rate => rate.Most) / 64, 1, MostAtOnce);

    /// <summary>Bytes that a connection may count by itself before they are owed: as few as a limit does not notice.</summary>
    public long MostUnowed { get; } = bytes.Length == 0 ? MostUnowedBytes : Math.Min(bytes.Min(static rate => rate.Slack), MostUnowedBytes);

    public bool IsLimited => requests.Length > 0 || bytes.Length > 0;

    /// <summary>Pays for requests; false: come back after a while.</summary>
    public bool TryEnter(int count, out TimeSpan retryAfter) => TrySettle(out retryAfter) && TryTake(count, out retryAfter);

    /// <summary>Pays what bytes are owed; false: come back after a while.</summary>
    public bool TrySettle(out TimeSpan retryAfter)
    {
        foreach (Rate rate in bytes)
        {
            if (!rate.TrySettle(out retryAfter))
            {
                return false;
            }
        }

        retryAfter = TimeSpan.Zero;
        return true;
    }

    /// <summary>Pays for requests, under all limits or none, whatever bytes are owed; false: come back after a while.</summary>
    public bool TryTake(int count, out TimeSpan retryAfter)
    {
        for (int i = 0; i < requests.Length; i++)
        {
            if (!requests[i].TryTake(count, out retryAfter))
            {
                // What nobody uses nobody pays for: or whoever is refused for others' sake would be refused for its own next.
                while (--i >= 0)
                {
                    requests[i].GiveBack(count);
                }

                return false;
            }
        }

        retryAfter = TimeSpan.Zero;
        return true;
    }

    /// <summary>Counts bytes that were received or sent.</summary>
    public void Owe(long count)
    {
        foreach (Rate rate in bytes)
        {
            rate.Owe(count);
        }
    }
}
