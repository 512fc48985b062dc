namespace KeyVa.Watches;

/// <summary>
/// Where changes can be read again that a watcher has not seen: the changes kept in memory first, then whatever else keeps them.
/// Thread-safe.
/// </summary>
internal interface IChangeHistory
{
    /// <summary>
    /// Gives a watcher that is behind its changes above its position, by rising version and up to <paramref name="cap"/>,
    /// versions whole, until it is full, and moves its position.
    /// </summary>
    HistoryRead TryReadSince(Watcher watcher, long cap);
}

/// <summary>How a reading of history ended.</summary>
/// <param name="StartVersion">Not 0: changes that come next are gone, this is the first version from which nothing is.</param>
/// <param name="LoadVersion">Not 0: the next version is a bulk load, whose records stand in the engine.</param>
internal readonly record struct HistoryRead(long StartVersion, long LoadVersion)
{
    public bool IsGone => StartVersion != 0;
}
