namespace KeyVa;

/// <summary>A transaction that is under way, as it was at one moment: what operators look at. See <see cref="Store.ListTransactions"/>.</summary>
public sealed record TransactionInfo
{
    /// <summary>Its number (<see cref="Transaction.Number"/>), by which <see cref="Store.EndTransaction"/> ends it.</summary>
    public long Number { get; init; }

    /// <summary>The name it was given; null: none.</summary>
    public string? Name { get; init; }

    /// <summary>How long ago it was begun.</summary>
    public TimeSpan Age { get; init; }

    /// <summary>How long until the store ends it; zero if that is due.</summary>
    public TimeSpan TimeLeft { get; init; }

    /// <summary>What it may see of others.</summary>
    public IsolationLevel Isolation { get; init; }

    /// <summary>Whether it locks.</summary>
    public Concurrency Concurrency { get; init; }

    /// <summary>Whether it may only read.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>Whether its commit is on its way: it can be ended no more.</summary>
    public bool IsCommitting { get; init; }

    /// <summary>The version of its snapshot, which keeps what was overwritten since; 0: it has none.</summary>
    public long SnapshotVersion { get; init; }

    /// <summary>Keys that it has written, those it has rolled back to a savepoint excluded.</summary>
    public int KeysWritten { get; init; }

    /// <summary>Ranges that it removes.</summary>
    public int RangesRemoved { get; init; }

    /// <summary>What it has written and must find unchanged, in bytes, as <see cref="StoreOptions.MaxTransactionBytes"/> counts.</summary>
    public long Bytes { get; init; }

    /// <summary>How many locks it holds.</summary>
    public int LocksHeld { get; init; }

    /// <summary>The newest of the locks that it holds, as many as were asked for.</summary>
    public IReadOnlyList<TransactionLock> Locks { get; init; } = [];

    /// <summary>The lock that it waits for; null: none.</summary>
    public TransactionLock? WaitsFor { get; init; }

    /// <summary>Who is in the way of that: names of transactions (<c>txn 12</c>) and writes; the first eight.</summary>
    public IReadOnlyList<string> BlockedBy { get; init; } = [];
}

/// <summary>A lock of a transaction.</summary>
/// <param name="Range">What it covers; of a key the range that holds it alone.</param>
/// <param name="IsKey">Whether it is on the key <see cref="KeyRange.From"/> alone.</param>
/// <param name="IsExclusive">Whether it keeps readers out, too.</param>
public sealed record TransactionLock(KeyRange Range, bool IsKey, bool IsExclusive)
{
    // The next possible key is the key with a zero byte behind it.
    internal static TransactionLock OfKey(ReadOnlyMemory<byte> key, bool isExclusive) =>
        new(new KeyRange(key, (byte[])[.. key.Span, 0]), true, isExclusive);
}
