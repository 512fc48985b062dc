using KeyVa.Engines;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Transactions;

namespace KeyVa.Indexes;

/// <summary>
/// Goes through the records that an index query finds, in the order of the index, at one snapshot of the whole store. One thread at a
/// time. Spans are valid until the next <see cref="MoveNext"/> or <see cref="Dispose"/>. It never blocks writers; it keeps what it can
/// see from being reclaimed, so dispose it. A record stands once for each of its entries: with an index on the elements of an array, it may come several times.
/// </summary>
public sealed class IndexCursor : IDisposable
{
    private readonly IndexBounds _bounds = new();
    private readonly List<IndexSource> _sources = [];
    private readonly VersionOracle? _oracle;
    private readonly Snapshot? _ownSnapshot;
    private readonly bool _reverse;
    private readonly bool _keysOnly;
    private readonly TransactionScan? _scan;
    private IndexOverlay? _overlay;
    private int _fields;
    private long _version;
    private long _left;
    private int _current = -1;
    private int _tupleBytes;
    private bool _placed;

    // For a transaction that notes what it reads: the source of the record that was given last, which stands on it; whether nothing comes any more.
    private int _given = -1;
    private bool _exhausted;
    private bool _disposed;

    /// <summary>A query that is refused.</summary>
    internal IndexCursor(Status status, string detail)
    {
        Status = status;
        Detail = detail;
    }

    internal IndexCursor(IndexQuery query, VersionOracle oracle, Snapshot? ownSnapshot, TransactionScan? scan = null)
    {
        _scan = scan;
        _oracle = oracle;
        _ownSnapshot = ownSnapshot;
        _reverse = query.Reverse;
        _keysOnly = query.KeysOnly;
        _left = query.Limit == 0 ? long.MaxValue : query.Limit;
        After = query.After;
    }

    /// <summary>Ok, or why the query was refused; then nothing comes.</summary>
    public Status Status { get; private set; }

    /// <summary>For a person: why it was refused; null if it was not.</summary>
    public string? Detail { get; private set; }

    /// <summary>The record's key.</summary>
    public ReadOnlySpan<byte> Key => Entry[_tupleBytes..];

    /// <summary>The record's value; empty on a query for keys only.</summary>
    public ReadOnlySpan<byte> Value => Record.Written;

    /// <summary>The record's version; 0 on a query for keys only.</summary>
    public long Version { get; private set; }

    /// <summary>When the record was accepted, in milliseconds since 1970-01-01 UTC; 0 on a query for keys only.</summary>
    public long ModifiedUnixMilliseconds { get; private set; }

    /// <summary>When the record expires, in milliseconds since 1970-01-01 UTC; 0: never.</summary>
    public long ExpiresAtUnixMilliseconds { get; private set; }

    /// <summary>The place of the present record, for a query that goes on behind it.</summary>
    public ReadOnlySpan<byte> ResumeToken => Entry;

    /// <summary>The indexed values of the present record.</summary>
    public IReadOnlyList<IndexValue> Fields
    {
        get
        {
            var values = new List<IndexValue>(_fields);
            ReadOnlySpan<byte> tuple = Entry[.._tupleBytes];
            while (IndexValue.TryTake(ref tuple, out IndexValue value))
            {
                values.Add(value);
            }

            return values;
        }
    }

    internal IndexBounds Bounds => _bounds;

    internal ReadOnlyMemory<byte> After { get; }

    private bool Notes => _scan is { NotesReads: true };

    private NativeBuffer Record { get; } = new(64);

    private ReadOnlySpan<byte> Entry => _current >= 0
        ? _sources[_current].Cursor.Key
        : throw new InvalidOperationException("the cursor stands on no record; call MoveNext first");

    /// <summary>Goes to the next record; false if there is none.</summary>
    public bool MoveNext()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _scan?.CheckRuns();
        if (_left == 0 || _sources.Count == 0)
        {
            _current = -1;
            return false;
        }

        Advance();
        while ((_current = First()) >= 0)
        {
            if (TakeRecord(_sources[_current]))
            {
                _left--;
                _given = _current;
                return true;
            }

            _sources[_current].Advance(_oracle!);
        }

        _left = 0;
        _exhausted = true;
        return false;
    }

    /// <summary>Closes it; a second call does nothing.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        NoteRead();
        if (Notes && _scan!.IsCurrent)
        {
            _scan.Body.Queries.Remove(this);
        }

        Release();
        _bounds.Dispose();
        Record.Dispose();
    }

    /// <summary>Nothing comes, for this reason; what it held is let go.</summary>
    internal void Refuse(Status status, string detail)
    {
        Status = status;
        Detail = detail;
        _left = 0;
        Release();
    }

    /// <summary>Lays what the transaction has written over the index, if it has written anything.</summary>
    internal void LayOver(StoredIndex index, IReadOnlyList<IndexExtractor> extractors, long version)
    {
        _fields = index.Definition.Fields.Count;
        if (_scan is null)
        {
            return;
        }

        if (!_scan.Writes.IsEmpty)
        {
            var reader = new RecordReader(index.Definition, extractors.FirstOrDefault(known => known.Name == index.Definition.Extractor));
            _overlay = new IndexOverlay(_scan, reader, _bounds, version);
            if (_overlay.Failure != Status.Ok)
            {
                Refuse(_overlay.Failure, _scan.Body.Detail ?? "a merge of the transaction cannot be done");
                return;
            }

            _sources.Add(new IndexSource(null, null, new OwnEntryCursor(_overlay.Entries, _reverse), _fields, null, notes: false));
        }

        if (Notes)
        {
            _scan.Body.Queries.Add(this);
        }
    }

    /// <summary>Tells the transaction what was read so far, so that its commit can see whether that still holds.</summary>
    internal void NoteRead()
    {
        if (!Notes || !_placed || !_scan!.IsCurrent)
        {
            return;
        }

        for (int i = 0; i < _sources.Count; i++)
        {
            if (_sources[i].Partition is { } partition)
            {
                NoteRead(_sources[i], partition, present: !_exhausted && i == _given);
            }
        }

    }

    /// <summary>Takes part of a partition: both are pinned, and the cursor lets go of them.</summary>
    internal void Add(Partition partition, PartitionIndex index, long version)
    {
        _version = version;
        EngineCursor? cursor = null;
        try
        {
            cursor = index.Companion.OpenCursor(_bounds.From.Written, _bounds.To.Written, version, _reverse);
            _sources.Add(new IndexSource(partition, index, cursor, _fields, _overlay, Notes));
        }
        finally
        {
            if (cursor is null)
            {
                index.Unpin();
                partition.Unpin();
                Release();
            }
        }
    }

    private void Release()
    {
        _current = -1;
        _sources.ForEach(static source => source.Dispose());
        _sources.Clear();
        _ownSnapshot?.Dispose();
    }

    private void Advance()
    {
        if (_placed)
        {
            _sources[_current].Advance(_oracle!);
            return;
        }

        _placed = true;
        foreach (IndexSource source in _sources)
        {
            source.Begin(After.Span, _oracle!);
        }
    }

    /// <summary>The source whose entry comes first; a few partitions are looked through faster than a heap is kept.</summary>
    private int First()
    {
        int first = -1;
        for (int i = 0; i < _sources.Count; i++)
        {
            if (_sources[i].HasEntry && (first < 0 || Precedes(_sources[i].Cursor.Key, _sources[first].Cursor.Key)))
            {
                first = i;
            }
        }

        return first;
    }

    /// <summary>
    /// Notes what was read of one partition: from where the query begins to the record that was given last, or that this partition has passed since, or
    /// to the end. The partition's next entry was looked at and does not count: no record was given that says whether it is there.
    /// </summary>
    private void NoteRead(IndexSource source, Partition partition, bool present)
    {
        ReadOnlySpan<byte> last = source.Passed;
        if (!_exhausted && _given >= 0)
        {
            ReadOnlySpan<byte> given = _sources[_given].Cursor.Key;
            last = last.IsEmpty || Precedes(last, given) ? given : last;
        }

        if (!_exhausted && last.IsEmpty)
        {
            return;
        }

        // An inclusive bound, as an exclusive one: the entry with a zero byte behind it is the next possible one.
        ReadOnlySpan<byte> from = _bounds.From.Written;
        ReadOnlySpan<byte> to = _bounds.To.Written;
        ReadOnlySpan<byte> after = After.Span;
        if (_reverse)
        {
            to = !after.IsEmpty && after.SequenceCompareTo(to) < 0 ? after : to;
            from = _exhausted ? from : last;
        }
        else
        {
            from = !after.IsEmpty && after.SequenceCompareTo(from) >= 0 ? Behind(after) : from;
            to = _exhausted ? to : Behind(last);
        }

        if (from.SequenceCompareTo(to) < 0)
        {
            _scan!.Body.Reads.Note(new IndexCheck
            {
                PartitionFrom = partition.Range.From.Span,
                PartitionTo = partition.Range.To.Span,
                Index = source.Index!.Id,
                From = from,
                To = to,
                Digest = source.Digest(present),
            });
        }
    }

    private static byte[] Behind(ReadOnlySpan<byte> entry) => [.. entry, 0];

    private bool Precedes(ReadOnlySpan<byte> entry, ReadOnlySpan<byte> other) =>
        _reverse ? entry.SequenceCompareTo(other) > 0 : entry.SequenceCompareTo(other) < 0;

    private bool TakeRecord(IndexSource source)
    {
        _tupleBytes = source.TupleBytes();
        Record.Clear();
        ExpiresAtUnixMilliseconds = source.Cursor.ExpiresAt;
        Version = 0;
        ModifiedUnixMilliseconds = 0;
        if (_keysOnly)
        {
            return true;
        }

        if (source.Partition is not { } partition)
        {
            Record.Append(source.Cursor.Value);
            return true;
        }

        ReadOnlySpan<byte> key = source.Cursor.Key[_tupleBytes..];
        bool found = partition.Engine.TryGet(key, _version, out ValueLease lease);
        using (lease)
        {
            if (!found || (lease.ExpiresAtUnixMilliseconds != 0 && lease.ExpiresAtUnixMilliseconds <= _oracle!.Now()))
            {
                return false;
            }

            if (Notes)
            {
                _scan!.Body.Reads.Note(key, lease.Version);
            }

            Record.Append(lease.Value);
            Version = lease.Version;
            ModifiedUnixMilliseconds = lease.ModifiedUnixMilliseconds;
            return true;
        }
    }
}
