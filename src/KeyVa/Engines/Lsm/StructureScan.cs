using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Goes through the memtables and tables of one pinned superversion, one after the other; tables that have nothing of the versions
/// are passed over, so that what was written lately is found without reading all that lies below.
/// </summary>
internal sealed unsafe class StructureScan : VersionScan
{
    private readonly VersionSet _versions;
    private readonly Superversion _superversion;
    private readonly byte[] _from;
    private readonly byte[] _to;
    private readonly long _after;
    private readonly long _upTo;
    private readonly Queue<Memtable> _memtables = [];
    private readonly Queue<SsTable> _tables = [];
    private readonly TableSource _tableSource = new([], streaming: false);
    private readonly NativeBuffer _value = new();
    private readonly List<RemovedRange> _ranges = [];
    private MergeSource? _source;

    public StructureScan(VersionSet versions, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long after, long upTo)
    {
        _versions = versions;
        _superversion = versions.Pin();
        _from = from.ToArray();
        _to = to.ToArray();
        _after = after;
        _upTo = upTo;
        foreach (Memtable memtable in _superversion.Memtables)
        {
            if (memtable.Entries > 0)
            {
                _memtables.Enqueue(memtable);
            }

            Collect(memtable.Ranges?.Merged);
        }

        foreach (SsTable table in _superversion.Tables)
        {
            TableProperties properties = table.Properties;
            if (properties.MaxVersion > after && properties.MinVersion <= upTo)
            {
                if (properties.Entries > 0 && IsWithin(table))
                {
                    _tables.Enqueue(table);
                }

                Collect(table.Ranges);
            }
        }
    }

    public override ReadOnlySpan<byte> Key => _source!.KeySpan;

    public override ReadOnlySpan<byte> Value
    {
        get
        {
            if (_source!.Kind != EntryKind.Reference)
            {
                return _source.Kind == EntryKind.Tombstone ? default : _source.ValueSpan;
            }

            _value.Clear();
            _superversion.Values.CopyTo(_value, _source.ValueSpan, Key, Version, fillCache: false);
            return _value.Written;
        }
    }

    public override long Version => _source!.Version;

    public override long Stamp => _source!.Stamp;

    public override long ExpiresAt => _source!.ExpiresAt;

    public override bool IsRemoval => _source!.Kind == EntryKind.Tombstone;

    public override IReadOnlyList<RemovedRange> Ranges => _ranges;

    public override bool MoveNext()
    {
        while (true)
        {
            if (_source is null)
            {
                if (!Open())
                {
                    return false;
                }
            }
            else
            {
                _source.Next();
            }

            while (_source!.Valid && IsBeforeEnd(_source.KeySpan))
            {
                if (_source.Version > _after && _source.Version <= _upTo)
                {
                    return true;
                }

                _source.Next();
            }

            _source = null;
        }
    }

    public override void Dispose()
    {
        _tableSource.Dispose();
        _value.Dispose();
        _versions.Unpin(_superversion);
    }

    private bool Open()
    {
        if (_memtables.TryDequeue(out Memtable? memtable))
        {
            _source = new MemtableSource(memtable.List);
        }
        else if (_tables.TryDequeue(out SsTable? table))
        {
            _tableSource.Close();
            _tableSource.Reset(table.Alone, fillCache: false);
            _source = _tableSource;
        }
        else
        {
            return false;
        }

        if (_from.Length == 0)
        {
            _source.SeekFirst();
        }
        else
        {
            fixed (byte* from = _from)
            {
                _source.SeekAtOrBehind(from, _from.Length, KeyOrder.BeforeAll);
            }
        }

        return true;
    }

    private bool IsBeforeEnd(ReadOnlySpan<byte> key) => _to.Length == 0 || KeyOrder.Compare(key, _to) < 0;

    private bool IsWithin(SsTable table) =>
        IsBeforeEnd(table.Smallest) && (_from.Length == 0 || KeyOrder.Compare(table.Largest, _from) >= 0);

    private void Collect(RangeTombstones? ranges)
    {
        for (int fragment = 0; ranges is not null && fragment < ranges.Count; fragment++)
        {
            ReadOnlySpan<byte> start = ranges.Start(fragment);
            ReadOnlySpan<byte> end = ranges.End(fragment);
            if (!IsBeforeEnd(start) || KeyOrder.Compare(end, _from) <= 0)
            {
                continue;
            }

            ReadOnlySpan<long> versions = ranges.Versions(fragment);
            for (int i = 0; i < versions.Length; i++)
            {
                if (versions[i] > _after && versions[i] <= _upTo)
                {
                    byte[] to = end.SequenceEqual(RangeTombstones.OpenEnd) ? [] : end.ToArray();
                    _ranges.Add(new RemovedRange(start.ToArray(), to, versions[i], ranges.Stamps(fragment)[i]));
                }
            }
        }
    }
}
