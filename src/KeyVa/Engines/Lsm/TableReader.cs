using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// An open SSTable: its file, filter and (top) index in native memory, and one slot per block for the cache.
/// </summary>
/// <remarks>
/// Thread-safe but for <see cref="Dispose"/>. Who uses it is inside an epoch since before it took the reader from its
/// table, or has pinned it. Bytes are checked against their checksum whenever they come from the file.
/// </remarks>
internal sealed unsafe class TableReader : IDisposable
{
    // Immutable after construction.
    private readonly StorageFile _file;
    private readonly BlockCache _cache;
    private readonly TableLayout _layout;
    private readonly BlockDecompressor _decompressor;
    private readonly int _filterLength;
    private readonly int _filterProbes;
    private readonly Block* _indexMemory;
    private readonly IndexBlock _index;
    private readonly byte* _filter;
    private readonly nint* _slots;
    private readonly nint* _partitionSlots;
    private readonly int _dataBlocks;

    // Shared, by interlocked operations.
    private int _pins;

    private TableReader(StorageFile file, BlockCache cache, long fileBytes, CompressionLibraries libraries)
    {
        _file = file;
        _cache = cache;
        try
        {
            _layout = ReadLayout(fileBytes);
            _dataBlocks = _layout.DataBlocks;
            Properties = ReadProperties();
            Ranges = _layout.RangeTombstones.Exists ? ReadRanges() : null;
            _decompressor = OpenDecompressor(libraries);
            _indexMemory = ReadBlock(_layout.Index.Offset, _layout.Index.Length);
            if (!IndexBlock.TryParse(Block.Data(_indexMemory), _indexMemory->Length, out _index) || _index.IsTop != _layout.TwoLevelIndex
                || (_index.IsTop ? _index.Ordinal(_index.Count) : _index.Count) != _dataBlocks || !_index.IsSound(0, _layout.Index.Offset))
            {
                throw new CorruptionException(file.Path, _layout.Index.Offset, "the index does not fit its length or the number of blocks");
            }

            _filterLength = _layout.Filter.Length;
            _filterProbes = _layout.FilterProbes;
            if (_filterLength % BloomFilter.LineBytes != 0 || _filterProbes is < 1 or > BloomFilter.MaxProbes)
            {
                throw new CorruptionException(file.Path, _layout.Filter.Offset, $"a filter of {_filterLength} bytes with {_filterProbes} probes is none");
            }

            _filter = (byte*)NativeMemory.AlignedAlloc((nuint)_filterLength + BlockFormat.TrailerBytes, BloomFilter.LineBytes);
            ReadPlain(_layout.Filter, _filter);
            _slots = AllocateSlots(_dataBlocks);
            _partitionSlots = AllocateSlots(_index.IsTop ? _index.Count : 0);
        }
        catch
        {
            FreeMemory();
            throw;
        }
    }

    // No finalizer: a cached block leads back to its slot, and a reader that was never disposed must leave it in place.

    public string Path => _file.Path;

    /// <summary>Where its pinned blocks are given back.</summary>
    public BlockCache Cache => _cache;

    public TableProperties Properties { get; }

    /// <summary>The table's range tombstones; null if it has none.</summary>
    public RangeTombstones? Ranges { get; }

    public int DataBlocks => _dataBlocks;

    /// <summary>Where the data blocks end.</summary>
    public long DataEnd => _index.IsTop ? _index.Offset(0) : _index.Offset(_dataBlocks);

    /// <summary>Used since the table cache's hand last passed.</summary>
    public bool Referenced { get; set; }

    /// <summary>Native bytes it holds: index, filter and slots.</summary>
    public long MemoryBytes => _indexMemory->Length + _filterLength + (8L * _dataBlocks) + _decompressor.MemoryBytes;

    /// <summary>Where the parts are.</summary>
    public TableLayout Layout => _layout;

    /// <summary>What compressed blocks go through; it is closed with the reader.</summary>
    public BlockDecompressor Decompressor => _decompressor;

    /// <summary>Opens a table and takes the file over.</summary>
    public static TableReader Open(StorageFile file, BlockCache cache, CompressionLibraries? libraries = null)
    {
        try
        {
            return new TableReader(file, cache, file.Length, libraries ?? CompressionLibraries.Installed);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool MayContain(ulong hash) => BloomFilter.MayContain(_filter, _filterLength, _filterProbes, hash);

    /// <summary>The newest entry of the key at or below the version. The caller is inside an epoch, and stays while it uses the entry.</summary>
    public bool TryFind(byte* key, int keyLength, ulong hash, long at, out BlockEntry entry)
    {
        Block* block = _index.IsTop ? FindTwoLevel(key, keyLength, at) : FindOneLevel(key, keyLength, at);
        if (block == null)
        {
            entry = default;
            return false;
        }

        return BlockSearch.TryFind(block, key, keyLength, hash, at, Properties.VersionBase, Properties.StampBase, out entry);
    }

    /// <summary>The ordinal of the block where (key, version) is or would be; DataBlocks if behind all.</summary>
    public int FindOrdinal(byte* key, int keyLength, long version)
    {
        int i = _index.Find(key, keyLength, version);
        if (!_index.IsTop)
        {
            return i;
        }

        if (i == _index.Count)
        {
            return _dataBlocks;
        }

        Epochs.Enter();
        try
        {
            IndexBlock partition = Partition(i);
            return partition.FirstOrdinal + partition.Find(key, keyLength, version);
        }
        finally
        {
            Epochs.Exit();
        }
    }

    /// <summary>Keys that lie about evenly over the table, rising: where a compaction may be cut.</summary>
    public List<byte[]> SampleKeys(int most)
    {
        List<byte[]> keys = [];
        int step = Math.Max(1, _index.Count / most);
        for (int i = step - 1; i < _index.Count; i += step)
        {
            keys.Add(_index.Separator(i));
        }

        return keys;
    }

    /// <summary>Where a data block is.</summary>
    public void Locate(int ordinal, out long offset, out int length)
    {
        if (!_index.IsTop)
        {
            offset = _index.Offset(ordinal);
            length = _index.Length(ordinal);
            return;
        }

        Epochs.Enter();
        try
        {
            IndexBlock partition = Partition(_index.FindOrdinal(ordinal));
            offset = partition.Offset(ordinal - partition.FirstOrdinal);
            length = partition.Length(ordinal - partition.FirstOrdinal);
        }
        finally
        {
            Epochs.Exit();
        }
    }

    /// <summary>A data block if it is cached, pinned until <see cref="BlockCache.Unpin"/>; else null.</summary>
    public Block* PinCached(int ordinal)
    {
        nint* slot = _slots + ordinal;
        Epochs.Enter();
        try
        {
            Block* cached = (Block*)Volatile.Read(ref *slot);
            if (cached != null && Block.TryPin(cached))
            {
                _cache.Touch(cached);
                return cached;
            }
        }
        finally
        {
            Epochs.Exit();
        }

        return null;
    }

    /// <summary>
    /// Reads a data block that was not cached (see <see cref="Locate"/>), pinned until <see cref="BlockCache.Unpin"/>.
    /// <paramref name="fillCache"/> false: it goes with its pin.
    /// </summary>
    public Block* ReadPinned(int ordinal, long offset, int length, bool fillCache)
    {
        Block* block = ReadDataBlock(offset, length);
        block->Pins = 1;
        if (fillCache)
        {
            return _cache.Insert(_slots + ordinal, block);
        }

        _cache.Memory.Charge(MemoryKind.Buffers, block->Charge);
        return block;
    }

    /// <summary>A hint that this part of the file will be read soon.</summary>
    public void Prefetch(long offset, long length) => _file.Prefetch(offset, length);

    /// <summary>Reads and checks a data block past the cache; the caller frees it.</summary>
    public Block* ReadDataBlock(long offset, int length)
    {
        Block* block = ReadBlock(offset, length);
        if (!Block.TryParse(block))
        {
            Block.Free(block);
            throw new CorruptionException(Path, offset, "the block's footer does not fit its length");
        }

        return block;
    }

    /// <summary>Reads and checks any block, and undoes its compression; the caller frees it.</summary>
    public Block* ReadBlock(long offset, int length)
    {
        Block* block = Block.Allocate(length);
        try
        {
            byte compression = ReadChecked(offset, length, Block.Data(block));
            return compression == BlockFormat.NoCompression ? block : Decompress(block, compression, offset);
        }
        catch
        {
            Block.Free(block);
            throw;
        }
    }

    /// <summary>Reads raw bytes of the file, for streaming; fewer only at its end.</summary>
    public int ReadRaw(long offset, Span<byte> to) => _file.Read(offset, to);

    /// <summary>Reads every index partition (all other parts but the data are checked when opening).</summary>
    public void CheckIndex()
    {
        for (int i = 0; _index.IsTop && i < _index.Count; i++)
        {
            Block.Free(ReadIndexPartition(i));
        }
    }

    /// <summary>Keeps the reader open; false if it is being closed.</summary>
    public bool TryPin()
    {
        int seen = Volatile.Read(ref _pins);
        while (seen >= 0)
        {
            int found = Interlocked.CompareExchange(ref _pins, seen + 1, seen);
            if (found == seen)
            {
                return true;
            }

            seen = found;
        }

        return false;
    }

    public void Unpin() => Interlocked.Decrement(ref _pins);

    /// <summary>Begins to close it, unless it is pinned; from then on it cannot be pinned.</summary>
    public bool TryEndPins() => Interlocked.CompareExchange(ref _pins, -1, 0) == 0;

    /// <summary>Nobody uses it any more.</summary>
    public void Dispose()
    {
        Debug.Assert(_pins <= 0, "closed while in use");
        for (int i = 0; i < _dataBlocks; i++)
        {
            RemoveFromCache(_slots + i);
        }

        for (int i = 0; _index.IsTop && i < _index.Count; i++)
        {
            RemoveFromCache(_partitionSlots + i);
        }

        _file.Dispose();
        FreeMemory();
    }

    /// <summary>Checks the trailer that follows a block's bytes; returns their compression.</summary>
    public static byte Check(byte* data, int length, string path, long offset)
    {
        if (Crc32C.Compute(new ReadOnlySpan<byte>(data, length + 1)) != Unsafe.ReadUnaligned<uint>(data + length + 1))
        {
            throw new CorruptionException(path, offset, $"the checksum of a block of {length} bytes does not fit");
        }

        return data[length];
    }

    private static nint* AllocateSlots(int count) => (nint*)NativeMemory.AllocZeroed((nuint)Math.Max(1, count), (nuint)sizeof(nint));

    private TableLayout ReadLayout(long fileBytes)
    {
        if (fileBytes < TableFooter.Bytes)
        {
            throw new CorruptionException(Path, 0, $"{fileBytes} bytes are too few for an SSTable");
        }

        Span<byte> footer = stackalloc byte[TableFooter.Bytes];
        int read = _file.Read(fileBytes - TableFooter.Bytes, footer);
        if (read != footer.Length)
        {
            throw new CorruptionException(Path, fileBytes - TableFooter.Bytes, "the file ends inside its footer");
        }

        if (TableFooter.TryDecodeWhole(footer, Path, fileBytes, out TableLayout layout, out BlockPlace metaIndex))
        {
            return layout;
        }

        using NativeBuffer buffer = new();
        return MetaIndex.Decode(ReadPlain(metaIndex, buffer), Path, metaIndex);
    }

    private TableProperties ReadProperties()
    {
        using NativeBuffer buffer = new();
        return TableProperties.TryDecode(ReadPlain(_layout.Properties, buffer))
            ?? throw new CorruptionException(Path, _layout.Properties.Offset, "the properties do not fit their length");
    }

    private RangeTombstones ReadRanges()
    {
        using NativeBuffer buffer = new();
        return RangeTombstoneBlock.TryDecode(ReadPlain(_layout.RangeTombstones, buffer))
            ?? throw new CorruptionException(Path, _layout.RangeTombstones.Offset, "the range tombstones do not fit their length or are not in order");
    }

    private BlockDecompressor OpenDecompressor(CompressionLibraries libraries)
    {
        using NativeBuffer dictionary = new();
        BlockPlace place = _layout.Dictionary;
        if (place.Length > BlockDecompressor.MaxDictionaryBytes)
        {
            throw new CorruptionException(Path, place.Offset, $"a dictionary of {place.Length} bytes is longer than any is written");
        }

        ReadOnlySpan<byte> bytes = place.Exists ? ReadPlain(place, dictionary) : default;
        return new BlockDecompressor(Path, _layout.Compressions, bytes, place.Offset, libraries);
    }

    /// <summary>Reads a block that is never compressed.</summary>
    private ReadOnlySpan<byte> ReadPlain(BlockPlace place, NativeBuffer buffer)
    {
        buffer.Append(place.Length + BlockFormat.TrailerBytes);
        ReadPlain(place, (byte*)buffer.Address);
        return buffer.Written[..place.Length];
    }

    private void ReadPlain(BlockPlace place, byte* to)
    {
        byte compression = ReadChecked(place.Offset, place.Length, to);
        if (compression != BlockFormat.NoCompression)
        {
            throw new CorruptionException(Path, place.Offset + place.Length, $"a block that is never compressed names compression {compression}");
        }
    }

    /// <summary>Reads a block and its trailer (the memory has room for both) and checks them; returns its compression.</summary>
    private byte ReadChecked(long offset, int length, byte* to)
    {
        int whole = length + BlockFormat.TrailerBytes;
        if (_file.Read(offset, new Span<byte>(to, whole)) != whole)
        {
            throw new CorruptionException(Path, offset, $"the file ends inside a block of {whole} bytes");
        }

        return Check(to, length, Path, offset);
    }

    /// <summary>A block with what another one, which is freed, holds compressed. If it throws, nothing is freed.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private Block* Decompress(Block* stored, byte compression, long offset)
    {
        byte* data = Block.Data(stored);
        Block* block = Block.Allocate(_decompressor.UncompressedLength(data, stored->Length, compression, offset));
        try
        {
            _decompressor.Decompress(data, stored->Length, compression, offset, Block.Data(block), block->Length);
        }
        catch
        {
            Block.Free(block);
            throw;
        }

        Block.Free(stored);
        return block;
    }

    private Block* FindOneLevel(byte* key, int keyLength, long at)
    {
        int i = _index.Find(key, keyLength, at);
        if (i == _index.Count)
        {
            return null;
        }

        Block* block = (Block*)Volatile.Read(ref _slots[i]);
        if (block == null)
        {
            return _cache.Insert(_slots + i, ReadDataBlock(_index.Offset(i), _index.Length(i)));
        }

        _cache.Touch(block);
        return block;
    }

    private Block* FindTwoLevel(byte* key, int keyLength, long at)
    {
        int p = _index.Find(key, keyLength, at);
        if (p == _index.Count)
        {
            return null;
        }

        IndexBlock partition = Partition(p);
        int i = partition.Find(key, keyLength, at);
        nint* slot = _slots + partition.FirstOrdinal + i;
        Block* block = (Block*)Volatile.Read(ref *slot);
        if (block == null)
        {
            return _cache.Insert(slot, ReadDataBlock(partition.Offset(i), partition.Length(i)));
        }

        _cache.Touch(block);
        return block;
    }

    /// <summary>A partition of the index, valid while the caller stays inside its epoch.</summary>
    private IndexBlock Partition(int i)
    {
        Block* block = (Block*)Volatile.Read(ref _partitionSlots[i]);
        if (block == null)
        {
            block = _cache.Insert(_partitionSlots + i, ReadIndexPartition(i));
        }
        else
        {
            _cache.Touch(block);
        }

        IndexBlock.TryParse(Block.Data(block), block->Length, out IndexBlock partition);
        return partition;
    }

    private Block* ReadIndexPartition(int i)
    {
        Block* block = ReadBlock(_index.Offset(i), _index.Length(i));
        if (!IndexBlock.TryParse(Block.Data(block), block->Length, out IndexBlock partition)
            || partition.FirstOrdinal != _index.Ordinal(i)
            || partition.FirstOrdinal + partition.Count != _index.Ordinal(i + 1)
            || partition.IsTop || !partition.IsSound(0, DataEnd) || !partition.EndsWith(_index, i))
        {
            Block.Free(block);
            throw new CorruptionException(Path, _index.Offset(i), "an index partition does not fit its length or place");
        }

        return block;
    }

    private void RemoveFromCache(nint* slot)
    {
        if (*slot != 0)
        {
            _cache.Remove(slot);
        }
    }

    private void FreeMemory()
    {
        _decompressor?.Dispose();
        NativeMemory.Free(_indexMemory);
        NativeMemory.AlignedFree(_filter);
        NativeMemory.Free(_slots);
        NativeMemory.Free(_partitionSlots);
    }
}
