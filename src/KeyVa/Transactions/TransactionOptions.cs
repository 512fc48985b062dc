namespace KeyVa;

/// <summary>How a transaction is begun. Immutable.</summary>
public sealed record TransactionOptions
{
    internal static TransactionOptions Default { get; } = new();

    /// <summary>
    /// Whether it only reads, at one snapshot (or as its level says): it needs no room for what it has read, never conflicts, and
    /// its commit costs nothing. Default: false.
    /// </summary>
    public bool ReadOnly { get; init; }

    /// <summary>Default: <see cref="IsolationLevel.Serializable"/>.</summary>
    public IsolationLevel Isolation { get; init; }

    /// <summary>Default: <see cref="Concurrency.Optimistic"/>.</summary>
    public Concurrency Concurrency { get; init; }

    /// <summary>Whether a pessimistic one locks what it reads as if it were to write it: two that both read a key first cannot wait for each other then.</summary>
    internal bool LocksForUpdate { get; init; }

    /// <summary>After this long it is rolled back, whoever holds it: 1 ms to 1 day. Default: 1 minute.</summary>
    public TimeSpan TimeLimit { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>How long one call waits for the locks of others; null: <see cref="StoreOptions.LockTimeout"/>. Default: null.</summary>
    public TimeSpan? LockTimeout { get; init; }

    /// <summary>What errors call it, beside its number; at most 64 characters. Default: none.</summary>
    public string? Name { get; init; }
}
