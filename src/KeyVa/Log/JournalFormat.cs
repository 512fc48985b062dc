using System.Buffers.Binary;
using System.Diagnostics;
using System.Numerics;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// The bytes of the journal; drawn for readers in docs/format.md (Journal), which must agree with this file.
/// Everything is little-endian; groups and records begin at multiples of 4.
/// <code>
/// segment   [ header, 512 bytes ][ group ][ group ] ... zeros to the end of the file
///
/// header     0 magic "KEYVAJNL"   8 u32 version   12 u32 flags  16 i64 sequence   24 u64 salt
///           32 i64 base offset   40 i64 synced offset           48 u32 checksum of the last group before
///           52 zeros            508 u32 CRC32C of bytes 0..508
///
/// group      0 u16 magic "KG"     2 u48 offset     8 u32 checksum
///           12 u32 bits 0-26: length by 4; bits 27-31: how far behind the synced offset is: 0 not at all, n at most 2^n, 31: unsaid
///           16 u32 checksum of the group before   20 u32 low half of the salt    24 records
///
/// record     0 u32 CRC32C of the low half of the salt and the record from byte 4 to its end, padding included
///            4 u8 kind; with bit 7: varint payload length, varint partition, varint index (one position, term 0)
///              without: varint payload length, varint positions, positions: varint partition, varint term, varint index
///              then payload   then zeros to a multiple of 4
/// </code>
/// A group's checksum is the CRC32C of its bytes 0..8 and 12..24 followed by the checksums of its records: so every byte
/// is covered once. Offsets are absolute: they count the bytes of all groups since the journal began, headers left out.
/// A mark is a group without records. A segment may have been another one before (flag 1): behind its groups there are
/// remains of that one then, which no salt, no offset and no record's checksum of this one fits. Version 2 has no flags, no
/// bit 7 of a kind, no salt in a record's checksum, and in a group's header: 12 u32 length, 24 u32 offset less synced offset (all ones:
/// nothing is said of it), 28 records. Version 1 is <see cref="JournalFormat1"/>.
/// </summary>
internal static class JournalFormat
{
    public const uint Version = 3;
    public const int SegmentHeaderBytes = 512;
    public const int GroupHeaderBytes = 24;
    public const int Alignment = 4;

    /// <summary>Positions of one record: bounds what is taken for a record that is none.</summary>
    public const int MaxPositions = ushort.MaxValue;

    /// <summary>Payload bytes of one record.</summary>
    public const int MaxPayloadBytes = 256 << 20;

    /// <summary>Bytes of a record's head at most, positions included.</summary>
    public const int MaxRecordHeadBytes = RecordFixedBytes + (Varint.MaxLength * (2 + (3 * MaxPositions)));

    /// <summary>The version before.</summary>
    public const uint Version2 = 2;

    /// <summary>Of version 2.</summary>
    private const int GroupHeaderBytes2 = 28;
    private const int LengthBits = 27;
    private const int SyncUnsaid = 31;

    private const int RecordFixedBytes = 5;
    private const int SinglePositionBit = 128;
    private const uint UsedBeforeFlag = 1;
    private const ushort GroupMagic = 0x474B; // "KG"
    private const int ChecksumAt = 8;
    private const int BehindChecksum = 12;
    private const int OffsetBits = 48;

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

    /// <summary>Bytes of a record's head.</summary>
    public static int RecordHeadBytes(ReadOnlySpan<LogPosition> positions, int payload)
    {
        int bytes = RecordFixedBytes + Varint.Length((ulong)payload);
        if (IsSingle(positions))
        {
            return bytes + Varint.Length((ulong)positions[0].Partition) + Varint.Length((ulong)positions[0].Index);
        }

        bytes += Varint.Length((ulong)positions.Length);
        foreach (LogPosition position in positions)
        {
            bytes += Varint.Length((ulong)position.Partition) + Varint.Length((ulong)position.Term) + Varint.Length((ulong)position.Index);
        }

        return bytes;
    }

    /// <summary>Writes a record's head but for its checksum.</summary>
    public static void WriteRecordHead(Span<byte> to, RecordKind kind, ReadOnlySpan<LogPosition> positions, int payload)
    {
        bool single = IsSingle(positions);
        to[4] = (byte)((int)kind | (single ? SinglePositionBit : 0));
        int at = RecordFixedBytes;
        at += Varint.Write(to[at..], (ulong)payload);
        if (single)
        {
            at += Varint.Write(to[at..], (ulong)positions[0].Partition);
            at += Varint.Write(to[at..], (ulong)positions[0].Index);
            Debug.Assert(at == to.Length, "the head has the bytes that were counted");
            return;
        }

        at += Varint.Write(to[at..], (ulong)positions.Length);
        foreach (LogPosition position in positions)
        {
            at += Varint.Write(to[at..], (ulong)position.Partition);
            at += Varint.Write(to[at..], (ulong)position.Term);
            at += Varint.Write(to[at..], (ulong)position.Index);
        }

        Debug.Assert(at == to.Length, "the head has the bytes that were counted");
    }

    /// <summary>
    /// Reads the head of the record that begins here; false if what is there cannot be one. <paramref name="from"/> holds at
    /// least the head; the record may be longer.
    /// </summary>
    public static bool TryReadRecordHead(ReadOnlySpan<byte> from, out RecordHead head)
    {
        head = default;
        int at = RecordFixedBytes;
        if (from.Length <= at || !TryReadVarint(from, ref at, out ulong payload) || payload > MaxPayloadBytes)
        {
            return false;
        }

        bool single = (from[4] & SinglePositionBit) != 0;
        ulong positions = 1;
        if (!single && (!TryReadVarint(from, ref at, out positions) || positions is 0 or > MaxPositions))
        {
            return false;
        }

        int positionsAt = at;
        for (int i = single ? 2 : 3 * (int)positions; i > 0; i--)
        {
            if (!TryReadVarint(from, ref at, out _))
            {
                return false;
            }
        }

        head = new RecordHead((RecordKind)(from[4] & ~SinglePositionBit), (int)positions, positionsAt, at, (int)payload, Align(at + (int)payload));
        return true;
    }

    /// <summary>Reads the positions of a record whose head was read.</summary>
    public static void ReadPositions(ReadOnlySpan<byte> record, in RecordHead head, Span<LogPosition> positions)
    {
        int at = head.PositionsAt;
        bool single = (record[4] & SinglePositionBit) != 0;
        for (int i = 0; i < head.Positions; i++)
        {
            ulong term = 0;
            TryReadVarint(record, ref at, out ulong partition);
            if (!single)
            {
                TryReadVarint(record, ref at, out term);
            }

            TryReadVarint(record, ref at, out ulong index);
            positions[i] = new LogPosition((long)partition, (long)term, (long)index);
        }
    }

    /// <summary>With what the checksum of a segment's records begins. Another salt is another checksum, whatever the record.</summary>
    public static uint RecordSeed(uint version, ulong salt) => version < Version ? 0 : SeedOf((uint)salt);

    /// <summary>The checksum of a record; the seed is <see cref="RecordSeed"/>.</summary>
    public static uint RecordChecksum(uint seed, ReadOnlySpan<byte> record) => Crc32C.Extend(seed, record[4..]);

    private static uint SeedOf(uint salt)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, salt);
        return Crc32C.Compute(bytes);
    }

    private static bool IsSingle(ReadOnlySpan<LogPosition> positions) => positions.Length == 1 && positions[0].Term == 0;

    private static bool TryReadVarint(ReadOnlySpan<byte> from, ref int at, out ulong value)
    {
        int taken = Varint.Read(from[at..], out value);
        at += taken;
        return taken > 0;
    }

    public static void WriteSegmentHeader(Span<byte> to, in SegmentHeader header)
    {
        Debug.Assert(to.Length == SegmentHeaderBytes, "a header has its length");
        to.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(to, SegmentMagic);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], header.Version);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], header.UsedBefore ? UsedBeforeFlag : 0);
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
        if (version is not (JournalFormat1.Version or Version2 or Version))
        {
            throw new StoreException(
                $"'{path}' has journal format version {version}; this program knows versions {JournalFormat1.Version} to {Version}: use the one that wrote it");
        }

        header = new SegmentHeader
        {
            Version = version,
            UsedBefore = version >= Version && (BinaryPrimitives.ReadUInt32LittleEndian(from[12..]) & UsedBeforeFlag) != 0,
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
        Debug.Assert(header.Offset >> OffsetBits == 0, "a journal never comes that far");
        BinaryPrimitives.WriteUInt64LittleEndian(to, GroupMagic | ((ulong)header.Offset << 16));
        Debug.Assert(header.Length % Alignment == 0 && header.Length / Alignment >> LengthBits == 0, "groups are bounded");
        BinaryPrimitives.WriteUInt32LittleEndian(to[BehindChecksum..], (uint)(header.Length / Alignment) | ((uint)SyncCode(header.Offset - header.Synced) << LengthBits));
        BinaryPrimitives.WriteUInt32LittleEndian(to[16..], header.Previous);
        BinaryPrimitives.WriteUInt32LittleEndian(to[20..], (uint)header.Salt);
    }

    // The smallest power of two at or above the distance: what is said to be synced was. Under Always it is nothing, and exact.
    private static int SyncCode(long distance) =>
        distance == 0 ? 0
        : distance > 1L << (SyncUnsaid - 1) ? SyncUnsaid
        : Math.Max(1, 64 - BitOperations.LeadingZeroCount((ulong)(distance - 1)));

    /// <summary>Bytes of a group's header in versions 2 and 3.</summary>
    public static int GroupHeaderBytesOf(uint version) => version == Version2 ? GroupHeaderBytes2 : GroupHeaderBytes;

    /// <summary>The first part of a group's checksum: its header.</summary>
    public static uint HeaderChecksum(ReadOnlySpan<byte> header, uint version = Version) =>
        Crc32C.Extend(Crc32C.Compute(header[..ChecksumAt]), header[BehindChecksum..GroupHeaderBytesOf(version)]);

    public static void WriteGroupChecksum(Span<byte> header, uint checksum) =>
        BinaryPrimitives.WriteUInt32LittleEndian(header[ChecksumAt..], checksum);

    /// <summary>Whether these bytes begin as a group does.</summary>
    public static bool HasGroupMagic(ReadOnlySpan<byte> from) => BinaryPrimitives.ReadUInt16LittleEndian(from) == GroupMagic;

    /// <summary>Reads a group's header; nothing of it is to be trusted yet.</summary>
    public static GroupHeader ReadGroupHeader(ReadOnlySpan<byte> from, uint version = Version)
    {
        long offset = (long)(BinaryPrimitives.ReadUInt64LittleEndian(from) >> 16);
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(from[BehindChecksum..]);
        long synced;
        if (version == Version2)
        {
            uint behind = BinaryPrimitives.ReadUInt32LittleEndian(from[24..]);
            synced = behind == uint.MaxValue ? 0 : offset - behind;
        }
        else
        {
            int code = (int)(length >> LengthBits);
            synced = code == SyncUnsaid ? 0 : Math.Max(0, offset - (code == 0 ? 0 : 1L << code));
            length = (length & ((1u << LengthBits) - 1)) * Alignment;
        }

        return new GroupHeader
        {
            Version = version,
            Checksum = BinaryPrimitives.ReadUInt32LittleEndian(from[ChecksumAt..]),
            Length = (int)length,
            Previous = BinaryPrimitives.ReadUInt32LittleEndian(from[16..]),
            Salt = BinaryPrimitives.ReadUInt32LittleEndian(from[20..]),
            Offset = offset,
            Synced = synced,
        };
    }

    /// <summary>Whether a whole group's bytes are what was written: structure, every record's checksum, the group's.</summary>
    public static bool IsIntact(ReadOnlySpan<byte> group, in GroupHeader header, out int records)
    {
        records = 0;
        uint seed = RecordSeed(header.Version, header.Salt);
        uint checksum = HeaderChecksum(group, header.Version);
        for (int at = GroupHeaderBytesOf(header.Version); at < group.Length; records++)
        {
            ReadOnlySpan<byte> rest = group[at..];
            if (!TryReadRecordHead(rest, out RecordHead head) || head.Length > rest.Length
                || RecordChecksum(seed, rest[..head.Length]) != BinaryPrimitives.ReadUInt32LittleEndian(rest))
            {
                return false;
            }

            checksum = Crc32C.Extend(checksum, rest[..4]);
            at += head.Length;
        }

        return checksum == header.Checksum;
    }
}

/// <summary>Where the parts of a record are, counted from its first byte.</summary>
internal readonly record struct RecordHead(RecordKind Kind, int Positions, int PositionsAt, int PayloadAt, int PayloadLength, int Length);

/// <summary>What a segment's header says.</summary>
internal readonly record struct SegmentHeader
{
    /// <summary>The format of the segment's groups.</summary>
    public required uint Version { get; init; }

    /// <summary>The file was another segment before: what stands behind the last group may be remains of that.</summary>
    public bool UsedBefore { get; init; }

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
    public uint Version { get; init; }

    public uint Checksum { get; init; }

    /// <summary>Bytes of the group, its header included.</summary>
    public required int Length { get; init; }

    public required uint Previous { get; init; }

    /// <summary>The segment's salt; its low half alone from version 2 on.</summary>
    public required ulong Salt { get; init; }

    public required long Offset { get; init; }

    public required long Synced { get; init; }

    /// <summary>Known once the group was found intact.</summary>
    public int Records { get; init; }
}
