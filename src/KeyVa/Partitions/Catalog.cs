using System.Buffers.Binary;
using KeyVa.Indexes;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// What a data folder holds: its format version, its identity, its partitions. Small, rewritten whole on every change:
/// to a temporary file that is synced, renamed over the old one, and the folder synced. The layout (docs/format.md,
/// Catalog):
/// <code>
///   magic      8 bytes  "KEYVACAT"
///   format     2 bytes  1; 2 if there are indexes, or were
///   store id  16 bytes
///   next id    8 bytes  the next partition's number
///   version    8 bytes  versions handed out when a partition was last removed: the oracle continues above
///   stamp      8 bytes  the same for stamps
///   count      4 bytes
///   partition* id 8, engine 1, flags 1 (bit 0 volatile), from: varint length, bytes; to: the same
///   next index 8 bytes  format 2: the next index's number
///   indexes    4 bytes  format 2: how many
///   index*              format 2: see StoredIndex
///   crc32c     4 bytes  of everything before
/// </code>
/// </summary>
internal sealed class Catalog
{
    public const string FileName = "CATALOG";
    public const int Format = 1;

    /// <summary>With indexes; without any, the catalog stays as builds read it that know none.</summary>
    public const int FormatWithIndexes = 2;

    public const string TemporaryName = "CATALOG.tmp";
    private const int HeaderBytes = 54;
    private const long MaxBytes = 256L << 20;

    private static ReadOnlySpan<byte> Magic => "KEYVACAT"u8;

    public required Guid StoreId { get; init; }

    public long NextPartitionId { get; init; } = 1;

    public long Version { get; init; }

    public long Stamp { get; init; }

    public IReadOnlyList<PartitionDefinition> Partitions { get; init; } = [];

    public long NextIndexId { get; init; } = 1;

    public IReadOnlyList<StoredIndex> Indexes { get; init; } = [];

    /// <summary>Reads the catalog of a folder. Throws on an unknown format version and on damage.</summary>
    public static Catalog Read(IFileSystem fileSystem, string directory)
    {
        string path = Path.Combine(directory, FileName);
        using StorageFile file = fileSystem.Open(path, writable: false);
        if (file.Length > MaxBytes)
        {
            throw new CorruptionException(path, 0, $"a catalog of {file.Length} bytes is none");
        }

        var bytes = new byte[file.Length];
        int read = file.Read(0, bytes);
        return Decode(path, bytes.AsSpan(0, read));
    }

    /// <summary>Makes this the folder's catalog, durably and in one step.</summary>
    public void Write(IFileSystem fileSystem, string directory)
    {
        string temporary = Path.Combine(directory, TemporaryName);
        if (fileSystem.FileExists(temporary))
        {
            fileSystem.DeleteFile(temporary);
        }

        using (NativeBuffer bytes = Encode())
        using (StorageFile file = fileSystem.Create(temporary))
        {
            file.Write(0, bytes.Written);
            file.Sync();
        }

        fileSystem.Rename(temporary, Path.Combine(directory, FileName));
        fileSystem.SyncDirectory(directory);
    }

    private static Catalog Decode(string path, ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < 10 || !bytes[..8].SequenceEqual(Magic))
        {
            throw new CorruptionException(path, 0, "this is no KeyVa catalog");
        }

        // Every version keeps magic, format and the checksum where they are: a damaged format number is no newer format.
        if (bytes.Length < HeaderBytes + 4 || BinaryPrimitives.ReadUInt32LittleEndian(bytes[^4..]) != Crc32C.Compute(bytes[..^4]))
        {
            throw new CorruptionException(path, 0, "the catalog's checksum does not fit");
        }

        int format = BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]);
        return format is Format or FormatWithIndexes
            ? DecodeBody(path, bytes[..^4], format)
            : throw new StoreException($"'{path}' has format version {format}, this program knows up to {FormatWithIndexes}; use a newer KeyVa for this data folder");
    }

    private static Catalog DecodeBody(string path, ReadOnlySpan<byte> bytes, int format)
    {
        int count = BinaryPrimitives.ReadInt32LittleEndian(bytes[50..]);
        ReadOnlySpan<byte> rest = bytes[HeaderBytes..];
        var partitions = new List<PartitionDefinition>();
        for (int i = 0; i < count; i++)
        {
            int offset = bytes.Length - rest.Length;
            if (rest.Length < 10
                || !TryReadBytes(rest[10..], out byte[] from, out ReadOnlySpan<byte> behindFrom)
                || !TryReadBytes(behindFrom, out byte[] to, out ReadOnlySpan<byte> behindTo)
                || rest[8] is not ((byte)EngineKind.Lsm or (byte)EngineKind.Memory))
            {
                throw new CorruptionException(path, offset, $"partition {i} of the catalog cannot be read");
            }

            partitions.Add(new PartitionDefinition(BinaryPrimitives.ReadInt64LittleEndian(rest), new KeyRange(from, to), (EngineKind)rest[8], (rest[9] & 1) != 0));
            rest = behindTo;
        }

        long nextIndex = 1;
        var indexes = new List<StoredIndex>();
        if (format == FormatWithIndexes)
        {
            ReadIndexes(path, bytes, rest, out nextIndex, indexes);
        }

        return new Catalog
        {
            NextIndexId = nextIndex,
            Indexes = indexes,
            StoreId = new Guid(bytes.Slice(10, 16)),
            NextPartitionId = BinaryPrimitives.ReadInt64LittleEndian(bytes[26..]),
            Version = BinaryPrimitives.ReadInt64LittleEndian(bytes[34..]),
            Stamp = BinaryPrimitives.ReadInt64LittleEndian(bytes[42..]),
            Partitions = partitions,
        };
    }

    private static void ReadIndexes(string path, ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> rest, out long next, List<StoredIndex> indexes)
    {
        if (rest.Length < 12)
        {
            throw new CorruptionException(path, bytes.Length - rest.Length, "the catalog ends before its indexes");
        }

        next = BinaryPrimitives.ReadInt64LittleEndian(rest);
        int count = BinaryPrimitives.ReadInt32LittleEndian(rest[8..]);
        rest = rest[12..];
        for (int i = 0; i < count; i++)
        {
            int offset = bytes.Length - rest.Length;
            if (!StoredIndex.TryRead(ref rest, out StoredIndex index))
            {
                throw new CorruptionException(path, offset, $"index {i} of the catalog cannot be read");
            }

            indexes.Add(index);
        }
    }

    private static bool TryReadBytes(ReadOnlySpan<byte> source, out byte[] value, out ReadOnlySpan<byte> rest)
    {
        int taken = Varint.Read(source, out ulong length);
        if (taken == 0 || length > (ulong)(source.Length - taken))
        {
            value = [];
            rest = default;
            return false;
        }

        value = source.Slice(taken, (int)length).ToArray();
        rest = source[(taken + (int)length)..];
        return true;
    }

    private NativeBuffer Encode()
    {
        var bytes = new NativeBuffer();
        bytes.Append(Magic);
        bool hasIndexes = NextIndexId > 1 || Indexes.Count > 0;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.Append(2), (ushort)(hasIndexes ? FormatWithIndexes : Format));
        StoreId.TryWriteBytes(bytes.Append(16));
        bytes.AppendInt64(NextPartitionId);
        bytes.AppendInt64(Version);
        bytes.AppendInt64(Stamp);
        bytes.AppendUInt32((uint)Partitions.Count);
        foreach (PartitionDefinition partition in Partitions)
        {
            bytes.AppendInt64(partition.Id);
            bytes.AppendByte((byte)partition.Engine);
            bytes.AppendByte(partition.IsVolatile ? (byte)1 : (byte)0);
            bytes.AppendVarint((ulong)partition.Range.From.Length);
            bytes.Append(partition.Range.From.Span);
            bytes.AppendVarint((ulong)partition.Range.To.Length);
            bytes.Append(partition.Range.To.Span);
        }

        if (hasIndexes)
        {
            bytes.AppendInt64(NextIndexId);
            bytes.AppendUInt32((uint)Indexes.Count);
            foreach (StoredIndex index in Indexes)
            {
                index.Append(bytes);
            }
        }

        bytes.AppendUInt32(Crc32C.Compute(bytes.Written));
        return bytes;
    }
}
