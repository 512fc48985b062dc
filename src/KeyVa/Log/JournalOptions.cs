using System.Security.Cryptography;

namespace KeyVa.Log;

/// <summary>Settings of the journal.</summary>
internal sealed record JournalOptions
{
    public Durability Durability { get; init; } = Durability.Always;

    /// <summary>Between two syncs under <see cref="Durability.Interval"/>.</summary>
    public TimeSpan SyncInterval { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Bytes of one segment file, preallocated.</summary>
    public long SegmentBytes { get; init; } = 8L << 20;

    /// <summary>Past this many bytes of segments, partitions that hold the oldest one are asked to flush.</summary>
    public long BudgetBytes { get; init; } = 1L << 30;

    /// <summary>Kept on the disk so that removals go on when it is full.</summary>
    public long ReserveBytes { get; init; } = 8L << 20;

    /// <summary>Idle time after which the journal notes what it has synced.</summary>
    public TimeSpan IdleMark { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>
    /// Segments whose groups have at least so many bytes on average become segments again. A page that is new to the system's cache
    /// costs about a microsecond: of small groups, twenty share it.
    /// </summary>
    public long ReuseFromGroupBytes { get; init; } = 1024;

    /// <summary>After so long without a new segment, files that wait to become one are deleted: slower writers gain nothing by them.</summary>
    public TimeSpan ReuseWithin { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>A journal of so many bytes or more is read by two threads when it is opened and replayed.</summary>
    public long ReadAheadFrom { get; init; } = 32L << 20;

    /// <summary>
    /// What no sync is known to have confirmed is written again while the journal is opened, if it is no more than so many bytes or each write is to be
    /// synced; else by the first sync, so that a start does not wait for a whole journal to be written.
    /// </summary>
    public long RewriteAtOpening { get; init; } = 16L << 20;

    /// <summary>
    /// Called on the sync thread, outside all locks, with the partitions that hold the oldest segment when the budget is
    /// exceeded; once per new segment. Must not wait for an append.
    /// </summary>
    public Action<IReadOnlyList<long>>? BudgetExceeded { get; init; }

    /// <summary>Where each segment's salt comes from; a simulation puts a seeded source here.</summary>
    public Func<ulong> NextSalt { get; init; } =
        static () => BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)));
}
