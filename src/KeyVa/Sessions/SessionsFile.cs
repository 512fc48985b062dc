using System.Buffers.Binary;
using System.Globalization;
using KeyVa.Commits;
using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Sessions;

/// <summary>
/// The sessions of a partition beside the engine's files (docs/format.md, Sessions): <c>sessions-INDEX</c>, as of the log index that the files contain. It is
/// written and synced before files take effect that contain this index, so the step in which they do is also its own: opening reads the one of the files' index, and
/// no other. None: there are no sessions.
/// <code>
///   magic "KEYVASES" | format u16 = 1, 2 if the tables have commits, or 3 if they have settings | length u32 | the tables (PartitionTables) | crc32c u32 of all before
/// </code>
/// Stateless.
/// </summary>
internal static class SessionsFile
{
    private const string Prefix = "sessions-";
    private const int HeadBytes = 14;
    private const int MaxBytes = 512 << 20;
    private const ushort Format = 1;
    private const ushort FormatWithCommits = 2;
    private const ushort FormatWithSettings = 3;

    private static ReadOnlySpan<byte> Magic => "KEYVASES"u8;

    /// <summary>What the file is called that goes with files which contain everything up to an index.</summary>
    public static string NameOf(long index) => string.Create(CultureInfo.InvariantCulture, $"{Prefix}{index:D20}");

    /// <summary>Whether a file is one of these.</summary>
    public static bool IsName(string name) => TryParse(name, out _);

    /// <summary>Writes a table, if there is anything in it; synced, and its name, when it returns.</summary>
    public static void Write(IFileSystem files, string directory, long index, byte[] table)
    {
        if (table.Length == 0)
        {
            return;
        }

        byte[] bytes = new byte[HeadBytes + table.Length + sizeof(uint)];
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(8), FormatOf(table));
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(10), table.Length);
        table.CopyTo(bytes, HeadBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(bytes.Length - sizeof(uint)), Crc32C.Compute(bytes.AsSpan(0, bytes.Length - sizeof(uint))));
        string path = Path.Combine(directory, NameOf(index));
        try
        {
            using StorageFile file = files.Create(path);
            file.Write(0, bytes);
            file.Sync();
        }
        catch (StorageFullException)
        {
            if (files.FileExists(path))
            {
                files.DeleteFile(path);
            }

            throw;
        }

        files.SyncDirectory(directory);
    }

    /// <summary>The table of an index; empty if there is no file.</summary>
    public static byte[] Read(IFileSystem files, string directory, long index)
    {
        string path = Path.Combine(directory, NameOf(index));
        if (!files.FileExists(path))
        {
            return [];
        }

        using StorageFile file = files.Open(path, writable: false);
        if (file.Length is < HeadBytes + sizeof(uint) or > MaxBytes)
        {
            throw new CorruptionException(path, 0, "the sessions' file has an impossible length");
        }

        byte[] bytes = new byte[file.Length];
        for (int at = 0; at < bytes.Length;)
        {
            int read = file.Read(at, bytes.AsSpan(at));
            at += read > 0 ? read : throw new CorruptionException(path, at, "the sessions' file is cut off");
        }

        int end = bytes.Length - sizeof(uint);
        if (!bytes.AsSpan().StartsWith(Magic) || BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(end)) != Crc32C.Compute(bytes.AsSpan(0, end)))
        {
            throw new CorruptionException(path, 0, "the checksum of the sessions' file does not fit");
        }

        ushort format = BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(8));
        return format is not (Format or FormatWithCommits or FormatWithSettings) ? throw new StoreException($"'{path}' has format {format}; this build reads 1, 2 and 3: use the build that wrote it, or a newer one")
            : BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(10)) == end - HeadBytes ? bytes[HeadBytes..end]
            : throw new CorruptionException(path, 10, "the length in the sessions' file does not fit");
    }

    /// <summary>Reads the tables of an index into an engine's.</summary>
    public static void Load(IFileSystem files, string directory, long index, SessionTable sessions, CommitTable commits, SettingsTable settings)
    {
        if (!PartitionTables.TryLoad(Read(files, directory, index), sessions, commits, settings))
        {
            throw new CorruptionException(Path.Combine(directory, NameOf(index)), HeadBytes, "what the sessions' file holds makes no sense");
        }
    }

    /// <summary>While a folder is repaired: the newest tables of it that are intact become those of another folder's files, which contain everything up to this index. Damage is noted.</summary>
    public static void Salvage(IFileSystem files, string source, string target, long index, RepairLog log)
    {
        foreach (long of in files.List(source).Select(static name => TryParse(name, out long of) ? of : -1).Where(static of => of >= 0).OrderDescending())
        {
            try
            {
                Write(files, target, index, Read(files, source, of));
                log.FilesKept++;
                return;
            }
            catch (CorruptionException damage)
            {
                log.Damages.Add(damage);
                log.Lose(damage.File, damage.Offset, "the partition's own settings, but for those that the journal has: look at them with 'keyva admin partition list', and set them again");
            }
        }
    }

    /// <summary>Removes those of other indexes: they belong to files that are no more, or never took effect.</summary>
    public static void RemoveAllBut(IFileSystem files, string directory, long index)
    {
        foreach (string name in files.List(directory))
        {
            if (TryParse(name, out long other) && other != index)
            {
                files.DeleteFile(Path.Combine(directory, name));
            }
        }
    }

    private static ushort FormatOf(byte[] table) => table[0] switch
    {
        PartitionTables.VersionWithSettings => FormatWithSettings,
        PartitionTables.VersionWithCommits => FormatWithCommits,
        _ => Format,
    };

    private static bool TryParse(string name, out long index)
    {
        index = 0;
        return name.Length == Prefix.Length + 20 && name.StartsWith(Prefix, StringComparison.Ordinal)
            && long.TryParse(name.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out index);
    }
}
