using System.Runtime.CompilerServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Walks over the keys of a range as they are at a version: merges the memtables and tables of a pinned superversion, and
/// passes over newer versions, shadowed ones and tombstones. Forward it lends out the sources' own bytes; backward the
/// versions of a key come oldest first, so the newest so far is kept in a buffer.
/// </summary>
/// <remarks>
/// Cursors are used again: <see cref="Open"/> takes one that was disposed on this thread, with its sources and buffers, so
/// that opening allocates nothing. Whoever has disposed a cursor must not touch it again; the public handle
/// (<see cref="ScanCursor"/>) sees to that.
/// </remarks>
internal sealed unsafe class LsmCursor : EngineCursor
{
    /// <summary>Disposed cursors that a thread keeps.</summary>
    private const int MaxPooled = 4;

    /// <summary>Sources of each kind that a pooled cursor keeps.</summary>
    private const int MaxPooledSources = 32;

    /// <summary>Bytes of a buffer that a pooled cursor keeps.</summary>
    private const int KeptBytes = 64 << 10;

    [ThreadStatic]
    private static Stack<LsmCursor>? _pool;

    // Kept from one use to the next.
    private readonly MergeHeap _heap = new([]);
    private readonly List<TableSource> _tableSources = [];
    private readonly List<MemtableSource> _memtableSources = [];
    private readonly NativeBuffer _from = new(64);
    private readonly NativeBuffer _to = new(64);

    // Forward: the key last decided. Backward: the entry found.
    private readonly NativeBuffer _key = new(64);
    private readonly NativeBuffer _value = new(64);

    // Set by Begin.
    private VersionSet _versions = null!;
    private Superversion _superversion = null!;

    // Null where no range was removed: one branch per entry is all that costs.
    private RangeLayers? _ranges;
    private long _at;
    private bool _reverse;
    private bool _fillCache;
    private ulong _toHead;

    private int _usedTableSources;
    private int _usedMemtableSources;
    private MergeSource? _present;

    // The present entry only leads to its value, which is read when somebody asks for it.
    private bool _isReference;
    private bool _isRead;
    private NativeBuffer? _separate;
    private long _version;
    private long _stamp;
    private long _expiresAt;
    private Position _position;
    private bool _disposed = true;

    private LsmCursor()
    {
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

    public override ReadOnlySpan<byte> Value =>
        _reverse | _isReference ? ReverseOrSeparateValue() : _present!.ValueSpan;

    public override long Version => _reverse ? _version : _present!.Version;

    public override long Stamp => _reverse ? _stamp : _present!.Stamp;

    public override long ExpiresAt => _reverse ? _expiresAt : _present!.ExpiresAt;

    public static LsmCursor Open(VersionSet versions, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long at, bool reverse, bool fillCache)
    {
        LsmCursor cursor = _pool is { Count: > 0 } pool ? pool.Pop() : new LsmCursor();
        cursor.Begin(versions, from, to, at, reverse, fillCache);
        return cursor;
    }

    // Compiled once and at once, as what it calls for each entry: a scan that comes first would run for a tenth of a second in code that counts.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override bool MoveNext()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        Position before = _position;
        if (before == Position.AtEnd)
        {
            return false;
        }

        _position = Position.Moving;
        _isRead = false;
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
            bool beyond = _to.Length > 0 && KeyOrder.Compare(key, _to.Written) >= 0;
            ReadOnlySpan<byte> start = beyond ? _to.Written : key;
            fixed (byte* p = start)
            {
                _heap.SeekBefore(p, start.Length, beyond ? KeyOrder.BeforeAll : KeyOrder.BehindAll);
            }
        }
        else
        {
            ReadOnlySpan<byte> start = KeyOrder.Compare(key, _from.Written) < 0 ? _from.Written : key;
            fixed (byte* p = start)
            {
                _heap.SeekAtOrBehind(p, start.Length, KeyOrder.BeforeAll);
            }
        }

        _position = Position.Placed;
    }

    public override void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        _present = null;
        _ranges = null;
        _heap.Clear();
        for (int i = 0; i < _usedTableSources; i++)
        {
            _tableSources[i].Close();
        }

        for (int i = 0; i < _usedMemtableSources; i++)
        {
            _memtableSources[i].Close();
        }

        VersionSet versions = _versions;
        Superversion superversion = _superversion;
        _versions = null!;
        _superversion = null!;
        versions.Unpin(superversion);
        Stack<LsmCursor> pool = _pool ??= new Stack<LsmCursor>(MaxPooled);
        if (pool.Count < MaxPooled)
        {
            for (int i = MaxPooledSources; i < _tableSources.Count; i++)
            {
                _tableSources[i].Dispose();
            }

            _tableSources.RemoveRange(Math.Min(MaxPooledSources, _tableSources.Count), Math.Max(0, _tableSources.Count - MaxPooledSources));
            _memtableSources.RemoveRange(Math.Min(MaxPooledSources, _memtableSources.Count), Math.Max(0, _memtableSources.Count - MaxPooledSources));
            _value.Clear(KeptBytes);
            _separate?.Clear(KeptBytes);
            pool.Push(this);
        }
        else
        {
            Free();
        }
    }

    private void Free()
    {
        _tableSources.ForEach(static source => source.Dispose());
        _key.Dispose();
        _value.Dispose();
        _separate?.Dispose();
        _from.Dispose();
        _to.Dispose();
    }

    private void Begin(VersionSet versions, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long at, bool reverse, bool fillCache)
    {
        _versions = versions;
        _at = at;
        _reverse = reverse;
        _fillCache = fillCache;
        _from.Clear();
        _from.Append(from);
        _to.Clear();
        _to.Append(to);
        _toHead = KeyOrder.Head((byte*)_to.Address, _to.Length);
        _key.Clear();
        _position = Position.Unplaced;
        _usedTableSources = 0;
        _usedMemtableSources = 0;
        _superversion = versions.Pin();
        _disposed = false;
        AddSources(_superversion);
        _ranges = RangeLayers.Of(_superversion, at);
    }

    /// <summary>Everything a read may find, numbered from the newest on (as <see cref="RangeLayers"/> numbers them).</summary>
    private void AddSources(Superversion superversion)
    {
        int ordinal = 0;
        AddSource(superversion.Active, ordinal++);
        foreach (Memtable memtable in superversion.Immutables)
        {
            AddSource(memtable, ordinal++);
        }

        foreach (SsTable table in superversion.Level0)
        {
            AddSource(table.Properties.Entries > 0 ? table.Alone : [], ordinal++);
        }

        for (int level = 1; level <= superversion.DeepestLevel; level++)
        {
            AddSource(superversion.Deeper[level].WithEntries, ordinal++);
        }
    }

    private void AddSource(Memtable memtable, int ordinal)
    {
        if (memtable.Entries == 0)
        {
            return;
        }

        if (_usedMemtableSources == _memtableSources.Count)
        {
            _memtableSources.Add(new MemtableSource(memtable.List));
        }

        MemtableSource source = _memtableSources[_usedMemtableSources++];
        source.Reset(memtable.List);
        source.Ordinal = ordinal;
        _heap.Add(source);
    }

    private void AddSource(SsTable[] tables, int ordinal)
    {
        if (tables.Length == 0)
        {
            return;
        }

        if (_usedTableSources == _tableSources.Count)
        {
            _tableSources.Add(new TableSource(tables, streaming: false));
        }

        TableSource source = _tableSources[_usedTableSources++];
        source.Reset(tables, _fillCache);
        source.Ordinal = ordinal;
        _heap.Add(source);
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

            _heap.SeekBefore((byte*)_to.Address, _to.Length, KeyOrder.BeforeAll);
        }
        else if (_from.Length == 0)
        {
            _heap.SeekFirst();
        }
        else
        {
            _heap.SeekAtOrBehind((byte*)_from.Address, _from.Length, KeyOrder.BeforeAll);
        }
    }

    /// <summary>From the heap's top on: the first entry that is the newest of its key at the version, and no tombstone.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
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
                if (top.Kind != EntryKind.Tombstone && cover == Cover.None)
                {
                    _present = top;
                    _isReference = top.Kind == EntryKind.Reference;
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
            if (_from.Length > 0 && KeyOrder.Compare(top.KeySpan, _from.Written) < 0)
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
                    found = top.Kind != EntryKind.Tombstone && (_ranges is null || _ranges.Covers(top) == Cover.None);
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

        _isReference = entry.Kind == EntryKind.Reference;
        _version = entry.Version;
        _stamp = entry.Stamp;
        _expiresAt = entry.ExpiresAt;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private ReadOnlySpan<byte> ReverseOrSeparateValue()
    {
        if (!_isReference)
        {
            return _value.Written;
        }

        if (!_isRead)
        {
            _separate ??= new NativeBuffer();
            _separate.Clear(KeptBytes);
            _superversion.Values.CopyTo(_separate, _reverse ? _value.Written : _present!.ValueSpan, Key, Version, _fillCache);
            _isRead = true;
        }

        return _separate!.Written;
    }

    private bool IsDecided(MergeSource entry) =>
        entry.KeyLength == _key.Length
        && KeyOrder.CommonLength(entry.Key, (byte*)_key.Address, entry.KeyLength) == entry.KeyLength;

    private bool IsAtOrBehindTo(MergeSource entry) =>
        entry.Head != _toHead ? entry.Head > _toHead : KeyOrder.Compare(entry.KeySpan, _to.Written) >= 0;
}
