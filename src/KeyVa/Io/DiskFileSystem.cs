using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace KeyVa.Io;

/// <summary>
/// The operating system's file system, for Linux on x64 and arm64. Stateless and thread-safe. Goes to libc itself since
/// the runtime's own classes hide errors of syncs and cannot sync a folder. Files are for their owner alone (0600, 0700).
/// </summary>
internal sealed unsafe class DiskFileSystem : IFileSystem
{
    private const int FileMode = 0x180; // 0600
    private const int DirectoryMode = 0x1C0; // 0700

    public static DiskFileSystem Instance { get; } = new();

    public StorageFile Create(string path) => new DiskFile(
        path,
        OpenDescriptor("create", path, Posix.ReadWrite | Posix.CreateFile | Posix.Exclusive),
        writable: true);

    public StorageFile Open(string path, bool writable) =>
        new DiskFile(path, OpenDescriptor("open", path, writable ? Posix.ReadWrite : Posix.ReadOnly), writable);

    public bool FileExists(string path) => File.Exists(path);

    public bool DirectoryExists(string path) => Directory.Exists(path);

    public void CreateDirectory(string path)
    {
        int errno = MakeDirectory(path);
        if (errno == Posix.NoEntry && Path.GetDirectoryName(Path.GetFullPath(path)) is string parent)
        {
            CreateDirectory(parent);
            errno = MakeDirectory(path);
        }

        if (errno != 0)
        {
            throw Posix.Failure("mkdir", path, errno);
        }
    }

    public IReadOnlyList<string> List(string directory)
    {
        try
        {
            var names = new List<string>();
            foreach (string path in Directory.EnumerateFileSystemEntries(directory))
            {
                names.Add(Path.GetFileName(path));
            }

            return names;
        }
        catch (DirectoryNotFoundException)
        {
            throw Posix.Failure("opendir", directory, File.Exists(directory) ? Posix.NotDirectory : Posix.NoEntry);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new StorageException("opendir", directory, Posix.InputOutput, error.Message);
        }
    }

    public void DeleteFile(string path) => Check(Posix.Unlink(path), "unlink", path);

    public void DeleteDirectory(string path)
    {
        foreach (string name in List(path))
        {
            string child = Path.Combine(path, name);

            // A link to a folder is removed, not followed.
            if (Directory.Exists(child) && new DirectoryInfo(child).LinkTarget is null)
            {
                DeleteDirectory(child);
            }
            else
            {
                DeleteFile(child);
            }
        }

        Check(Posix.RemoveDirectory(path), "rmdir", path);
    }

    public void Rename(string from, string to) => Check(Posix.Rename(from, to), "rename", from);

    public bool TryHardLink(string from, string to)
    {
        if (Posix.Link(from, to) == 0)
        {
            return true;
        }

        int errno = Marshal.GetLastPInvokeError();
        return errno is Posix.CrossDevice or Posix.NotPermitted or Posix.NotSupported or Posix.TooManyLinks
            ? false
            : throw Posix.Failure("link", from, errno);
    }

    public void SyncDirectory(string path)
    {
        using FileDescriptor directory = OpenDescriptor("open", path, Posix.ReadOnly);
        while (Posix.Sync(directory) != 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            if (errno != Posix.Interrupted)
            {
                throw Posix.Failure("fsync", path, errno);
            }
        }
    }

    public long FreeBytes(string directory)
    {
        Posix.FileSystemStatistics statistics = default;
        Check(Posix.Statistics(directory, &statistics), "statvfs", directory);
        return (long)UInt128.Min(statistics.BlocksAvailable * (UInt128)statistics.FragmentSize, long.MaxValue);
    }

    /// <summary>
    /// flock(2): it belongs to the open file, so it also keeps out a second store of the same process, and the kernel
    /// drops it when the process dies. The holder's process id is in the file, for the message of whoever is refused.
    /// </summary>
    public IDisposable? TryLock(string path)
    {
        FileDescriptor descriptor = OpenDescriptor("open", path, Posix.ReadWrite | Posix.CreateFile);
        if (!TryLock(descriptor, path))
        {
            return null;
        }

        var held = new FileLock(descriptor);
        var file = new DiskFile(path, descriptor, writable: true);
        try
        {
            file.SetLength(0);
            file.Write(0, Encoding.ASCII.GetBytes(Environment.ProcessId.ToString(CultureInfo.InvariantCulture) + "\n"));
        }
        catch (StorageFullException)
        {
            // The lock itself holds; only the hint for others is missing. A full disk must not keep a store closed.
        }
        catch
        {
            held.Dispose();
            throw;
        }

        return held;
    }

    public IDisposable? TryLockUnchanged(string path)
    {
        FileDescriptor descriptor = OpenDescriptor("open", path, Posix.ReadOnly);
        return TryLock(descriptor, path) ? new FileLock(descriptor) : null;
    }

    // Closes the descriptor unless it holds the lock.
    private static bool TryLock(FileDescriptor descriptor, string path)
    {
        int errno;
        do
        {
            errno = Posix.Lock(descriptor, Posix.LockExclusive | Posix.LockNonBlocking) == 0
                ? 0
                : Marshal.GetLastPInvokeError();
        }
        while (errno == Posix.Interrupted);

        if (errno == 0)
        {
            return true;
        }

        descriptor.Dispose();
        return errno == Posix.WouldBlock ? false : throw Posix.Failure("flock", path, errno);
    }

    private static FileDescriptor OpenDescriptor(string operation, string path, int flags)
    {
        while (true)
        {
            int descriptor = Posix.Open(path, flags | Posix.CloseOnExec, FileMode);
            if (descriptor >= 0)
            {
                return new FileDescriptor(descriptor);
            }

            int errno = Marshal.GetLastPInvokeError();
            if (errno != Posix.Interrupted)
            {
                throw Posix.Failure(operation, path, errno);
            }
        }
    }

    // An existing folder is no error, an existing file is.
    private static int MakeDirectory(string path)
    {
        if (Posix.MakeDirectory(path, DirectoryMode) == 0)
        {
            return 0;
        }

        int errno = Marshal.GetLastPInvokeError();
        return errno == Posix.Exists && Directory.Exists(path) ? 0 : errno;
    }

    private static void Check(int result, string operation, string path)
    {
        if (result != 0)
        {
            throw Posix.Failure(operation, path, Marshal.GetLastPInvokeError());
        }
    }
}
