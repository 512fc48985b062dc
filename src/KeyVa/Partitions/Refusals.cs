using System.Globalization;

namespace KeyVa.Partitions;

/// <summary>What callers are told when a request is refused: what happened, to what, and what to do.</summary>
internal static class Refusals
{
    public static WriteResult Full { get; } = new()
    {
        Status = Status.Full,
        FailedOperation = -1,
        Detail = "the disk that holds the data folder is full; free some room or remove keys, writes go on by themselves then",
    };

    public static WriteResult MixedDurability { get; } = new()
    {
        Status = Status.Unsupported,
        FailedOperation = -1,
        Detail = "a batch cannot be all-or-nothing over a volatile partition and a durable one; send it in two",
    };

    /// <summary>What a store whose partitions are replicated does not do (docs/replication.md).</summary>
    public static WriteResult NotReplicated(string what) => new()
    {
        Status = Status.Unsupported,
        FailedOperation = -1,
        Detail = $"{what} is not possible in a cluster yet; nothing was done",
    };

    public static WriteResult Busy(int queued) => new()
    {
        Status = Status.Busy,
        FailedOperation = -1,
        Detail = string.Create(CultureInfo.InvariantCulture, $"{queued} writes wait for this partition already; try again in a moment"),
    };

    public static WriteResult Failed(StoreException failure) => new()
    {
        Status = Status.Failed,
        FailedOperation = -1,
        Detail = $"the store takes no more writes: {failure.Message}",
    };

    public static WriteResult Gone(long partition, Status status) => new()
    {
        Status = status,
        FailedOperation = -1,
        Detail = status == Status.BadNode
            ? string.Create(CultureInfo.InvariantCulture, $"partition {partition} has been removed from this node")
            : "the store is closed",
    };

    public static WriteResult ConditionFailed(int operation, long currentVersion) => new()
    {
        Status = Status.ConditionFailed,
        FailedOperation = operation,
        CurrentVersion = currentVersion,
        Detail = currentVersion == 0
            ? "the condition does not hold: the key does not exist"
            : string.Create(CultureInfo.InvariantCulture, $"the condition does not hold: the key is at version {currentVersion}"),
    };

    public static WriteResult BadNode(int operation) => new()
    {
        Status = Status.BadNode,
        FailedOperation = operation,
        Detail = BadNodeDetail,
    };

    /// <summary>A write of a session that is not known, or not any more, or is behind another of the same session.</summary>
    public static WriteResult NoSession(long client) => new()
    {
        Status = Status.Expired,
        FailedOperation = -1,
        Detail = string.Create(CultureInfo.InvariantCulture, $"session {client} is not known any more, or has gone on: it is not known whether this write was done before; if it was not sent before, it was not done: open another session"),
    };

    public static WriteResult SessionAcross { get; } = new()
    {
        Status = Status.Unsupported,
        FailedOperation = -1,
        Detail = "a write of a session goes to one partition; send it without",
    };

    public static WriteResult AcrossIsSync { get; } = new()
    {
        Status = Status.Invalid,
        FailedOperation = -1,
        Detail = "a write over several partitions is acknowledged sync, when it is committed in all of them; ask for sync, or leave it out",
    };

    public const string BadNodeDetail = "this node owns no partition that holds the key; 'keyva admin partition list' shows what it owns";

    /// <summary>Why a key breaks a rule; <paramref name="otherwise"/> if it does not.</summary>
    public static Status CheckKey(int bytes, Status otherwise) => bytes switch
    {
        0 => Status.Invalid,
        > Limits.MaxKeyBytes => Status.TooLarge,
        _ => otherwise,
    };

    public static string DescribeKey(int bytes) => bytes == 0
        ? "a key has at least 1 byte"
        : string.Create(CultureInfo.InvariantCulture, $"a key of {bytes} bytes exceeds the limit of {Limits.MaxKeyBytes} bytes");

    public static string DescribeValue(int bytes, int limit) =>
        string.Create(CultureInfo.InvariantCulture, $"a value of {bytes} bytes exceeds the limit of {limit} bytes (max-value-bytes)");

    public static string UnknownFunction(MergeFunction function) => string.Create(
        CultureInfo.InvariantCulture, $"the merge function '{function.Name}' version {function.Version} is not registered with this store (StoreOptions.MergeFunctions)");

    /// <summary>Ok, or why the command breaks a rule.</summary>
    public static Status Check(CommandBuilder command, StoreOptions options, out string? detail)
    {
        if (command.ShortestKey == 0)
        {
            detail = DescribeKey(0);
            return Status.Invalid;
        }

        if (command.LongestKey > Limits.MaxKeyBytes)
        {
            detail = DescribeKey(command.LongestKey);
            return Status.TooLarge;
        }

        if (command.EmptyRange >= 0)
        {
            detail = "the range is empty: it ends where or before it begins";
            return Status.Invalid;
        }

        if (command.LongestValue > options.MaxValueBytes)
        {
            detail = DescribeValue(command.LongestValue, options.MaxValueBytes);
            return Status.TooLarge;
        }

        if (command.Count != 1)
        {
            return CheckBatch(command, options, out detail);
        }

        detail = null;
        return Status.Ok;
    }

    /// <summary>Of a command that changed nothing; <paramref name="operation"/> is the one at fault as the caller counts.</summary>
    public static WriteResult FromFailed(in CommandOutcome outcome, int operation) => outcome.Status switch
    {
        Status.ConditionFailed => ConditionFailed(operation, outcome.CurrentVersion),
        Status.NotUnique => Indexes.IndexRefusals.NotUnique(operation, outcome.Index!, outcome.OtherKey),
        Status.NotIndexable => Indexes.IndexRefusals.NotIndexable(operation, outcome.Index!),
        _ => new WriteResult { Status = outcome.Status, FailedOperation = operation, Detail = outcome.Detail },
    };

    /// <summary>Ok, or why the merges of a command cannot be done here.</summary>
    public static Status CheckMerges(CommandBuilder command, StoreContext context, out int operation, out string? detail)
    {
        detail = null;
        if (command.AdmitMerges(context.Options.MaxValueBytes, context.MergeFunctions, out operation, out MergeFunction? unknown))
        {
            return Status.Ok;
        }

        detail = UnknownFunction(unknown!);
        return Status.Unsupported;
    }

    public static WriteResult FromOutcome(in CommandOutcome outcome, CommandBuilder command, long version, bool[]? removed, in WriteReceipt receipt) =>
        FromOutcome(outcome, command.Count, command.HasRemovals, version, removed, receipt);

    public static WriteResult FromOutcome(in CommandOutcome outcome, int count, bool hasRemovals, long version, bool[]? removed, in WriteReceipt receipt)
    {
        if (outcome.Status != Status.Ok)
        {
            return FromFailed(outcome, outcome.FailedOperation);
        }

        bool nothingRemoved = count == 1 && hasRemovals && outcome.RemovedCount == 0;
        return new WriteResult
        {
            Status = nothingRemoved ? Status.NotFound : Status.Ok,
            Version = nothingRemoved ? 0 : version,
            FailedOperation = -1,
            Removed = removed,
            Receipt = receipt,
        };
    }

    private static Status CheckBatch(CommandBuilder command, StoreOptions options, out string? detail)
    {
        long limit = options.MaxBatchBytes;
        if (command.Count == 0)
        {
            detail = "a batch has at least one operation";
            return Status.Invalid;
        }

        if (command.DuplicateKey >= 0)
        {
            detail = string.Create(CultureInfo.InvariantCulture, $"operation {command.DuplicateKey} names a key that stands in the batch already");
            return Status.Invalid;
        }

        if (command.Count > Limits.MaxBatchOperations || command.DataBytes > limit)
        {
            detail = string.Create(CultureInfo.InvariantCulture, $"a batch of {command.Count} operations and {command.DataBytes} bytes exceeds the limit of {Limits.MaxBatchOperations} operations or {limit} bytes (max-batch-bytes)");
            return Status.TooLarge;
        }

        detail = null;
        return Status.Ok;
    }
}
