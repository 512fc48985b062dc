using System.Runtime.InteropServices;

namespace KeyVa.Io;

/// <summary>
/// The calls of liblz4 for single blocks. Stateless and thread-safe. Ask <see cref="CompressionLibraries.Require"/>
/// first: without the library every call throws.
/// </summary>
internal static unsafe partial class Lz4
{
    public const string Library = "liblz4.so.1";

    /// <summary>Returns the bytes written, or 0 if they do not fit the capacity.</summary>
    [LibraryImport(Library, EntryPoint = "LZ4_compress_default")]
    public static partial int Compress(byte* source, byte* target, int sourceBytes, int capacity);

    /// <summary>Returns the bytes written, negative if the source is malformed; writes nothing beyond the capacity.</summary>
    [LibraryImport(Library, EntryPoint = "LZ4_decompress_safe")]
    public static partial int Decompress(byte* source, byte* target, int sourceBytes, int capacity);
}
