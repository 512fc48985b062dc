namespace KeyVa.Transactions.Locks;

/// <summary>A lock, or a request for one that waits, as it was when the table was looked at.</summary>
/// <param name="OwnerId">Whose it is.</param>
/// <param name="Owner">The owner's name.</param>
/// <param name="IsRange">Whether it is a range: from <paramref name="From"/> up to <paramref name="To"/>, empty ones open.</param>
/// <param name="From">The key, or where the range begins.</param>
/// <param name="To">Where the range ends; empty for a key.</param>
/// <param name="Mode">What is held or waited for.</param>
/// <param name="IsWaiting">Whether it is only waited for.</param>
internal sealed record LockDescription(
    long OwnerId,
    string Owner,
    bool IsRange,
    ReadOnlyMemory<byte> From,
    ReadOnlyMemory<byte> To,
    LockMode Mode,
    bool IsWaiting);

/// <summary>Counts of a lock table, at a moment and since it was made.</summary>
/// <param name="Held">Locks held.</param>
/// <param name="Ranges">Those of them, and of the requests that wait, that are ranges.</param>
/// <param name="Waiting">Requests that wait.</param>
/// <param name="Waits">Requests that ever had to wait.</param>
/// <param name="Deadlocks">Requests that were ended to break a cycle.</param>
/// <param name="TimedOut">Requests whose time passed, those that would not wait at all included.</param>
internal readonly record struct LockFigures(long Held, long Ranges, long Waiting, long Waits, long Deadlocks, long TimedOut);
