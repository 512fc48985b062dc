using System.Globalization;
using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa;

/// <summary>The part of a repair that exchanges the folder's contents. Stateless.</summary>
internal static class StoreRepairInPlace
{
    /// <summary>The catalog goes first and comes last: a folder in between has none, and is refused.</summary>
    private static readonly string[] Parts = ["partitions", "journal"];

    public static bool IsNeeded(string directory, StoreEnvironment environment, CancellationToken cancellation) =>
        StoreVerification.Find(directory, environment, cancellation).Count > 0;

    /// <summary>Moves the old parts into a folder of their own and the new ones in their place; returns that folder.</summary>
    public static string Exchange(IFileSystem files, string directory, string repaired)
    {
        string damaged = FreeName(files, directory);
        files.CreateDirectory(damaged);
        files.SyncDirectory(directory);
        Move(files, directory, damaged, Catalog.FileName);
        foreach (string part in Parts)
        {
            Move(files, directory, damaged, part);
        }

        foreach (string part in Parts)
        {
            Move(files, repaired, directory, part);
        }

        Move(files, repaired, directory, Catalog.FileName);
        files.DeleteDirectory(repaired);
        files.SyncDirectory(directory);
        return damaged;
    }

    private static void Move(IFileSystem files, string from, string to, string name)
    {
        string path = Path.Combine(from, name);
        if (files.FileExists(path) || files.DirectoryExists(path))
        {
            files.Rename(path, Path.Combine(to, name));
            files.SyncDirectory(to);
            files.SyncDirectory(from);
        }
    }

    private static string FreeName(IFileSystem files, string directory)
    {
        for (int number = 1; ; number++)
        {
            string path = Path.Combine(directory, StoreVerification.DamagedPrefix + number.ToString(CultureInfo.InvariantCulture));
            if (!files.DirectoryExists(path) && !files.FileExists(path))
            {
                return path;
            }
        }
    }
}
