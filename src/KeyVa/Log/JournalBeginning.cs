using System.Buffers.Binary;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Where the journal begins, in a small file beside the segments (docs/format.md, Journal). Written before segments go, where
/// the header of the one that is the first then is not known to be on the disk: to have it there, that segment would have to
/// be synced, and with it megabytes of records, or of remains, where nobody asked for a sync. Immutable.
/// <code>
///    0  u64  magic "KEYVABEG"
///    8  u32  format = 1
///   12  u32  number of partitions
///   16       the first segment's header, 512 bytes
///  528       per partition: i64 number, i64 the last index of its log before the first segment
///       u32  CRC32C of everything before
/// </code>
/// </summary>
/// <param name="Header">The header of the first segment.</param>
/// <param name="Reached">How far each partition's log had come before it: the partitions' files hold that.</param>
internal sealed record JournalBeginning(SegmentHeader Header, Dictionary<long, long> Reached)
{
    public const string FileName = "FIRST";
    public const string TemporaryName = "FIRST.tmp";

    private const ulong Magic = 0x474542415659454B; // "KEYVABEG"
    private const uint Format = 1;
    private const int CountAt = 12;
    private const int HeaderAt = 16;
    private const int PartitionsAt = HeaderAt + JournalFormat.SegmentHeaderBytes;
    private const int PartitionBytes = 16;

    /// <summary>Writes the file durably, in the place of one that is there.</summary>
    public void Write(IFileSystem fileSystem, string directory)
    {
        byte[] bytes = new byte[PartitionsAt + (Reached.Count * PartitionBytes) + sizeof(uint)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), Format);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(CountAt), Reached.Count);
        JournalFormat.WriteSegmentHeader(bytes.AsSpan(HeaderAt, JournalFormat.SegmentHeaderBytes), Header);
        int at = PartitionsAt;
        foreach ((long partition, long index) in Reached)
        {
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(at), partition);
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(at + 8), index);
            at += PartitionBytes;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), Crc32C.Compute(bytes.AsSpan(0, at)));
        string temporary = $"{directory}/{TemporaryName}";
        if (fileSystem.FileExists(temporary))
        {
            // A crash or a full disk came between.
            fileSystem.DeleteFile(temporary);
        }

        using (StorageFile file = fileSystem.Create(temporary))
        {
            file.Write(0, bytes);
            file.Sync();
        }

        fileSystem.Rename(temporary, $"{directory}/{FileName}");
        fileSystem.SyncDirectory(directory);
    }

    /// <summary>Reads the file; null if there is none, an error if it is damaged.</summary>
    public static JournalBeginning? Read(IFileSystem fileSystem, string directory)
    {
        string path = $"{directory}/{FileName}";
        if (!fileSystem.FileExists(path))
        {
            return null;
        }

        using StorageFile file = fileSystem.Open(path, writable: false);
        Span<byte> head = stackalloc byte[HeaderAt];
        if (file.Read(0, head) < HeaderAt || BinaryPrimitives.ReadUInt64LittleEndian(head) != Magic)
        {
            throw new CorruptionException(path, 0, "this is not where the journal begins");
        }

        uint count = BinaryPrimitives.ReadUInt32LittleEndian(head[CountAt..]);
        long length = PartitionsAt + (count * (long)PartitionBytes) + sizeof(uint);
        if (file.Length != length || length > Array.MaxLength)
        {
            throw new CorruptionException(path, CountAt, $"the file has {file.Length} bytes, with {count} partitions it would have {length}");
        }

        byte[] bytes = new byte[length];
        file.Read(0, bytes);
        int end = bytes.Length - sizeof(uint);
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(end)) != Crc32C.Compute(bytes.AsSpan(0, end)))
        {
            throw new CorruptionException(path, 0, "the checksum is wrong");
        }

        uint format = BinaryPrimitives.ReadUInt32LittleEndian(head[8..]);
        if (format != Format)
        {
            throw new StoreException($"'{path}' has format version {format}; this program knows version {Format}: use the one that wrote it");
        }

        if (!JournalFormat.TryReadSegmentHeader(bytes.AsSpan(HeaderAt, JournalFormat.SegmentHeaderBytes), path, out SegmentHeader header))
        {
            throw new CorruptionException(path, HeaderAt, "the segment's header is none");
        }

        var reached = new Dictionary<long, long>();
        for (int at = PartitionsAt; at < end; at += PartitionBytes)
        {
            reached[BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at))] = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at + 8));
        }

        return new JournalBeginning(header, reached);
    }
}
