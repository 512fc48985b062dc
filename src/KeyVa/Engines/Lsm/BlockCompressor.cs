using System.Diagnostics;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Compresses the blocks of one table that is being written; see <see cref="BlockDecompressor"/> for what comes out.
/// One thread; its buffers are kept, so in steady state it allocates nothing.
/// </summary>
internal sealed unsafe class BlockCompressor : IDisposable
{
    /// <summary>A block that does not become smaller by one byte in so many stays as it is.</summary>
    public const int WorthwhileShare = 8;

    private const int KeptBytes = 1 << 20;

    private readonly Compression _compression;
    private readonly int _level;
    private readonly NativeBuffer _output = new();
    private nint _context;
    private nint _dictionary;
    private nint _dictionaryInUse;

    public BlockCompressor(Compression compression, int zstdLevel, CompressionLibraries libraries)
    {
        Debug.Assert(compression != Compression.None, "who does not compress needs none");
        libraries.Require(compression);
        _compression = compression;
        _level = zstdLevel;
        if (compression == Compression.Zstandard)
        {
            _context = Zstd.CreateCompressor();
            Check(_context != 0);

            // The table knows its dictionary; four bytes per block would say the same.
            Check(Zstd.IsError(Zstd.SetParameter(_context, Zstd.CompressionLevel, zstdLevel)) == 0
                && Zstd.IsError(Zstd.SetParameter(_context, Zstd.DictionaryIdFlag, 0)) == 0);
        }
    }

    ~BlockCompressor() => Free();

    /// <summary>What the last successful <see cref="Compress"/> made.</summary>
    public ReadOnlySpan<byte> Output => _output.Written;

    /// <summary>From now on blocks that ask for it are compressed with this dictionary.</summary>
    public void UseDictionary(ReadOnlySpan<byte> dictionary)
    {
        Debug.Assert(_compression == Compression.Zstandard && _dictionary == 0, "one dictionary per table");
        fixed (byte* bytes = dictionary)
        {
            _dictionary = Zstd.CreateCompressionDictionary(bytes, (nuint)dictionary.Length, _level);
        }

        Check(_dictionary != 0);
    }

    /// <summary>Returns the compression for the block's trailer; if it is none, the block is to be stored as it is.</summary>
    public byte Compress(ReadOnlySpan<byte> block, bool withDictionary)
    {
        int capacity = block.Length - (block.Length / WorthwhileShare) - BlockDecompressor.LengthBytes;
        if (capacity <= 0 || block.Length > BlockDecompressor.MaxUncompressedBytes)
        {
            return BlockFormat.NoCompression;
        }

        withDictionary &= _dictionary != 0;
        _output.Clear(KeptBytes);
        _output.AppendUInt32((uint)block.Length);
        int room = _compression == Compression.Snappy ? Snappy.MaxCompressedBytes(block.Length) : capacity;
        int written;
        fixed (byte* source = block)
        {
            fixed (byte* target = _output.Append(room))
            {
                written = _compression switch
                {
                    Compression.Lz4 => Lz4.Compress(source, target, block.Length, room),
                    Compression.Snappy => CompressWithSnappy(source, block.Length, target, room),
                    _ => CompressWithZstandard(source, block.Length, target, room, withDictionary ? _dictionary : 0),
                };
            }
        }

        if (written <= 0 || written > capacity)
        {
            return BlockFormat.NoCompression;
        }

        _output.Truncate(BlockDecompressor.LengthBytes + written);
        return withDictionary ? BlockFormat.ZstandardWithDictionary : (byte)_compression;
    }

    public void Dispose()
    {
        Free();
        _output.Dispose();
        GC.SuppressFinalize(this);
    }

    private static int CompressWithSnappy(byte* source, int length, byte* target, int room)
    {
        nuint written = (nuint)room;
        return Snappy.Compress(source, (nuint)length, target, &written) == 0 ? (int)written : 0;
    }

    private static void Check(bool succeeded)
    {
        if (!succeeded)
        {
            throw new InsufficientMemoryException("Zstandard could not make what it needs to compress");
        }
    }

    private int CompressWithZstandard(byte* source, int length, byte* target, int room, nint dictionary)
    {
        if (dictionary != _dictionaryInUse)
        {
            Check(Zstd.IsError(Zstd.UseDictionary(_context, dictionary)) == 0);
            _dictionaryInUse = dictionary;
        }

        nuint written = Zstd.Compress(_context, target, (nuint)room, source, (nuint)length);
        if (Zstd.IsError(written) == 0)
        {
            return (int)written;
        }

        // The room was too small, as it often is: the block does not shrink enough.
        Check(Zstd.IsError(Zstd.Reset(_context, Zstd.SessionOnly)) == 0);
        return 0;
    }

    private void Free()
    {
        if (_context != 0)
        {
            Zstd.FreeCompressor(_context);
            _context = 0;
        }

        if (_dictionary != 0)
        {
            Zstd.FreeCompressionDictionary(_dictionary);
            _dictionary = 0;
        }
    }
}
