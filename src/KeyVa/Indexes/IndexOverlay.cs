using KeyVa.Engines;
using KeyVa.Transactions;

namespace KeyVa.Indexes;

/// <summary>
/// What a transaction has written, as an index would hold it: the entries of the records that it has put, and the keys whose entries in the
/// index do not count. It is what was written when the query was opened; writes that come later are not seen by its cursor. Immutable.
/// </summary>
internal sealed class IndexOverlay
{
    private readonly HashSet<byte[]> _keys = new(UniqueReservations.BytesComparer.Instance);
    private readonly HashSet<byte[]>.AlternateLookup<ReadOnlySpan<byte>> _byKey;
    private readonly List<(byte[] From, byte[] To)> _ranges = [];
    private readonly List<OwnEntry> _entries = [];

    /// <summary>
    /// Reads the writes, in the entries of the bounds. Merges that wait for the commit count with what they come to over the
    /// state at <paramref name="version"/>, which is noted as read.
    /// </summary>
    public IndexOverlay(TransactionScan scan, RecordReader reader, IndexBounds bounds, long version)
    {
        WriteSet writes = scan.Writes;
        _byKey = _keys.GetAlternateLookup<ReadOnlySpan<byte>>();
        var found = new IndexEntries();
        for (int number = 0; number < writes.Keys.Count; number++)
        {
            ReadOnlySpan<byte> key = writes.Keys[number];
            if (!writes.HasWrite(number) || !writes.TryFind(number, key, out BufferedWrite write))
            {
                continue;
            }

            byte[] copy = key.ToArray();
            _keys.Add(copy);
            if (write.IsPut)
            {
                // A relative expiry counts from the commit, which is to come.
                AddEntries(copy, writes.ValueOf(write).ToArray(), write.Expiry.IsRelative ? 0 : write.Expiry.Milliseconds, reader, found, bounds);
            }
            else if (write.IsMerge)
            {
                using ValueLease merged = TransactionReads.GetMerged(scan.Body, writes, copy, version, scan.NotesReads);
                if (merged.Found)
                {
                    AddEntries(copy, merged.Value.ToArray(), merged.ExpiresAtUnixMilliseconds, reader, found, bounds);
                }
                else if (merged.Status != Status.NotFound)
                {
                    Failure = merged.Status;
                    return;
                }
            }
        }

        for (int range = 0; range < writes.RangeCount; range++)
        {
            _ranges.Add((writes.FromOf(range).ToArray(), writes.ToOf(range).ToArray()));
        }

        _entries.Sort(static (a, b) => a.Entry.AsSpan().SequenceCompareTo(b.Entry));
    }

    /// <summary>Not Ok: a merge cannot be evaluated, for this reason, and the overlay is of no use.</summary>
    public Status Failure { get; }

    /// <summary>The own entries, in order.</summary>
    public IReadOnlyList<OwnEntry> Entries => _entries;

    /// <summary>Whether the index's entries of a key do not count, since the transaction has written it.</summary>
    public bool Hides(ReadOnlySpan<byte> key)
    {
        if (_byKey.Contains(key))
        {
            return true;
        }

        foreach ((byte[] from, byte[] to) in _ranges)
        {
            if (key.SequenceCompareTo(from) >= 0 && (to.Length == 0 || key.SequenceCompareTo(to) < 0))
            {
                return true;
            }
        }

        return false;
    }

    private void AddEntries(byte[] key, byte[] value, long expiresAt, RecordReader reader, IndexEntries found, IndexBounds bounds)
    {
        reader.Read(key, value, found);
        for (int i = 0; i < found.Count; i++)
        {
            ReadOnlySpan<byte> entry = found[i];
            if (entry.SequenceCompareTo(bounds.From.Written) >= 0 && entry.SequenceCompareTo(bounds.To.Written) < 0)
            {
                _entries.Add(new OwnEntry(entry.ToArray(), value, expiresAt));
            }
        }
    }
}

/// <summary>An entry that a transaction would give an index: tuple and key, the record's value, and when it expires (0: never).</summary>
internal readonly record struct OwnEntry(byte[] Entry, byte[] Value, long ExpiresAt);

/// <summary>Goes through own entries as a companion's cursor does through its own. One thread.</summary>
internal sealed class OwnEntryCursor(IReadOnlyList<OwnEntry> entries, bool reverse) : EngineCursor
{
    // Before the first one, in the direction of the cursor.
    private int _at = reverse ? entries.Count : -1;

    public override ReadOnlySpan<byte> Key => entries[_at].Entry;

    public override ReadOnlySpan<byte> Value => entries[_at].Value;

    public override long Version => 0;

    public override long Stamp => 0;

    public override long ExpiresAt => entries[_at].ExpiresAt;

    public override bool MoveNext()
    {
        int next = reverse ? _at - 1 : _at + 1;
        _at = Math.Clamp(next, -1, entries.Count);
        return (uint)_at < (uint)entries.Count;
    }

    public override void Seek(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = entries.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            int order = entries[middle].Entry.AsSpan().SequenceCompareTo(key);
            bool isBefore = reverse ? order <= 0 : order < 0;
            (low, high) = isBefore ? (middle + 1, high) : (low, middle);
        }

        _at = reverse ? low : low - 1;
    }

    public override void Dispose()
    {
    }
}
