using System.Buffers.Binary;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Where a block is in its file; the length is without the trailer. Default: there is no such block.</summary>
internal readonly record struct BlockPlace(long Offset, int Length)
{
    public bool Exists => Length > 0;

    /// <summary>Where the next block begins.</summary>
    public long End => Offset + Length + BlockFormat.TrailerBytes;
}

/// <summary>
/// The blocks that a table has once, as the meta index numbers them. A reader refuses a table with a number that it does
/// not know, but for those from <see cref="Optional"/> on: what they hold may be left unread without harm.
/// </summary>
internal enum TableBlockKind : uint
{
    Index = 1,
    Filter = 2,
    Properties = 3,
    Dictionary = 4,
    RangeTombstones = 5,
    Optional = 64,
}

/// <summary>What a table's parts are and where: out of the footer (version 1) or the meta index (version 2). Immutable.</summary>
internal readonly record struct TableLayout
{
    public required BlockPlace Index { get; init; }

    public required BlockPlace Filter { get; init; }

    public required BlockPlace Properties { get; init; }

    public BlockPlace Dictionary { get; init; }

    public BlockPlace RangeTombstones { get; init; }

    public required bool TwoLevelIndex { get; init; }

    public required int FilterProbes { get; init; }

    public required int DataBlocks { get; init; }

    /// <summary>The compressions that blocks of the table have: bit i for compression i of a trailer.</summary>
    public uint Compressions { get; init; }
}

/// <summary>The last 64 bytes of a table, format versions 1 and 2. See docs/format.md (SSTable).</summary>
/// <remarks>
/// <code>
/// version 2:  0 meta index offset u64  |  8 meta index length u32  | 12 zeros
/// version 1:  0 index offset u64       |  8 index length u32       | 12 filter length u32 | 16 filter offset u64
///            24 properties offset u64  | 32 properties length u32  | 36 flags u32 (1: two-level index)
///            40 filter probes u32      | 44 data blocks u32
/// both:      48 crc32c u32 of all other 60 bytes | 52 format version u32 | 56 magic u64
/// </code>
/// Lengths are without the trailer. Every later version keeps the last 16 bytes as they are.
/// </remarks>
internal static class TableFooter
{
    public const int Bytes = 64;
    public const uint FormatVersion = 2;
    private const uint FirstVersion = 1;
    private const ulong Magic = 0x3130_4554_5353_564B; // "KVSSTE01"
    private const uint TwoLevelFlag = 1;

    public static void Encode(Span<byte> to, BlockPlace metaIndex)
    {
        to[..Bytes].Clear();
        BinaryPrimitives.WriteInt64LittleEndian(to, metaIndex.Offset);
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], metaIndex.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(to[52..], FormatVersion);
        BinaryPrimitives.WriteUInt64LittleEndian(to[56..], Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(to[48..], Checksum(to));
    }

    /// <summary>
    /// Checks the footer of a file of this length. True: it is of version 1 and says everything itself; else the meta
    /// index does.
    /// </summary>
    public static bool TryDecodeWhole(ReadOnlySpan<byte> from, string path, long fileLength, out TableLayout layout, out BlockPlace metaIndex)
    {
        uint version = Check(from, path, fileLength);
        if (version == FirstVersion)
        {
            metaIndex = default;
            layout = DecodeFirst(from, path, fileLength - Bytes);
            return true;
        }

        layout = default;
        metaIndex = new BlockPlace(BinaryPrimitives.ReadInt64LittleEndian(from), BinaryPrimitives.ReadInt32LittleEndian(from[8..]));
        bool fits = metaIndex.Offset >= 0 && metaIndex.Length > 0 && metaIndex.End == fileLength - Bytes
            && !from[12..48].ContainsAnyExcept((byte)0);
        return fits ? false : throw Misplaced(path, fileLength - Bytes);
    }

    private static uint Check(ReadOnlySpan<byte> from, string path, long fileLength)
    {
        long at = fileLength - Bytes;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[56..]) != Magic)
        {
            throw new CorruptionException(path, at + 56, "the footer does not end with the magic number of an SSTable");
        }

        if (BinaryPrimitives.ReadUInt32LittleEndian(from[48..]) != Checksum(from))
        {
            throw new CorruptionException(path, at, "the footer's checksum does not fit");
        }

        uint version = BinaryPrimitives.ReadUInt32LittleEndian(from[52..]);
        return version is FirstVersion or FormatVersion
            ? version
            : throw new StoreException($"'{path}' has SSTable format version {version}; this build reads versions {FirstVersion} to {FormatVersion}: use the build that wrote it, or a newer one");
    }

    private static TableLayout DecodeFirst(ReadOnlySpan<byte> from, string path, long at)
    {
        TableLayout layout = new()
        {
            Index = new(BinaryPrimitives.ReadInt64LittleEndian(from), BinaryPrimitives.ReadInt32LittleEndian(from[8..])),
            Filter = new(BinaryPrimitives.ReadInt64LittleEndian(from[16..]), BinaryPrimitives.ReadInt32LittleEndian(from[12..])),
            Properties = new(BinaryPrimitives.ReadInt64LittleEndian(from[24..]), BinaryPrimitives.ReadInt32LittleEndian(from[32..])),
            TwoLevelIndex = (BinaryPrimitives.ReadUInt32LittleEndian(from[36..]) & TwoLevelFlag) != 0,
            FilterProbes = BinaryPrimitives.ReadInt32LittleEndian(from[40..]),
            DataBlocks = BinaryPrimitives.ReadInt32LittleEndian(from[44..]),
        };
        bool fits = layout.Index.Offset >= 0 && layout.Index.Exists && layout.Filter.Exists && layout.Properties.Exists
            && layout.Index.End == layout.Filter.Offset && layout.Filter.End == layout.Properties.Offset && layout.Properties.End == at
            && layout.DataBlocks > 0;
        return fits ? layout : throw Misplaced(path, at);
    }

    private static CorruptionException Misplaced(string path, long at) => new(path, at, "the footer's offsets do not fit the file's length");

    private static uint Checksum(ReadOnlySpan<byte> footer) =>
        Crc32C.Extend(Crc32C.Compute(footer[..48]), footer[52..Bytes]);
}
