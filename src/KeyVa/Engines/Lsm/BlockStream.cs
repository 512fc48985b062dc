using System.Diagnostics;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Reads the data blocks of a table one behind the other in large pieces, past the block cache. A block is valid until
/// the next <see cref="Get"/>. One thread.
/// </summary>
internal sealed unsafe class BlockStream : IDisposable
{
    private const int PieceBytes = 512 << 10;

    private TableReader? _reader;
    private byte* _buffer;
    private int _capacity;
    private MemoryBudget? _charged;

    // The last compressed block, uncompressed, behind its head.
    private byte* _unpacked;
    private int _unpackedCapacity;

    // The piece [_start, _end) of the file lies behind the room for one block head; it is intact from _intact on,
    // since the head of a block is put over the end of the one before.
    private long _start;
    private long _end;
    private long _intact;

    ~BlockStream() => Free();

    public void Open(TableReader reader)
    {
        _reader = reader;
        _start = 0;
        _end = 0;
        _intact = 0;
    }

    public Block* Get(long offset, int length)
    {
        int whole = length + BlockFormat.TrailerBytes;
        if (offset < _intact || offset < _start || offset + whole > _end)
        {
            ReadPiece(offset, whole);
        }

        Debug.Assert(offset >= _start && offset + whole <= _end, "the piece holds the block");
        byte* data = _buffer + Block.HeadBytes + (offset - _start);
        byte compression = TableReader.Check(data, length, _reader!.Path, offset);
        _intact = offset + whole;
        if (compression != BlockFormat.NoCompression)
        {
            data = Decompress(data, ref length, compression, offset);
        }

        Block* block = (Block*)(data - Block.HeadBytes);
        *block = default;
        block->Length = length;
        return Block.TryParse(block)
            ? block
            : throw new CorruptionException(_reader.Path, offset, "the block's footer does not fit its length");
    }

    public void Dispose()
    {
        _charged?.Release(MemoryKind.Buffers, _capacity);
        _charged = null;
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        NativeMemory.Free(_buffer);
        NativeMemory.Free(_unpacked);
        _buffer = null;
        _unpacked = null;
    }

    /// <summary>The block uncompressed, in memory of the stream; the length becomes its length.</summary>
    private byte* Decompress(byte* stored, ref int length, byte compression, long offset)
    {
        int storedLength = length;
        BlockDecompressor decompressor = _reader!.Decompressor;
        length = decompressor.UncompressedLength(stored, storedLength, compression, offset);
        if (length > _unpackedCapacity || (_unpackedCapacity > 4 * PieceBytes && length <= PieceBytes))
        {
            NativeMemory.Free(_unpacked);
            _unpackedCapacity = Math.Max(length, 16 << 10);
            _unpacked = (byte*)NativeMemory.Alloc((nuint)Block.HeadBytes + (nuint)_unpackedCapacity + BlockFormat.ReadSlack);
        }

        byte* data = _unpacked + Block.HeadBytes;
        decompressor.Decompress(stored, storedLength, compression, offset, data, length);
        return data;
    }

    private void ReadPiece(long offset, int whole)
    {
        int wanted = (int)Math.Max(whole, Math.Min(PieceBytes, _reader!.DataEnd - offset));
        if (wanted > _capacity || (_capacity > 4 * PieceBytes && wanted <= PieceBytes))
        {
            _charged?.Release(MemoryKind.Buffers, _capacity);
            NativeMemory.Free(_buffer);
            _capacity = Math.Max(wanted, PieceBytes);
            _buffer = (byte*)NativeMemory.Alloc((nuint)Block.HeadBytes + (nuint)_capacity + BlockFormat.ReadSlack);
            _charged = _reader!.Cache.Memory;
            _charged.Charge(MemoryKind.Buffers, _capacity);
        }

        int read = _reader!.ReadRaw(offset, new Span<byte>(_buffer + Block.HeadBytes, wanted));
        if (read < whole)
        {
            throw new CorruptionException(_reader.Path, offset, $"the file ends inside a block of {whole} bytes");
        }

        _start = offset;
        _end = offset + read;
        _intact = offset;
    }
}
