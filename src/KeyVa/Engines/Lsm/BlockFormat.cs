using System.Runtime.CompilerServices;

namespace KeyVa.Engines.Lsm;

/// <summary>An entry of a data block, decoded in place.</summary>
internal unsafe ref struct BlockEntry
{
    public int Shared;
    public int Unshared;
    public int ValueLength;
    public EntryKind Kind;
    public long Version;
    public long Stamp;
    public long ExpiresAt;

    /// <summary>The key's bytes behind the shared ones.</summary>
    public byte* Suffix;

    public byte* Value;

    /// <summary>Where the next entry begins.</summary>
    public byte* End;
}

/// <summary>The layout of a data block, the same in format versions 1 and 2. See docs/format.md (SSTable).</summary>
/// <remarks>
/// <code>
/// data block:  entry ... | restart u32 x restarts | bucket u8 x buckets | restarts u32 | buckets u32
/// entry:       flags u8 | shared varint | unshared varint | valueLength varint
///              | version - base (2, 3, 4 or 8 bytes) | stamp - base (2, 3, 4 or 8) | [expiresAt i64] | key suffix | value
/// flags:       bits 0-1 kind, bit 2 has expiry, bits 4-5 width of the version, bits 6-7 width of the stamp
/// bucket:      the restart interval that holds the keys of this hash; 254 none, 255 look for it
/// </code>
/// At a restart point the key is whole (shared = 0); elsewhere shared is the whole common prefix with the key before:
/// searching without building keys relies on it. Readers may read eight bytes behind a block's end: buffers leave room.
/// </remarks>
internal static unsafe class BlockFormat
{
    public const int FooterBytes = 8;
    public const int RestartInterval = 16;
    public const byte NoEntry = 254;
    public const byte Collision = 255;

    /// <summary>Bytes that buffers leave free behind a block.</summary>
    public const int ReadSlack = 16;

    /// <summary>
    /// Behind every block in the file: compression u8 | crc32c u32 of the block, as it stands there, and the byte before.
    /// </summary>
    public const int TrailerBytes = 5;

    // A trailer's compression: a value of Compression, or the last one.
    public const byte NoCompression = 0;
    public const byte ZstandardWithDictionary = 4;

    public const byte KindMask = 0x03;
    public const byte HasExpiry = 0x04;

    private static ReadOnlySpan<byte> Widths => [2, 3, 4, 8];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Width(int code) => Widths[code & 3];

    public static int WidthCode(ulong delta) => delta <= 0xFFFF ? 0 : delta <= 0xFFFFFF ? 1 : delta <= 0xFFFFFFFF ? 2 : 3;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong ReadWidth(byte* p, int code)
    {
        ulong raw = Unsafe.ReadUnaligned<ulong>(p);
        return raw & (ulong.MaxValue >> (64 - (8 * Width(code))));
    }

    /// <summary>Decodes the lengths; returns where the version begins.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* DecodeLengths(byte* p, out int flags, out int shared, out int unshared, out int valueLength)
    {
        uint first = Unsafe.ReadUnaligned<uint>(p);
        flags = (byte)first;
        if ((first & 0x80808000) == 0)
        {
            shared = (byte)(first >> 8);
            unshared = (byte)(first >> 16);
            valueLength = (int)(first >> 24);
            return p + 4;
        }

        return DecodeLongLengths(p, out shared, out unshared, out valueLength);
    }

    /// <summary>Bytes of version, stamp and expiry that follow the lengths.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int FixedBytes(int flags) =>
        Width(flags >> 4) + Width(flags >> 6) + ((flags & HasExpiry) << 1);

    /// <summary>Decodes a whole entry.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(byte* p, long versionBase, long stampBase, out BlockEntry entry)
    {
        byte* at = DecodeLengths(p, out int flags, out entry.Shared, out entry.Unshared, out entry.ValueLength);
        entry.Kind = (EntryKind)(flags & KindMask);
        entry.Version = versionBase + (long)ReadWidth(at, flags >> 4);
        at += Width(flags >> 4);
        entry.Stamp = stampBase + (long)ReadWidth(at, flags >> 6);
        at += Width(flags >> 6);
        entry.ExpiresAt = 0;
        if ((flags & HasExpiry) != 0)
        {
            entry.ExpiresAt = Unsafe.ReadUnaligned<long>(at);
            at += 8;
        }

        entry.Suffix = at;
        entry.Value = at + entry.Unshared;
        entry.End = entry.Value + entry.ValueLength;
    }

    private static byte* DecodeLongLengths(byte* p, out int shared, out int unshared, out int valueLength)
    {
        p++;
        shared = ReadVarint(ref p);
        unshared = ReadVarint(ref p);
        valueLength = ReadVarint(ref p);
        return p;
    }

    private static int ReadVarint(ref byte* p)
    {
        int value = 0;
        for (int shift = 0; shift < 35; shift += 7)
        {
            byte group = *p++;
            value |= (group & 0x7f) << shift;
            if (group < 0x80)
            {
                break;
            }
        }

        return value;
    }
}
