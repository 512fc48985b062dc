using KeyVa.Measurements;
using KeyVa.Transactions.Locks;

namespace KeyVa.Transactions;

/// <summary>What a store's figures say of transactions and locks. Stateless.</summary>
internal static class TransactionFigures
{
    public static StoreStatistics AddTo(StoreStatistics figures, LiveTransactions live, StoreCounters counters)
    {
        LockFigures locks = live.LockFigures;
        return figures with
        {
            LiveTransactions = live.Count,
            Commits = counters.Sum(Counter.Commits),
            Conflicts = counters.Sum(Counter.Conflicts),
            Deadlocks = locks.Deadlocks,
            LocksHeld = locks.Held,
            LocksWaitedFor = locks.Waiting,
            LockWaits = locks.Waits,
            LockTimeouts = locks.TimedOut,
        };
    }
}
