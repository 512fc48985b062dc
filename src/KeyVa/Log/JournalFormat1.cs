using System.Buffers.Binary;
using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Groups and records as version 1 of the journal had them: read, never written. Segments have the same header in all
/// versions. Everything begins at multiples of 8.
/// <code>
/// group      0 u32 magic "KVGR"   4 u32 checksum   8 u32 length  12 u32 checksum of the group before
///           16 u64 salt          24 i64 offset    32 i64 synced offset
///           40 u32 records       44 u32 0         48 records
///
/// record     0 u32 CRC32C of the record from byte 4 to its end, padding included
///            4 u32 payload length    8 u8 kind   9 u8 0   10 u16 positions   12 u32 0
///           16 positions: i64 partition, i64 term, i64 index   then payload   then zeros to a multiple of 8
/// </code>
/// A group's checksum is the CRC32C of its bytes 8..48 followed by the checksums of its records.
/// </summary>
internal static class JournalFormat1
{
    public const uint Version = 1;
    public const int GroupHeaderBytes = 48;

    private const int RecordHeaderBytes = 16;
    private const int PositionBytes = 24;
    private const int Alignment = 8;
    private const uint GroupMagic = 0x5247564B; // "KVGR"

    public static bool HasGroupMagic(ReadOnlySpan<byte> from) => BinaryPrimitives.ReadUInt32LittleEndian(from) == GroupMagic;

    /// <summary>Reads a group's header; nothing of it is to be trusted yet.</summary>
    public static GroupHeader ReadGroupHeader(ReadOnlySpan<byte> from) => new()
    {
        Version = Version,
        Checksum = BinaryPrimitives.ReadUInt32LittleEndian(from[4..]),
        Length = BinaryPrimitives.ReadInt32LittleEndian(from[8..]),
        Previous = BinaryPrimitives.ReadUInt32LittleEndian(from[12..]),
        Salt = BinaryPrimitives.ReadUInt64LittleEndian(from[16..]),
        Offset = BinaryPrimitives.ReadInt64LittleEndian(from[24..]),
        Synced = BinaryPrimitives.ReadInt64LittleEndian(from[32..]),
        Records = BinaryPrimitives.ReadInt32LittleEndian(from[40..]),
    };

    /// <summary>As <see cref="JournalFormat.IsIntact"/>.</summary>
    public static bool IsIntact(ReadOnlySpan<byte> group, in GroupHeader header)
    {
        uint checksum = Crc32C.Compute(group[8..GroupHeaderBytes]);
        int at = GroupHeaderBytes;
        for (int i = 0; i < header.Records; i++)
        {
            ReadOnlySpan<byte> rest = group[at..];
            if (!TryReadRecordHead(rest, out RecordHead head) || head.Length > rest.Length
                || Crc32C.Compute(rest[4..head.Length]) != BinaryPrimitives.ReadUInt32LittleEndian(rest))
            {
                return false;
            }

            checksum = Crc32C.Extend(checksum, rest[..4]);
            at += head.Length;
        }

        return at == group.Length && checksum == header.Checksum;
    }

    /// <summary>As <see cref="JournalFormat.TryReadRecordHead"/>.</summary>
    public static bool TryReadRecordHead(ReadOnlySpan<byte> from, out RecordHead head)
    {
        head = default;
        if (from.Length < RecordHeaderBytes || BinaryPrimitives.ReadUInt32LittleEndian(from[4..]) is var payload && payload > JournalFormat.MaxPayloadBytes)
        {
            return false;
        }

        int positions = BinaryPrimitives.ReadUInt16LittleEndian(from[10..]);
        int payloadAt = RecordHeaderBytes + (positions * PositionBytes);
        int length = (payloadAt + (int)payload + Alignment - 1) & -Alignment;
        head = new RecordHead((RecordKind)from[8], positions, RecordHeaderBytes, payloadAt, (int)payload, length);
        return true;
    }

    /// <summary>As <see cref="JournalFormat.ReadPositions"/>.</summary>
    public static void ReadPositions(ReadOnlySpan<byte> record, in RecordHead head, Span<LogPosition> positions) =>
        MemoryMarshal.Cast<byte, LogPosition>(record[head.PositionsAt..head.PayloadAt]).CopyTo(positions);
}
