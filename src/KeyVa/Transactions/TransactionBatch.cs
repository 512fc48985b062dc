using KeyVa.Partitions;
using KeyVa.Transactions.Locks;

namespace KeyVa.Transactions;

/// <summary>
/// A batch as part of a transaction: its operations one after the other, each with its condition, or none of them if one is
/// refused. Stateless.
/// </summary>
internal static class TransactionBatch
{
    public static async ValueTask<WriteResult> ApplyAsync(Transaction transaction, TransactionBody body, WriteBatch batch, CancellationToken cancellation)
    {
        if (batch.Acknowledgement.Early > 0)
        {
            return AcknowledgementRules.InTransaction;
        }

        WriteSet.Mark before = body.Writes.Here();
        try
        {
            WriteResult result = await ApplyAllAsync(transaction, body, batch, cancellation).ConfigureAwait(false);
            if (!result.IsOk)
            {
                body.TakeBackTo(before);
            }

            return result;
        }
        catch
        {
            // Given up between two operations, or a merge function of the user's has thrown.
            body.TakeBackTo(before);
            throw;
        }
    }

    private static async ValueTask<WriteResult> ApplyAllAsync(Transaction transaction, TransactionBody body, WriteBatch batch, CancellationToken cancellation)
    {
        bool[]? removed = batch.Commands.HasRemovals ? new bool[batch.Count] : null;
        int offset = 0;
        for (int i = 0; i < batch.Count; i++)
        {
            Part part = Part.Read(batch, i, ref offset);
            (WriteResult result, bool wasThere) = await ApplyAsync(transaction, body, part, cancellation).ConfigureAwait(false);
            if (!result.IsOk)
            {
                return result with { FailedOperation = i };
            }

            if (removed is not null)
            {
                removed[i] = wasThere;
            }
        }

        return new WriteResult { FailedOperation = -1, Removed = removed };
    }

    private static async ValueTask<(WriteResult Result, bool WasThere)> ApplyAsync(
        Transaction transaction, TransactionBody body, Part part, CancellationToken cancellation)
    {
        switch (part.Kind)
        {
            case PartKind.Put:
                WriteOptions options = new() { Expiry = part.Expiry, Condition = part.Condition };
                return (await transaction.PutAsync(part.Key, part.Value, options, cancellation).ConfigureAwait(false), false);
            case PartKind.RemoveRange:
                return (await transaction.RemoveRangeAsync(part.Key, part.Value, cancellation).ConfigureAwait(false), true);
            case PartKind.Check:
                return (await transaction.CheckAsync(part.Key, part.Condition, cancellation).ConfigureAwait(false), false);
            case PartKind.Merge:
                WriteOptions with = new() { Expiry = part.Expiry, Condition = part.Condition };
                return (await transaction.MergeAsync(part.Key, part.Function!, part.Value, with, cancellation).ConfigureAwait(false), false);
            case PartKind.BlindRemove:
                return (await transaction.RemoveAsync(part.Key, part.Condition, cancellation).ConfigureAwait(false), true);
            default:
                return await RemoveAsync(transaction, body, part, cancellation).ConfigureAwait(false);
        }
    }

    // Locked for the removal before it is looked at: two that look first would wait for each other.
    private static async ValueTask<(WriteResult Result, bool WasThere)> RemoveAsync(
        Transaction transaction, TransactionBody body, Part part, CancellationToken cancellation)
    {
        if (body.IsPessimistic && part.Key.Length is > 0 and <= Limits.MaxKeyBytes)
        {
            Status status = await body.LockAsync(part.Key, default, isRange: false, LockMode.Exclusive).ConfigureAwait(false);
            if (status != Status.Ok)
            {
                return (TransactionWrites.Refused(body, status), false);
            }
        }

        ReadResult read = await transaction.GetAsync(part.Key, cancellation).ConfigureAwait(false);
        return read.Status > Status.NotFound
            ? (new WriteResult { Status = read.Status, FailedOperation = -1, Detail = read.Detail }, false)
            : (await transaction.RemoveAsync(part.Key, part.Condition, cancellation).ConfigureAwait(false), read.Found);
    }

    private enum PartKind
    {
        Put,
        Remove,
        BlindRemove,
        RemoveRange,
        Check,
        Merge,
    }

    /// <summary>An operation with memory of its own, which lasts over waiting; <see cref="Value"/> of a range is its end.</summary>
    private readonly record struct Part(PartKind Kind, byte[] Key, byte[] Value, Expiry Expiry, Condition Condition, MergeFunction? Function)
    {
        public static Part Read(WriteBatch batch, int number, ref int offset)
        {
            ReadOnlySpan<byte> written = batch.Commands.Buffer.Written;
            ReadOnlySpan<byte> rest = written[offset..];
            OperationEncoding.TryRead(ref rest, out Operation operation);
            offset = written.Length - rest.Length;
            PartKind kind = operation.IsPut ? PartKind.Put
                : operation.IsRange ? PartKind.RemoveRange
                : operation.IsCheck ? PartKind.Check
                : operation.IsMerge ? PartKind.Merge
                : operation.IsBlind ? PartKind.BlindRemove
                : PartKind.Remove;
            Expiry expiry = operation.Expiry == 0 ? Expiry.Never
                : operation.IsExpiryRelative ? Expiry.InMilliseconds(operation.Expiry)
                : Expiry.AtUnixMilliseconds(operation.Expiry);
            Condition condition = operation.Condition switch
            {
                ConditionKind.IfAbsent => Condition.IfAbsent,
                ConditionKind.IfPresent => Condition.IfPresent,
                ConditionKind.IfVersion => Condition.IfVersion(operation.ConditionVersion),
                ConditionKind.IfValue => Condition.IfValue(operation.ConditionValue.ToArray()),
                _ => default,
            };
            return new Part(kind, operation.Key.ToArray(), (operation.IsRange ? operation.To : operation.Value).ToArray(), expiry, condition, operation.IsMerge ? batch.Commands.MergeOf(number) : null);
        }
    }
}
