using KeyVa.Engines;
using KeyVa.Measurements;
using KeyVa.Partitions;
using KeyVa.Transactions.Locks;

namespace KeyVa.Transactions;

/// <summary>
/// How a transaction reads: its own writes first; then, as its level says, what others have not committed, the snapshot, or the
/// newest state under a lock. It notes what the commit must find unchanged.
/// </summary>
internal static class TransactionReads
{
    /// <summary>Reads a key. <paramref name="at"/>: the version to read at; the body's own but for a call that has a snapshot of its own.</summary>
    public static ValueLease Get(TransactionBody body, scoped ReadOnlySpan<byte> key, long at, bool forUpdate)
    {
        if (!body.IsActive)
        {
            return new ValueLease { Status = body.EndStatus };
        }

        body.Live.Counters.Add(Counter.Gets);
        if ((forUpdate || body.LocksReads) && body.IsPessimistic && (uint)(key.Length - 1) < Limits.MaxKeyBytes)
        {
            Status locked = body.Lock(key, default, isRange: false, forUpdate ? LockMode.Exclusive : body.ReadMode);
            if (locked != Status.Ok)
            {
                return new ValueLease { Status = locked };
            }

            at = ReadVersion.Latest;
        }

        bool notes = forUpdate ? !body.IsReadOnly : body.NotesReads;
        WriteSet? writes = body.SeesUncommitted && !forUpdate ? body.Live.CollectUncommitted(body, key) : body.Writes;
        return writes is null || writes.IsEmpty || !writes.TryFind(key, out BufferedWrite write) ? GetCommitted(body, key, at, notes)
            : write.IsMerge ? GetMerged(body, writes, key, at, notes)
            : write.IsPut ? Lend(body, writes.ValueOf(write), write.Expiry.IsRelative ? 0 : write.Expiry.Milliseconds)
            : new ValueLease { Status = Status.NotFound };
    }

    /// <summary>Whether a condition of a write holds of what the transaction sees; if so, it is to hold when it commits.</summary>
    public static Status Check(TransactionBody body, ReadOnlySpan<byte> key, in Condition condition, out long currentVersion)
    {
        using ValueLease lease = Get(body, key, body.At, forUpdate: true);
        currentVersion = lease.Version;
        if (lease.Status > Status.NotFound)
        {
            return lease.Status;
        }

        bool holds = condition.Kind switch
        {
            ConditionKind.IfAbsent => !lease.Found,
            ConditionKind.IfPresent => lease.Found,
            ConditionKind.IfVersion => lease.Found && lease.Version == condition.Version,
            ConditionKind.IfValue => lease.Found && lease.Value.SequenceEqual(condition.Value.Span),
            _ => true,
        };
        return holds ? Status.Ok : Status.ConditionFailed;
    }

    /// <summary>The version that a key has at the body's snapshot, 0 if it is not there; false if this node does not own it.</summary>
    public static bool TryGetVersion(TransactionBody body, ReadOnlySpan<byte> key, out long version)
    {
        using ValueLease lease = GetCommitted(body, key, body.At, notes: false);
        version = lease.Version;
        return lease.Status <= Status.NotFound;
    }

    /// <summary>What the engines hold.</summary>
    public static ValueLease GetCommitted(TransactionBody body, scoped ReadOnlySpan<byte> key, long at, bool notes)
    {
        while (true)
        {
            ValueTask closed;
            Epochs.Enter();
            try
            {
                Partition? partition = body.Live.Map.Find(key);
                if (partition is null || (uint)(key.Length - 1) >= Limits.MaxKeyBytes)
                {
                    return new ValueLease { Status = Refusals.CheckKey(key.Length, Status.BadNode) };
                }

                closed = at == ReadVersion.Latest ? default : partition.Writer.WaitUntilClosed(at);
                if (closed.IsCompletedSuccessfully)
                {
                    return Found(body, key, partition.Engine, at, notes);
                }
            }
            finally
            {
                Epochs.Exit();
            }

            // Of a snapshot of several partitions: a commit of this one at or below its version is being applied.
            closed.AsTask().GetAwaiter().GetResult();
        }
    }

    /// <summary>Ends when a key can be read at the body's version without waiting.</summary>
    public static ValueTask WaitUntilClosed(TransactionBody body, ReadOnlySpan<byte> key)
    {
        if (body.At == ReadVersion.Latest)
        {
            return default;
        }

        Epochs.Enter();
        try
        {
            return body.Live.Map.Find(key) is { } partition ? partition.Writer.WaitUntilClosed(body.At) : default;
        }
        finally
        {
            Epochs.Exit();
        }
    }

    private static ValueLease Found(TransactionBody body, scoped ReadOnlySpan<byte> key, Engine engine, long at, bool notes)
    {
        bool found = engine.TryGet(key, at, out ValueLease lease);
        if (found && lease.ExpiresAtUnixMilliseconds != 0 && lease.ExpiresAtUnixMilliseconds <= body.Live.Oracle.Now())
        {
            lease.Dispose();
            found = false;
        }

        if (notes)
        {
            body.Reads.Note(key, found ? lease.Version : 0);
        }
        else if (body.SeesKeys)
        {
            body.Seen.Add(key);
        }

        // Only now: see invariant 2 of the body.
        if (body.IsEnded || (notes && body.Reads.Bytes + body.Writes.Bytes > body.Live.StoreOptions.MaxTransactionBytes))
        {
            lease.Dispose();
            return new ValueLease { Status = body.IsEnded ? body.EndStatus : Status.TooLarge };
        }

        if (!found)
        {
            return new ValueLease { Status = Status.NotFound };
        }

        lease.Status = Status.Ok;
        body.Live.Counters.Add(Counter.GetsFound);
        return lease;
    }

    /// <summary>A key that is merged: what the merges make of what is below them, which is read as any key.</summary>
    public static ValueLease GetMerged(TransactionBody body, WriteSet writes, scoped ReadOnlySpan<byte> key, long at, bool notes)
    {
        using ValueLease stored = TransactionMerges.StandsOnWrite(body, writes, key) ? default : GetCommitted(body, key, at, notes);
        if (stored.Status > Status.NotFound)
        {
            return new ValueLease { Status = stored.Status };
        }

        Status status = TransactionMerges.Evaluate(body, writes, key, stored, out byte[] value, out long expiresAt);
        return status == Status.Ok ? Lend(body, value, expiresAt) : new ValueLease { Status = status };
    }

    private static ValueLease Lend(TransactionBody body, ReadOnlySpan<byte> value, long expiresAt) =>
        expiresAt != 0 && expiresAt <= body.Live.Oracle.Now()
            ? new ValueLease { Status = Status.NotFound }
            : new ValueLease { Status = Status.Ok, Value = value, ExpiresAtUnixMilliseconds = expiresAt };
}
