using System.Globalization;
using KeyVa.Partitions;
using KeyVa.Transactions.Locks;

namespace KeyVa.Transactions;

/// <summary>How a transaction writes: checks what it is given, locks it if it is pessimistic, and keeps it until the commit.</summary>
internal static class TransactionWrites
{
    public static WriteResult Put(TransactionBody body, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, in WriteOptions options)
    {
        if (options.Acknowledgement.Early > 0)
        {
            return AcknowledgementRules.InTransaction;
        }

        if (!MayWrite(body, key, value, options.Condition, out WriteResult refusal))
        {
            return refusal;
        }

        lock (body.Writes.Gate)
        {
            body.Writes.Put(key, value, options.Expiry, body.Live.NextSequence());
        }

        return Done;
    }

    public static WriteResult Remove(TransactionBody body, ReadOnlySpan<byte> key, in Condition condition)
    {
        if (!MayWrite(body, key, default, condition, out WriteResult refusal))
        {
            return refusal;
        }

        lock (body.Writes.Gate)
        {
            body.Writes.Remove(key, body.Live.NextSequence());
        }

        return Done;
    }

    public static WriteResult RemoveRange(TransactionBody body, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        if (!Runs(body, out WriteResult refusal))
        {
            return refusal;
        }

        int longest = Math.Max(from.Length, to.Length);
        if (longest > Limits.MaxKeyBytes)
        {
            return Refusal(Status.TooLarge, Refusals.DescribeKey(longest));
        }

        if (!to.IsEmpty && from.SequenceCompareTo(to) >= 0)
        {
            return Refusal(Status.Invalid, "the range is empty: it ends where or before it begins");
        }

        if (body.Writes.RangeCount == WriteSet.MaxRanges)
        {
            return Refusal(Status.TooLarge, string.Create(CultureInfo.InvariantCulture, $"a transaction removes at most {WriteSet.MaxRanges} ranges"));
        }

        if (!HasRoom(body, from.Length + to.Length, out refusal) || !Locked(body, from, to, isRange: true, out refusal))
        {
            return refusal;
        }

        lock (body.Writes.Gate)
        {
            body.Writes.RemoveRange(from, to, body.Live.NextSequence());
        }

        return Done;
    }

    /// <summary>The result of a call that was refused for something that happened to the transaction.</summary>
    public static WriteResult Refused(TransactionBody body, Status status) => Refusal(status, body.Detail);

    public static WriteResult Done => new() { Status = Status.Ok, FailedOperation = -1 };

    public static WriteResult Refusal(Status status, string? detail) => new() { Status = status, FailedOperation = -1, Detail = detail };

    private static bool Runs(TransactionBody body, out WriteResult refusal)
    {
        refusal = default;
        if (!body.IsActive)
        {
            refusal = Refused(body, body.EndStatus);
            return false;
        }

        if (body.IsReadOnly)
        {
            refusal = Refusal(Status.Invalid, "the transaction was begun read-only; begin one that may write");
            return false;
        }

        return true;
    }

    /// <summary>Whether a key may be written, with a value or operand; it is locked then, and the condition holds.</summary>
    public static bool MayWrite(TransactionBody body, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, in Condition condition, out WriteResult refusal)
    {
        int limit = body.Live.StoreOptions.MaxValueBytes;
        if (value.Length > limit)
        {
            refusal = Refusal(Status.TooLarge, Refusals.DescribeValue(value.Length, limit));
            return false;
        }

        if (!Runs(body, out refusal))
        {
            return false;
        }

        if ((uint)(key.Length - 1) >= Limits.MaxKeyBytes)
        {
            refusal = Refusal(Refusals.CheckKey(key.Length, Status.Ok), Refusals.DescribeKey(key.Length));
            return false;
        }

        return HasRoom(body, key.Length + value.Length, out refusal)
            && Locked(body, key, default, isRange: false, out refusal)
            && (condition.Kind == ConditionKind.None || Holds(body, key, condition, out refusal));
    }

    /// <summary>Whether a write of so many bytes more is within the bound of the transaction.</summary>
    public static bool HasRoom(TransactionBody body, int bytes, out WriteResult refusal)
    {
        long limit = body.Live.StoreOptions.MaxTransactionBytes;
        bool fits = body.Writes.Bytes + body.Reads.Bytes + bytes + WriteSet.WriteOverhead <= limit;
        refusal = fits ? default : Refusal(Status.TooLarge, TransactionCommit.TooLarge(limit));
        return fits;
    }

    private static bool Locked(TransactionBody body, ReadOnlySpan<byte> key, ReadOnlySpan<byte> to, bool isRange, out WriteResult refusal)
    {
        refusal = default;
        if (!body.IsPessimistic)
        {
            return true;
        }

        Status status = body.Lock(key, to, isRange, LockMode.Exclusive);
        if (status != Status.Ok)
        {
            refusal = Refused(body, status);
        }

        return status == Status.Ok;
    }

    private static bool Holds(TransactionBody body, ReadOnlySpan<byte> key, in Condition condition, out WriteResult refusal)
    {
        Status status = TransactionReads.Check(body, key, condition, out long current);
        refusal = status switch
        {
            Status.Ok => default,
            Status.ConditionFailed => Refusals.ConditionFailed(0, current),
            _ => Refused(body, status),
        };
        return status == Status.Ok;
    }
}
