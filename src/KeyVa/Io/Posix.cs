using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace KeyVa.Io;

/// <summary>
/// A file descriptor, closed once. libc takes and returns int: a handle may be passed in its place, since both processors
/// ignore the upper half of the register, but never returned, since that half is then undefined.
/// </summary>
internal sealed class FileDescriptor : SafeHandleMinusOneIsInvalid
{
    public FileDescriptor(int descriptor)
        : base(ownsHandle: true) => SetHandle(descriptor);

    // close(2) must not be retried after EINTR on Linux: the descriptor is gone either way. Its error says nothing that
    // a sync has not said before; durability never rests on it.
    protected override bool ReleaseHandle() => Posix.Close((int)handle) == 0;
}

/// <summary>
/// The calls of the operating system that the store stands on, for Linux on x64 and arm64 with a 64-bit libc: the
/// constants and layouts below are the same on both (O_DIRECTORY, which is not, is not used). Every call that fails
/// returns -1 and leaves errno to <see cref="Marshal.GetLastPInvokeError"/>, but <see cref="PosixFallocate"/>, which
/// returns the error itself.
/// </summary>
internal static unsafe partial class Posix
{
    public const int ReadOnly = 0;
    public const int ReadWrite = 2;
    public const int CreateFile = 0x40;
    public const int Exclusive = 0x80;
    public const int CloseOnExec = 0x80000;

    public const int LockExclusive = 2;
    public const int LockNonBlocking = 4;
    public const int Unlock = 8;

    public const int SeekEnd = 2;

    public const int WillNeed = 3;

    public const uint SyncRangeWrite = 2;

    public const int NoEntry = 2;
    public const int Interrupted = 4;
    public const int InputOutput = 5;
    public const int BadDescriptor = 9;
    public const int WouldBlock = 11;
    public const int NotPermitted = 1;
    public const int Exists = 17;
    public const int CrossDevice = 18;
    public const int NotDirectory = 20;
    public const int IsDirectory = 21;
    public const int TooManyOpenFilesInSystem = 23;
    public const int TooManyOpenFiles = 24;
    public const int NoSpace = 28;
    public const int TooManyLinks = 31;
    public const int NotEmpty = 39;
    public const int NotSupported = 95;
    public const int QuotaExceeded = 122;

    /// <summary>Segments of one pwritev; Linux takes 1024 (UIO_MAXIOV).</summary>
    public const int MaxVectors = 1024;

    private const string Library = "libc";

    [StructLayout(LayoutKind.Sequential)]
    public struct IoVector
    {
        public nint Base;
        public nuint Length;
    }

    // The beginning of struct statvfs, the same in glibc and musl on 64-bit Linux; the rest is room we do not read.
    [StructLayout(LayoutKind.Sequential, Size = 256)]
    public struct FileSystemStatistics
    {
        public ulong BlockSize;
        public ulong FragmentSize;
        public ulong Blocks;
        public ulong BlocksFree;
        public ulong BlocksAvailable;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct TimeSpecification
    {
        public long Seconds;
        public long Nanoseconds;
    }

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Open(string path, int flags, int mode);

    [LibraryImport(Library, EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int descriptor);

    [LibraryImport(Library, EntryPoint = "pread", SetLastError = true)]
    public static partial nint PRead(FileDescriptor file, byte* buffer, nuint count, long offset);

    [LibraryImport(Library, EntryPoint = "pwrite", SetLastError = true)]
    public static partial nint PWrite(FileDescriptor file, byte* buffer, nuint count, long offset);

    [LibraryImport(Library, EntryPoint = "pwritev", SetLastError = true)]
    public static partial nint PWriteVector(FileDescriptor file, IoVector* vectors, int count, long offset);

    [LibraryImport(Library, EntryPoint = "lseek", SetLastError = true)]
    public static partial long Seek(FileDescriptor file, long offset, int whence);

    [LibraryImport(Library, EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int SyncData(FileDescriptor file);

    [LibraryImport(Library, EntryPoint = "fsync", SetLastError = true)]
    public static partial int Sync(FileDescriptor file);

    [LibraryImport(Library, EntryPoint = "fallocate", SetLastError = true)]
    public static partial int Allocate(FileDescriptor file, int mode, long offset, long length);

    [LibraryImport(Library, EntryPoint = "posix_fallocate")]
    public static partial int PosixFallocate(FileDescriptor file, long offset, long length);

    /// <summary>Returns the error itself.</summary>
    [LibraryImport(Library, EntryPoint = "posix_fadvise")]
    public static partial int Advise(FileDescriptor file, long offset, long length, int advice);

    /// <summary>Adds to the calling thread's nice value: on Linux each thread has its own.</summary>
    [LibraryImport(Library, EntryPoint = "nice")]
    public static partial int Nice(int more);

    [LibraryImport(Library, EntryPoint = "sync_file_range", SetLastError = true)]
    public static partial int SyncRange(FileDescriptor file, long offset, long length, uint flags);

    [LibraryImport(Library, EntryPoint = "ftruncate", SetLastError = true)]
    public static partial int Truncate(FileDescriptor file, long length);

    [LibraryImport(Library, EntryPoint = "flock", SetLastError = true)]
    public static partial int Lock(FileDescriptor file, int operation);

    [LibraryImport(Library, EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Rename(string from, string to);

    [LibraryImport(Library, EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Link(string from, string to);

    [LibraryImport(Library, EntryPoint = "unlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Unlink(string path);

    [LibraryImport(Library, EntryPoint = "mkdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int MakeDirectory(string path, int mode);

    [LibraryImport(Library, EntryPoint = "rmdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int RemoveDirectory(string path);

    /// <summary>Ends early when a signal comes.</summary>
    [LibraryImport(Library, EntryPoint = "nanosleep")]
    public static partial int Sleep(TimeSpecification* wanted, TimeSpecification* left);

    [LibraryImport(Library, EntryPoint = "statvfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Statistics(string path, FileSystemStatistics* result);

    /// <summary>
    /// The exception for an error number. A full disk is a kind of its own, and so is the limit of open files: nothing has
    /// happened, and it passes.
    /// </summary>
    public static StorageException Failure(string operation, string path, int errno) =>
        errno is NoSpace or QuotaExceeded or TooManyOpenFiles or TooManyOpenFilesInSystem
            ? new StorageFullException(operation, path, errno, Marshal.GetPInvokeErrorMessage(errno))
            : new StorageException(operation, path, errno, Marshal.GetPInvokeErrorMessage(errno));
}
