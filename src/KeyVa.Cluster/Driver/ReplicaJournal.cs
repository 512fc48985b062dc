using KeyVa.Log;
using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// A replica's way into the journal: one record is on its way at a time, and what comes meanwhile goes into the next, so that records reach
/// the disk in their order, whatever becomes of one. Owned by its replica.
/// </summary>
internal sealed class ReplicaJournal
{
    /// <summary>
    /// Bytes of entries in one record; a single work may have more. Two of them, with what stands around entries, fit into a segment of the journal of the usual size, and one into
    /// the buffer that a record keeps.
    /// </summary>
    private const long FullBytes = (4 << 20) - (128 << 10);

    private readonly ReplicaRecord _record;
    private readonly Action<ReplicaRecord> _write;
    private readonly Queue<(long Number, HardState? State, SnapshotMetadata? Snapshot, ReadOnlyMemory<Entry> Entries)> _waiting = new();
    private readonly List<Entry> _merged = [];
    private HardState _state;
    private bool _isStateDue;
    private bool _isUnderWay;

    public ReplicaJournal(long partition, HardState state, SnapshotMetadata stand, Action<ReplicaRecord> completed, Action<ReplicaRecord> write)
    {
        _record = new ReplicaRecord(partition, completed);
        _write = write;
        _state = state;
        Base = stand;
    }

    /// <summary>For the defects in them.</summary>
    public required DriverOptions Options { get; init; }

    /// <summary>What the log stands on, as the newest state says that was or is being written.</summary>
    public SnapshotMetadata Base { get; private set; }

    /// <summary>Whether there is something to be written or being written.</summary>
    public bool IsBusy => _isUnderWay || _waiting.Count > 0 || _isStateDue;

    /// <summary>Takes what a work wants to be durable.</summary>
    public void Add(Work work) => _waiting.Enqueue((work.Number, work.State, work.Snapshot, work.Entries));

    /// <summary>The partition's files have everything up to here: the next state says so.</summary>
    public void Stand(SnapshotMetadata on)
    {
        Base = on;
        _isStateDue = true;
    }

    /// <summary>Begins the next record, if none is under way and there is something to write.</summary>
    public void TryWrite()
    {
        if (_isUnderWay || (_waiting.Count == 0 && !_isStateDue))
        {
            return;
        }

        _merged.Clear();
        long number = 0;
        long bytes = 0;
        while (_waiting.TryPeek(out (long Number, HardState? State, SnapshotMetadata? Snapshot, ReadOnlyMemory<Entry> Entries) work) && (number == 0 || bytes + Size(work.Entries.Span) <= FullBytes))
        {
            _waiting.Dequeue();
            number = work.Number;
            if (work.State is { } state)
            {
                _state = Options.Has(DriverDefects.ForgetsState) ? _state : state;
                _isStateDue = true;
            }

            if (work.Snapshot is { } snapshot)
            {
                _merged.Clear();
                Base = Options.Has(DriverDefects.InstallsWithoutMembership) ? snapshot with { Membership = Base.Membership } : snapshot;
                _isStateDue = true;
            }

            bytes += Merge(work.Entries.Span);
        }

        _record.Fill(number, _isStateDue ? _state : null, Base, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_merged));
        _isStateDue = false;
        _isUnderWay = true;
        _write(_record);
    }

    /// <summary>The record is done: the number of the newest work in it, if it is durable; null: the disk is full, and it is to be written again.</summary>
    public long? End(AppendOutcome outcome)
    {
        if (!IsWritten(outcome))
        {
            return null;
        }

        _isUnderWay = false;
        return _record.Number;
    }

    /// <summary>Writes the record once more.</summary>
    public void WriteAgain() => _write(_record);

    private bool IsWritten(AppendOutcome outcome) => outcome switch
    {
        AppendOutcome.Appended => true,
        AppendOutcome.Full => Options.Has(DriverDefects.TakesFullForWritten),
        _ => Options.Has(DriverDefects.TakesFailedForWritten),
    };

    private static long Size(ReadOnlySpan<Entry> entries)
    {
        long bytes = 0;
        foreach (ref readonly Entry entry in entries)
        {
            bytes += entry.Size;
        }

        return bytes;
    }

    private long Merge(ReadOnlySpan<Entry> entries)
    {
        if (entries.IsEmpty)
        {
            return 0;
        }

        if (_merged.Count > 0)
        {
            // A later work's entries supersede those from their index on.
            int keep = (int)Math.Max(0, entries[0].Index - _merged[0].Index);
            if (keep < _merged.Count)
            {
                _merged.RemoveRange(keep, _merged.Count - keep);
            }
        }

        _merged.AddRange(entries);
        return Size(entries);
    }
}
