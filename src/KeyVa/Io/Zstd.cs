using System.Runtime.InteropServices;

namespace KeyVa.Io;

/// <summary>
/// The calls of libzstd (1.4 or newer) that its manual calls stable. Contexts serve one thread at a time; dictionaries
/// are immutable and may be shared. Ask <see cref="CompressionLibraries.Require"/> first: without the library every call
/// throws. Sizes returned may be errors: see <see cref="IsError"/>.
/// </summary>
internal static unsafe partial class Zstd
{
    public const string Library = "libzstd.so.1";

    // Parameters of a compression context, from zstd.h.
    public const int CompressionLevel = 100;
    public const int DictionaryIdFlag = 202;

    /// <summary>For <see cref="Reset"/>: what was begun is forgotten, parameters and dictionary stay.</summary>
    public const int SessionOnly = 1;

    [LibraryImport(Library, EntryPoint = "ZSTD_isError")]
    public static partial uint IsError(nuint result);

    [LibraryImport(Library, EntryPoint = "ZSTD_createCCtx")]
    public static partial nint CreateCompressor();

    [LibraryImport(Library, EntryPoint = "ZSTD_freeCCtx")]
    public static partial nuint FreeCompressor(nint context);

    [LibraryImport(Library, EntryPoint = "ZSTD_CCtx_setParameter")]
    public static partial nuint SetParameter(nint context, int parameter, int value);

    /// <summary>A context whose last call failed needs it before the next one.</summary>
    [LibraryImport(Library, EntryPoint = "ZSTD_CCtx_reset")]
    public static partial nuint Reset(nint context, int what);

    [LibraryImport(Library, EntryPoint = "ZSTD_CCtx_refCDict")]
    public static partial nuint UseDictionary(nint context, nint dictionary);

    [LibraryImport(Library, EntryPoint = "ZSTD_compress2")]
    public static partial nuint Compress(nint context, byte* target, nuint capacity, byte* source, nuint sourceBytes);

    [LibraryImport(Library, EntryPoint = "ZSTD_createDCtx")]
    public static partial nint CreateDecompressor();

    [LibraryImport(Library, EntryPoint = "ZSTD_freeDCtx")]
    public static partial nuint FreeDecompressor(nint context);

    /// <summary>Writes nothing beyond the capacity, whatever the source is.</summary>
    [LibraryImport(Library, EntryPoint = "ZSTD_decompressDCtx")]
    public static partial nuint Decompress(nint context, byte* target, nuint capacity, byte* source, nuint sourceBytes);

    [LibraryImport(Library, EntryPoint = "ZSTD_decompress_usingDDict")]
    public static partial nuint Decompress(nint context, byte* target, nuint capacity, byte* source, nuint sourceBytes, nint dictionary);

    /// <summary>Copies the dictionary; 0 if it cannot be used.</summary>
    [LibraryImport(Library, EntryPoint = "ZSTD_createCDict")]
    public static partial nint CreateCompressionDictionary(byte* dictionary, nuint bytes, int level);

    [LibraryImport(Library, EntryPoint = "ZSTD_freeCDict")]
    public static partial nuint FreeCompressionDictionary(nint dictionary);

    /// <summary>Copies the dictionary; 0 if it cannot be used.</summary>
    [LibraryImport(Library, EntryPoint = "ZSTD_createDDict")]
    public static partial nint CreateDecompressionDictionary(byte* dictionary, nuint bytes);

    [LibraryImport(Library, EntryPoint = "ZSTD_freeDDict")]
    public static partial nuint FreeDecompressionDictionary(nint dictionary);

    /// <summary>Bytes that a decompression dictionary holds.</summary>
    [LibraryImport(Library, EntryPoint = "ZSTD_sizeof_DDict")]
    public static partial nuint SizeOfDecompressionDictionary(nint dictionary);

    /// <summary>Builds a dictionary from samples that lie behind one another; returns its bytes.</summary>
    [LibraryImport(Library, EntryPoint = "ZDICT_trainFromBuffer")]
    public static partial nuint Train(byte* target, nuint capacity, byte* samples, nuint* sampleBytes, uint samplesCount);

    [LibraryImport(Library, EntryPoint = "ZDICT_isError")]
    public static partial uint IsTrainingError(nuint result);
}
