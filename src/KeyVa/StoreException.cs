namespace KeyVa;

/// <summary>
/// The root of what KeyVa throws: failures of the machine (disk, files, configuration), never expected outcomes, which
/// are values of <see cref="Status"/>.
/// </summary>
public class StoreException : Exception
{
    /// <summary>Says what happened, to what, and what to do.</summary>
    public StoreException(string message)
        : base(message)
    {
    }

    /// <summary>Says what happened, to what, and what to do, with the failure below it.</summary>
    public StoreException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

/// <summary>The store is being closed under somebody who waits for it.</summary>
internal sealed class StoreClosedException() : StoreException("the store is being closed");

/// <summary>A call to the operating system failed: names the operation, the path and the error.</summary>
public class StorageException : StoreException
{
    /// <summary>The operation <paramref name="operation"/> on <paramref name="path"/> failed with <paramref name="errno"/>.</summary>
    public StorageException(string operation, string path, int errno, string error)
        : base($"{operation} failed on '{path}': {error} (errno {errno})")
    {
        Path = path;
        Errno = errno;
    }

    /// <summary>The file or folder.</summary>
    public string Path { get; }

    /// <summary>The operating system's error number.</summary>
    public int Errno { get; }
}

/// <summary>The disk, the quota or the limit of open files leaves no room (ENOSPC, EDQUOT, EMFILE, ENFILE).</summary>
public sealed class StorageFullException : StorageException
{
    /// <summary>The operation <paramref name="operation"/> on <paramref name="path"/> found no room.</summary>
    public StorageFullException(string operation, string path, int errno)
        : base(operation, path, errno, "no space left on device")
    {
    }

    /// <summary>As above, in the words of the operating system.</summary>
    public StorageFullException(string operation, string path, int errno, string error)
        : base(operation, path, errno, error)
    {
    }
}

/// <summary>
/// Bytes on disk are not what was written: a checksum, length or structure does not fit. Names file and offset. Nothing
/// that failed its check is ever returned as data.
/// </summary>
public sealed class CorruptionException : StoreException
{
    /// <summary>The bytes of <paramref name="file"/> at <paramref name="offset"/> are damaged, as <paramref name="detail"/> says.</summary>
    public CorruptionException(string file, long offset, string detail)
        : base($"damage in '{file}' at offset {offset}: {detail}; run 'keyva verify' on the data folder")
    {
        File = file;
        Offset = offset;
        Detail = detail;
    }

    /// <summary>The damaged file.</summary>
    public string File { get; }

    /// <summary>Where in the file the damage was found, in bytes from its beginning.</summary>
    public long Offset { get; }

    /// <summary>Which check failed.</summary>
    public string Detail { get; }
}
