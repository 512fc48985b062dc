using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>An open value file: one slot per record for the block cache, so that a value that is read often is read once.</summary>
/// <remarks>Thread-safe as <see cref="FileReader"/> says. A record is checked whenever it comes from the file.</remarks>
internal sealed unsafe class ValueFileReader : FileReader
{
    // Immutable after construction.
    private readonly StorageFile _file;
    private readonly BlockCache _cache;
    private readonly ValueFileFooter _footer;
    private readonly BlockDecompressor _decompressor;
    private readonly nint* _slots;

    private ValueFileReader(StorageFile file, BlockCache cache, CompressionLibraries libraries, ValueFileFooter footer)
    {
        _file = file;
        _cache = cache;
        _footer = footer;
        _decompressor = new BlockDecompressor(file.Path, _footer.Compressions, default, 0, libraries);
        _slots = (nint*)NativeMemory.AllocZeroed((nuint)Math.Max(1, _footer.Records), (nuint)sizeof(nint));
    }

    public ValueFileFooter Footer => _footer;

    public override long MemoryBytes => sizeof(nint) * _footer.Records;

    /// <summary>Opens a value file and takes it over.</summary>
    public static ValueFileReader Open(StorageFile file, BlockCache cache, CompressionLibraries libraries)
    {
        try
        {
            return new ValueFileReader(file, cache, libraries, ReadEnds(file));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>
    /// For repair: opens a file whose header and footer cannot be relied on, for <see cref="ReadAlone"/> alone. Compressed values are
    /// read as far as the libraries are there.
    /// </summary>
    public static ValueFileReader OpenDamaged(StorageFile file, BlockCache cache, CompressionLibraries libraries)
    {
        uint compressions = 1;
        foreach (Compression codec in (ReadOnlySpan<Compression>)[Compression.Lz4, Compression.Snappy, Compression.Zstandard])
        {
            compressions |= libraries.Has(codec) ? 1u << (int)codec : 0;
        }

        return new ValueFileReader(file, cache, libraries, new ValueFileFooter(0, file.Length, 0, compressions));
    }

    /// <summary>Checks the header, and decodes the footer.</summary>
    public static ValueFileFooter ReadEnds(StorageFile file)
    {
        long length = file.Length;
        if (length < ValueFileHeader.Bytes + ValueFileFooter.Bytes)
        {
            throw new CorruptionException(file.Path, 0, $"{length} bytes are too few for a value file");
        }

        Span<byte> bytes = stackalloc byte[ValueFileFooter.Bytes];
        int read = file.Read(0, bytes[..ValueFileHeader.Bytes]);
        ValueFileHeader.Check(bytes[..read], file.Path);
        read = file.Read(length - ValueFileFooter.Bytes, bytes);
        return read == bytes.Length
            ? ValueFileFooter.Decode(bytes, file.Path, length)
            : throw new CorruptionException(file.Path, length - ValueFileFooter.Bytes, "the file ends inside its footer");
    }

    /// <summary>The value of (key, version), out of the cache or into it. Valid while the caller stays inside its epoch.</summary>
    public ReadOnlySpan<byte> Read(scoped in ValueReference reference, scoped ReadOnlySpan<byte> key, long version)
    {
        Debug.Assert(Epochs.IsInside, "the block must stay until the caller has read it");
        if (reference.Ordinal >= _footer.Records)
        {
            throw Misleading(reference);
        }

        nint* slot = _slots + reference.Ordinal;
        Block* block = (Block*)Volatile.Read(ref *slot);
        if (block == null)
        {
            block = _cache.Insert(slot, ReadRecord(reference, key, version));
        }
        else
        {
            _cache.Touch(block);
        }

        if (reference.ValueLength > block->Length)
        {
            throw Misleading(reference);
        }

        return ValueOf(block, reference);
    }

    /// <summary>The value of (key, version) past the cache, in a block that the caller frees.</summary>
    public Block* ReadAlone(in ValueReference reference, ReadOnlySpan<byte> key, long version) => ReadRecord(reference, key, version);

    /// <summary>A record's block begins with the record as it stands in the file or, if that is compressed, with the value.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ReadOnlySpan<byte> ValueOf(Block* block, scoped in ValueReference reference) =>
        new(Block.Data(block) + block->Length - reference.ValueLength, reference.ValueLength);

    public override void Dispose()
    {
        Debug.Assert(IsUnpinned, "closed while in use");
        for (long i = 0; i < _footer.Records; i++)
        {
            if (_slots[i] != 0)
            {
                _cache.Remove(_slots + i);
            }
        }

        _decompressor.Dispose();
        _file.Dispose();
        NativeMemory.Free(_slots);
    }

    /// <summary>One read of exactly the record. Its length is bounded by the file's before memory is taken.</summary>
    private Block* ReadRecord(in ValueReference reference, ReadOnlySpan<byte> key, long version)
    {
        int length = reference.RecordLength;
        if (length < ValueRecord.HeadBytes || reference.Offset < ValueFileHeader.Bytes || reference.Offset > _footer.RecordsEnd - length)
        {
            throw Misleading(reference);
        }

        Block* block = Block.Allocate(length);
        try
        {
            if (_file.Read(reference.Offset, new Span<byte>(Block.Data(block), length)) != length)
            {
                throw new CorruptionException(_file.Path, reference.Offset, $"the file ends inside a record of {length} bytes");
            }

            return Check(block, reference, key, version);
        }
        catch
        {
            Block.Free(block);
            throw;
        }
    }

    /// <summary>Returns the block, or another one with the value uncompressed and frees this one.</summary>
    private Block* Check(Block* block, in ValueReference reference, ReadOnlySpan<byte> key, long version)
    {
        ReadOnlySpan<byte> bytes = new(Block.Data(block), block->Length);
        if (!ValueRecord.IsIntact(bytes))
        {
            throw new CorruptionException(_file.Path, reference.Offset, $"the checksum of a record of {bytes.Length} bytes does not fit");
        }

        if (!ValueRecord.TryDecodeHead(bytes, out ValueRecord record) || record.Bytes != bytes.Length)
        {
            throw new CorruptionException(_file.Path, reference.Offset, $"the lengths in a record do not fit its {bytes.Length} bytes");
        }

        if (record.Version != version || !bytes.Slice(ValueRecord.HeadBytes, record.KeyLength).SequenceEqual(key))
        {
            throw new CorruptionException(_file.Path, reference.Offset, "the record is of another key or version than the entry that leads to it");
        }

        int length = record.StoredLength;
        byte* stored = Block.Data(block) + block->Length - length;
        long offset = reference.Offset + bytes.Length - length;
        if (record.Compression != BlockFormat.NoCompression)
        {
            length = _decompressor.UncompressedLength(stored, length, record.Compression, offset);
        }

        if (length != reference.ValueLength)
        {
            throw new CorruptionException(_file.Path, reference.Offset, $"a value of {length} bytes, where its entry says {reference.ValueLength}");
        }

        return record.Compression == BlockFormat.NoCompression ? block : Decompress(block, record, offset, length);
    }

    private Block* Decompress(Block* record, in ValueRecord head, long offset, int length)
    {
        Block* value = Block.Allocate(length);
        try
        {
            byte* stored = Block.Data(record) + record->Length - head.StoredLength;
            _decompressor.Decompress(stored, head.StoredLength, head.Compression, offset, Block.Data(value), length);
        }
        catch
        {
            Block.Free(value);
            throw;
        }

        Block.Free(record);
        return value;
    }

    private CorruptionException Misleading(in ValueReference reference) =>
        new(_file.Path, reference.Offset, $"an entry leads to record {reference.Ordinal} with {reference.RecordLength} bytes, which the file does not have");
}
