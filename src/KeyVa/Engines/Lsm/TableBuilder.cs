using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Writes one SSTable from entries in order. One thread. The caller syncs the directory.</summary>
/// <remarks>
/// <code>
/// data blocks | [index partitions] | index | filter | [dictionary] | [range tombstones] | properties | meta index | footer
/// </code>
/// Each block with its trailer. Data blocks, the index and its partitions are compressed, if anything is: the rest is
/// small, or does not shrink. Memory: the block under way, the hashes of the table's keys (8 bytes each), its index, and
/// for a dictionary the first blocks (<see cref="DictionarySamples"/>).
/// </remarks>
internal sealed unsafe class TableBuilder : IDisposable
{
    /// <summary>Above this an index is split in two levels.</summary>
    internal const int MaxIndexBytes = 1 << 20;

    /// <summary>About the size of one partition of a two-level index.</summary>
    internal const int IndexPartitionBytes = 64 << 10;

    private const int WriteBytes = 1 << 20;

    /// <summary>A page that is written only in part is left for later: it would go to the disk twice.</summary>
    private const long PageBytes = 4096;

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
    private readonly BlockCompressor? _compressor;
    private readonly NativeBuffer _dictionary = new(64);
    private readonly NativeBuffer _ranges = new(64);
    private readonly Dictionary<long, ValueFileUse> _uses = [];
    private DictionarySamples? _samples;
    private uint _compressions;
    private long _lastVersionOfBlock;
    private long _blockStart;
    private long _written;
    private long _writeBack;
    private bool _separatorDue;
    private long _lastVersion;

    /// <param name="file">An empty file, which the builder takes over.</param>
    /// <param name="options">The engine's.</param>
    /// <param name="versionBase">At or below every version that will come.</param>
    /// <param name="stampBase">At or below every stamp.</param>
    /// <param name="maxIndexBytes">A larger index gets two levels.</param>
    /// <param name="below">For counting overwrites; null: they are not counted.</param>
    /// <param name="compression">Null: the engine's for levels that are not the last.</param>
    public TableBuilder(
        StorageFile file, EngineOptions options, long versionBase, long stampBase, int maxIndexBytes = MaxIndexBytes, KeysBelow? below = null,
        Compression? compression = null)
    {
        _file = file;
        _options = options;
        _maxIndexBytes = maxIndexBytes;
        _below = below;
        Compression codec = compression ?? options.Compression;
        _properties = new TableProperties { VersionBase = versionBase, StampBase = stampBase, Compression = codec };
        if (codec != Compression.None)
        {
            _compressor = new BlockCompressor(codec, options.ZstdLevel, options.CompressionLibraries);
            _samples = codec == Compression.Zstandard && options.ZstdDictionaryBytes > 0 ? new DictionarySamples(options.ZstdDictionaryBytes) : null;
        }
    }

    public TableProperties Properties => _properties;

    public bool IsEmpty => _properties.Entries == 0;

    /// <summary>After <see cref="Finish"/>: where the properties are.</summary>
    public BlockPlace PropertiesPlace { get; private set; }

    /// <summary>Bytes of the file so far; after <see cref="Finish"/> all.</summary>
    public long FileBytes => _written + _output.Length;

    /// <summary>About how large the file would be if it were finished now.</summary>
    public long EstimatedBytes => FileBytes + (_samples?.Bytes ?? 0) + _block.EstimatedBytes + _index.EstimatedBytes + (_hashes.Length * _options.BloomBitsPerKey / 64);

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
        else if (kind != EntryKind.Tombstone)
        {
            _properties.Covering++;
        }

        _block.Add(key, keyLength, hash, version - _properties.VersionBase, kind, stamp - _properties.StampBase, expiresAt, value);
        _lastVersion = version;
        Count(keyLength, version, kind, stamp, expiresAt, kind == EntryKind.Reference ? CountUse(value) : value.Length);
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

            EndSamples();
            AddSeparator(null, 0, sameKey: false);
            _properties.ValueFiles = [.. _uses.Values.OrderBy(use => use.Id)];
        }

        if (ranges is not null)
        {
            _properties.Include(ranges);
            RangeTombstoneBlock.Encode(ranges, _ranges);
        }

        int dataBlocks = _index.Count;
        (BlockPlace index, bool twoLevel) = WriteIndex();
        TableLayout layout = new()
        {
            Index = index,
            TwoLevelIndex = twoLevel,
            Filter = WriteFilter(),
            Dictionary = WriteOptional(_dictionary),
            RangeTombstones = WriteOptional(_ranges),
            Properties = WriteProperties(),
            FilterProbes = BloomFilter.Probes(_options.BloomBitsPerKey),
            DataBlocks = dataBlocks,
            Compressions = _compressions,
        };
        PropertiesPlace = layout.Properties;
        using NativeBuffer metaIndex = new();
        MetaIndex.Encode(metaIndex, layout);
        BlockPlace metaPlace = WriteBlock(metaIndex.Written);
        TableFooter.Encode(_output.Append(TableFooter.Bytes), metaPlace);
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
        _compressor?.Dispose();
        _dictionary.Dispose();
        _samples?.Dispose();
        _ranges.Dispose();
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

    /// <summary>Returns the length of the value that the reference leads to.</summary>
    private int CountUse(ReadOnlySpan<byte> encoded)
    {
        ValueReference reference = ValueReference.Decode(encoded, _file.Path, FileBytes);
        ref ValueFileUse use = ref CollectionsMarshal.GetValueRefOrAddDefault(_uses, reference.File, out _);
        use = new ValueFileUse(reference.File, use.Bytes + reference.RecordLength, use.Records + 1);
        return reference.ValueLength;
    }

    private void EndBlock()
    {
        _lastOfBlock.Clear();
        _lastOfBlock.Append(_block.LastKey);
        _lastVersionOfBlock = _lastVersion;
        ReadOnlySpan<byte> block = _block.Finish().Written;
        _properties.UncompressedBytes += block.Length;
        if (_samples is null)
        {
            _blockStart = WriteData(block).Offset;
        }
        else
        {
            _samples.Add(block);
            if (_samples.IsFull)
            {
                EndSamples();
            }
        }

        _block.Clear();
        _separatorDue = true;
    }

    /// <summary>
    /// Trains the dictionary and writes the blocks that waited for it. Where they begin is known only now: all but the
    /// last are in the index already.
    /// </summary>
    private void EndSamples()
    {
        if (_samples is null)
        {
            return;
        }

        if (_samples.TryTrain(_dictionary))
        {
            _compressor!.UseDictionary(_dictionary.Written);
        }

        ReadOnlySpan<byte> rest = _samples.Blocks;
        for (int i = 0; i < _samples.Count; i++)
        {
            int length = _samples.Length(i);
            _blockStart = WriteData(rest[..length]).Offset;
            rest = rest[length..];
            if (i < _index.Count)
            {
                _index.SetOffset(i, _blockStart);
            }
        }

        _samples.Dispose();
        _samples = null;
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

    private (BlockPlace Place, bool TwoLevel) WriteIndex()
    {
        long end = FileBytes;
        using NativeBuffer encoded = new();
        if (_index.EstimatedBytes <= _maxIndexBytes)
        {
            _index.Encode(encoded, 0, _index.Count, end, top: false, 0);
            return (WriteCompressed(encoded.Written, withDictionary: false), false);
        }

        using IndexBuilder top = new();
        int perPartition = Math.Max(2, (int)(_index.Count * (long)Math.Min(IndexPartitionBytes, _maxIndexBytes) / _index.EstimatedBytes));
        for (int first = 0; first < _index.Count; first += perPartition)
        {
            int count = Math.Min(perPartition, _index.Count - first);
            encoded.Clear();
            _index.Encode(encoded, first, count, end, top: false, 0);
            int last = first + count - 1;
            top.Add(_index.Separator(last), _index.Version(last), WriteCompressed(encoded.Written, withDictionary: false).Offset, first);
        }

        encoded.Clear();
        top.Encode(encoded, 0, top.Count, FileBytes, top: true, _index.Count);
        return (WriteCompressed(encoded.Written, withDictionary: false), true);
    }

    private BlockPlace WriteFilter()
    {
        ReadOnlySpan<ulong> hashes = MemoryMarshal.Cast<byte, ulong>(_hashes.Written);
        int probes = BloomFilter.Probes(_options.BloomBitsPerKey);
        int length = BloomFilter.Bytes(hashes.Length, _options.BloomBitsPerKey);
        using NativeBuffer filter = new(length);
        filter.Append(length).Clear();
        byte* lines = (byte*)filter.Address;
        foreach (ulong hash in hashes)
        {
            BloomFilter.Add(lines, length, probes, hash);
        }

        return WriteBlock(filter.Written);
    }

    private BlockPlace WriteProperties()
    {
        using NativeBuffer properties = new();
        _properties.Encode(properties);
        return WriteBlock(properties.Written);
    }

    private BlockPlace WriteOptional(NativeBuffer block) => block.Length == 0 ? default : WriteBlock(block.Written);

    private BlockPlace WriteData(ReadOnlySpan<byte> block) => WriteCompressed(block, withDictionary: true);

    private BlockPlace WriteCompressed(ReadOnlySpan<byte> block, bool withDictionary)
    {
        byte compression = _compressor?.Compress(block, withDictionary) ?? BlockFormat.NoCompression;
        return WriteBlock(compression == BlockFormat.NoCompression ? block : _compressor!.Output, compression);
    }

    /// <summary>Writes a block and its trailer.</summary>
    private BlockPlace WriteBlock(ReadOnlySpan<byte> block, byte compression = BlockFormat.NoCompression)
    {
        BlockPlace place = new(FileBytes, block.Length);
        _compressions |= 1u << compression;
        if (block.Length >= WriteBytes)
        {
            FlushOutput();
            Write(block);
        }
        else
        {
            _output.Append(block);
        }

        Span<byte> trailer = _output.Append(BlockFormat.TrailerBytes);
        trailer[0] = compression;
        BinaryPrimitives.WriteUInt32LittleEndian(trailer[1..], Crc32C.Extend(Crc32C.Compute(block), trailer[..1]));
        if (_output.Length >= WriteBytes)
        {
            FlushOutput();
        }

        return place;
    }

    private void FlushOutput()
    {
        if (_output.Length > 0)
        {
            Write(_output.Written);
            _output.Clear();
        }
    }

    /// <summary>Writes, and has the disk begin at once: so the sync at the end finds little left, and builder and disk work side by side.</summary>
    private void Write(ReadOnlySpan<byte> bytes)
    {
        _file.Write(_written, bytes);
        _written += bytes.Length;
        long whole = _written & -PageBytes;
        _file.BeginWriteBack(_writeBack, whole - _writeBack);
        _writeBack = whole;
    }
}
