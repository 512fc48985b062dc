namespace KeyVa;

/// <summary>
/// What a transaction may see of others that run at the same time; docs/transactions.md has the table of anomalies. Whatever the
/// level: what a transaction writes becomes visible at once and whole, when it commits, but to read uncommitted.
/// </summary>
public enum IsolationLevel : byte
{
    /// <summary>As if the transactions that commit ran one after the other, in the order in which they commit.</summary>
    Serializable = 0,

    /// <summary>
    /// Snapshot isolation: reads see the store as it was when the transaction began, and of two that write the same key at
    /// the same time the first to commit wins. Write skew is possible.
    /// </summary>
    RepeatableRead = 1,

    /// <summary>Each call reads what is committed when it is made; the last to commit wins.</summary>
    ReadCommitted = 2,

    /// <summary>Each call reads what is newest, also what other transactions have written and not committed.</summary>
    ReadUncommitted = 3,
}

/// <summary>What a transaction does about others that want the same keys.</summary>
public enum Concurrency : byte
{
    /// <summary>Nothing until it commits, which then may end with <see cref="Status.Conflict"/>.</summary>
    Optimistic = 0,

    /// <summary>It locks what it writes, and at <see cref="IsolationLevel.Serializable"/> what it reads: others wait.</summary>
    Pessimistic = 1,
}
