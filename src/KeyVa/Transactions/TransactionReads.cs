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

        if (body.SeesUncommitted && !forUpdate)
        {
            if (TryGetUncommitted(body, key, out ValueLease uncommitted))
            {
                return uncommitted;
            }
        }
        else if (!body.Writes.IsEmpty && body.Writes.TryFind(key, out BufferedWrite own))
        {
            return own.IsPut ? Lend(body, body.Writes.ValueOf(own), own.Expiry) : new ValueLease { Status = Status.NotFound };
        }

        return GetCommitted(body, key, at, notes: forUpdate ? !body.IsReadOnly : body.NotesReads);
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

    /// <summary>The newest of what this and other transactions have written; false if none has.</summary>
    private static bool TryGetUncommitted(TransactionBody body, scoped ReadOnlySpan<byte> key, out ValueLease lease)
    {
        long newest = -1;
        byte[] copy = [];
        bool isOwn = body.TryFindUncommitted(key, ref newest, ref copy, out BufferedWrite write);
        if (body.Live.TryFindUncommitted(key, body, ref newest, ref copy, out BufferedWrite others))
        {
            write = others;
        }
        else if (!isOwn)
        {
            lease = default;
            return false;
        }

        lease = write.IsPut ? Lend(body, copy, write.Expiry) : new ValueLease { Status = Status.NotFound };
        return true;
    }

    private static ValueLease Lend(TransactionBody body, ReadOnlySpan<byte> value, Expiry expiry)
    {
        long expiresAt = expiry.IsRelative ? 0 : expiry.Milliseconds;
        return expiresAt != 0 && expiresAt <= body.Live.Oracle.Now()
            ? new ValueLease { Status = Status.NotFound }
            : new ValueLease { Status = Status.Ok, Value = value, ExpiresAtUnixMilliseconds = expiresAt };
    }
}
