namespace KeyVa.Transactions.Locks;

/// <summary>How a request for a lock ended.</summary>
internal enum LockOutcome : byte
{
    /// <summary>The owner holds the lock.</summary>
    Granted = 0,

    /// <summary>The time given passed; the detail names who holds the lock.</summary>
    TimedOut = 1,

    /// <summary>The owner was the cheapest of a cycle of owners that waited for each other; the detail names the cycle.</summary>
    Deadlock = 2,

    /// <summary>Somebody ended the owner's wait by <see cref="LockTable.Abort"/>.</summary>
    Aborted = 3,

    /// <summary>The table or the owner holds as many locks as it may.</summary>
    LimitExceeded = 4,
}

/// <summary>How a request for a lock ended, and why if it was not granted.</summary>
/// <param name="Outcome">How it ended; the default is granted.</param>
/// <param name="Detail">One sentence for people; null if it was granted.</param>
internal readonly record struct LockResult(LockOutcome Outcome, string? Detail)
{
    public bool IsGranted => Outcome == LockOutcome.Granted;
}
