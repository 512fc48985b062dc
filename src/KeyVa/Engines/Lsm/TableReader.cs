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
    private readonly TableFooter _footer;
    private readonly Block* _indexMemory;
    private readonly IndexBlock _index;
    private readonly byte* _filter;
    private readonly nint* _slots;
    private readonly nint* _partitionSlots;
    private readonly int _dataBlocks;

    // Shared, by interlocked operations.
    private int _pins;

    private TableReader(StorageFile file, BlockCache cache, long fileBytes)
    {
        _file = file;
        _cache = cache;
        try
        {
            _footer = ReadFooter(file, fileBytes);
            _dataBlocks = _footer.DataBlocks;
            Properties = ReadProperties();
            _indexMemory = Block.Allocate(_footer.IndexLength);
            ReadChecked(_footer.IndexOffset, _footer.IndexLength, Block.Data(_indexMemory));
            if (!IndexBlock.TryParse(Block.Data(_indexMemory), _footer.IndexLength, out _index) || _index.IsTop != _footer.TwoLevelIndex)
            {
                throw new CorruptionException(file.Path, _footer.IndexOffset, "the index does not fit its length");
            }

            _filter = (byte*)NativeMemory.AlignedAlloc((nuint)_footer.FilterLength + BlockFormat.TrailerBytes, BloomFilter.LineBytes);
            ReadChecked(_footer.FilterOffset, _footer.FilterLength, _filter);
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

    public int DataBlocks => _dataBlocks;

    /// <summary>Where the data blocks end.</summary>
    public long DataEnd => _index.IsTop ? _index.Offset(0) : _index.Offset(_dataBlocks);

    /// <summary>Used since the table cache's hand last passed.</summary>
    public bool Referenced { get; set; }

    /// <summary>Native bytes it holds: index, filter and slots.</summary>
    public long MemoryBytes => _footer.IndexLength + _footer.FilterLength + (8L * _dataBlocks);

    /// <summary>Opens a table and takes the file over.</summary>
    public static TableReader Open(StorageFile file, BlockCache cache)
    {
        try
        {
            return new TableReader(file, cache, file.Length);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool MayContain(ulong hash) => BloomFilter.MayContain(_filter, _footer.FilterLength, _footer.FilterProbes, hash);

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

    /// <summary>A data block, pinned until <see cref="BlockCache.Unpin"/>.</summary>
    public Block* GetPinned(int ordinal)
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

        Locate(ordinal, out long offset, out int length);
        Block* block = ReadDataBlock(offset, length);
        block->Pins = 1;
        return _cache.Insert(slot, block);
    }

    /// <summary>Reads and checks a data block past the cache; the caller frees it.</summary>
    public Block* ReadDataBlock(long offset, int length)
    {
        Block* block = Block.Allocate(length);
        try
        {
            ReadChecked(offset, length, Block.Data(block));
            if (!Block.TryParse(block))
            {
                throw new CorruptionException(Path, offset, "the block's footer does not fit its length");
            }

            return block;
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

    /// <summary>Checks the trailer that follows a block's bytes.</summary>
    public static void Check(byte* data, int length, string path, long offset)
    {
        if (data[length] != BlockFormat.NoCompression)
        {
            throw new CorruptionException(path, offset + length, $"a block names the unknown compression {data[length]}");
        }

        if (Crc32C.Compute(new ReadOnlySpan<byte>(data, length + 1)) != Unsafe.ReadUnaligned<uint>(data + length + 1))
        {
            throw new CorruptionException(path, offset, $"the checksum of a block of {length} bytes does not fit");
        }
    }

    private static nint* AllocateSlots(int count) => (nint*)NativeMemory.AllocZeroed((nuint)Math.Max(1, count), (nuint)sizeof(nint));

    private static TableFooter ReadFooter(StorageFile file, long fileBytes)
    {
        if (fileBytes < TableFooter.Bytes)
        {
            throw new CorruptionException(file.Path, 0, $"{fileBytes} bytes are too few for an SSTable");
        }

        Span<byte> footer = stackalloc byte[TableFooter.Bytes];
        int read = file.Read(fileBytes - TableFooter.Bytes, footer);
        return read == footer.Length
            ? TableFooter.Decode(footer, file.Path, fileBytes)
            : throw new CorruptionException(file.Path, fileBytes - TableFooter.Bytes, "the file ends inside its footer");
    }

    private TableProperties ReadProperties()
    {
        using NativeBuffer buffer = new(_footer.PropertiesLength + BlockFormat.TrailerBytes);
        buffer.Append(_footer.PropertiesLength + BlockFormat.TrailerBytes);
        ReadChecked(_footer.PropertiesOffset, _footer.PropertiesLength, (byte*)buffer.Address);
        return TableProperties.TryDecode(buffer.Written[.._footer.PropertiesLength], out _)
            ?? throw new CorruptionException(Path, _footer.PropertiesOffset, "the properties do not fit their length");
    }

    /// <summary>Reads a block and its trailer (the memory has room for both) and checks them.</summary>
    private void ReadChecked(long offset, int length, byte* to)
    {
        int whole = length + BlockFormat.TrailerBytes;
        if (_file.Read(offset, new Span<byte>(to, whole)) != whole)
        {
            throw new CorruptionException(Path, offset, $"the file ends inside a block of {whole} bytes");
        }

        Check(to, length, Path, offset);
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
        int length = _index.Length(i);
        Block* block = Block.Allocate(length);
        try
        {
            ReadChecked(_index.Offset(i), length, Block.Data(block));
            if (!IndexBlock.TryParse(Block.Data(block), length, out IndexBlock partition)
                || partition.FirstOrdinal != _index.Ordinal(i)
                || partition.FirstOrdinal + partition.Count != _index.Ordinal(i + 1))
            {
                throw new CorruptionException(Path, _index.Offset(i), "an index partition does not fit its length or place");
            }

            return block;
        }
        catch
        {
            Block.Free(block);
            throw;
        }
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
        NativeMemory.Free(_indexMemory);
        NativeMemory.AlignedFree(_filter);
        NativeMemory.Free(_slots);
        NativeMemory.Free(_partitionSlots);
    }
}
