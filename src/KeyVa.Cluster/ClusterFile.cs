using System.Buffers.Binary;
using System.Text;
using KeyVa.Io;

namespace KeyVa.Cluster;

/// <summary>
/// The file CLUSTER of a data folder: whose node the folder is, and where the others are. Small, rewritten whole, as the catalog is: to a
/// temporary file that is synced and renamed (docs/format.md, Cluster). Little-endian:
/// <code>
///   magic    8 bytes  "KEYVACLU"
///   format   2 bytes  1, or 2 where there is a promise: a build that does not know of promises would not keep it
///   node     8 bytes
///   name     length 1 byte, UTF-8
///   promise  4 bytes  format 2 alone: milliseconds for which the node may have promised to vote for nobody else
///   book     the rest but 4 bytes: see AddressBook
///   crc32c   4 bytes  of everything before
/// </code>
/// </summary>
internal sealed record ClusterFile(long Node, string Name, AddressBook Book, uint PromiseMilliseconds = 0)
{
    public const int MaxNameBytes = 64;

    private const ushort FormatWithoutPromise = 1;
    private const ushort Format = 2;
    private const int FixedBytes = 19;
    private const int MaxBytes = 1 << 20;

    private static ReadOnlySpan<byte> Magic => "KEYVACLU"u8;

    /// <summary>Null if the folder is no node's.</summary>
    public static ClusterFile? Read(IFileSystem files, string directory)
    {
        string path = Path.Combine(directory, StoreOpening.ClusterName);
        if (!files.FileExists(path))
        {
            return null;
        }

        using StorageFile file = files.Open(path, writable: false);
        byte[] bytes = new byte[Math.Min(file.Length, MaxBytes)];
        int read = file.Read(0, bytes);
        return Decode(path, bytes.AsSpan(0, read));
    }

    /// <summary>Makes this the folder's, durably and in one step.</summary>
    public void Write(IFileSystem files, string directory)
    {
        byte[] text = Encoding.UTF8.GetBytes(Name);
        byte[] book = Book.Encode();
        int promise = PromiseMilliseconds > 0 ? sizeof(uint) : 0;
        byte[] bytes = new byte[FixedBytes + text.Length + promise + book.Length + sizeof(uint)];
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(8), promise > 0 ? Format : FormatWithoutPromise);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(10), Node);
        bytes[18] = (byte)text.Length;
        text.CopyTo(bytes, FixedBytes);
        if (promise > 0)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(FixedBytes + text.Length), PromiseMilliseconds);
        }

        book.CopyTo(bytes, FixedBytes + text.Length + promise);
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

    private static ClusterFile Decode(string path, ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < FixedBytes + sizeof(uint) || !bytes[..8].SequenceEqual(Magic) || BinaryPrimitives.ReadUInt32LittleEndian(bytes[^4..]) != Crc32C.Compute(bytes[..^4]))
        {
            throw new CorruptionException(path, 0, "this is no KeyVa cluster file, or it is damaged");
        }

        ushort format = BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]);
        if (format is not (FormatWithoutPromise or Format))
        {
            throw new StoreException($"'{path}' has format version {format}, this program knows up to {Format}; use a newer KeyVa for this data folder");
        }

        long node = BinaryPrimitives.ReadInt64LittleEndian(bytes[10..]);
        int name = bytes[18];
        int promise = format == Format ? sizeof(uint) : 0;
        ReadOnlySpan<byte> rest = bytes[FixedBytes..^4];
        var book = new AddressBook();
        if (name + promise > rest.Length || (!book.Merge(rest[(name + promise)..]) && rest.Length - name - promise != sizeof(ushort)))
        {
            throw new CorruptionException(path, FixedBytes, "the cluster file's list of nodes cannot be read");
        }

        return new ClusterFile(node, Encoding.UTF8.GetString(rest[..name]), book, promise > 0 ? BinaryPrimitives.ReadUInt32LittleEndian(rest[name..]) : 0);
    }
}
