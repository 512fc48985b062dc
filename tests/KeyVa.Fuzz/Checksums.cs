using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using KeyVa.Engines.Lsm;
using KeyVa.Engines.Memory;
using KeyVa.Io;
using KeyVa.Log;

namespace KeyVa.Fuzz;

/// <summary>
/// Makes the checksums of changed files fit again, as if the bytes had been written so: what stands behind a checksum is
/// looked at only then. Each goes as far as the lengths in the file make sense. Stateless.
/// </summary>
internal static class Checksums
{
    /// <summary>Repairs a file of a data folder in place; what kind of file it is follows from its name.</summary>
    public static void Repair(string path, byte[] bytes, byte[] original)
    {
        string name = Path.GetFileName(path);
        if (name.EndsWith(".sst", StringComparison.Ordinal))
        {
            RepairTable(bytes, BlocksOf(original));
        }
        else if (name.EndsWith(".journal", StringComparison.Ordinal))
        {
            RepairJournal(bytes);
        }
        else if (name.StartsWith("MANIFEST", StringComparison.Ordinal))
        {
            RepairManifest(bytes);
        }
        else if (name == FileNames.Current)
        {
            RepairCurrent(bytes);
        }
        else if (bytes.AsSpan().StartsWith(CheckpointFormat.Magic))
        {
            RepairCheckpoint(bytes);
        }
        else if (bytes.Length >= 4)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(bytes.Length - 4), Crc32C.Compute(bytes.AsSpan(0, bytes.Length - 4)));
        }
    }

    /// <summary>Where each block of an intact table is, index partitions and data blocks too.</summary>
    public static List<BlockPlace> BlocksOf(byte[] table)
    {
        TableFooter.TryDecodeWhole(table.AsSpan(table.Length - TableFooter.Bytes), "table", table.Length, out TableLayout layout, out BlockPlace meta);
        List<BlockPlace> places = [];
        if (meta.Exists)
        {
            layout = MetaIndex.Decode(table.AsSpan((int)meta.Offset, meta.Length), "table", meta);
            places.Add(meta);
        }

        places.AddRange([.. new[] { layout.Index, layout.Filter, layout.Properties, layout.Dictionary, layout.RangeTombstones }.Where(static place => place.Exists)]);
        ReadOnlySpan<byte> dictionary = layout.Dictionary.Exists ? table.AsSpan((int)layout.Dictionary.Offset, layout.Dictionary.Length) : default;
        using BlockDecompressor decompressor = new("table", layout.Compressions, dictionary, layout.Dictionary.Offset, CompressionLibraries.Installed);
        AddBlocks(table, layout.Index, decompressor, places);

        return places;
    }

    public static void RepairTable(byte[] table, List<BlockPlace> places)
    {
        foreach (BlockPlace place in places)
        {
            if (place.End <= table.Length)
            {
                Span<byte> covered = table.AsSpan((int)place.Offset, place.Length + 1);
                BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan((int)place.End - 4), Crc32C.Compute(covered));
            }
        }

        if (table.Length >= TableFooter.Bytes)
        {
            Span<byte> footer = table.AsSpan(table.Length - TableFooter.Bytes);
            BinaryPrimitives.WriteUInt32LittleEndian(footer[48..], Crc32C.Extend(Crc32C.Compute(footer[..48]), footer[52..]));
        }
    }

    public static void RepairManifest(byte[] manifest)
    {
        if (manifest.Length < 16)
        {
            return;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(manifest.AsSpan(12), Crc32C.Compute(manifest.AsSpan(0, 12)));
        for (int at = 16; at + 8 <= manifest.Length;)
        {
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(manifest.AsSpan(at));
            if (length > manifest.Length - at - 8)
            {
                return;
            }

            BinaryPrimitives.WriteUInt32LittleEndian(manifest.AsSpan(at + 4), Crc32C.Compute(manifest.AsSpan(at + 8, (int)length)));
            at += 8 + (int)length;
        }
    }

    public static void RepairCheckpoint(byte[] file)
    {
        if (file.Length < CheckpointFormat.HeaderBytes + CheckpointFormat.FooterBytes)
        {
            return;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(60), Crc32C.Compute(file.AsSpan(0, 60)));
        uint total = Crc32C.Compute(file.AsSpan(60, 4));
        int end = file.Length - CheckpointFormat.FooterBytes;
        for (int at = CheckpointFormat.HeaderBytes; at + CheckpointFormat.BlockHeaderBytes <= end;)
        {
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at));
            if (length > end - at - CheckpointFormat.BlockHeaderBytes)
            {
                break;
            }

            uint checksum = Crc32C.Extend(Crc32C.Compute(file.AsSpan(at, 8)), file.AsSpan(at + CheckpointFormat.BlockHeaderBytes, (int)length));
            BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(at + 8), checksum);
            total = Crc32C.Extend(total, file.AsSpan(at + 8, 4));
            at += CheckpointFormat.BlockHeaderBytes + (int)length;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(end + 32), total);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(end + 36), Crc32C.Compute(file.AsSpan(end, 36)));
    }

    public static void RepairJournal(byte[] segment)
    {
        if (segment.Length < JournalFormat.SegmentHeaderBytes)
        {
            return;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(segment.AsSpan(JournalFormat.SegmentHeaderBytes - 4), Crc32C.Compute(segment.AsSpan(0, JournalFormat.SegmentHeaderBytes - 4)));
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(segment.AsSpan(8));
        bool first = version == JournalFormat1.Version;
        int headerBytes = GroupScanner.HeaderBytes(version);
        uint previous = BinaryPrimitives.ReadUInt32LittleEndian(segment.AsSpan(48));
        for (int at = JournalFormat.SegmentHeaderBytes; at + headerBytes <= segment.Length;)
        {
            Span<byte> rest = segment.AsSpan(at);
            bool isGroup = first ? JournalFormat1.HasGroupMagic(rest) : JournalFormat.HasGroupMagic(rest);
            GroupHeader header = first ? JournalFormat1.ReadGroupHeader(rest) : JournalFormat.ReadGroupHeader(rest, version);
            if (!isGroup || header.Length < headerBytes || header.Length > rest.Length)
            {
                return;
            }

            BinaryPrimitives.WriteUInt32LittleEndian(rest[(first ? 12 : 16)..], previous);
            previous = RepairGroup(rest[..header.Length], first, version, JournalFormat.RecordSeed(version, header.Salt));
            at += header.Length;
        }
    }

    private static unsafe void AddBlocks(byte[] table, BlockPlace index, BlockDecompressor decompressor, List<BlockPlace> places)
    {
        byte[] bytes = table[(int)index.Offset..(int)(index.Offset + index.Length)];
        byte compression = table[index.Offset + index.Length];
        if (compression != BlockFormat.NoCompression)
        {
            fixed (byte* stored = bytes)
            {
                byte[] whole = new byte[decompressor.UncompressedLength(stored, bytes.Length, compression, 0)];
                fixed (byte* to = whole)
                {
                    decompressor.Decompress(stored, bytes.Length, compression, 0, to, whole.Length);
                }

                bytes = whole;
            }
        }

        fixed (byte* data = bytes)
        {
            if (!IndexBlock.TryParse(data, bytes.Length, out IndexBlock parsed))
            {
                throw new InvalidOperationException("an intact index");
            }

            for (int i = 0; i < parsed.Count; i++)
            {
                BlockPlace place = new(parsed.Offset(i), parsed.Length(i));
                places.Add(place);
                if (parsed.IsTop)
                {
                    AddBlocks(table, place, decompressor, places);
                }
            }
        }
    }

    private static uint RepairGroup(Span<byte> group, bool first, uint version, uint seed)
    {
        int at = GroupScanner.HeaderBytes(version);
        uint checksum = first ? Crc32C.Compute(group[8..at]) : JournalFormat.HeaderChecksum(group, version);
        while (at < group.Length)
        {
            Span<byte> rest = group[at..];
            bool isRecord = first ? JournalFormat1.TryReadRecordHead(rest, out RecordHead head) : JournalFormat.TryReadRecordHead(rest, out head);
            if (!isRecord || head.Length > rest.Length)
            {
                break;
            }

            BinaryPrimitives.WriteUInt32LittleEndian(rest, JournalFormat.RecordChecksum(seed, rest[..head.Length]));
            checksum = Crc32C.Extend(checksum, rest[..4]);
            at += head.Length;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(group[(first ? 4 : 8)..], checksum);
        return checksum;
    }

    private static void RepairCurrent(byte[] current)
    {
        int space = current.AsSpan().IndexOf((byte)' ');
        if (space >= 0 && current.Length >= space + 9)
        {
            string check = Crc32C.Compute(current.AsSpan(0, space)).ToString("x8", CultureInfo.InvariantCulture);
            Encoding.ASCII.GetBytes(check).CopyTo(current.AsSpan(space + 1));
        }
    }
}
