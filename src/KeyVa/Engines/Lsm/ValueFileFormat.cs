using System.Buffers.Binary;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>The first bytes of a value file, format version 1. See docs/format.md (Value file).</summary>
/// <remarks>
/// <code>
/// file:    header | record ... | footer
/// header:  magic u64 | format version u32 | crc32c u32 of the 12 bytes before
/// </code>
/// </remarks>
internal static class ValueFileHeader
{
    public const int Bytes = 16;
    public const uint FormatVersion = 1;
    private const ulong Magic = 0x3130_4C41_5653_564B; // "KVSVAL01"

    public static void Encode(Span<byte> to)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(to, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], FormatVersion);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], Crc32C.Compute(to[..12]));
    }

    public static void Check(ReadOnlySpan<byte> from, string path)
    {
        if (from.Length < Bytes || BinaryPrimitives.ReadUInt64LittleEndian(from) != Magic
            || BinaryPrimitives.ReadUInt32LittleEndian(from[12..]) != Crc32C.Compute(from[..12]))
        {
            throw new CorruptionException(path, 0, "the file does not begin as a value file");
        }

        uint version = BinaryPrimitives.ReadUInt32LittleEndian(from[8..]);
        if (version != FormatVersion)
        {
            throw new StoreException($"'{path}' has value file format version {version}; this build reads version {FormatVersion}: use the build that wrote it, or a newer one");
        }
    }
}

/// <summary>The last bytes of a value file. Every later version keeps the last 16 bytes as they are.</summary>
/// <remarks>
/// <code>
///  0 records u64 | 8 end of the records u64 | 16 bytes of the values, uncompressed u64 | 24 compressions u32, bit i: some
/// record has compression i | 28 zero u32 | 32 crc32c u32 of all other 44 bytes | 36 format version u32 | 40 magic u64
/// </code>
/// </remarks>
internal readonly record struct ValueFileFooter(long Records, long RecordsEnd, long ValueBytes, uint Compressions)
{
    public const int Bytes = 48;
    private const ulong Magic = 0x3130_4556_5653_564B; // "KVSVVE01"

    public void Encode(Span<byte> to)
    {
        to[..Bytes].Clear();
        BinaryPrimitives.WriteInt64LittleEndian(to, Records);
        BinaryPrimitives.WriteInt64LittleEndian(to[8..], RecordsEnd);
        BinaryPrimitives.WriteInt64LittleEndian(to[16..], ValueBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(to[24..], Compressions);
        BinaryPrimitives.WriteUInt32LittleEndian(to[36..], ValueFileHeader.FormatVersion);
        BinaryPrimitives.WriteUInt64LittleEndian(to[40..], Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(to[32..], Checksum(to));
    }

    /// <summary>Decodes the footer of a file of this length.</summary>
    public static ValueFileFooter Decode(ReadOnlySpan<byte> from, string path, long fileLength)
    {
        long at = fileLength - Bytes;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[40..]) != Magic)
        {
            throw new CorruptionException(path, at + 40, "the footer does not end with the magic number of a value file");
        }

        if (BinaryPrimitives.ReadUInt32LittleEndian(from[32..]) != Checksum(from))
        {
            throw new CorruptionException(path, at, "the footer's checksum does not fit");
        }

        uint version = BinaryPrimitives.ReadUInt32LittleEndian(from[36..]);
        if (version != ValueFileHeader.FormatVersion)
        {
            throw new StoreException($"'{path}' has value file format version {version}; this build reads version {ValueFileHeader.FormatVersion}: use the build that wrote it, or a newer one");
        }

        ValueFileFooter footer = new(
            BinaryPrimitives.ReadInt64LittleEndian(from),
            BinaryPrimitives.ReadInt64LittleEndian(from[8..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[16..]),
            BinaryPrimitives.ReadUInt32LittleEndian(from[24..]));
        bool fits = footer.RecordsEnd == at && footer.Records > 0 && footer.Records <= at / ValueRecord.HeadBytes;
        return fits ? footer : throw new CorruptionException(path, at, "the footer's counts do not fit the file's length");
    }

    private static uint Checksum(ReadOnlySpan<byte> footer) => Crc32C.Extend(Crc32C.Compute(footer[..32]), footer[36..Bytes]);
}

/// <summary>The head of a record of a value file; key and stored value follow.</summary>
/// <remarks>
/// <code>
///  0 crc32c u32 of all that follows | 4 stored length u32 | 8 version i64 | 16 key length u16 | 18 compression u8 | 19 zero u8
/// 20 key | stored value
/// </code>
/// A stored value that is compressed is what <see cref="BlockDecompressor"/> reads: uncompressed length u32, then what the
/// codec made of it. Key and version say whose value it is: an entry that leads to another one's is found out, and
/// records can be told apart without the tables.
/// </remarks>
internal readonly record struct ValueRecord(long Version, int KeyLength, int StoredLength, byte Compression)
{
    public const int HeadBytes = 20;

    /// <summary>No record is longer.</summary>
    public const int MaxBytes = HeadBytes + ushort.MaxValue + Limits.MaxValueBytesCeiling + 16;

    public int Bytes => HeadBytes + KeyLength + StoredLength;

    /// <summary>Writes the head in front of a key and a stored value.</summary>
    public static void EncodeHead(Span<byte> to, ReadOnlySpan<byte> key, long version, byte compression, ReadOnlySpan<byte> stored)
    {
        BinaryPrimitives.WriteInt32LittleEndian(to[4..], stored.Length);
        BinaryPrimitives.WriteInt64LittleEndian(to[8..], version);
        BinaryPrimitives.WriteUInt16LittleEndian(to[16..], (ushort)key.Length);
        to[18] = compression;
        to[19] = 0;
        uint checksum = Crc32C.Extend(Crc32C.Extend(Crc32C.Compute(to[4..HeadBytes]), key), stored);
        BinaryPrimitives.WriteUInt32LittleEndian(to, checksum);
    }

    /// <summary>What a head says of its record; false if no record is like that. Its checksum is not looked at: see <see cref="IsIntact"/>.</summary>
    public static bool TryDecodeHead(ReadOnlySpan<byte> from, out ValueRecord record)
    {
        record = default;
        if (from.Length < HeadBytes)
        {
            return false;
        }

        uint stored = BinaryPrimitives.ReadUInt32LittleEndian(from[4..]);
        int keyLength = BinaryPrimitives.ReadUInt16LittleEndian(from[16..]);
        if (stored > MaxBytes - HeadBytes - keyLength || keyLength == 0 || from[19] != 0)
        {
            return false;
        }

        record = new ValueRecord(BinaryPrimitives.ReadInt64LittleEndian(from[8..]), keyLength, (int)stored, from[18]);
        return true;
    }

    /// <summary>Whether the checksum of a whole record fits.</summary>
    public static bool IsIntact(ReadOnlySpan<byte> record) =>
        Crc32C.Compute(record[4..]) == BinaryPrimitives.ReadUInt32LittleEndian(record);
}
