using System.Diagnostics;
using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Writes one SSTable from entries in order. One thread. The caller syncs the directory.</summary>
/// <remarks>
/// <code>
/// data blocks | [index partitions] | index | filter | properties | footer      each block with its trailer
/// </code>
/// Memory: the block under way, the hashes of the table's keys (8 bytes each) and its index.
/// </remarks>
internal sealed unsafe class TableBuilder : IDisposable
{
    /// <summary>Above this an index is split in two levels.</summary>
    internal const int MaxIndexBytes = 1 << 20;

    /// <summary>About the size of one partition of a two-level index.</summary>
    internal const int IndexPartitionBytes = 64 << 10;

    private const int WriteBytes = 1 << 20;

    private readonly StorageFile _file;
    private readonly EngineOptions _options;
    private readonly int _maxIndexBytes;
    private readonly KeysBelow? _below;
    private readonly TableProperties _properties;
    private readonly BlockBuilder _block = new();
    private readonly IndexBuilder _index = new();
    private readonly NativeBuffer _hashes = new();
    private readonly NativeBuffer _output = new(WriteBytes + (64 << 10));
    private readonly NativeBuffer _lastOfBlock = new(256);
    private long _lastVersionOfBlock;
    private long _blockStart;
    private long _written;
    private bool _separatorDue;
    private long _lastVersion;

    public TableBuilder(
        StorageFile file, EngineOptions options, long versionBase, long stampBase, int maxIndexBytes = MaxIndexBytes, KeysBelow? below = null)
    {
        _file = file;
        _options = options;
        _maxIndexBytes = maxIndexBytes;
        _below = below;
        _properties = new TableProperties { VersionBase = versionBase, StampBase = stampBase };
    }

    public TableProperties Properties => _properties;

    public bool IsEmpty => _properties.Entries == 0;

    /// <summary>Bytes of the file so far; after <see cref="Finish"/> all.</summary>
    public long FileBytes => _written + _output.Length;

    /// <summary>About how large the file would be if it were finished now.</summary>
    public long EstimatedBytes => FileBytes + _block.EstimatedBytes + _index.EstimatedBytes + (_hashes.Length * _options.BloomBitsPerKey / 64);

    /// <summary>Adds an entry behind all added before.</summary>
    public void Add(byte* key, int keyLength, long version, EntryKind kind, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        bool sameKey = !IsEmpty && SameAsLast(key, keyLength);
        if (_separatorDue)
        {
            AddSeparator(key, keyLength, sameKey);
        }

        ulong hash = KeyHash.Compute(key, keyLength);
        if (!sameKey)
        {
            _hashes.AppendInt64((long)hash);
            if (_properties.Entries == 0)
            {
                _properties.Smallest = new ReadOnlySpan<byte>(key, keyLength).ToArray();
            }

            if (_below is not null && KeysBelow.IsSampled(hash) && _below.MayHold(key, keyLength, hash))
            {
                _properties.Covering += KeysBelow.Sample;
            }
        }
        else if (kind == EntryKind.Value)
        {
            _properties.Covering++;
        }

        _block.Add(key, keyLength, hash, version - _properties.VersionBase, kind, stamp - _properties.StampBase, expiresAt, value);
        _lastVersion = version;
        Count(keyLength, version, kind, stamp, expiresAt, value.Length);
        if (_block.EstimatedBytes >= _options.BlockBytes)
        {
            EndBlock();
        }
    }

    /// <summary>The last key added.</summary>
    public ReadOnlySpan<byte> LastKey => _block.IsEmpty ? _lastOfBlock.Written : _block.LastKey;

    /// <summary>Writes what is left, with the range tombstones of the table, and syncs the file.</summary>
    public void Finish(RangeTombstones? ranges = null)
    {
        Debug.Assert(!IsEmpty || ranges is not null, "a table has entries or range tombstones");
        if (!IsEmpty)
        {
            _properties.Largest = LastKey.ToArray();
            if (!_block.IsEmpty)
            {
                EndBlock();
            }

            AddSeparator(null, 0, sameKey: false);
        }

        int dataBlocks = _index.Count;
        (long indexOffset, int indexLength, bool twoLevel) = WriteIndex();
        (long filterOffset, int filterLength) = WriteFilter();
        if (ranges is not null)
        {
            WriteRanges(ranges);
        }

        using NativeBuffer properties = new();
        _properties.Encode(properties);
        int propertiesLength = properties.Length;
        long propertiesOffset = WriteBlock(properties);
        TableFooter footer = new(indexOffset, indexLength, filterOffset, filterLength, propertiesOffset, propertiesLength,
            twoLevel, BloomFilter.Probes(_options.BloomBitsPerKey), dataBlocks, ranges is not null);
        footer.Encode(_output.Append(TableFooter.Bytes));
        FlushOutput();
        _file.Sync();
    }

    public void Dispose()
    {
        _block.Dispose();
        _index.Dispose();
        _hashes.Dispose();
        _output.Dispose();
        _lastOfBlock.Dispose();
        _file.Dispose();
    }

    private bool SameAsLast(byte* key, int keyLength)
    {
        return LastKey.SequenceEqual(new ReadOnlySpan<byte>(key, keyLength));
    }

    private void Count(int keyLength, long version, EntryKind kind, long stamp, long expiresAt, int valueLength)
    {
        TableProperties p = _properties;
        p.Entries++;
        p.KeyBytes += keyLength;
        p.ValueBytes += valueLength;
        p.MinVersion = Math.Min(p.MinVersion, version);
        p.MaxVersion = Math.Max(p.MaxVersion, version);
        p.MinStamp = Math.Min(p.MinStamp, stamp);
        p.MaxStamp = Math.Max(p.MaxStamp, stamp);
        if (kind == EntryKind.Tombstone)
        {
            p.Tombstones++;
        }

        if (expiresAt != 0)
        {
            p.SmallestExpiry = p.Expiring == 0 ? expiresAt : Math.Min(p.SmallestExpiry, expiresAt);
            p.LargestExpiry = Math.Max(p.LargestExpiry, expiresAt);
            p.Expiring++;
        }
    }

    private void EndBlock()
    {
        _lastOfBlock.Clear();
        _lastOfBlock.Append(_block.LastKey);
        _lastVersionOfBlock = _lastVersion;
        _blockStart = WriteBlock(_block.Finish());
        _block.Clear();
        _separatorDue = true;
    }

    /// <summary>
    /// The separator of the block that ended: the shortest key at or behind its last key and before the next one; if the
    /// next has the same key, the key with its last version.
    /// </summary>
    private void AddSeparator(byte* next, int nextLength, bool sameKey)
    {
        ReadOnlySpan<byte> last = _lastOfBlock.Written;
        if (sameKey)
        {
            _index.Add(last, _lastVersionOfBlock, _blockStart, 0);
        }
        else if (next == null)
        {
            _index.Add(last, 0, _blockStart, 0);
        }
        else
        {
            // The next key is greater, so it is longer than what they have in common; one byte more separates them, but
            // must stay below it: the last key itself does if the next only adds to it.
            ReadOnlySpan<byte> following = new(next, nextLength);
            int common = last.CommonPrefixLength(following);
            if (common < last.Length && common + 1 < last.Length && last[common] + 1 < following[common])
            {
                Span<byte> separator = stackalloc byte[256];
                if (common < separator.Length)
                {
                    last[..(common + 1)].CopyTo(separator);
                    separator[common]++;
                    _index.Add(separator[..(common + 1)], 0, _blockStart, 0);
                    _separatorDue = false;
                    return;
                }
            }

            _index.Add(last, 0, _blockStart, 0);
        }

        _separatorDue = false;
    }

    private (long Offset, int Length, bool TwoLevel) WriteIndex()
    {
        long end = FileBytes;
        using NativeBuffer encoded = new();
        if (_index.EstimatedBytes <= _maxIndexBytes)
        {
            _index.Encode(encoded, 0, _index.Count, end, top: false, 0);
            int singleLength = encoded.Length;
            return (WriteBlock(encoded), singleLength, false);
        }

        using IndexBuilder top = new();
        int perPartition = Math.Max(2, (int)(_index.Count * (long)Math.Min(IndexPartitionBytes, _maxIndexBytes) / _index.EstimatedBytes));
        for (int first = 0; first < _index.Count; first += perPartition)
        {
            int count = Math.Min(perPartition, _index.Count - first);
            encoded.Clear();
            _index.Encode(encoded, first, count, end, top: false, 0);
            int last = first + count - 1;
            top.Add(_index.Separator(last), _index.Version(last), WriteBlock(encoded), first);
        }

        encoded.Clear();
        top.Encode(encoded, 0, top.Count, FileBytes, top: true, _index.Count);
        int length = encoded.Length;
        return (WriteBlock(encoded), length, true);
    }

    private (long Offset, int Length) WriteFilter()
    {
        ReadOnlySpan<ulong> hashes = MemoryMarshal.Cast<byte, ulong>(_hashes.Written);
        int probes = BloomFilter.Probes(_options.BloomBitsPerKey);
        int length = BloomFilter.Bytes(hashes.Length, _options.BloomBitsPerKey);
        using NativeBuffer filter = new(length + BlockFormat.TrailerBytes);
        filter.Append(length).Clear();
        byte* lines = (byte*)filter.Address;
        foreach (ulong hash in hashes)
        {
            BloomFilter.Add(lines, length, probes, hash);
        }

        return (WriteBlock(filter), length);
    }

    private void WriteRanges(RangeTombstones ranges)
    {
        _properties.Include(ranges);
        using NativeBuffer block = new();
        RangeTombstoneBlock.Encode(ranges, block);
        WriteBlock(block);
    }

    /// <summary>Puts the trailer behind a block and writes it; returns its offset.</summary>
    private long WriteBlock(NativeBuffer block)
    {
        block.AppendByte(BlockFormat.NoCompression);
        block.AppendUInt32(Crc32C.Compute(block.Written));
        long offset = FileBytes;
        if (block.Length >= WriteBytes)
        {
            FlushOutput();
            _file.Write(_written, block.Written);
            _written += block.Length;
            return offset;
        }

        _output.Append(block.Written);
        if (_output.Length >= WriteBytes)
        {
            FlushOutput();
        }

        return offset;
    }

    private void FlushOutput()
    {
        if (_output.Length > 0)
        {
            _file.Write(_written, _output.Written);
            _written += _output.Length;
            _output.Clear();
        }
    }
}
