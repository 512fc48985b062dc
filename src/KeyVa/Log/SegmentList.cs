namespace KeyVa.Log;

/// <summary>
/// The segments that the journal retains, oldest first, and which partitions still need them. Thread-safe by one lock,
/// held for a few instructions; files are synced, deleted and read outside of it. Invariants: (1) there is always an
/// active segment, the last; (2) segments go from the oldest on, one durably before the next; (3) a pinned segment's
/// file stays open.
/// </summary>
internal sealed class SegmentList
{
    private readonly SegmentFiles _files;
    private readonly long _reuseFrom;
    private readonly Lock _gate = new();

    // Guarded by the gate.
    private readonly List<JournalSegment> _segments;
    private readonly Dictionary<long, long> _durable = [];
    private long _committed;
    private long _bytes;
    private bool _closed;

    // Held while segments are deleted, so that two callers cannot get out of order.
    private readonly Lock _deleting = new();

    public SegmentList(SegmentFiles files, JournalOptions options, List<JournalSegment> segments)
    {
        _files = files;
        _reuseFrom = options.ReuseFromGroupBytes;
        _segments = segments;
        _committed = segments[^1].End;
        foreach (JournalSegment segment in segments)
        {
            _bytes += segment.Capacity;
        }
    }

    /// <summary>Bytes of all retained segment files.</summary>
    public long Bytes
    {
        get
        {
            lock (_gate)
            {
                return _bytes;
            }
        }
    }

    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _segments.Count;
            }
        }
    }

    public void Add(JournalSegment segment)
    {
        lock (_gate)
        {
            _segments.Add(segment);
            _bytes += segment.Capacity;
        }
    }

    /// <summary>The active segment's file has taken more room.</summary>
    public void Grow(JournalSegment active, long capacity)
    {
        lock (_gate)
        {
            _bytes += capacity - active.Capacity;
            active.Capacity = capacity;
        }
    }

    /// <summary>The last index of each partition in all that was committed; of partitions that are gone, none.</summary>
    public Dictionary<long, long> Reached()
    {
        lock (_gate)
        {
            var reached = new Dictionary<long, long>();
            foreach (JournalSegment segment in _segments)
            {
                foreach ((long partition, long index) in segment.Reached)
                {
                    ReachedEntry.Note(reached, partition, index);
                }

                foreach ((long partition, IndexRange range) in segment.Ranges)
                {
                    ReachedEntry.Note(reached, partition, range.Last);
                }
            }

            foreach ((long partition, long durable) in _durable)
            {
                if (durable == long.MaxValue)
                {
                    reached.Remove(partition);
                }
            }

            return reached;
        }
    }

    /// <summary>Publishes what a round has written: its records may be read, and hold their segment.</summary>
    public void Commit(JournalSegment active, JournalEntry? first, long end)
    {
        lock (_gate)
        {
            for (JournalEntry? entry = first; entry is not null; entry = entry.Next)
            {
                if (entry.Outcome == AppendOutcome.Appended)
                {
                    JournalSegment.Note(active.Ranges, entry.Positions);
                }
            }

            active.End = end;
            active.Groups++;
            _committed = end;
        }
    }

    /// <summary>Notes that a partition needs nothing up to an index, and lets the segments go that nobody needs.</summary>
    public void Release(long partition, long durableIndex)
    {
        lock (_gate)
        {
            if (_closed || (_durable.TryGetValue(partition, out long before) && before >= durableIndex))
            {
                return;
            }

            _durable[partition] = durableIndex;
        }

        lock (_deleting)
        {
            var free = new List<JournalSegment>();
            if (FindFree(free) is not { } next)
            {
                return;
            }

            try
            {
                SecureBeginning(next);
            }
            finally
            {
                Unpin(next);
            }

            foreach (JournalSegment segment in free)
            {
                bool worth;
                lock (_gate)
                {
                    _segments.RemoveAt(0);
                    _bytes -= segment.Capacity;

                    // Whoever reads it has the file itself, not its name: it must not get another content meanwhile.
                    worth = !segment.IsPinned && segment.Groups > 0 && (segment.End - segment.Header.Base) / segment.Groups >= _reuseFrom;
                }

                _files.Retire(segment, worth);
                lock (_gate)
                {
                    segment.Drop();
                }
            }
        }
    }

    /// <summary>The partitions that hold the oldest segment, or none if it is the active one.</summary>
    public List<long> Holders()
    {
        lock (_gate)
        {
            var holders = new List<long>();
            if (_segments.Count > 1)
            {
                foreach ((long partition, IndexRange range) in _segments[0].Ranges)
                {
                    if (Needs(partition, range))
                    {
                        holders.Add(partition);
                    }
                }
            }

            return holders;
        }
    }

    /// <summary>
    /// Pins the segments that hold what is at or above an absolute offset, oldest first; each must be unpinned. Returns
    /// the offset up to which they may be read.
    /// </summary>
    public long Pin(long from, List<JournalSegment> pinned)
    {
        lock (_gate)
        {
            foreach (JournalSegment segment in _segments)
            {
                if (segment.End > from || segment == _segments[^1])
                {
                    segment.Pin();
                    pinned.Add(segment);
                }
            }

            return _committed;
        }
    }

    /// <summary>
    /// Pins the segments in which records of a partition from an index on may stand. Returns the partition's lowest index
    /// in the journal, 0 if there is none.
    /// </summary>
    public long Pin(long partition, long fromIndex, List<JournalSegment> pinned, out long committed)
    {
        lock (_gate)
        {
            committed = _committed;
            long oldest = 0;
            foreach (JournalSegment segment in _segments)
            {
                if (!segment.Ranges.TryGetValue(partition, out IndexRange range))
                {
                    continue;
                }

                oldest = oldest == 0 ? range.First : Math.Min(oldest, range.First);
                if (range.Last >= fromIndex)
                {
                    segment.Pin();
                    pinned.Add(segment);
                }
            }

            return oldest;
        }
    }

    public void Unpin(List<JournalSegment> pinned)
    {
        lock (_gate)
        {
            foreach (JournalSegment segment in pinned)
            {
                segment.Unpin();
            }
        }

        pinned.Clear();
    }

    public void Unpin(JournalSegment segment)
    {
        lock (_gate)
        {
            segment.Unpin();
        }
    }

    /// <summary>Closes all files; a release that is under way ends first, later ones do nothing.</summary>
    public void Close()
    {
        lock (_deleting)
            lock (_gate)
            {
                _closed = true;
                foreach (JournalSegment segment in _segments)
                {
                    segment.Drop();
                }
            }
    }

    private bool Needs(long partition, in IndexRange range) =>
        !_durable.TryGetValue(partition, out long durable) || range.Last > durable;

    // The next segment becomes the first, whose header nothing else can replace: it has to be on the disk, here or there.
    private void SecureBeginning(JournalSegment next)
    {
        if (next.HeaderSynced)
        {
            return;
        }

        try
        {
            _files.NoteBeginning(new JournalBeginning(next.Header, next.Reached));
        }
        catch (StorageFullException)
        {
            // No room, or no descriptor, for one more file: the segment itself has both.
            next.Sync();
        }
    }

    // The oldest segments that nobody needs, but for the active one; returns what follows them, pinned, or null if there are none.
    private JournalSegment? FindFree(List<JournalSegment> free)
    {
        lock (_gate)
        {
            int count = 0;
            while (!_closed && count < _segments.Count - 1 && IsFree(_segments[count]))
            {
                free.Add(_segments[count++]);
            }

            if (count == 0)
            {
                return null;
            }

            _segments[count].Pin();
            return _segments[count];
        }
    }

    private bool IsFree(JournalSegment segment)
    {
        foreach ((long partition, IndexRange range) in segment.Ranges)
        {
            if (Needs(partition, range))
            {
                return false;
            }
        }

        return true;
    }
}
