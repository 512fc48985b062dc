using KeyVa.Raft;

namespace KeyVa.Simulation.Raft;

/// <summary>
/// A node's disk as its group needs it: what was synced, which a crash leaves, and works that were written behind it and are
/// not synced, of which a crash leaves a beginning.
/// </summary>
internal sealed class RaftDisk(SnapshotMetadata initial, byte[] state) : ILogStorage
{
    private readonly List<Entry> _entries = [];
    private readonly List<Written> _unsynced = [];
    private SnapshotMetadata _snapshot = initial;
    private LogPosition _base = initial.Position;

    public HardState Hard { get; private set; }

    /// <summary>The state machine's bytes at <see cref="Snapshot"/>.</summary>
    public byte[] SnapshotState { get; private set; } = state;

    /// <summary>Whether leaders find no snapshot here for a while.</summary>
    public bool HidesSnapshot { get; set; }

    public SnapshotMetadata? Snapshot => HidesSnapshot ? null : _snapshot;

    public long FirstIndex => _base.Index + 1;

    public long LastIndex => _base.Index + _entries.Count;

    public int Unsynced => _unsynced.Count;

    public long TermAt(long index) => index == _base.Index ? _base.Term : _entries[(int)(index - FirstIndex)].Term;

    public ReadOnlyMemory<Entry> Read(long first, long last, long maxBytes)
    {
        List<Entry> read = [];
        long bytes = 0;
        for (long index = first; index <= last; index++)
        {
            Entry entry = _entries[(int)(index - FirstIndex)];
            bytes += entry.Size;
            if (read.Count > 0 && bytes > maxBytes)
            {
                break;
            }

            read.Add(entry);
        }

        return read.ToArray();
    }

    public IEnumerable<Entry> MembershipEntries() => _entries.Where(static entry => entry.Kind == EntryKind.Membership);

    /// <summary>Takes what a work wants to be durable. It is not, yet.</summary>
    public void Write(Work work, byte[]? state) => _unsynced.Add(new Written(work.Number, work.State, work.Snapshot, state, work.Entries));

    /// <summary>Works up to a number are durable.</summary>
    public void Sync(long number)
    {
        while (_unsynced.Count > 0 && _unsynced[0].Number <= number)
        {
            Keep(_unsynced[0]);
            _unsynced.RemoveAt(0);
        }
    }

    /// <summary>Loses what was not synced, but for the first few works, which happened to reach the disk.</summary>
    public void Crash(int kept)
    {
        for (int i = 0; i < Math.Min(kept, _unsynced.Count); i++)
        {
            Keep(_unsynced[i]);
        }

        _unsynced.Clear();
        HidesSnapshot = false;
    }

    /// <summary>A snapshot of the state machine, and a log that begins a few entries before its end.</summary>
    public void SaveSnapshot(SnapshotMetadata snapshot, byte[] state, int keptEntries)
    {
        _snapshot = snapshot;
        SnapshotState = state;
        long first = Math.Max(FirstIndex, snapshot.Index + 1 - keptEntries);
        LogPosition start = new(TermAt(first - 1), first - 1);
        _entries.RemoveRange(0, (int)(first - FirstIndex));
        _base = start;
    }

    private void Keep(in Written written)
    {
        Hard = written.Hard ?? Hard;
        if (written.Snapshot is { } snapshot)
        {
            _snapshot = snapshot;
            SnapshotState = written.State!;
            _entries.Clear();
            _base = snapshot.Position;
        }

        if (!written.Entries.IsEmpty)
        {
            int from = (int)(written.Entries.Span[0].Index - FirstIndex);
            _entries.RemoveRange(from, _entries.Count - from);
            _entries.AddRange(written.Entries.Span);
        }
    }

    private readonly record struct Written(long Number, HardState? Hard, SnapshotMetadata? Snapshot, byte[]? State, ReadOnlyMemory<Entry> Entries);
}
