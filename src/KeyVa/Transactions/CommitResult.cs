namespace KeyVa;

/// <summary>How a commit ended. Whatever the status, the transaction is over.</summary>
public readonly struct CommitResult
{
    /// <summary>
    /// <see cref="Status.Ok"/>: all of it happened. <see cref="Status.Conflict"/>, <see cref="Status.Deadlock"/>,
    /// <see cref="Status.LockTimeout"/>, <see cref="Status.Busy"/>: nothing did, and the whole transaction may be tried again. Others:
    /// nothing did, but for <see cref="Status.Failed"/>, after which it is unknown.
    /// </summary>
    public Status Status { get; init; }

    /// <summary>The version at which it all happened; of one that wrote nothing 0.</summary>
    public long Version { get; init; }

    /// <summary>After <see cref="Status.Conflict"/>: the key that another has changed; of a range that was read, its first key.</summary>
    public ReadOnlyMemory<byte> ConflictKey { get; init; }

    /// <summary>As of <see cref="WriteResult.Receipt"/>: where its write stands in the partition's log; none if it wrote nothing, or on one node to several partitions.</summary>
    public WriteReceipt Receipt { get; init; }

    /// <summary>As of <see cref="WriteResult.PartReceipts"/>.</summary>
    internal IReadOnlyList<WriteReceipt>? PartReceipts { get; init; }

    /// <summary>For a person: what happened and what to do; null when done.</summary>
    public string? Detail { get; init; }

    /// <summary>As of <see cref="WriteResult"/>: where the time of its write went; null: it was not noted.</summary>
    internal Measurements.WriteTimes? Times { get; init; }

    /// <summary>Whether it was done.</summary>
    public bool IsOk => Status == Status.Ok;
}

/// <summary>A point of a transaction to which its writes can be rolled back.</summary>
public readonly record struct Savepoint
{
    internal Savepoint(int number) => Number = number;

    /// <summary>Savepoints of a transaction are numbered from 1; 0, the default value, is its beginning.</summary>
    public int Number { get; }

    /// <summary>The savepoint with a number, of a front door that carries numbers.</summary>
    public static Savepoint FromNumber(int number)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(number);
        return new Savepoint(number);
    }
}
