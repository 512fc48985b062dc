using System.Globalization;
using KeyVa.Partitions;
using KeyVa.Transactions.Locks;

namespace KeyVa.Transactions;

/// <summary>How a transaction writes: checks what it is given, locks it if it is pessimistic, and keeps it until the commit.</summary>
internal static class TransactionWrites
{
    public static WriteResult Put(TransactionBody body, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, in WriteOptions options)
    {
        if (value.Length > body.Live.StoreOptions.MaxValueBytes)
        {
            return Refusal(Status.TooLarge, string.Create(
                CultureInfo.InvariantCulture, $"a value of {value.Length} bytes exceeds the limit of {body.Live.StoreOptions.MaxValueBytes} bytes (max-value-bytes)"));
        }

        if (!MayWrite(body, key, value.Length, options.Condition, out WriteResult refusal))
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
        if (!MayWrite(body, key, 0, condition, out WriteResult refusal))
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

    private static WriteResult Done => new() { Status = Status.Ok, FailedOperation = -1 };

    private static WriteResult Refusal(Status status, string? detail) => new() { Status = status, FailedOperation = -1, Detail = detail };

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

    private static bool MayWrite(TransactionBody body, ReadOnlySpan<byte> key, int valueBytes, in Condition condition, out WriteResult refusal)
    {
        if (!Runs(body, out refusal))
        {
            return false;
        }

        if ((uint)(key.Length - 1) >= Limits.MaxKeyBytes)
        {
            refusal = Refusal(Refusals.CheckKey(key.Length, Status.Ok), Refusals.DescribeKey(key.Length));
            return false;
        }

        return HasRoom(body, key.Length + valueBytes, out refusal)
            && Locked(body, key, default, isRange: false, out refusal)
            && (condition.Kind == ConditionKind.None || Holds(body, key, condition, out refusal));
    }

    private static bool HasRoom(TransactionBody body, int bytes, out WriteResult refusal)
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
