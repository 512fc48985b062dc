using System.Runtime.InteropServices;

namespace KeyVa.Io;

/// <summary>
/// The system's compression libraries. None is loaded before it is required; none is needed by a store that does not use it.
/// Thread-safe. Tests give a name of their own to see what happens without one.
/// </summary>
internal sealed class CompressionLibraries(string lz4 = Lz4.Library, string snappy = Snappy.Library, string zstd = Zstd.Library)
{
    // Shared: bit i is set when library i was found. Setting it twice does no harm.
    private volatile int _found = 1 << (int)Compression.None;

    public static CompressionLibraries Installed { get; } = new();

    /// <summary>Makes sure that a library can be called, or throws an exception that says where to get it.</summary>
    public void Require(Compression compression)
    {
        if ((_found & (1 << (int)compression)) == 0)
        {
            Load(compression);
        }
    }

    private void Load(Compression compression)
    {
        (string name, string entry, string package) = compression switch
        {
            Compression.Lz4 => (lz4, "LZ4_decompress_safe", "liblz4-1"),
            Compression.Snappy => (snappy, "snappy_uncompress", "libsnappy1v5"),
            Compression.Zstandard => (zstd, "ZSTD_compress2", "libzstd1"),
            _ => throw new StoreException($"there is no compression number {(int)compression}"),
        };

        // The handle is kept: what the process calls must not be unloaded.
        if (!NativeLibrary.TryLoad(name, out nint library) || !NativeLibrary.TryGetExport(library, entry, out _))
        {
            throw new StoreException(
                $"compression {compression} needs the library {name}, which was not found here or is too old; install Debian's package {package}, or choose another compression");
        }

        Interlocked.Or(ref _found, 1 << (int)compression);
    }
}
