using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>One record as read back.</summary>
internal readonly ref struct JournalRecord
{
    public required RecordKind Kind { get; init; }

    public required ReadOnlySpan<LogPosition> Positions { get; init; }

    public required ReadOnlySpan<byte> Payload { get; init; }
}

/// <summary>Receives records in log order.</summary>
internal interface IJournalReader
{
    void Read(in JournalRecord record);
}

/// <summary>Placeholder of the contract; see the design, §3.</summary>
internal sealed class Journal : IDisposable
{
    /// <summary>Opens or creates the journal in a folder: finds its end, cuts a torn tail, refuses earlier damage.</summary>
    public static Journal Open(IFileSystem fileSystem, string directory, JournalOptions options, TimeProvider time) =>
        throw new NotSupportedException();

    /// <summary>What stopped the journal, or null.</summary>
    public StoreException? Failure { get; private set; }

    /// <summary>Reads all records from the beginning; once, after opening and before the first append.</summary>
    public void Replay(IJournalReader reader) => throw new NotSupportedException();

    /// <summary>Appends an entry and waits until it is as durable as asked for. Concurrent calls share a write and a sync.</summary>
    public AppendOutcome Append(JournalEntry entry) => throw new NotSupportedException();

    /// <summary>Appends an entry without waiting; <see cref="JournalEntry.Completed"/> is called when the outcome is known.</summary>
    public void Enqueue(JournalEntry entry) => throw new NotSupportedException();

    public (string? CutTail, int X) Recovered { get; private set; }
    public JournalStatistics GetStatistics() => new(0, Recovered.X);
    public void Forget(long partition) => Recovered = (null, (int)partition);

    /// <summary>A partition's engine has everything up to an index: segments that nobody needs any more may go.</summary>
    public void Release(long partition, long durableIndex) => throw new NotSupportedException();

    public void Dispose()
    {
    }
}

/// <summary>Settings of the journal.</summary>
internal sealed record JournalOptions
{
    public Durability Durability { get; init; } = Durability.Always;

    /// <summary>Between two syncs under <see cref="Durability.Interval"/>.</summary>
    public TimeSpan SyncInterval { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Bytes of one segment file, preallocated.</summary>
    public long SegmentBytes { get; init; } = 64L << 20;

    /// <summary>Past this many bytes of segments, partitions that hold the oldest one are asked to flush.</summary>
    public long BudgetBytes { get; init; } = 1L << 30;

    /// <summary>Kept on the disk so that removals go on when it is full.</summary>
    public long ReserveBytes { get; init; } = 16L << 20;

    /// <summary>Idle time after which the journal notes what it has synced.</summary>
    public TimeSpan IdleMark { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>Called, outside all locks, with the partitions that hold the oldest segment when the budget is exceeded.</summary>
    public Action<IReadOnlyList<long>>? BudgetExceeded { get; init; }
}

internal readonly record struct JournalStatistics(long Bytes, long Syncs);
