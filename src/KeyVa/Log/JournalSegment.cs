using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>The lowest and highest index of one partition in one segment.</summary>
internal struct IndexRange
{
    public long First;
    public long Last;
}

/// <summary>
/// One segment file in use. Immutable but for its end, room, ranges and pins, which the journal's gate guards. The file is
/// closed when the segment was dropped and the last reader has unpinned it.
/// </summary>
internal sealed class JournalSegment
{
    private int _pins;
    private bool _dropped;
    private volatile bool _headerSynced;
    private long _end;
    private long _capacity;

    public required string Path { get; init; }

    public required StorageFile File { get; init; }

    /// <summary>Groups written since the journal was opened. Guarded by the gate.</summary>
    public long Groups { get; set; }

    /// <summary>Somebody reads or syncs the file. Guarded by the gate.</summary>
    public bool IsPinned => _pins > 0;

    public required SegmentHeader Header { get; init; }

    /// <summary>Bytes of the file that groups may fill, header included.</summary>
    public required long Capacity
    {
        get => Volatile.Read(ref _capacity);
        set => Volatile.Write(ref _capacity, value);
    }

    /// <summary>The absolute offset behind the last group. <see cref="Sync"/> reads it outside the gate.</summary>
    public required long End
    {
        get => Volatile.Read(ref _end);
        set => Volatile.Write(ref _end, value);
    }

    /// <summary>The index range of each partition that has records here.</summary>
    public required Dictionary<long, IndexRange> Ranges { get; init; }

    /// <summary>The last index of each partition in all segments before, as far as it is known. Immutable.</summary>
    public required Dictionary<long, long> Reached { get; init; }

    /// <summary>The header and the first group, which says how far each partition had come, are on the disk for good. Any thread; once set it stays.</summary>
    public bool HeaderSynced
    {
        get => _headerSynced;
        init => _headerSynced = value;
    }

    /// <summary>What has to be written again before a sync counts for it; null if nothing was found that no sync had confirmed.</summary>
    public JournalRewriting? Rewriting { get; init; }

    /// <summary>The place in the file of an absolute offset.</summary>
    public long FileOffset(long offset) => offset - Header.Base + JournalFormat.SegmentHeaderBytes;

    public static void Note(Dictionary<long, IndexRange> ranges, ReadOnlySpan<LogPosition> positions)
    {
        foreach (LogPosition position in positions)
        {
            ref IndexRange range = ref CollectionsMarshal.GetValueRefOrAddDefault(ranges, position.Partition, out bool known);
            range.First = known ? Math.Min(range.First, position.Index) : position.Index;
            range.Last = known ? Math.Max(range.Last, position.Index) : position.Index;
        }
    }

    /// <summary>
    /// Syncs the file, once what is to be written again is written. The only way by which anything here may come to count as synced.
    /// Any thread that has pinned it or is the flusher.
    /// </summary>
    public void Sync()
    {
        // A header alone is not enough: the first group behind it is what tells that a segment before this one is missing.
        bool begun = End > Header.Base;
        Rewriting?.Run();
        File.SyncData();
        if (begun)
        {
            _headerSynced = true;
        }
    }

    public void Pin() => _pins++;

    public void Unpin()
    {
        _pins--;
        CloseIfUnused();
    }

    public void Drop()
    {
        _dropped = true;
        CloseIfUnused();
    }

    private void CloseIfUnused()
    {
        if (_dropped && _pins == 0)
        {
            File.Dispose();
        }
    }
}
