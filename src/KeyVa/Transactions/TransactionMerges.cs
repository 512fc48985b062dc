using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using KeyVa.Merges;
using KeyVa.Partitions;

namespace KeyVa.Transactions;

/// <summary>
/// How a transaction merges. Over what it has written itself a merge is done at once, and is a put from then on. Over what it has not, it
/// is kept: evaluated when it commits, over whatever is there then, and each time the transaction reads the key, over what it sees.
/// </summary>
internal static class TransactionMerges
{
    /// <summary>Merges of a key that stand on each other: each read of the key does them all.</summary>
    public const int MaxStacked = 1024;

    public static WriteResult Merge(TransactionBody body, ReadOnlySpan<byte> key, MergeFunction function, ReadOnlySpan<byte> operand, in WriteOptions options)
    {
        if (options.Acknowledgement.Early > 0)
        {
            return AcknowledgementRules.InTransaction;
        }

        LiveTransactions live = body.Live;
        if (!live.MergeFunctions.Knows(function))
        {
            return TransactionWrites.Refusal(Status.Unsupported, Refusals.UnknownFunction(function));
        }

        if (!TransactionWrites.MayWrite(body, key, operand, options.Condition, out WriteResult refusal))
        {
            return refusal;
        }

        WriteSet writes = body.Writes;
        bool isWritten = writes.TryFind(key, out BufferedWrite below);
        if (!isWritten || (below.IsMerge && !IsOver(body, below.Expiry)))
        {
            return Keep(body, key, function, operand, options, isWritten ? below : default);
        }

        // Below is what the transaction has put or removed, or what has expired: known for good.
        bool exists = below.IsPut && !IsOver(body, below.Expiry);
        var input = new MergeInput { Key = key, Exists = exists, Existing = exists ? writes.ValueOf(below) : default, Operand = operand };
        MergeResult result = body.MergeResult;
        result.Clear();
        Status status = MergeCall.Run(function, input, result, live.StoreOptions.MaxValueBytes, out string? detail);
        if (status != Status.Ok)
        {
            return TransactionWrites.Refusal(status, detail);
        }

        if (!TransactionWrites.HasRoom(body, key.Length + result.Length, out refusal))
        {
            return refusal;
        }

        Expiry expiry = options.Expiry.Milliseconds != 0 || !exists ? options.Expiry : below.Expiry;
        lock (writes.Gate)
        {
            writes.Put(key, result.Slice(0, result.Length), expiry, live.NextSequence());
        }

        return TransactionWrites.Done;
    }

    /// <summary>
    /// What a key comes to whose newest write in a set is a merge. <paramref name="stored"/> is what the store has of it, and is looked at
    /// only if the merges do not stand on a write of the set. Not Ok: a function refuses, and the detail of the body says why.
    /// </summary>
    public static Status Evaluate(TransactionBody body, WriteSet writes, ReadOnlySpan<byte> key, in ValueLease stored, out byte[] value, out long expiresAt)
    {
        ArrayBufferWriter<byte> stack = body.MergeSteps;
        BufferedWrite newest = writes.CopyMerges(key, stack, out bool isWrittenBelow, out BufferedWrite below);
        bool exists = isWrittenBelow ? below.IsPut && !IsOver(body, below.Expiry) : stored.Found;
        var input = new MergeInput
        {
            Key = key,
            Exists = exists,
            Existing = !exists ? default : isWrittenBelow ? writes.ValueOf(below) : stored.Value,
        };
        MergeResult result = body.MergeResult;
        result.Clear();
        Status status = MergeCall.RunStack(body.Live.MergeFunctions, stack.WrittenSpan, input, result, body.Live.StoreOptions.MaxValueBytes, out string? detail);
        if (status != Status.Ok)
        {
            body.NoteRefusal(detail);
        }

        value = result.Slice(0, result.Length).ToArray();
        expiresAt = newest.Expiry.Milliseconds != 0 ? Shown(newest.Expiry)
            : !exists ? 0
            : isWrittenBelow ? Shown(below.Expiry) : stored.ExpiresAtUnixMilliseconds;
        return status;
    }

    /// <summary>Whether the merges of a key stand on a write of the set, so that what the store has of it is not needed.</summary>
    public static bool StandsOnWrite(TransactionBody body, WriteSet writes, ReadOnlySpan<byte> key)
    {
        writes.CopyMerges(key, body.MergeSteps, out bool isWrittenBelow, out _);
        return isWrittenBelow;
    }

    /// <summary>The merges of a key as one operation of the commit.</summary>
    public static void Encode(TransactionBody body, ReadOnlySpan<byte> key, in Condition condition)
    {
        BufferedWrite newest = body.Writes.CopyMerges(key, body.MergeSteps, out bool isWrittenBelow, out _);
        Debug.Assert(!isWrittenBelow, "over an own write a merge is done at once");
        body.Command.MergeAll(
            key, body.MergeSteps.WrittenSpan, body.Live.StoreOptions.MaxValueBytes, new WriteOptions { Expiry = newest.Expiry, Condition = condition });
    }

    private static WriteResult Keep(
        TransactionBody body, ReadOnlySpan<byte> key, MergeFunction function, ReadOnlySpan<byte> operand, in WriteOptions options, in BufferedWrite below)
    {
        if (below.Stacked == MaxStacked)
        {
            return TransactionWrites.Refusal(Status.TooLarge, string.Create(
                CultureInfo.InvariantCulture, $"a transaction merges a key that it has not written at most {MaxStacked} times; read it and put it"));
        }

        ArrayBufferWriter<byte> step = body.MergeSteps;
        step.ResetWrittenCount();
        MergeStack.Append(step, function, operand);
        lock (body.Writes.Gate)
        {
            body.Writes.Merge(key, step.WrittenSpan, options.Expiry.Milliseconds != 0 ? options.Expiry : below.Expiry, below.Stacked + 1, body.Live.NextSequence());
        }

        return TransactionWrites.Done;
    }

    private static bool IsOver(TransactionBody body, Expiry expiry) => Shown(expiry) is var at && at != 0 && at <= body.Live.Oracle.Now();

    // A relative expiry counts from the commit, which is to come.
    private static long Shown(Expiry expiry) => expiry.IsRelative ? 0 : expiry.Milliseconds;
}
