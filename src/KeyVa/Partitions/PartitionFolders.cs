using System.Globalization;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// Which folder a partition's files are in: <c>partitions/ID</c>, or, once a snapshot of a cluster has taken the place of what was there,
/// <c>partitions/ID.gN</c>. The highest N counts; the others are left over. Beside each of the latter stands <c>ID.gN.meta</c>, which is the
/// cluster's. Stateless.
/// </summary>
internal static class PartitionFolders
{
    public const string MetaSuffix = ".meta";
    private const string GenerationMark = ".g";
    private const string IncomingSuffix = ".incoming";
    private const string OutgoingMark = ".outgoing-";

    /// <summary>The folder of a partition's files, which need not be there.</summary>
    public static string Current(IFileSystem files, string directory, long id) =>
        Folder(directory, id, Newest(files, directory, id));

    /// <summary>Where the files go that take the place of the present ones.</summary>
    public static string Next(IFileSystem files, string directory, long id) =>
        Folder(directory, id, Newest(files, directory, id) + 1);

    /// <summary>Where files arrive that may become the partition's.</summary>
    public static string Incoming(string directory, long id) => StoreContext.PartitionDirectoryOf(directory, id) + IncomingSuffix;

    /// <summary>Where a copy is made that goes to a node.</summary>
    public static string Outgoing(string directory, long id, long node) =>
        StoreContext.PartitionDirectoryOf(directory, id) + OutgoingMark + node.ToString(CultureInfo.InvariantCulture);

    /// <summary>Whose folder a name says it is; false for any other name.</summary>
    public static bool TryParse(string name, out long id, out long generation)
    {
        generation = 0;
        int mark = name.IndexOf(GenerationMark, StringComparison.Ordinal);
        ReadOnlySpan<char> number = mark < 0 ? name : name.AsSpan(0, mark);
        return long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out id)
            && (mark < 0 || long.TryParse(name.AsSpan(mark + GenerationMark.Length), NumberStyles.None, CultureInfo.InvariantCulture, out generation));
    }

    /// <summary>Whether a name is of something that was on its way when the process ended.</summary>
    public static bool IsLeftOver(string name) =>
        name.EndsWith(IncomingSuffix, StringComparison.Ordinal) || name.Contains(OutgoingMark, StringComparison.Ordinal);

    private static long Newest(IFileSystem files, string directory, long id)
    {
        string partitions = StoreContext.PartitionsDirectoryOf(directory);
        long newest = 0;
        if (files.DirectoryExists(partitions))
        {
            foreach (string name in files.List(partitions))
            {
                newest = TryParse(name, out long one, out long generation) && one == id ? Math.Max(newest, generation) : newest;
            }
        }

        return newest;
    }

    private static string Folder(string directory, long id, long generation)
    {
        string first = StoreContext.PartitionDirectoryOf(directory, id);
        return generation == 0 ? first : first + GenerationMark + generation.ToString(CultureInfo.InvariantCulture);
    }
}
