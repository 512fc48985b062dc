namespace KeyVa.Measurements;

/// <summary>The metrics of transactions and locks. Stateless.</summary>
internal static class TransactionMetrics
{
    private static readonly KeyValuePair<string, string>[] NoLabels = [];

    internal static void Add(List<Metric> list, StoreStatistics statistics)
    {
        Add(list, "keyva_transactions_live", MetricKind.Gauge, "Transactions that have begun and not ended.", statistics.LiveTransactions);
        Add(list, "keyva_transaction_commits_total", MetricKind.Counter, "Transactions that committed.", statistics.Commits);
        Add(list, "keyva_transaction_conflicts_total", MetricKind.Counter, "Commits refused because another had changed what was read or written.", statistics.Conflicts);
        Add(list, "keyva_transaction_deadlocks_total", MetricKind.Counter, "Transactions rolled back to end a deadlock.", statistics.Deadlocks);
        Add(list, "keyva_locks_held", MetricKind.Gauge, "Locks on keys and ranges held by transactions.", statistics.LocksHeld);
        Add(list, "keyva_locks_waited_for", MetricKind.Gauge, "Calls that wait for a lock.", statistics.LocksWaitedFor);
        Add(list, "keyva_lock_waits_total", MetricKind.Counter, "Calls that had to wait for a lock.", statistics.LockWaits);
        Add(list, "keyva_lock_timeouts_total", MetricKind.Counter, "Calls that did not get their lock in time.", statistics.LockTimeouts);
    }

    private static void Add(List<Metric> list, string name, MetricKind kind, string help, double value) =>
        list.Add(new Metric(new MetricFamily(name, kind, help), value, NoLabels));
}
