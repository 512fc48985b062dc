using System.Runtime.CompilerServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// A Bloom filter whose probes for one key all fall into one cache line of 64 bytes (Putze, Sanders, Singler, "Cache-,
/// Hash- and Space-Efficient Bloom Filters", 2007). About 1 % false positives at ten bits per key.
/// </summary>
/// <remarks>
/// <code>
/// lines: n x 64 bytes. hash h: line = high half of h, scaled to n; probe i: bit = top nine bits of (low half of h) * golden^i
/// </code>
/// </remarks>
internal static unsafe class BloomFilter
{
    public const int LineBytes = 64;

    /// <summary>More would cost more than they save.</summary>
    public const int MaxProbes = 16;
    private const uint Golden = 0x9E3779B9;

    /// <summary>Bytes of a filter for so many keys; a multiple of the line.</summary>
    public static int Bytes(long keys, int bitsPerKey)
    {
        long lines = ((keys * bitsPerKey) + (LineBytes * 8) - 1) / (LineBytes * 8);
        return (int)Math.Clamp(lines, 1, int.MaxValue / 2 / LineBytes) * LineBytes;
    }

    /// <summary>Probes per key: ln 2 times the bits per key, a little fewer since the keys of a line collide more.</summary>
    public static int Probes(int bitsPerKey) => Math.Clamp(bitsPerKey * 6 / 10, 1, MaxProbes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Add(byte* lines, int bytes, int probes, ulong hash)
    {
        byte* line = Line(lines, bytes, hash);
        uint h = (uint)hash;
        for (int i = 0; i < probes; i++)
        {
            uint bit = h >> 23;
            line[bit >> 3] |= (byte)(1 << (int)(bit & 7));
            h *= Golden;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool MayContain(byte* lines, int bytes, int probes, ulong hash)
    {
        byte* line = Line(lines, bytes, hash);
        uint h = (uint)hash;
        for (int i = 0; i < probes; i++)
        {
            uint bit = h >> 23;
            if ((line[bit >> 3] & (1 << (int)(bit & 7))) == 0)
            {
                return false;
            }

            h *= Golden;
        }

        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* Line(byte* lines, int bytes, ulong hash) =>
        lines + ((long)(((hash >> 32) * (uint)(bytes / LineBytes)) >> 32) * LineBytes);
}
