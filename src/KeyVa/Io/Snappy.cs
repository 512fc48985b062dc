using System.Runtime.InteropServices;

namespace KeyVa.Io;

/// <summary>
/// The calls of libsnappy's C interface. Stateless and thread-safe. Ask <see cref="CompressionLibraries.Require"/>
/// first: without the library every call throws. Zero is success.
/// </summary>
internal static unsafe partial class Snappy
{
    public const string Library = "libsnappy.so.1";

    /// <summary>What <see cref="Compress"/> needs at most for so many bytes: the formula of the format's description.</summary>
    public static int MaxCompressedBytes(int bytes) => 32 + bytes + (bytes / 6);

    /// <summary>Needs room for <see cref="MaxCompressedBytes"/>; <paramref name="targetBytes"/>: the room, then the bytes written.</summary>
    [LibraryImport(Library, EntryPoint = "snappy_compress")]
    public static partial int Compress(byte* source, nuint sourceBytes, byte* target, nuint* targetBytes);

    /// <summary>Fails if the source is malformed or says that it needs more room than <paramref name="targetBytes"/>.</summary>
    [LibraryImport(Library, EntryPoint = "snappy_uncompress")]
    public static partial int Decompress(byte* source, nuint sourceBytes, byte* target, nuint* targetBytes);
}
