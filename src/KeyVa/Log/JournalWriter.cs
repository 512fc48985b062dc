using System.Diagnostics;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Writes groups at the journal's end. One thread at a time, the flusher, but for <see cref="SyncWritten"/> (the sync
/// thread) and <see cref="Failure"/> (anyone). Invariants: (1) the end advances only over a group whose write succeeded;
/// (2) a group records as synced only what a sync has confirmed; (3) after a failure nothing is ever written or synced
/// again; (4) bytes of a group that found no room can never be read as a group.
/// </summary>
internal sealed class JournalWriter : IDisposable
{
    /// <summary>A segment whose successor is late grows to so many times the usual size at most.</summary>
    private const int MostGrowth = 8;

    /// <summary>Segments of a smaller size do not grow: who asks for such has a reason to have many, and they are full before the sync thread runs at all.</summary>
    private const int SmallestToGrow = 1 << 20;

    // Immutable.
    private readonly JournalOptions _options;
    private readonly SegmentFiles _files;
    private readonly SegmentList _segments;

    // Flusher-owned.
    private readonly GroupBuilder _builder = new();
    private readonly byte[] _zeros = new byte[JournalFormat.GroupHeaderBytes];
    private JournalSegment _active;
    private uint _previous;
    private bool _onReserve;

    // With what the active segment's first group with records begins; none once it is written.
    private JournalEntry? _reached;
    private long _reachedBytes;

    // Shared: written by the flusher or the sync thread, read by all; the failure is set once.
    private long _end;
    private long _synced;
    private StoreException? _failure;
    private long _syncs;

    // Guarded by itself: the segments of a sync under way.
    private readonly List<JournalSegment> _pinned = [];

    public JournalWriter(
        JournalOptions options,
        SegmentFiles files,
        SegmentList segments,
        JournalSegment active,
        uint previous,
        bool endsInMark,
        long synced)
    {
        _options = options;
        _files = files;
        _segments = segments;
        _active = active;
        _previous = previous;
        EndsInMark = endsInMark;
        _end = active.End;
        _synced = synced;
        _onReserve = !files.TryMakeReserve();
    }

    public StoreException? Failure => Volatile.Read(ref _failure);

    /// <summary>The absolute offset behind the last group.</summary>
    public long End => Volatile.Read(ref _end);

    /// <summary>All below is known to be on the disk.</summary>
    public long Synced => Volatile.Read(ref _synced);

    /// <summary>Syncs so far.</summary>
    public long Syncs => Volatile.Read(ref _syncs);

    /// <summary>The last thing written is a mark, or nothing was written yet.</summary>
    public bool EndsInMark { get; private set; }

    /// <summary>The sequence that the next segment will have.</summary>
    public long NextSequence => Volatile.Read(ref _active).Header.Sequence + 1;

    /// <summary>
    /// An eighth of the active segment is used: time to make the next one ready, which takes two syncs. Not at once: a journal
    /// that is hardly used has no room for two.
    /// </summary>
    public bool WantsSpare => _active.FileOffset(_end) > _active.Capacity / 8;

    /// <summary>Counts the segments begun, so that others see when there is a new one.</summary>
    public long SegmentsBegun { get; private set; }

    /// <summary>Writes the entries as one group, syncs it if the durability says so, and sets every outcome.</summary>
    public void Flush(JournalEntry first)
    {
        if (Failure is not null)
        {
            SetOutcome(first, AppendOutcome.Failed);
            return;
        }

        try
        {
            SetOutcome(first, AppendOutcome.Appended);
            if (Admit(first))
            {
                Write(first);
            }
        }
        catch (StorageException error)
        {
            Fail(error);
            SetOutcome(first, AppendOutcome.Failed);
        }
        catch (Exception error)
        {
            // Whatever it is (no memory, a bug): the callers that wait for this round must not wait for ever, and nobody
            // may write behind a group of unknown state. The failure keeps the cause.
            Fail(new StoreException($"the journal stopped: {error.Message}", error));
            SetOutcome(first, AppendOutcome.Failed);
        }
    }

    /// <summary>
    /// Notes durably that all so far is synced, if it is and the active segment has room; returns whether the journal ends
    /// in a mark.
    /// </summary>
    public bool TryMark()
    {
        if (EndsInMark)
        {
            return true;
        }

        if (Failure is not null
            || Synced < End
            || _active.FileOffset(_end) + JournalFormat.GroupHeaderBytes > _active.Capacity)
        {
            return false;
        }

        try
        {
            _builder.Begin(_active.Header.Salt);
            if (!TryWriteGroup(JournalFormat.GroupHeaderBytes))
            {
                return false;
            }

            _segments.Commit(_active, first: null, _end);
            SyncActive();
            EndsInMark = true;
            return true;
        }
        catch (StorageException error)
        {
            Fail(error);
            return false;
        }
    }

    /// <summary>
    /// Syncs all that was written before the call, over all segments. Runs beside the flusher, on any thread; one at a time,
    /// so that what is known to be synced never falls.
    /// </summary>
    public void SyncWritten()
    {
        lock (_pinned)
        {
            if (Failure is not null)
            {
                return;
            }

            long end = _segments.Pin(Synced, _pinned);
            try
            {
                foreach (JournalSegment segment in _pinned)
                {
                    segment.Sync();
                    Interlocked.Increment(ref _syncs);
                }

                NoteSynced(end);
            }
            catch (Exception error) when (error is StorageException or CorruptionException)
            {
                // Corruption: what an earlier life has left, when it was to be written again.
                Fail((StoreException)error);
            }
            finally
            {
                _segments.Unpin(_pinned);
            }
        }
    }

    /// <summary>Stops the journal for ever; the first reason counts.</summary>
    public void Fail(StoreException error) => Interlocked.CompareExchange(ref _failure, error, null);

    public void Dispose() => _builder.Dispose();

    private static void SetOutcome(JournalEntry first, AppendOutcome outcome)
    {
        for (JournalEntry? entry = first; entry is not null; entry = entry.Next)
        {
            entry.Outcome = outcome;
        }
    }

    private static void NoteSyncTicks(JournalEntry first, long ticks)
    {
        for (JournalEntry? entry = first; entry is not null; entry = entry.Next)
        {
            entry.SyncTicks = ticks;
        }
    }

    private static long GroupBytes(JournalEntry first) => JournalFormat.GroupHeaderBytes + EntryBytes(first);

    private static long EntryBytes(JournalEntry? first)
    {
        long bytes = 0;
        for (JournalEntry? entry = first; entry is not null; entry = entry.Next)
        {
            if (entry.Outcome == AppendOutcome.Appended)
            {
                bytes += GroupBuilder.Size(entry);
            }
        }

        return bytes;
    }

    // Decides who gets room. Where there is too little for all, only entries that may use the reserve are served; who is
    // refused is marked so. False if nobody is left.
    private bool Admit(JournalEntry first)
    {
        bool reserve = true;
        for (JournalEntry? entry = first; entry is not null; entry = entry.Next)
        {
            reserve &= entry.MayUseReserve;
        }

        if (TryMakeRoom(GroupBytes(first), reserve))
        {
            return true;
        }

        for (JournalEntry? entry = first; entry is not null; entry = entry.Next)
        {
            if (reserve || !entry.MayUseReserve)
            {
                entry.Outcome = AppendOutcome.Full;
            }
        }

        long left = GroupBytes(first);
        if (left == JournalFormat.GroupHeaderBytes)
        {
            return false;
        }

        if (TryMakeRoom(left, reserve: true))
        {
            return true;
        }

        SetOutcome(first, AppendOutcome.Full);
        return false;
    }

    // While the journal lives on its reserve, only removals may write, until the disk has room for a new one.
    private bool TryMakeRoom(long bytes, bool reserve)
    {
        if (_onReserve && !reserve)
        {
            _onReserve = !_files.TryMakeReserve();
            if (_onReserve)
            {
                return false;
            }
        }

        long needed = _active.FileOffset(_end) + bytes + _reachedBytes;
        return needed <= _active.Capacity || TryGrow(needed) || TryBeginSegment(bytes, reserve);
    }

    // While the next segment's file is being made, on a busy disk for half a second, writers go on in this one instead of waiting for syncs that
    // nobody has asked for. Where each group is synced there is nothing to gain.
    private bool TryGrow(long needed)
    {
        long capacity = _active.Capacity + (_options.SegmentBytes / 2);
        if (!_files.IsPreparing
            || _options.SegmentBytes < SmallestToGrow
            || _options.Durability == Durability.Always
            || needed > capacity
            || capacity > _options.SegmentBytes * MostGrowth)
        {
            return false;
        }

        try
        {
            _active.File.Allocate(capacity);
        }
        catch (StorageFullException)
        {
            return false;
        }

        _segments.Grow(_active, capacity);
        return true;
    }

    private bool TryBeginSegment(long bytes, bool reserve)
    {
        long sequence = NextSequence;
        Dictionary<long, long> reached = _segments.Reached();
        JournalEntry? entries = ReachedEntry.Chain(reached);
        long reachedBytes = EntryBytes(entries);
        long needed = JournalFormat.SegmentHeaderBytes + bytes + reachedBytes;
        StorageFile? file = _files.TryTake(sequence, needed, out bool usedBefore);
        if (file is null && reserve)
        {
            file = _files.TryTakeReserve(sequence, needed);
            _onReserve |= file is not null;
            usedBefore = false;
        }

        if (file is null)
        {
            return false;
        }

        Debug.Assert(_options.Durability != Durability.Always || _synced == _end, "each group was synced before the next");
        var header = new SegmentHeader
        {
            Version = JournalFormat.Version,
            UsedBefore = usedBefore,
            Sequence = sequence,
            Salt = _options.NextSalt(),
            Base = _end,
            Synced = _synced,
            Previous = _previous,
        };
        Start(file, header);
        var segment = new JournalSegment
        {
            Path = file.Path,
            File = file,
            Header = header,
            Capacity = file.Length,
            End = _end,
            Ranges = [],
            Reached = reached,
        };
        (_reached, _reachedBytes) = (entries, reachedBytes);
        _segments.Add(segment);
        Volatile.Write(ref _active, segment);
        SegmentsBegun++;
        return true;
    }

    /// <summary>Writes a segment's header; it is synced with the first group.</summary>
    public static void Start(StorageFile file, in SegmentHeader header)
    {
        Span<byte> bytes = stackalloc byte[JournalFormat.SegmentHeaderBytes];
        JournalFormat.WriteSegmentHeader(bytes, header);
        file.Write(0, bytes);
    }

    private void Write(JournalEntry first)
    {
        _builder.Begin(_active.Header.Salt);
        for (JournalEntry? entry = _reached; entry is not null; entry = entry.Next)
        {
            _builder.Add(entry);
        }

        for (JournalEntry? entry = first; entry is not null; entry = entry.Next)
        {
            if (entry.Outcome == AppendOutcome.Appended)
            {
                _builder.Add(entry);
            }
        }

        if (!TryWriteGroup(GroupBytes(first) + _reachedBytes))
        {
            SetOutcome(first, AppendOutcome.Full);
            return;
        }

        (_reached, _reachedBytes) = (null, 0);

        EndsInMark = false;
        if (_options.Durability == Durability.Always)
        {
            long began = Stopwatch.GetTimestamp();
            SyncActive();
            NoteSyncTicks(first, Stopwatch.GetTimestamp() - began);
        }

        if (Failure is not null)
        {
            // The sync thread failed meanwhile: whether these bytes reach the disk is as unknown as for the others.
            SetOutcome(first, AppendOutcome.Failed);
            return;
        }

        _segments.Commit(_active, first, _end);
    }

    private bool TryWriteGroup(long bytes)
    {
        uint checksum = _builder.Finish(_end, Synced, _previous);
        try
        {
            _builder.WriteTo(_active.File, _active.FileOffset(_end));
        }
        catch (StorageFullException)
        {
            // Preallocated room can still run out where the file system copies on write. Whatever of the group was
            // written is made unreadable; where even that fails, the journal stops.
            _active.File.Write(_active.FileOffset(_end), _zeros);
            return false;
        }

        _previous = checksum;
        Volatile.Write(ref _end, _end + bytes);
        return true;
    }

    private void SyncActive()
    {
        _active.Sync();
        Interlocked.Increment(ref _syncs);
        NoteSynced(_end);
    }

    private void NoteSynced(long end)
    {
        long synced = Synced;
        while (synced < end)
        {
            long seen = Interlocked.CompareExchange(ref _synced, end, synced);
            if (seen == synced)
            {
                return;
            }

            synced = seen;
        }
    }
}
