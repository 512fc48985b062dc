using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Walks over the keys of a range as they are at a version: merges the memtables and tables of a pinned superversion, and
/// passes over newer versions, shadowed ones and tombstones. Forward it lends out the sources' own bytes; backward the
/// versions of a key come oldest first, so the newest so far is kept in a buffer.
/// </summary>
internal sealed unsafe class LsmCursor : EngineCursor
{
    private readonly VersionSet _versions;
    private readonly Superversion _superversion;
    private readonly MergeHeap _heap;

    // Null where no range was removed: one branch per entry is all that costs.
    private readonly RangeLayers? _ranges;
    private readonly long _at;
    private readonly bool _reverse;
    private readonly byte[] _from;
    private readonly byte[] _to;
    private readonly ulong _toHead;

    // Forward: the key last decided. Backward: the entry found.
    private readonly NativeBuffer _key = new(64);
    private readonly NativeBuffer _value = new(64);
    private MergeSource? _present;
    private long _version;
    private long _stamp;
    private long _expiresAt;
    private Position _position = Position.Unplaced;
    private bool _disposed;

    public LsmCursor(VersionSet versions, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long at, bool reverse)
    {
        _versions = versions;
        _superversion = versions.Pin();
        _at = at;
        _reverse = reverse;
        _from = from.ToArray();
        _to = to.ToArray();
        fixed (byte* key = _to)
        {
            _toHead = KeyOrder.Head(key, _to.Length);
        }

        _heap = new MergeHeap(Sources(_superversion));
        _ranges = RangeLayers.Of(_superversion, at);
    }

    private enum Position
    {
        /// <summary>Before the first key of the range.</summary>
        Unplaced,

        /// <summary>The heap's top is the next entry to look at.</summary>
        Placed,

        /// <summary>The heap's top is the present entry.</summary>
        OnEntry,
        AtEnd,

        /// <summary>A move threw: the sources are no longer in step.</summary>
        Moving,
    }

    public override ReadOnlySpan<byte> Key => _reverse ? _key.Written : _present!.KeySpan;

    public override ReadOnlySpan<byte> Value => _reverse ? _value.Written : _present!.ValueSpan;

    public override long Version => _reverse ? _version : _present!.Version;

    public override long Stamp => _reverse ? _stamp : _present!.Stamp;

    public override long ExpiresAt => _reverse ? _expiresAt : _present!.ExpiresAt;

    /// <summary>Everything a read may find, as sources, numbered from the newest on (as <see cref="RangeLayers"/> numbers them).</summary>
    public static MergeSource[] Sources(Superversion superversion)
    {
        List<MergeSource> sources = [];
        int ordinal = 0;
        foreach (Memtable memtable in superversion.Memtables)
        {
            if (memtable.Entries > 0)
            {
                sources.Add(new MemtableSource(memtable.List) { Ordinal = ordinal });
            }

            ordinal++;
        }

        foreach (SsTable table in superversion.Level0)
        {
            Add([table], ordinal++);
        }

        for (int level = 1; level <= superversion.DeepestLevel; level++)
        {
            Add(superversion.Deeper[level].Tables, ordinal++);
        }

        return [.. sources];

        void Add(SsTable[] tables, int number)
        {
            if (SsTable.WithEntries(tables) is { Length: > 0 } full)
            {
                sources.Add(new TableSource(full, streaming: false) { Ordinal = number });
            }
        }
    }

    public override bool MoveNext()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        Position before = _position;
        if (before == Position.AtEnd)
        {
            return false;
        }

        _position = Position.Moving;
        switch (before)
        {
            case Position.Unplaced:
                Place();
                break;
            case Position.OnEntry:
                _heap.Next();
                break;
            case Position.Moving:
                throw new InvalidOperationException("a cursor cannot go on after a move that failed");
            default:
                break;
        }

        bool found = _reverse ? FindBackward() : FindForward();
        _position = !found ? Position.AtEnd : _reverse ? Position.Placed : Position.OnEntry;
        return found;
    }

    public override void Seek(ReadOnlySpan<byte> key)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _position = Position.Moving;
        _key.Clear();
        _present = null;
        if (_reverse)
        {
            bool beyond = _to.Length > 0 && KeyOrder.Compare(key, _to) >= 0;
            ReadOnlySpan<byte> start = beyond ? _to : key;
            fixed (byte* p = start)
            {
                _heap.SeekBefore(p, start.Length, beyond ? KeyOrder.BeforeAll : KeyOrder.BehindAll);
            }
        }
        else
        {
            ReadOnlySpan<byte> start = KeyOrder.Compare(key, _from) < 0 ? _from : key;
            fixed (byte* p = start)
            {
                _heap.SeekAtOrBehind(p, start.Length, KeyOrder.BeforeAll);
            }
        }

        _position = Position.Placed;
    }

    public override void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _heap.Dispose();
            _key.Dispose();
            _value.Dispose();
            _versions.Unpin(_superversion);
        }
    }

    private void Place()
    {
        if (_reverse)
        {
            if (_to.Length == 0)
            {
                _heap.SeekLast();
                return;
            }

            fixed (byte* p = _to)
            {
                _heap.SeekBefore(p, _to.Length, KeyOrder.BeforeAll);
            }
        }
        else if (_from.Length == 0)
        {
            _heap.SeekFirst();
        }
        else
        {
            fixed (byte* p = _from)
            {
                _heap.SeekAtOrBehind(p, _from.Length, KeyOrder.BeforeAll);
            }
        }
    }

    /// <summary>From the heap's top on: the first entry that is the newest of its key at the version, and no tombstone.</summary>
    private bool FindForward()
    {
        // The key decided before is in _key: set when an entry was found or a tombstone passed. Keys are never empty.
        for (MergeSource? top = _heap.Top; top is not null; top = _heap.Top)
        {
            if (_to.Length > 0 && IsAtOrBehindTo(top))
            {
                _present = null;
                return false;
            }

            if (top.Version <= _at && !IsDecided(top))
            {
                Cover cover = _ranges is null ? Cover.None : _ranges.Covers(top);
                if (cover == Cover.Newer)
                {
                    RangeLayer layer = _ranges!.Found!;
                    _heap.SkipForward(layer.Ordinal, layer.End);
                    continue;
                }

                _key.Clear();
                _key.Append(top.KeySpan);
                if (top.Kind == EntryKind.Value && cover == Cover.None)
                {
                    _present = top;
                    return true;
                }
            }

            _heap.Next();
        }

        _present = null;
        return false;
    }

    /// <summary>Backward over all versions of a key; the last one at or below the version decides.</summary>
    private bool FindBackward()
    {
        while (_heap.Top is MergeSource top)
        {
            if (_from.Length > 0 && KeyOrder.Compare(top.KeySpan, _from) < 0)
            {
                return false;
            }

            if (_ranges is not null && _ranges.Covers(top) == Cover.Newer)
            {
                RangeLayer layer = _ranges.Found!;
                _heap.SkipBackward(layer.Ordinal, layer.Start);
                continue;
            }

            _key.Clear();
            _key.Append(top.KeySpan);
            bool found = false;
            do
            {
                if (top.Version <= _at)
                {
                    found = top.Kind == EntryKind.Value && (_ranges is null || _ranges.Covers(top) == Cover.None);
                    Keep(top, found);
                }

                _heap.Previous();
                top = _heap.Top!;
            }
            while (top is not null && IsDecided(top));

            if (found)
            {
                return true;
            }
        }

        return false;
    }

    private void Keep(MergeSource entry, bool withValue)
    {
        _value.Clear();
        if (withValue)
        {
            _value.Append(entry.ValueSpan);
        }

        _version = entry.Version;
        _stamp = entry.Stamp;
        _expiresAt = entry.ExpiresAt;
    }

    private bool IsDecided(MergeSource entry) =>
        entry.KeyLength == _key.Length
        && KeyOrder.CommonLength(entry.Key, (byte*)_key.Address, entry.KeyLength) == entry.KeyLength;

    private bool IsAtOrBehindTo(MergeSource entry) =>
        entry.Head != _toHead ? entry.Head > _toHead : KeyOrder.Compare(entry.KeySpan, _to) >= 0;
}
