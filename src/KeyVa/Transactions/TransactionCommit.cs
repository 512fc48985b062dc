using System.Globalization;
using System.Text;
using KeyVa.Indexes;
using KeyVa.Measurements;
using KeyVa.Partitions;

namespace KeyVa.Transactions;

/// <summary>
/// How a transaction commits: one command of what it has written and of what must be as it read it, evaluated when it is applied
/// (across partitions: with all writers held, before it is logged).
/// </summary>
/// <remarks>
/// Validation is by state alone: a key must have the version at which it was read, or be absent as it was; a range must hold the
/// same keys at the same versions. A key that came and went meanwhile counts as unchanged, as it is.
/// </remarks>
internal static class TransactionCommit
{
    private const int LongestNamedKey = 48;

    /// <summary>Commits and waits for it.</summary>
    public static CommitResult Run(TransactionBody body)
    {
        if (!TryBegin(body, out CommitResult result))
        {
            return result;
        }

        try
        {
            return Encode(body, out result) ? Result(body, body.Live.Write(body.Command, LockTimeout(body))) : result;
        }
        finally
        {
            body.EndCommit();
        }
    }

    /// <summary>Commits; nothing blocks the thread.</summary>
    public static async ValueTask<CommitResult> RunAsync(TransactionBody body)
    {
        if (!TryBegin(body, out CommitResult result))
        {
            return result;
        }

        try
        {
            return Encode(body, out result) ? Result(body, await body.Live.WriteAsync(body.Command, LockTimeout(body)).ConfigureAwait(false)) : result;
        }
        finally
        {
            body.EndCommit();
        }
    }

    /// <summary>A key, for a person.</summary>
    public static string Describe(ReadOnlySpan<byte> key)
    {
        bool isText = key.IndexOfAnyExceptInRange((byte)' ', (byte)'~') < 0;
        ReadOnlySpan<byte> shown = key[..Math.Min(key.Length, LongestNamedKey)];
        string text = isText ? $"'{Encoding.ASCII.GetString(shown)}'" : $"0x{Convert.ToHexStringLower(shown)}";
        return shown.Length < key.Length ? text + "..." : text;
    }

    /// <summary>False: it is over already, by itself or because there is nothing to write.</summary>
    private static bool TryBegin(TransactionBody body, out CommitResult result)
    {
        for (TransactionCursor? cursor = body.Cursors; cursor is not null; cursor = cursor.Next)
        {
            cursor.NoteRead();
        }

        body.Queries.ForEach(static query => query.NoteRead());

        // Reads at one snapshot are as they were at its version, whatever came later. Reads under locks were made one by
        // one, and a write that was on its way when a lock was taken may have come between.
        bool isDone = body.Writes.IsEmpty && (!body.LocksReads || body.Reads.IsEmpty);
        result = default;
        if (isDone)
        {
            LiveTransactions live = body.Live;
            if (body.End(body.State, Status.Ok))
            {
                live.Counters.Add(Counter.Commits);
                return false;
            }
        }
        else if (body.TryBeginCommit())
        {
            return true;
        }

        result = new CommitResult { Status = body.EndStatus, Detail = body.Detail };
        return false;
    }

    private static TimeSpan? LockTimeout(TransactionBody body) => body.IsPessimistic ? null : body.Live.LockTimeout(body.Options);

    private static bool Encode(TransactionBody body, out CommitResult refusal)
    {
        refusal = default;
        long limit = body.Live.StoreOptions.MaxTransactionBytes;
        if (body.Reads.Bytes + body.Writes.Bytes > limit)
        {
            refusal = new CommitResult { Status = Status.TooLarge, Detail = TooLarge(limit) };
            return false;
        }

        if ((body.Live.Defects & Defects.SkipsValidation) != 0)
        {
            body.Reads.Clear();
        }

        if (!EncodeWrites(body, out refusal))
        {
            return false;
        }

        EncodeChecks(body);
        return true;
    }

    public static string TooLarge(long limit) => string.Create(
        CultureInfo.InvariantCulture, $"what the transaction has written and must find unchanged exceeds {limit} bytes (max-transaction-bytes)");

    private static bool EncodeWrites(TransactionBody body, out CommitResult refusal)
    {
        CommandBuilder command = body.Command;
        WriteSet writes = body.Writes;
        bool firstWins = body.Options.Isolation == IsolationLevel.RepeatableRead;
        refusal = default;
        for (int number = 0; number < writes.Keys.Count; number++)
        {
            ReadOnlySpan<byte> key = writes.Keys[number];
            if (!writes.HasWrite(number) || !writes.TryFind(number, key, out BufferedWrite write) || IsGoneWithRange(write))
            {
                continue;
            }

            Condition condition = default;
            bool isChecked = body.Reads.TryGetVersion(key, out long version);
            // A merge of a key that was not read goes over whatever is there then.
            if (!isChecked && firstWins && (!write.IsMerge || body.Seen.Contains(key)))
            {
                isChecked = TransactionReads.TryGetVersion(body, key, out version);
                if (!isChecked)
                {
                    refusal = new CommitResult { Status = Status.BadNode, Detail = Refusals.BadNodeDetail };
                    return false;
                }
            }

            if (isChecked)
            {
                condition = version == 0 ? Condition.IfAbsent : Condition.IfVersion(version);
            }

            if (write.IsMerge)
            {
                TransactionMerges.Encode(body, key, condition);
            }
            else if (write.IsPut)
            {
                command.Put(key, writes.ValueOf(write), new WriteOptions { Expiry = write.Expiry, Condition = condition });
            }
            else
            {
                command.Remove(key, condition, blind: false);
            }
        }

        for (int range = 0; range < writes.RangeCount; range++)
        {
            command.RemoveRange(writes.FromOf(range), writes.ToOf(range));
        }

        return true;
    }

    // A key's own write that a later removal of a range has taken back is not to happen; the range takes what lies below.
    private static bool IsGoneWithRange(in BufferedWrite write) => write.Previous == BufferedWrite.OfRange;

    private static void EncodeChecks(TransactionBody body)
    {
        ReadSet reads = body.Reads;
        WriteSet writes = body.Writes;
        for (int number = 0; number < reads.Keys.Count; number++)
        {
            ReadOnlySpan<byte> key = reads.Keys[number];
            bool isWritten = !writes.IsEmpty && writes.TryFind(key, out BufferedWrite write) && !IsGoneWithRange(write);
            if (!isWritten)
            {
                long version = reads.VersionOf(number);
                body.Command.Check(key, version == 0 ? Condition.IfAbsent : Condition.IfVersion(version));
            }
        }

        for (int range = 0; range < reads.RangeCount; range++)
        {
            body.Command.Check(reads.RangeAt(range));
        }

        for (int index = 0; index < reads.IndexCount; index++)
        {
            body.Command.Check(reads.IndexAt(index));
        }
    }

    private static CommitResult Result(TransactionBody body, in WriteResult written)
    {
        if (written.Status == Status.MergeRefused)
        {
            return new CommitResult { Status = written.Status, Detail = $"{Describe(OperationAt(body, written.FailedOperation).Key)}: {written.Detail}" };
        }

        if (written.Status != Status.ConditionFailed)
        {
            if (written.Status <= Status.NotFound)
            {
                body.Live.Counters.Add(Counter.Commits);
            }

            // NotFound: it only removed a key that was not there.
            return written.Status <= Status.NotFound
                ? new CommitResult { Status = Status.Ok, Version = written.Version, Receipt = written.Receipt, PartReceipts = written.PartReceipts, Times = written.Times }
                : new CommitResult { Status = written.Status, Detail = written.Detail };
        }

        body.Live.Counters.Add(Counter.Conflicts);
        Operation operation = OperationAt(body, written.FailedOperation);
        if (operation.IsIndexCheck)
        {
            string index = body.Live.Indexes.NameOf(IndexCheck.Read(operation).Index) is { } name ? $"the index '{name}'" : "an index that was dropped";
            return new CommitResult { Status = Status.Conflict, Detail = $"another has changed what {index} has shown to the transaction" };
        }

        string key = Describe(operation.Key);
        return new CommitResult
        {
            Status = Status.Conflict,
            ConflictKey = operation.Key.ToArray(),
            Detail = operation.IsRangeCheck
                ? $"another has changed what lies between {key} and {Describe(operation.To)}, which the transaction has read"
                : written.CurrentVersion == 0
                    ? $"another has removed {key}, which the transaction has read or written"
                    : string.Create(CultureInfo.InvariantCulture, $"another has changed {key} to version {written.CurrentVersion}, which the transaction has read or written"),
        };
    }

    private static Operation OperationAt(TransactionBody body, int number)
    {
        ReadOnlySpan<byte> command = body.Command.Buffer.Written;
        Operation operation = default;
        for (int i = 0; i <= number; i++)
        {
            OperationEncoding.TryRead(ref command, out operation);
        }

        return operation;
    }
}
