namespace KeyVa.Raft;

/// <summary>
/// The end of the log that is not known to be durable yet. Entries stand in an array whose slots are written once: whoever
/// holds a slice of it (a message under way, work for the disk) keeps what it saw, while the tail goes on in another
/// array. So nothing is copied per entry, and one array serves many appends. Owned by the log.
/// </summary>
internal sealed class UnstableTail(long first)
{
    private const int FewestSlots = 16;

    /// <summary>Bytes of entries that have left and stand in the array still, at most, before another takes its place: what they were is somebody else's memory by then.</summary>
    private const long MostLeftBytes = 1 << 20;

    private Entry[] _slots = [];
    private long _leftBytes;
    private int _start;
    private int _count;

    /// <summary>The index of its first entry, or the one that comes next.</summary>
    public long First { get; private set; } = first;

    public long Last => First + _count - 1;

    public ref readonly Entry this[long index] => ref _slots[_start + (int)(index - First)];

    public void Append(ReadOnlySpan<Entry> entries)
    {
        if (_start + _count + entries.Length > _slots.Length || _leftBytes > MostLeftBytes)
        {
            Move(_count, entries.Length);
        }

        entries.CopyTo(_slots.AsSpan(_start + _count));
        _count += entries.Length;
    }

    /// <summary>Cuts the log before an index; one before <see cref="First"/> makes that the beginning of the tail.</summary>
    public void TruncateFrom(long index)
    {
        if (index <= First)
        {
            Reset(index);
        }
        else if (index <= Last)
        {
            // The slots behind it may be in somebody's hands.
            Move((int)(index - First), 0);
        }
    }

    /// <summary>Entries up to an index are durable and leave.</summary>
    public void DropThrough(long index)
    {
        if (index >= First)
        {
            int dropped = (int)(index - First) + 1;
            foreach (ref readonly Entry entry in _slots.AsSpan(_start, dropped))
            {
                _leftBytes += entry.Data.Length;
            }

            _start += dropped;
            _count -= dropped;
            First = index + 1;
            if (_count == 0 && (_slots.Length > FewestSlots * 64 || _leftBytes > MostLeftBytes))
            {
                // What was needed once is not kept for ever.
                Reset(First);
            }
        }
    }

    public void Reset(long first)
    {
        _slots = [];
        _leftBytes = 0;
        _start = 0;
        _count = 0;
        First = first;
    }

    /// <summary>Entries between two indexes, inclusive: as many as have so many bytes, one at least.</summary>
    public ReadOnlyMemory<Entry> Slice(long first, long last, long maxBytes)
    {
        int from = _start + (int)(first - First);
        int most = (int)(last - first) + 1;
        int taken = 0;
        for (long bytes = 0; taken < most; taken++)
        {
            bytes += _slots[from + taken].Size;
            if (taken > 0 && bytes > maxBytes)
            {
                break;
            }
        }

        return _slots.AsMemory(from, taken);
    }

    private void Move(int kept, int more)
    {
        Entry[] slots = new Entry[Math.Max(FewestSlots, (kept + more) * 2)];
        _slots.AsSpan(_start, kept).CopyTo(slots);
        _slots = slots;
        _leftBytes = 0;
        _start = 0;
        _count = kept;
    }
}
