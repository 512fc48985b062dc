using KeyVa.Measurements;
using KeyVa.Merges;

namespace KeyVa;

/// <summary>How a write ended.</summary>
public readonly struct WriteResult
{
    private readonly IReadOnlyList<ReadOnlyMemory<byte>>? _merged;

    /// <summary>The outcome. <see cref="Status.NotFound"/>: a single removal of a key that was not there; nothing changed.</summary>
    public Status Status { get; init; }

    /// <summary>The version at which the whole write happened; 0 unless it did.</summary>
    public long Version { get; init; }

    /// <summary>The operation of the batch that was refused, counted from 0; -1 if none or all of them.</summary>
    public int FailedOperation { get; init; }

    /// <summary>After <see cref="Status.ConditionFailed"/>: the key's version as it is; 0 if it does not exist.</summary>
    public long CurrentVersion { get; init; }

    /// <summary>For each operation of a batch, in order: true if it was a removal and the key was there (a removal of a range does not look, and is always true). Empty for a single write.</summary>
    public ReadOnlyMemory<bool> Removed { get; init; }

    /// <summary>For each merge of the write, in order: the value that it came to. Empty unless the write was done.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> Merged
    {
        get => _merged ?? [];
        init => _merged = value;
    }

    /// <summary>What the first merge came to as a whole number: a counter after an increment. 0 if there is none or it is no whole number.</summary>
    public long MergedNumber => Merged.Count > 0 && DecimalText.TryReadWhole(Merged[0].Span, out long number) ? number : 0;

    /// <summary>
    /// Where it stands in its partition's log, and how many nodes have it. Also after <see cref="Status.Unknown"/> of a write that asked for more
    /// replicas than have it in time: then it says how far it came. Of a write over several partitions of a cluster: where it was decided, in the
    /// first of them.
    /// </summary>
    public WriteReceipt Receipt { get; init; }

    /// <summary>Of a write over several partitions of a cluster: where it stands in the log of each, for who counts replicas; null: it went to one.</summary>
    internal IReadOnlyList<WriteReceipt>? PartReceipts { get; init; }

    /// <summary>For a person: what was refused and what to do; null when done.</summary>
    public string? Detail { get; init; }

    /// <summary>Where the time went, if it took long enough to be noted (<see cref="WriteTiming"/>); otherwise null.</summary>
    internal WriteTimes? Times { get; init; }

    /// <summary>Whether it was done.</summary>
    public bool IsOk => Status == Status.Ok;
}
