using System.Globalization;
using KeyVa.Log;
using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>What the journal says of one replica, gathered record by record while the store opens.</summary>
internal sealed class RecoveredLog(long partition)
{
    private readonly List<Entry> _entries = [];

    // Empty but for the defect.
    private Queue<Entry> _superseded = new();

    /// <summary>See <see cref="DriverDefects.KeepsSuperseded"/>.</summary>
    public bool KeepsSuperseded { get; init; }

    /// <summary>Term and vote; null if the journal has none.</summary>
    public HardState? State { get; private set; }

    /// <summary>What the log stands on.</summary>
    public SnapshotMetadata? Base { get; private set; }

    /// <summary>The highest index that any record has had.</summary>
    public long HighestIndex { get; private set; }

    /// <summary>The entries behind the base, without a gap; known once everything was read.</summary>
    public IReadOnlyList<Entry> Entries => _entries;

    public void Read(in JournalRecord record)
    {
        if (!ReplicaRecordReader.TryOpen(record.Payload, out ReplicaRecordReader reader))
        {
            throw Unreadable();
        }

        if (reader.State is not null)
        {
            State = reader.State;
            if (Base is null || reader.Base!.Index != Base.Index)
            {
                StandOn(reader.Base!);
            }
        }

        if (reader.Count > 0)
        {
            Append(ref reader);
        }

        HighestIndex = Math.Max(HighestIndex, record.Positions[0].Index);
    }

    /// <summary>Everything is read: what is left must be a log that goes on from its base without a gap.</summary>
    public void Finish()
    {
        if (State is null || Base is null || (_entries.Count > 0 && _entries[0].Index > Base.Index + 1))
        {
            throw new StoreException(string.Create(CultureInfo.InvariantCulture, $"the journal holds entries of partition {partition}'s replicated log and not what they stand on; remove this node from its cluster and add it again with an empty folder"));
        }
    }

    private void StandOn(SnapshotMetadata stand)
    {
        // A base beyond the log, or over an entry of another term, is a snapshot that took the place of the log; one inside it is what was flushed. One before it is
        // old: what was between went with its segments, so a later state stands further on, or the end will show that it is missing.
        int at = _entries.FindIndex(entry => entry.Index == stand.Index);
        bool isInside = at >= 0 && _entries[at].Term == stand.Term;
        bool isBefore = _entries.Count > 0 && _entries[0].Index > stand.Index;
        if (isInside)
        {
            _entries.RemoveRange(0, at + 1);
        }
        else if (!isBefore)
        {
            _entries.Clear();
        }

        Base = stand;
    }

    private void Append(ref ReplicaRecordReader reader)
    {
        long next = _entries.Count > 0 ? _entries[^1].Index + 1 : Base is null ? reader.FirstIndex : Base.Index + 1;
        if (reader.FirstIndex > next)
        {
            // What was between them went with its segments: a later state stands on it, or the end will show that it is missing.
            _entries.Clear();
        }

        int keep = _entries.FindIndex(0, IsFrom(reader.FirstIndex));
        if (keep >= 0)
        {
            _superseded = new Queue<Entry>(KeepsSuperseded ? _entries.Skip(keep) : []);
            _entries.RemoveRange(keep, _entries.Count - keep);
        }

        for (int i = 0; i < reader.Count; i++)
        {
            if (!reader.TryRead(reader.FirstIndex + i, out Entry entry))
            {
                throw Unreadable();
            }

            if (Base is not null && entry.Index <= Base.Index)
            {
                continue;
            }

            if (_superseded.Count > 0 && _superseded.Peek().Index == entry.Index)
            {
                entry = _superseded.Dequeue();
            }

            _entries.Add(entry);
        }
    }

    private static Predicate<Entry> IsFrom(long index) => entry => entry.Index >= index;

    private StoreException Unreadable() =>
        new(string.Create(CultureInfo.InvariantCulture, $"the journal has a record of partition {partition}'s replicated log in an unknown format; use a newer KeyVa for this data folder"));
}
