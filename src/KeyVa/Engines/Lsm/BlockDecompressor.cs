using System.Runtime.CompilerServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Undoes the compression of one table's blocks, with the table's dictionary if it has one. Lives and dies with its
/// <see cref="TableReader"/>. Thread-safe but for <see cref="Dispose"/>.
/// </summary>
/// <remarks>
/// A compressed block: <code>uncompressed length u32 | what the codec made of it</code>
/// The bytes have passed their checksum, yet nothing here trusts them: the length they name is bounded before memory is
/// taken, the codecs are told where the target ends, and what they return must be exactly that length.
/// </remarks>
internal sealed unsafe class BlockDecompressor : IDisposable
{
    /// <summary>No block is larger uncompressed: one entry of the largest size, and what a block may have before it.</summary>
    public const int MaxUncompressedBytes = Limits.MaxValueBytesCeiling + (8 << 20);

    /// <summary>No dictionary is larger.</summary>
    public const int MaxDictionaryBytes = 1 << 20;

    /// <summary>Of the length in front of a compressed block.</summary>
    public const int LengthBytes = 4;

    private readonly string _path;
    private readonly uint _kinds;
    private readonly nint _dictionary;

    /// <param name="path">The table's file, for messages.</param>
    /// <param name="kinds">The codecs that the table's blocks use: bit i for <see cref="BlockFormat"/>'s compression i.</param>
    /// <param name="dictionary">Empty if there is none.</param>
    /// <param name="dictionaryOffset">Where it stands in the file.</param>
    /// <param name="libraries">Where the codecs are.</param>
    public BlockDecompressor(string path, uint kinds, ReadOnlySpan<byte> dictionary, long dictionaryOffset, CompressionLibraries libraries)
    {
        _path = path;
        _kinds = kinds;
        foreach (Compression codec in (ReadOnlySpan<Compression>)[Compression.Lz4, Compression.Snappy, Compression.Zstandard])
        {
            if ((kinds & (1u << (int)codec)) != 0)
            {
                libraries.Require(codec);
            }
        }

        if ((kinds & (1u << BlockFormat.ZstandardWithDictionary)) != 0)
        {
            libraries.Require(Compression.Zstandard);
            fixed (byte* bytes = dictionary)
            {
                _dictionary = dictionary.IsEmpty ? 0 : Zstd.CreateDecompressionDictionary(bytes, (nuint)dictionary.Length);
            }

            if (_dictionary == 0)
            {
                throw new CorruptionException(path, dictionaryOffset, $"a dictionary of {dictionary.Length} bytes cannot be used");
            }
        }
    }

    /// <summary>Native bytes it holds.</summary>
    public long MemoryBytes => _dictionary == 0 ? 0 : (long)Zstd.SizeOfDecompressionDictionary(_dictionary);

    /// <summary>The length that a block will have.</summary>
    public int UncompressedLength(byte* stored, int length, byte compression, long offset)
    {
        if (compression > BlockFormat.ZstandardWithDictionary || (_kinds & (1u << compression)) == 0)
        {
            throw new CorruptionException(_path, offset + length, $"a block names compression {compression}, which its table does not use");
        }

        uint uncompressed = length > LengthBytes ? Unsafe.ReadUnaligned<uint>(stored) : 0;
        return uncompressed is > 0 and <= MaxUncompressedBytes
            ? (int)uncompressed
            : throw new CorruptionException(_path, offset, $"a compressed block of {length} bytes names the length {uncompressed}");
    }

    /// <summary>Fills the target, which has the length just asked for.</summary>
    public void Decompress(byte* stored, int length, byte compression, long offset, byte* target, int targetLength)
    {
        byte* source = stored + LengthBytes;
        int sourceLength = length - LengthBytes;
        bool whole = (Compression)compression switch
        {
            Compression.Lz4 => Lz4.Decompress(source, target, sourceLength, targetLength) == targetLength,
            Compression.Snappy => FillFromSnappy(source, sourceLength, target, targetLength),
            _ => FillFromZstandard(source, sourceLength, target, targetLength, compression == BlockFormat.ZstandardWithDictionary ? _dictionary : 0),
        };
        if (!whole)
        {
            throw new CorruptionException(_path, offset, $"a compressed block of {length} bytes does not become the {targetLength} bytes that it names");
        }
    }

    public void Dispose()
    {
        if (_dictionary != 0)
        {
            Zstd.FreeDecompressionDictionary(_dictionary);
        }
    }

    private static bool FillFromSnappy(byte* source, int sourceLength, byte* target, int targetLength)
    {
        nuint written = (nuint)targetLength;
        return Snappy.Decompress(source, (nuint)sourceLength, target, &written) == 0 && written == (nuint)targetLength;
    }

    private static bool FillFromZstandard(byte* source, int sourceLength, byte* target, int targetLength, nint dictionary)
    {
        nint context = ZstdContexts.Take();
        nuint written = dictionary == 0
            ? Zstd.Decompress(context, target, (nuint)targetLength, source, (nuint)sourceLength)
            : Zstd.Decompress(context, target, (nuint)targetLength, source, (nuint)sourceLength, dictionary);
        ZstdContexts.Return(context);

        // An error is a huge number.
        return written == (nuint)targetLength;
    }
}
