using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Keys between which blocks of a table are lost: behind the first, before the second; empty: from the beginning, to the end.</summary>
internal readonly record struct LostBlocks(long Offset, byte[] Behind, byte[] Before, string Detail);

/// <summary>
/// Copies what is intact of a damaged table into a new one: block by block through its index or, where the footer or the
/// index is gone, by looking for the places where a checksum fits. One thread.
/// </summary>
/// <remarks>
/// A block counts if its checksum fits, its entries fill it exactly, and they come behind those of the blocks before. What
/// entries mean needs the table's properties: its own, or those that the manifest repeats.
/// </remarks>
internal sealed unsafe class TableSalvage(IFileSystem files, string path, TableProperties? known, EngineContext context)
{
    /// <summary>Without an index, a block is looked for up to so many bytes behind a place where none begins.</summary>
    private const int ResyncBytes = 128 << 10;

    /// <summary>And is at most so long, unless it begins where the one before ends.</summary>
    private const int ResyncBlockBytes = 16 << 10;

    private const int MaxPropertiesBytes = 192 << 10;
    private const int Slack = 64;

    /// <summary>What a dictionary that Zstandard has trained begins with (RFC 8878, section 5).</summary>
    private static ReadOnlySpan<byte> DictionaryMagic => [0x37, 0xA4, 0x30, 0xEC];

    private readonly List<LostBlocks> _lost = [];
    private readonly SalvagedKey _last = new();
    private TableProperties? _properties = known;
    private TableBuilder? _builder;

    /// <summary>The table's dictionary, where there is no index to say where it is; null: not looked for yet, empty: gone.</summary>
    private byte[]? _dictionary;
    private byte* _whole;
    private int _wholeLength;
    private RangeTombstones? _ranges;
    private byte[] _lastTaken = [];

    /// <summary>A hole that the next entry will end.</summary>
    private (long Offset, string Detail)? _gap;

    /// <summary>Without an index: where the last block taken ends.</summary>
    private long _end;

    /// <summary>What is missing.</summary>
    public IReadOnlyList<LostBlocks> Lost => _lost;

    /// <summary>Entries that were saved.</summary>
    public long Entries { get; private set; }

    /// <summary>Entries that are gone; -1: not known.</summary>
    public long LostEntries => _properties is null ? -1 : _properties.Entries - Entries;

    /// <summary>Writes the new table; null if nothing could be saved, and no file is left.</summary>
    public (TableProperties Properties, long Bytes)? Run(string target, CancellationToken cancellation)
    {
        using StorageFile file = files.Open(path, writable: false);
        using var bytes = new NativeBuffer();
        if (file.Length is 0 or > int.MaxValue - Slack)
        {
            _lost.Add(new LostBlocks(0, [], [], $"{file.Length} bytes are no table"));
            return null;
        }

        Span<byte> whole = bytes.Append((int)file.Length + Slack);
        int length = file.Read(0, whole[..(int)file.Length]);
        whole[length..].Clear();
        byte* data = (byte*)bytes.Address;
        _properties ??= FindProperties(data, length);
        if (_properties is null)
        {
            _lost.Add(new LostBlocks(0, [], [], "the properties are gone, and without them the versions of the entries"));
            return null;
        }

        using var builder = new TableBuilder(files.Create(target), context.Options, _properties.VersionBase, _properties.StampBase);
        _builder = builder;
        if (!TryByIndex(cancellation))
        {
            ByChecksums(data, length, cancellation);
        }

        EndGap([]);
        if (_ranges is null && _properties.RangeTombstones > 0)
        {
            _lost.Add(new LostBlocks(0, [], [], "the range tombstones are gone, and what they removed may be back"));
        }

        if (builder.IsEmpty && _ranges is null)
        {
            _builder = null;
            builder.Dispose();
            files.DeleteFile(target);
            return null;
        }

        builder.Finish(_ranges);
        return (builder.Properties, builder.FileBytes);
    }

    /// <summary>False if the table cannot be opened.</summary>
    private bool TryByIndex(CancellationToken cancellation)
    {
        TableReader reader;
        try
        {
            reader = TableReader.Open(files.Open(path, writable: false), context.BlockCache);
        }
        catch (CorruptionException)
        {
            return false;
        }

        using (reader)
        {
            _ranges = reader.Ranges;
            for (int ordinal = 0; ordinal < reader.DataBlocks; ordinal++)
            {
                cancellation.ThrowIfCancellationRequested();
                TakeBlock(reader, ordinal);
            }
        }

        return true;
    }

    private void TakeBlock(TableReader reader, int ordinal)
    {
        try
        {
            reader.Locate(ordinal, out long offset, out int length);
            Block* block = reader.ReadDataBlock(offset, length);
            try
            {
                if (!TryTake(block))
                {
                    _gap ??= (offset, "the entries of a block do not fit it");
                }
            }
            finally
            {
                Block.Free(block);
            }
        }
        catch (CorruptionException damage)
        {
            _gap ??= (damage.Offset, damage.Detail);
        }
    }

    private void ByChecksums(byte* data, int length, CancellationToken cancellation)
    {
        int end = length - TableFooter.Bytes;
        _whole = data;
        _wholeLength = length;
        for (int at = 0; at < end;)
        {
            cancellation.ThrowIfCancellationRequested();
            int next = FindBlock(data, at, end, isExpected: true);
            for (int from = at + 1; next < 0 && LostEntries > 0 && from < Math.Min(end, at + ResyncBytes); from++)
            {
                next = FindBlock(data, from, Math.Min(end, from + ResyncBlockBytes), isExpected: false);
            }

            if (next < 0)
            {
                // Index, filter and properties, which hold no entries; or a hole too large to look behind.
                if (LostEntries > 0)
                {
                    _gap ??= (at, "no intact block was found from here on");
                }

                return;
            }

            at = next;
        }
    }

    /// <summary>
    /// Takes the data block that begins here, if one does; returns where it ends with its trailer, or -1. Where a block is
    /// expected, one without entries (of the index, say) is passed over; elsewhere a checksum that fits may be chance.
    /// </summary>
    private int FindBlock(byte* data, int at, int limit, bool isExpected)
    {
        uint checksum = Crc32C.Compute(default);
        for (int behind = at; behind + BlockFormat.TrailerBytes <= limit; behind++)
        {
            // The byte at 'behind' would be the compression, which the checksum covers.
            checksum = Crc32C.Extend(checksum, new ReadOnlySpan<byte>(data + behind, 1));
            if (checksum == Unsafe.ReadUnaligned<uint>(data + behind + 1) && behind > at && (TryCopyAndTake(data + at, behind - at, at) || isExpected))
            {
                return behind + BlockFormat.TrailerBytes;
            }
        }

        return -1;
    }

    private bool TryCopyAndTake(byte* data, int length, int at)
    {
        Block* block = null;
        try
        {
            block = Copy(data, length, at);
            return Block.TryParse(block) && TryTake(block, at, length);
        }
        catch (CorruptionException)
        {
            // What it names as its compression is none, or takes the dictionary, which is gone.
            return false;
        }
        finally
        {
            Block.Free(block);
        }
    }

    private Block* Copy(byte* data, int length, int at)
    {
        byte compression = data[length];
        if (compression == BlockFormat.NoCompression)
        {
            Block* block = Allocate(length);
            Unsafe.CopyBlockUnaligned(Block.Data(block), data, (uint)length);
            return block;
        }

        bool needsDictionary = compression == BlockFormat.ZstandardWithDictionary;
        ReadOnlySpan<byte> dictionary = needsDictionary ? _dictionary ??= FindDictionary(new(_whole, _wholeLength)) : default;
        using BlockDecompressor decompressor = new(path, 1u << compression, dictionary, 0, context.Options.CompressionLibraries);
        Block* target = Allocate(decompressor.UncompressedLength(data, length, compression, at));
        try
        {
            decompressor.Decompress(data, length, compression, at, Block.Data(target), target->Length);
            return target;
        }
        catch
        {
            Block.Free(target);
            throw;
        }
    }

    /// <summary>
    /// The table's dictionary begins with the magic number of Zstandard's dictionaries, and is a block whose checksum fits. It
    /// stands behind all data.
    /// </summary>
    private static byte[] FindDictionary(ReadOnlySpan<byte> table)
    {
        for (int at = table.LastIndexOf(DictionaryMagic); at >= 0; at = table[..at].LastIndexOf(DictionaryMagic))
        {
            int limit = Math.Min(table.Length - BlockFormat.TrailerBytes, at + BlockDecompressor.MaxDictionaryBytes);
            uint checksum = Crc32C.Compute(default);
            for (int behind = at; behind <= limit; behind++)
            {
                checksum = Crc32C.Extend(checksum, table.Slice(behind, 1));
                if (table[behind] == BlockFormat.NoCompression && checksum == BinaryPrimitives.ReadUInt32LittleEndian(table[(behind + 1)..]))
                {
                    return table[at..behind].ToArray();
                }
            }
        }

        return [];
    }

    /// <summary>With zeros behind, so that entries that are none lead nowhere.</summary>
    private static Block* Allocate(int length)
    {
        Block* block = Block.Allocate(length + Slack);
        block->Length = length;
        Unsafe.InitBlockUnaligned(Block.Data(block) + length, 0, Slack);
        return block;
    }

    /// <summary>Adds a block's entries, all or none.</summary>
    private bool TryTake(Block* block, long at = -1, int stored = 0)
    {
        SalvagedKey key = new(_last);
        if (!Walk(block, key, add: false))
        {
            return false;
        }

        if (at > _end && _end >= 0)
        {
            _gap ??= (_end, "no intact block begins here");
        }

        Walk(block, _last, add: true);
        _end = at < 0 ? -1 : at + stored + BlockFormat.TrailerBytes;
        return true;
    }

    private bool Walk(Block* block, SalvagedKey key, bool add)
    {
        byte* end = Block.Data(block) + block->EntriesEnd;
        for (byte* p = Block.Data(block); p < end;)
        {
            BlockFormat.Decode(p, _properties!.VersionBase, _properties.StampBase, out BlockEntry entry);
            if (entry.Unshared < 0 || entry.ValueLength < 0 || entry.Shared < 0 || entry.End > end || entry.End <= p
                || (p == Block.Data(block) && entry.Shared != 0)
                || !key.TryMoveTo(entry.Shared, new ReadOnlySpan<byte>(entry.Suffix, entry.Unshared), entry.Version))
            {
                return false;
            }

            if (add)
            {
                EndGap(key.Bytes);
                fixed (byte* bytes = key.Bytes)
                {
                    _builder!.Add(bytes, key.Bytes.Length, entry.Version, entry.Kind, entry.Stamp, entry.ExpiresAt, new ReadOnlySpan<byte>(entry.Value, entry.ValueLength));
                }

                _lastTaken = key.Bytes.ToArray();
                Entries++;
            }

            p = entry.End;
        }

        return true;
    }

    private void EndGap(ReadOnlySpan<byte> next)
    {
        if (_gap is { } gap)
        {
            _lost.Add(new LostBlocks(gap.Offset, _lastTaken, next.ToArray(), gap.Detail));
            _gap = null;
        }
    }

    /// <summary>
    /// The meta index, which is the last block, says where the properties are. Where it is damaged, they are the last block but it;
    /// in version 1 the last: the block that ends there, whose checksum fits and which decodes exactly. (In this order: a meta
    /// index may decode as properties.)
    /// </summary>
    private TableProperties? FindProperties(byte* data, int length)
    {
        int trailer = length - TableFooter.Bytes - BlockFormat.TrailerBytes;
        for (int blocks = 1; blocks <= MetaIndex.MaxBlocks && trailer - MetaIndex.Bytes(blocks) >= 0; blocks++)
        {
            int at = trailer - MetaIndex.Bytes(blocks);
            if (Fits(data, at, trailer) && TryReadMetaIndex(data, at, trailer) is { } place && Fits(data, (int)place.Offset, (int)place.Offset + place.Length))
            {
                return TableProperties.TryDecode(new ReadOnlySpan<byte>(data + place.Offset, place.Length));
            }
        }

        TableProperties? found = FindPropertiesAt(data, trailer);
        for (int blocks = 1; blocks <= MetaIndex.MaxBlocks && found is null; blocks++)
        {
            found = FindPropertiesAt(data, trailer - MetaIndex.Bytes(blocks) - BlockFormat.TrailerBytes);
        }

        return found;
    }

    private BlockPlace? TryReadMetaIndex(byte* data, int at, int trailer)
    {
        try
        {
            return MetaIndex.Decode(new ReadOnlySpan<byte>(data + at, trailer - at), path, new BlockPlace(at, trailer - at)).Properties;
        }
        catch (CorruptionException)
        {
            return null;
        }
    }

    private static TableProperties? FindPropertiesAt(byte* data, int trailer)
    {
        for (int at = trailer - 12; at >= Math.Max(0, trailer - MaxPropertiesBytes); at--)
        {
            if (TableProperties.TryDecode(new ReadOnlySpan<byte>(data + at, trailer - at)) is { Entries: > 0 } properties && Fits(data, at, trailer))
            {
                return properties;
            }
        }

        return null;
    }

    private static bool Fits(byte* data, int at, int trailer) =>
        Crc32C.Compute(new ReadOnlySpan<byte>(data + at, trailer - at + 1)) == Unsafe.ReadUnaligned<uint>(data + trailer + 1);
}

/// <summary>The key and version of the entry a walk stands on; each must come behind the one before. One thread.</summary>
internal sealed class SalvagedKey
{
    private byte[] _bytes = new byte[256];
    private int _length;
    private long _version;
    private bool _any;

    public SalvagedKey()
    {
    }

    public SalvagedKey(SalvagedKey other)
    {
        _bytes = [.. other._bytes];
        _length = other._length;
        _version = other._version;
        _any = other._any;
    }

    public ReadOnlySpan<byte> Bytes => _bytes.AsSpan(0, _length);

    /// <summary>False if the entry is not behind the one before, or its key is none.</summary>
    public bool TryMoveTo(int shared, ReadOnlySpan<byte> rest, long version)
    {
        int length = shared + rest.Length;
        if (shared > _length || length is 0 or > ushort.MaxValue)
        {
            return false;
        }

        byte[] next = length <= 256 ? new byte[256] : new byte[length];
        Bytes[..shared].CopyTo(next);
        rest.CopyTo(next.AsSpan(shared));
        if (_any)
        {
            int order = KeyOrder.Compare(Bytes, next.AsSpan(0, length));
            if (order > 0 || (order == 0 && version >= _version))
            {
                return false;
            }
        }

        (_bytes, _length, _version, _any) = (next, length, version, true);
        return true;
    }
}
