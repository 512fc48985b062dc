using System.Buffers.Binary;
using System.Diagnostics;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// The bytes of the journal; drawn for readers in docs/format.md (Journal), which must agree with this file.
/// Everything is little-endian; groups and records begin at multiples of 8.
/// <code>
/// segment   [ header, 512 bytes ][ group ][ group ] ... zeros to the end of the file
///
/// header     0 magic "KEYVAJNL"   8 u32 version   12 u32 0      16 i64 sequence   24 u64 salt
///           32 i64 base offset   40 i64 synced offset           48 u32 checksum of the last group before
///           52 zeros            508 u32 CRC32C of bytes 0..508
///
/// group      0 u32 magic "KVGR"   4 u32 checksum   8 u32 length  12 u32 checksum of the group before
///           16 u64 salt          24 i64 offset    32 i64 synced offset
///           40 u32 records       44 u32 0         48 records
///
/// record     0 u32 CRC32C of the record from byte 4 to its end, padding included
///            4 u32 payload length    8 u8 kind   9 u8 0   10 u16 positions   12 u32 0
///           16 positions: i64 partition, i64 term, i64 index   then payload   then zeros to a multiple of 8
/// </code>
/// A group's checksum is the CRC32C of its bytes 8..48 followed by the checksums of its records: so every byte is
/// covered once. Offsets are absolute: they count the bytes of all groups since the journal began, headers left out.
/// A mark is a group without records.
/// </summary>
internal static class JournalFormat
{
    public const uint Version = 1;
    public const int SegmentHeaderBytes = 512;
    public const int GroupHeaderBytes = 48;
    public const int RecordHeaderBytes = 16;
    public const int PositionBytes = 24;
    public const int Alignment = 8;
    public const uint GroupMagic = 0x5247564B; // "KVGR"

    /// <summary>Positions of one record: two bytes count them.</summary>
    public const int MaxPositions = ushort.MaxValue;

    /// <summary>Payload bytes of one record.</summary>
    public const int MaxPayloadBytes = 256 << 20;

    private const ulong SegmentMagic = 0x4C4E4A415659454B; // "KEYVAJNL"
    private const int SegmentHeaderChecksumAt = SegmentHeaderBytes - sizeof(uint);
    private const string Suffix = ".journal";
    private const int SequenceDigits = 10;

    public static string SegmentName(long sequence) => sequence.ToString("D10", null) + Suffix;

    /// <summary>The sequence number in a segment's name; 0 for the name of something else.</summary>
    public static long SequenceOf(string name) =>
        name.Length == SequenceDigits + Suffix.Length
        && name.EndsWith(Suffix, StringComparison.Ordinal)
        && name.AsSpan(0, SequenceDigits).IndexOfAnyExceptInRange('0', '9') < 0
            ? long.Parse(name.AsSpan(0, SequenceDigits), provider: null)
            : 0;

    public static int Align(int length) => (length + Alignment - 1) & -Alignment;

    public static int RecordBytes(int positions, int payload) =>
        Align(RecordHeaderBytes + (positions * PositionBytes) + payload);

    public static void WriteSegmentHeader(Span<byte> to, in SegmentHeader header)
    {
        Debug.Assert(to.Length == SegmentHeaderBytes, "a header has its length");
        to.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(to, SegmentMagic);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], Version);
        BinaryPrimitives.WriteInt64LittleEndian(to[16..], header.Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(to[24..], header.Salt);
        BinaryPrimitives.WriteInt64LittleEndian(to[32..], header.Base);
        BinaryPrimitives.WriteInt64LittleEndian(to[40..], header.Synced);
        BinaryPrimitives.WriteUInt32LittleEndian(to[48..], header.Previous);
        BinaryPrimitives.WriteUInt32LittleEndian(
            to[SegmentHeaderChecksumAt..],
            Crc32C.Compute(to[..SegmentHeaderChecksumAt]));
    }

    /// <summary>Reads a header whose checksum is right; false if it is not. An unknown version is an error of its own.</summary>
    public static bool TryReadSegmentHeader(ReadOnlySpan<byte> from, string path, out SegmentHeader header)
    {
        header = default;
        if (from.Length < SegmentHeaderBytes
            || BinaryPrimitives.ReadUInt64LittleEndian(from) != SegmentMagic
            || BinaryPrimitives.ReadUInt32LittleEndian(from[SegmentHeaderChecksumAt..])
                != Crc32C.Compute(from[..SegmentHeaderChecksumAt]))
        {
            return false;
        }

        uint version = BinaryPrimitives.ReadUInt32LittleEndian(from[8..]);
        if (version != Version)
        {
            throw new StoreException(
                $"'{path}' has journal format version {version}; this program knows version {Version}: use the one that wrote it");
        }

        header = new SegmentHeader
        {
            Sequence = BinaryPrimitives.ReadInt64LittleEndian(from[16..]),
            Salt = BinaryPrimitives.ReadUInt64LittleEndian(from[24..]),
            Base = BinaryPrimitives.ReadInt64LittleEndian(from[32..]),
            Synced = BinaryPrimitives.ReadInt64LittleEndian(from[40..]),
            Previous = BinaryPrimitives.ReadUInt32LittleEndian(from[48..]),
        };
        return true;
    }

    /// <summary>Writes all of a group's header but its checksum.</summary>
    public static void WriteGroupHeader(Span<byte> to, in GroupHeader header)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(to, GroupMagic);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], (uint)header.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], header.Previous);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], header.Salt);
        BinaryPrimitives.WriteInt64LittleEndian(to[24..], header.Offset);
        BinaryPrimitives.WriteInt64LittleEndian(to[32..], header.Synced);
        BinaryPrimitives.WriteUInt32LittleEndian(to[40..], (uint)header.Records);
        BinaryPrimitives.WriteUInt32LittleEndian(to[44..], 0);
    }

    /// <summary>Reads a group's header; nothing of it is to be trusted yet.</summary>
    public static GroupHeader ReadGroupHeader(ReadOnlySpan<byte> from) => new()
    {
        Checksum = BinaryPrimitives.ReadUInt32LittleEndian(from[4..]),
        Length = BinaryPrimitives.ReadInt32LittleEndian(from[8..]),
        Previous = BinaryPrimitives.ReadUInt32LittleEndian(from[12..]),
        Salt = BinaryPrimitives.ReadUInt64LittleEndian(from[16..]),
        Offset = BinaryPrimitives.ReadInt64LittleEndian(from[24..]),
        Synced = BinaryPrimitives.ReadInt64LittleEndian(from[32..]),
        Records = BinaryPrimitives.ReadInt32LittleEndian(from[40..]),
    };

    /// <summary>Whether a whole group's bytes are what was written: structure, every record's checksum, the group's.</summary>
    public static bool IsIntact(ReadOnlySpan<byte> group, in GroupHeader header)
    {
        uint checksum = Crc32C.Compute(group[8..GroupHeaderBytes]);
        int at = GroupHeaderBytes;
        for (int i = 0; i < header.Records; i++)
        {
            int length = RecordLength(group[at..]);
            if (length == 0)
            {
                return false;
            }

            ReadOnlySpan<byte> record = group.Slice(at, length);
            if (Crc32C.Compute(record[4..]) != BinaryPrimitives.ReadUInt32LittleEndian(record))
            {
                return false;
            }

            checksum = Crc32C.Extend(checksum, record[..4]);
            at += length;
        }

        return at == group.Length && checksum == header.Checksum;
    }

    /// <summary>The bytes of the record that begins here, or 0 if what is there cannot be one.</summary>
    public static int RecordLength(ReadOnlySpan<byte> from)
    {
        int length = ClaimedRecordLength(from);
        return length <= from.Length ? length : 0;
    }

    /// <summary>The bytes that a record's header says it has, or 0 if it cannot be one's.</summary>
    public static int ClaimedRecordLength(ReadOnlySpan<byte> from)
    {
        if (from.Length < RecordHeaderBytes)
        {
            return 0;
        }

        uint payload = BinaryPrimitives.ReadUInt32LittleEndian(from[4..]);
        return payload > MaxPayloadBytes
            ? 0
            : RecordBytes(BinaryPrimitives.ReadUInt16LittleEndian(from[10..]), (int)payload);
    }
}

/// <summary>What a segment's header says.</summary>
internal readonly record struct SegmentHeader
{
    public required long Sequence { get; init; }

    /// <summary>A random number that every group of the segment repeats.</summary>
    public required ulong Salt { get; init; }

    /// <summary>The absolute offset of the first group.</summary>
    public required long Base { get; init; }

    /// <summary>All below this offset was known to be synced when the header was written.</summary>
    public required long Synced { get; init; }

    /// <summary>Checksum of the last group of the segment before; 0 for the first segment of all.</summary>
    public required uint Previous { get; init; }
}

/// <summary>What a group's header says.</summary>
internal readonly record struct GroupHeader
{
    public uint Checksum { get; init; }

    /// <summary>Bytes of the group, its header included.</summary>
    public required int Length { get; init; }

    public required uint Previous { get; init; }

    public required ulong Salt { get; init; }

    public required long Offset { get; init; }

    public required long Synced { get; init; }

    public required int Records { get; init; }
}
