using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>What a record of the journal is.</summary>
internal enum RecordKind : byte
{
    /// <summary>A group of commands of one partition.</summary>
    Commands = 1,

    /// <summary>A commit over several partitions: applied in each of the record's participants.</summary>
    Commit = 2,

    /// <summary>A bulk load: the tables that it adds to each of the record's participants.</summary>
    Ingest = 3,

    /// <summary>No write: how far the log of each of the record's partitions had come where a segment begins. See <see cref="ReachedEntry"/>.</summary>
    Reached = 4,
}

/// <summary>One partition's place in the log: which index a record takes there.</summary>
internal readonly record struct LogPosition(long Partition, long Term, long Index);

/// <summary>How an append ended.</summary>
internal enum AppendOutcome : byte
{
    /// <summary>Written, and synced if the durability says so.</summary>
    Appended = 0,

    /// <summary>No room on the disk: nothing of the entry is in the journal, and the journal goes on.</summary>
    Full = 1,

    /// <summary>The journal has stopped (failed write or sync); whether the entry is in it is unknown. See <see cref="Journal.Failure"/>.</summary>
    Failed = 2,
}

/// <summary>
/// One record on its way into the journal. Its owner fills it, appends it and leaves it alone until it is completed;
/// then it may be filled again. Each partition has one group under way at most, so one entry per partition serves for
/// ever and appending allocates nothing.
/// </summary>
internal abstract class JournalEntry
{
    /// <summary>Where the record stands in the log of each partition it is for; at least one, at most 65535, by rising partition.</summary>
    public abstract ReadOnlySpan<LogPosition> Positions { get; }

    public RecordKind Kind { get; set; }

    /// <summary>Only removals: may use the disk reserve.</summary>
    public bool MayUseReserve { get; set; }

    /// <summary>The record's content, from <see cref="PayloadFrom"/> on; the journal only reads it.</summary>
    public NativeBuffer Payload { get; } = new();

    /// <summary>Bytes at the beginning of the buffer that are not of the content: room for a head of which the length is known at the end.</summary>
    public int PayloadFrom { get; protected set; }

    /// <summary>The record's content.</summary>
    public ReadOnlySpan<byte> Content => Payload.Written[PayloadFrom..];

    public int ContentLength => Payload.Length - PayloadFrom;

    /// <summary>Set before completion.</summary>
    public AppendOutcome Outcome { get; set; }

    /// <summary>The journal's queue.</summary>
    internal JournalEntry? Next { get; set; }

    /// <summary>Who waits for it in <see cref="Journal.Append"/>; null for an entry given to <see cref="Journal.Enqueue"/>.</summary>
    internal JournalWaiter? Waiter { get; set; }

    /// <summary>
    /// For entries given to <see cref="Journal.Enqueue"/>: called when the outcome is known, on the journal's sync thread
    /// (or, where nothing has to be waited for, on the caller's). Must not block on another append of the same thread.
    /// </summary>
    public abstract void Completed();
}
