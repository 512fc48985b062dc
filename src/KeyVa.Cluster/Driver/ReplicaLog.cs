using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// A replica's log as its group reads it: what was handed to the journal and is not yet so far behind that nobody needs it. It is kept in
/// memory: everything that the partition's own files lack, and some more for followers that were away for a moment. Owned by its replica.
/// </summary>
/// <remarks>
/// Invariant: entries stand from <see cref="FirstIndex"/> to <see cref="LastIndex"/> without a gap, and the term before them is known. Entries show
/// when they are handed to the journal, before they are durable: the group does not look at them before it was told that they are.
/// </remarks>
internal sealed class ReplicaLog : ILogStorage
{
    private const int FewestSlots = 64;

    private Entry[] _slots;
    private int _start;
    private int _count;
    private LogPosition _before;

    public ReplicaLog(SnapshotMetadata stand, IReadOnlyList<Entry> entries)
    {
        Snapshot = stand;
        _before = stand.Position;
        _slots = new Entry[Math.Max(FewestSlots, entries.Count * 2)];
        foreach (Entry entry in entries)
        {
            Add(entry);
        }
    }

    public long FirstIndex => _before.Index + 1;

    public long LastIndex => _before.Index + _count;

    /// <summary>What a follower may be given if the log no longer has what it lacks; it is made when it is sent, of at least this index.</summary>
    public SnapshotMetadata? Snapshot { get; private set; }

    /// <summary>Bytes of all entries.</summary>
    public long Bytes { get; private set; }

    /// <summary>What an entry counts.</summary>
    public int SizeAt(long index) => At(index).Size;

    public long TermAt(long index) => index == _before.Index ? _before.Term : At(index).Term;

    public ReadOnlyMemory<Entry> Read(long first, long last, long maxBytes)
    {
        int from = Slot(first);
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

        return _slots.AsSpan(from, taken).ToArray();
    }

    public IEnumerable<Entry> MembershipEntries() => _slots.Skip(_start).Take(_count).Where(static entry => entry.Kind == EntryKind.Membership);

    /// <summary>Appends entries; those that stood from the first one's index on are superseded.</summary>
    public void Append(ReadOnlySpan<Entry> entries)
    {
        if (entries.IsEmpty)
        {
            return;
        }

        int keep = Slot(entries[0].Index) - _start;
        for (int i = keep; i < _count; i++)
        {
            Bytes -= _slots[_start + i].Size;
            _slots[_start + i] = default;
        }

        _count = Math.Min(_count, keep);
        foreach (Entry entry in entries)
        {
            Add(entry);
        }
    }

    /// <summary>Begins anew behind a snapshot.</summary>
    public void Reset(SnapshotMetadata stand)
    {
        Snapshot = stand;
        _before = stand.Position;
        Array.Clear(_slots);
        _start = _count = 0;
        Bytes = 0;
    }

    /// <summary>Lets go of the entries up to an index; <paramref name="stand"/>: what a snapshot there would stand for.</summary>
    public void TrimThrough(SnapshotMetadata stand)
    {
        int dropped = (int)(stand.Index - _before.Index);
        for (int i = 0; i < dropped; i++)
        {
            Bytes -= _slots[_start + i].Size;
            _slots[_start + i] = default;
        }

        Snapshot = stand;
        _before = stand.Position;
        _start += dropped;
        _count -= dropped;
    }

    private ref readonly Entry At(long index) => ref _slots[Slot(index)];

    private int Slot(long index)
    {
        long at = index - FirstIndex;
        return at >= 0 && at <= _count ? _start + (int)at : throw new ArgumentOutOfRangeException(nameof(index), index, $"the log is from {FirstIndex} to {LastIndex}");
    }

    private void Add(in Entry entry)
    {
        if (_start + _count == _slots.Length)
        {
            Entry[] slots = _count * 2 > _slots.Length ? new Entry[_slots.Length * 2] : _slots;
            _slots.AsSpan(_start, _count).CopyTo(slots);
            if (slots == _slots)
            {
                Array.Clear(_slots, _count, _start);
            }

            _slots = slots;
            _start = 0;
        }

        _slots[_start + _count++] = entry;
        Bytes += entry.Size;
    }
}
