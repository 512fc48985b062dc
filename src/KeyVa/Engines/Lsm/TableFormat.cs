using System.Buffers.Binary;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Where the parts of a table are: the last 64 bytes of the file. See docs/format.md (SSTable).</summary>
/// <remarks>
/// <code>
///  0 index offset u64      |  8 index length u32      | 12 filter length u32 | 16 filter offset u64
/// 24 properties offset u64 | 32 properties length u32 | 36 flags u32 (1: two-level index) | 40 filter probes u32
/// 44 data blocks u32       | 48 crc32c u32 of all other 60 bytes | 52 format version u32 | 56 magic u64
/// </code>
/// Lengths are without the trailer. Every later version keeps the last 16 bytes as they are.
/// </remarks>
internal readonly record struct TableFooter(
    long IndexOffset, int IndexLength, long FilterOffset, int FilterLength, long PropertiesOffset, int PropertiesLength,
    bool TwoLevelIndex, int FilterProbes, int DataBlocks, bool HasRanges)
{
    public const int Bytes = 64;
    public const uint FormatVersion = 1;
    private const ulong Magic = 0x3130_4554_5353_564B; // "KVSSTE01"
    private const uint TwoLevelFlag = 1;
    private const uint RangesFlag = 2;

    public long RangesOffset => FilterOffset + FilterLength + BlockFormat.TrailerBytes;

    public int RangesLength => HasRanges ? (int)(PropertiesOffset - RangesOffset - BlockFormat.TrailerBytes) : 0;

    public void Encode(Span<byte> to)
    {
        BinaryPrimitives.WriteInt64LittleEndian(to, IndexOffset);
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], IndexLength);
        BinaryPrimitives.WriteInt32LittleEndian(to[12..], FilterLength);
        BinaryPrimitives.WriteInt64LittleEndian(to[16..], FilterOffset);
        BinaryPrimitives.WriteInt64LittleEndian(to[24..], PropertiesOffset);
        BinaryPrimitives.WriteInt32LittleEndian(to[32..], PropertiesLength);
        BinaryPrimitives.WriteUInt32LittleEndian(to[36..], (TwoLevelIndex ? TwoLevelFlag : 0) | (HasRanges ? RangesFlag : 0));
        BinaryPrimitives.WriteInt32LittleEndian(to[40..], FilterProbes);
        BinaryPrimitives.WriteInt32LittleEndian(to[44..], DataBlocks);
        BinaryPrimitives.WriteUInt32LittleEndian(to[52..], FormatVersion);
        BinaryPrimitives.WriteUInt64LittleEndian(to[56..], Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(to[48..], Checksum(to));
    }

    /// <summary>Decodes and checks the footer of a file of this length.</summary>
    public static TableFooter Decode(ReadOnlySpan<byte> from, string path, long fileLength)
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
        if (version != FormatVersion)
        {
            throw new StoreException($"'{path}' has SSTable format version {version}; this build reads version {FormatVersion}: use the build that wrote it, or a newer one");
        }

        TableFooter footer = new(
            BinaryPrimitives.ReadInt64LittleEndian(from),
            BinaryPrimitives.ReadInt32LittleEndian(from[8..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[16..]),
            BinaryPrimitives.ReadInt32LittleEndian(from[12..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[24..]),
            BinaryPrimitives.ReadInt32LittleEndian(from[32..]),
            (BinaryPrimitives.ReadUInt32LittleEndian(from[36..]) & TwoLevelFlag) != 0,
            BinaryPrimitives.ReadInt32LittleEndian(from[40..]),
            BinaryPrimitives.ReadInt32LittleEndian(from[44..]),
            (BinaryPrimitives.ReadUInt32LittleEndian(from[36..]) & RangesFlag) != 0);
        bool fits = footer.IndexOffset + footer.IndexLength + BlockFormat.TrailerBytes == footer.FilterOffset
            && (footer.HasRanges ? footer.RangesLength > 0 : footer.RangesOffset == footer.PropertiesOffset)
            && footer.PropertiesOffset + footer.PropertiesLength + BlockFormat.TrailerBytes == at;
        return fits ? footer : throw new CorruptionException(path, at, "the footer's offsets do not fit the file's length");
    }

    private static uint Checksum(ReadOnlySpan<byte> footer) =>
        Crc32C.Extend(Crc32C.Compute(footer[..48]), footer[52..Bytes]);
}
