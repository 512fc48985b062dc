namespace KeyVa.Io;

/// <summary>A piece of native memory to be written, for gathered writes.</summary>
internal readonly struct WriteSegment(nint address, int length)
{
    public readonly nint Address = address;
    public readonly nint Length = length;
}

/// <summary>
/// An open file with positional reads and writes. Reads may run on any number of threads at once; a writer must be
/// alone with its range and with changes of length. After a failed <see cref="Sync"/> or <see cref="SyncData"/> the
/// file refuses every further write and sync: what reached the disk is unknown (see fsync(2), errors).
/// </summary>
internal abstract class StorageFile : IDisposable
{
    protected StorageFile(string path) => Path = path;

    public string Path { get; }

    public abstract long Length { get; }

    /// <summary>Reads from <paramref name="offset"/> until the buffer is full or the file ends; returns the bytes read.</summary>
    public abstract int Read(long offset, Span<byte> destination);

    /// <summary>
    /// A hint that this range will be read soon: the system may begin to read it. Returns at once, never fails, and means
    /// nothing for what a read returns.
    /// </summary>
    public virtual void Prefetch(long offset, long length)
    {
    }

    /// <summary>
    /// A hint that what was written to this range will be synced soon: the system may begin to write it to the disk. Hardly
    /// waits, never fails, and makes nothing durable.
    /// </summary>
    public virtual void BeginWriteBack(long offset, long length)
    {
    }

    /// <summary>Writes all of <paramref name="data"/>; short writes are completed.</summary>
    public abstract void Write(long offset, ReadOnlySpan<byte> data);

    /// <summary>Writes the segments one behind the other in as few calls as the system allows; short writes are completed.</summary>
    public abstract void Write(long offset, ReadOnlySpan<WriteSegment> segments);

    /// <summary>Takes disk room for the file's first <paramref name="length"/> bytes, growing it with zeros.</summary>
    public abstract void Allocate(long length);

    /// <summary>Cuts or grows (with zeros) the file.</summary>
    public abstract void SetLength(long length);

    /// <summary>fdatasync: data, and the metadata needed to read it back.</summary>
    public abstract void SyncData();

    /// <summary>fsync: data and all metadata.</summary>
    public abstract void Sync();

    public abstract void Dispose();
}
