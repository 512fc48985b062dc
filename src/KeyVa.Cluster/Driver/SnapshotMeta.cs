using System.Buffers.Binary;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// What a set of a partition's files stands for, as it travels ahead of them and stands beside their folder (docs/format.md, Cluster), little-endian:
/// <code>
///   format 1 byte = 1 | cluster 8 | partition 8 | leader's term 8 | index 8 | term 8 | membership: length 4, bytes | crc32c 4 of all before
/// </code>
/// The file is durable before the folder has its name: so whoever finds the folder knows where its log goes on.
/// </summary>
internal static class SnapshotMeta
{
    private const byte Format = 1;
    private const int FixedBytes = 45;
    private const int MaxBytes = 4096;

    public static byte[] Encode(ulong cluster, long partition, long leaderTerm, SnapshotMetadata snapshot)
    {
        byte[] membership = MembershipEncoding.Encode(snapshot.Membership);
        byte[] bytes = new byte[FixedBytes + membership.Length + sizeof(uint)];
        bytes[0] = Format;
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(1), cluster);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(9), partition);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(17), leaderTerm);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(25), snapshot.Index);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(33), snapshot.Term);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(41), membership.Length);
        membership.CopyTo(bytes, FixedBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(bytes.Length - 4), Crc32C.Compute(bytes.AsSpan(0, bytes.Length - 4)));
        return bytes;
    }

    /// <summary>False for other bytes, or those of another cluster.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> bytes, ulong cluster, out long partition, out long leaderTerm, out SnapshotMetadata snapshot)
    {
        (partition, leaderTerm, snapshot) = (0, 0, SnapshotMetadata.None);
        if (bytes.Length < FixedBytes + sizeof(uint) || bytes[0] != Format || BinaryPrimitives.ReadUInt64LittleEndian(bytes[1..]) != cluster
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes[^4..]) != Crc32C.Compute(bytes[..^4])
            || BinaryPrimitives.ReadInt32LittleEndian(bytes[41..]) != bytes.Length - FixedBytes - sizeof(uint)
            || !MembershipEncoding.TryDecode(bytes[FixedBytes..^4], out Membership membership))
        {
            return false;
        }

        partition = BinaryPrimitives.ReadInt64LittleEndian(bytes[9..]);
        leaderTerm = BinaryPrimitives.ReadInt64LittleEndian(bytes[17..]);
        snapshot = new SnapshotMetadata(BinaryPrimitives.ReadInt64LittleEndian(bytes[25..]), BinaryPrimitives.ReadInt64LittleEndian(bytes[33..]), membership);
        return snapshot.Index > 0 && snapshot.Term > 0 && leaderTerm >= snapshot.Term;
    }

    /// <summary>What stands beside a partition's folder; null if its files came by no snapshot.</summary>
    public static SnapshotMetadata? Read(IFileSystem files, string folder, ulong cluster)
    {
        string path = folder + PartitionFolders.MetaSuffix;
        if (!files.FileExists(path))
        {
            return null;
        }

        using StorageFile file = files.Open(path, writable: false);
        byte[] bytes = new byte[Math.Min(file.Length, MaxBytes)];
        int read = file.Read(0, bytes);
        return TryDecode(bytes.AsSpan(0, read), cluster, out _, out _, out SnapshotMetadata snapshot)
            ? snapshot
            : throw new CorruptionException(path, 0, "what stands beside the partition's folder cannot be read: it is damaged, or of another cluster");
    }

    /// <summary>Gives files that have arrived the place of the partition's: durably, unless a defect says otherwise, and in one step, the renaming.</summary>
    public static void Install(IFileSystem files, string directory, long partition, string arrived, byte[] meta, bool isSynced = true)
    {
        string folder = PartitionFolders.Next(files, directory, partition);
        string path = folder + PartitionFolders.MetaSuffix;
        if (files.FileExists(path))
        {
            files.DeleteFile(path);
        }

        using (StorageFile file = files.Create(path))
        {
            file.Write(0, meta);
            if (isSynced)
            {
                file.Sync();
            }
        }

        string partitions = StoreContext.PartitionsDirectoryOf(directory);
        if (isSynced)
        {
            files.SyncDirectory(partitions);
        }

        files.Rename(arrived, folder);
        files.SyncDirectory(partitions);
    }
}
