using KeyVa.Engines;
using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Indexes;

/// <summary>
/// Goes through the records that an index query finds, in the order of the index, at one snapshot of the whole store. One thread at a
/// time. Spans are valid until the next <see cref="MoveNext"/> or <see cref="Dispose"/>. It never blocks writers; it keeps what it can
/// see from being reclaimed, so dispose it. A record stands once for each of its entries: with an index on the elements of an array, it may come several times.
/// </summary>
public sealed class IndexCursor : IDisposable
{
    private readonly IndexBounds _bounds = new();
    private readonly List<Source> _sources = [];
    private readonly VersionOracle? _oracle;
    private readonly Snapshot? _ownSnapshot;
    private readonly bool _reverse;
    private readonly bool _keysOnly;
    private int _fields;
    private long _version;
    private long _left;
    private int _current = -1;
    private int _tupleBytes;
    private bool _placed;
    private bool _disposed;

    /// <summary>A query that is refused.</summary>
    internal IndexCursor(Status status, string detail)
    {
        Status = status;
        Detail = detail;
    }

    internal IndexCursor(IndexQuery query, VersionOracle oracle, Snapshot? ownSnapshot)
    {
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

    private NativeBuffer Record { get; } = new(64);

    private ReadOnlySpan<byte> Entry => _current >= 0
        ? _sources[_current].Cursor.Key
        : throw new InvalidOperationException("the cursor stands on no record; call MoveNext first");

    /// <summary>Goes to the next record; false if there is none.</summary>
    public bool MoveNext()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
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
                return true;
            }

            _sources[_current].Advance(_oracle!);
        }

        _left = 0;
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

    /// <summary>Takes part of a partition: both are pinned, and the cursor lets go of them.</summary>
    internal void Add(Partition partition, PartitionIndex index, long version)
    {
        _fields = index.Definition.Fields.Count;
        _version = version;
        EngineCursor? cursor = null;
        try
        {
            cursor = index.Companion.OpenCursor(_bounds.From.Written, _bounds.To.Written, version, _reverse);
            _sources.Add(new Source(partition, index, cursor));
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
        foreach (Source source in _sources)
        {
            if (!After.IsEmpty)
            {
                source.Cursor.Seek(After.Span);
            }

            source.Advance(_oracle!);
            if (!After.IsEmpty && source.HasEntry && source.Cursor.Key.SequenceEqual(After.Span))
            {
                source.Advance(_oracle!);
            }
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

    private bool Precedes(ReadOnlySpan<byte> entry, ReadOnlySpan<byte> other) =>
        _reverse ? entry.SequenceCompareTo(other) > 0 : entry.SequenceCompareTo(other) < 0;

    private bool TakeRecord(Source source)
    {
        ReadOnlySpan<byte> entry = source.Cursor.Key;
        _tupleBytes = 0;
        for (int i = 0; i < _fields; i++)
        {
            int length = IndexValueEncoding.LengthOfFirst(entry[_tupleBytes..]);
            if (length == 0)
            {
                throw new CorruptionException(source.Index.Companion.Context.Directory, 0, $"an entry of index '{source.Index.Definition.Name}' cannot be read");
            }

            _tupleBytes += length;
        }

        Record.Clear();
        ExpiresAtUnixMilliseconds = source.Cursor.ExpiresAt;
        if (_keysOnly)
        {
            return true;
        }

        bool found = source.Partition.Engine.TryGet(entry[_tupleBytes..], _version, out ValueLease lease);
        using (lease)
        {
            if (!found || (lease.ExpiresAtUnixMilliseconds != 0 && lease.ExpiresAtUnixMilliseconds <= _oracle!.Now()))
            {
                return false;
            }

            Record.Append(lease.Value);
            Version = lease.Version;
            ModifiedUnixMilliseconds = lease.ModifiedUnixMilliseconds;
            return true;
        }
    }

    private sealed class Source(Partition partition, PartitionIndex index, EngineCursor cursor) : IDisposable
    {
        public Partition Partition { get; } = partition;

        public PartitionIndex Index { get; } = index;

        public EngineCursor Cursor { get; } = cursor;

        public bool HasEntry { get; private set; }

        public void Advance(VersionOracle oracle)
        {
            do
            {
                HasEntry = Cursor.MoveNext();
            }
            while (HasEntry && Cursor.ExpiresAt != 0 && Cursor.ExpiresAt <= oracle.Now());
        }

        public void Dispose()
        {
            Cursor.Dispose();
            Index.Unpin();
            Partition.Unpin();
        }
    }
}
