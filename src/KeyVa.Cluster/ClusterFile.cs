using System.Buffers.Binary;
using System.Text;
using KeyVa.Io;

namespace KeyVa.Cluster;

/// <summary>
/// The file CLUSTER of a data folder: whose node the folder is. Written once, at the first start, as the catalog is: to a temporary file that is
/// synced and renamed (docs/format.md, Cluster). Little-endian:
/// <code>
///   magic    8 bytes  "KEYVACLU"
///   format   2 bytes  1
///   node     8 bytes
///   name     length 1 byte, UTF-8
///   crc32c   4 bytes  of everything before
/// </code>
/// </summary>
internal static class ClusterFile
{
    public const int MaxNameBytes = 64;

    private const ushort Format = 1;
    private const int FixedBytes = 19;

    private static ReadOnlySpan<byte> Magic => "KEYVACLU"u8;

    /// <summary>The node's number and the cluster's name; null if the folder is no node's.</summary>
    public static (long Node, string Name)? Read(IFileSystem files, string directory)
    {
        string path = Path.Combine(directory, StoreOpening.ClusterName);
        if (!files.FileExists(path))
        {
            return null;
        }

        using StorageFile file = files.Open(path, writable: false);
        Span<byte> bytes = stackalloc byte[FixedBytes + MaxNameBytes + sizeof(uint)];
        int read = file.Length <= bytes.Length ? file.Read(0, bytes) : 0;
        bytes = bytes[..read];
        if (read < FixedBytes + sizeof(uint) || !bytes[..8].SequenceEqual(Magic) || BinaryPrimitives.ReadUInt32LittleEndian(bytes[^4..]) != Crc32C.Compute(bytes[..^4])
            || bytes[18] != read - FixedBytes - sizeof(uint))
        {
            throw new CorruptionException(path, 0, "this is no KeyVa cluster file, or it is damaged");
        }

        ushort format = BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]);
        return format == Format
            ? (BinaryPrimitives.ReadInt64LittleEndian(bytes[10..]), Encoding.UTF8.GetString(bytes[FixedBytes..^4]))
            : throw new StoreException($"'{path}' has format version {format}, this program knows up to {Format}; use a newer KeyVa for this data folder");
    }

    /// <summary>Makes the folder a node's, durably and in one step.</summary>
    public static void Write(IFileSystem files, string directory, long node, string name)
    {
        byte[] text = Encoding.UTF8.GetBytes(name);
        byte[] bytes = new byte[FixedBytes + text.Length + sizeof(uint)];
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(8), Format);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(10), node);
        bytes[18] = (byte)text.Length;
        text.CopyTo(bytes, FixedBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(bytes.Length - 4), Crc32C.Compute(bytes.AsSpan(0, bytes.Length - 4)));
        string temporary = Path.Combine(directory, StoreOpening.ClusterTemporaryName);
        if (files.FileExists(temporary))
        {
            files.DeleteFile(temporary);
        }

        using (StorageFile file = files.Create(temporary))
        {
            file.Write(0, bytes);
            file.Sync();
        }

        files.Rename(temporary, Path.Combine(directory, StoreOpening.ClusterName));
        files.SyncDirectory(directory);
    }
}
