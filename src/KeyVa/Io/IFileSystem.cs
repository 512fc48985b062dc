namespace KeyVa.Io;

/// <summary>
/// The seam between the store and the disk. Two implementations: <see cref="DiskFileSystem"/> and
/// <see cref="MemoryFileSystem"/>, which loses what was not synced when told to crash.
/// Every failure is a <see cref="StorageException"/> (or <see cref="StorageFullException"/>) that names the path.
/// All members are thread-safe. Nothing here survives a power loss until it is synced: file bytes by
/// <see cref="StorageFile.Sync"/>, creations, renames and deletions by <see cref="SyncDirectory"/> on the parent.
/// </summary>
internal interface IFileSystem
{
    /// <summary>Creates a file for reading and writing; it must not exist.</summary>
    StorageFile Create(string path);

    /// <summary>Opens an existing file for reading, or for reading and writing.</summary>
    StorageFile Open(string path, bool writable);

    bool FileExists(string path);

    bool DirectoryExists(string path);

    /// <summary>Creates a folder and its missing parents; an existing one is no error.</summary>
    void CreateDirectory(string path);

    /// <summary>The names (not paths) of a folder's files and folders, in no particular order.</summary>
    IReadOnlyList<string> List(string directory);

    void DeleteFile(string path);

    /// <summary>Deletes a folder with all that is in it.</summary>
    void DeleteDirectory(string path);

    /// <summary>Renames a file or folder; an existing file at <paramref name="to"/> is replaced in one step.</summary>
    void Rename(string from, string to);

    /// <summary>Gives a file a second name on the same file system; false where the file systems differ or forbid it.</summary>
    bool TryHardLink(string from, string to);

    /// <summary>Makes the folder's entries (creations, renames, deletions) durable.</summary>
    void SyncDirectory(string path);

    /// <summary>Bytes that can still be written below a folder.</summary>
    long FreeBytes(string directory);

    /// <summary>Takes an exclusive lock on a file, created if missing; null if another process (or store) holds it.</summary>
    IDisposable? TryLock(string path);

    /// <summary>As <see cref="TryLock"/> on a file that exists, without writing anything: for readers, on read-only disks too.</summary>
    IDisposable? TryLockUnchanged(string path);
}
