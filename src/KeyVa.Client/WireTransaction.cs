using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>Reads what a server tells of its transactions. Stateless.</summary>
internal static class WireTransaction
{
    /// <summary>A transaction that is under way.</summary>
    public static TransactionInfo ToInfo(Wire.LiveTransaction message) => new()
    {
        Number = message.Number,
        Name = message.Name.Length == 0 ? null : message.Name,
        Age = TimeSpan.FromMilliseconds(message.AgeMs),
        TimeLeft = TimeSpan.FromMilliseconds(message.TimeLeftMs),
        Isolation = message.Isolation switch
        {
            "serializable" => IsolationLevel.Serializable,
            "repeatable-read" => IsolationLevel.RepeatableRead,
            "read-committed" => IsolationLevel.ReadCommitted,
            "read-uncommitted" => IsolationLevel.ReadUncommitted,
            _ => throw new StoreException($"the server tells of the isolation level '{message.Isolation}', which this client does not know"),
        },
        Concurrency = message.Pessimistic ? Concurrency.Pessimistic : Concurrency.Optimistic,
        IsReadOnly = message.ReadOnly,
        IsCommitting = message.Committing,
        SnapshotVersion = message.SnapshotVersion,
        KeysWritten = message.KeysWritten,
        RangesRemoved = message.RangesRemoved,
        Bytes = message.Bytes,
        LocksHeld = message.LocksHeld,
        Locks = [.. message.Locks.Select(ToLock)],
        WaitsFor = message.WaitsFor is { } waits ? ToLock(waits) : null,
        BlockedBy = [.. message.BlockedBy],
    };

    private static TransactionLock ToLock(Wire.HeldLock held) => held.WhatCase == Wire.HeldLock.WhatOneofCase.Key
        ? TransactionLock.OfKey(held.Key.Memory, held.Exclusive)
        : new TransactionLock(new KeyRange(held.Range?.From.Memory ?? default, held.Range?.To.Memory ?? default), false, held.Exclusive);
}
