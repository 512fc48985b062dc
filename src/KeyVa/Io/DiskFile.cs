using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Io;

/// <summary>
/// An open file of the operating system. Reads run on any number of threads; writers as in <see cref="StorageFile"/>.
/// Invariants: (1) a call interrupted by a signal is repeated; (2) a short write is completed or fails; (3) after a
/// failed sync no write and no sync is ever tried again.
/// </summary>
internal sealed unsafe class DiskFile : StorageFile
{
    private readonly FileDescriptor _descriptor;
    private readonly bool _writable;

    // Set once, by whichever thread's sync failed; read by all. Not zero: the errno of that sync.
    private volatile int _syncFailure;

    public DiskFile(string path, FileDescriptor descriptor, bool writable)
        : base(path)
    {
        _descriptor = descriptor;
        _writable = writable;
    }

    // lseek moves a position that nothing here uses, and spares us struct stat, which differs between processors.
    public override long Length
    {
        get
        {
            long length = Posix.Seek(_descriptor, 0, Posix.SeekEnd);
            return length >= 0 ? length : throw Failure("lseek");
        }
    }

    public override int Read(long offset, Span<byte> destination)
    {
        int done = 0;
        fixed (byte* start = destination)
        {
            while (done < destination.Length)
            {
                nint count = Posix.PRead(_descriptor, start + done, (nuint)(destination.Length - done), offset + done);
                if (count == 0)
                {
                    break;
                }

                if (count > 0)
                {
                    done += (int)count;
                }
                else if (Marshal.GetLastPInvokeError() != Posix.Interrupted)
                {
                    throw Failure("pread");
                }
            }
        }

        return done;
    }

    // Its error is of no use: the reads that follow have their own.
    public override void Prefetch(long offset, long length) => _ = Posix.Advise(_descriptor, offset, length, Posix.WillNeed);

    // Its error is of no use: the sync that follows reports what could not be written.
    public override void BeginWriteBack(long offset, long length) =>
        _ = Posix.SyncRange(_descriptor, offset, length, Posix.SyncRangeWrite);

    public override void Write(long offset, ReadOnlySpan<byte> data)
    {
        CheckWritable("pwrite");
        fixed (byte* start = data)
        {
            WriteAll(start, data.Length, offset);
        }
    }

    public override void Write(long offset, ReadOnlySpan<WriteSegment> segments)
    {
        CheckWritable("pwritev");
        while (segments.Length > 0)
        {
            int count = Math.Min(segments.Length, Posix.MaxVectors);
            offset += WriteVectors(offset, segments[..count]);
            segments = segments[count..];
        }
    }

    public override void Allocate(long length)
    {
        CheckWritable("fallocate");
        while (Posix.Allocate(_descriptor, 0, 0, length) != 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            if (errno == Posix.NotSupported)
            {
                AllocateByWriting(length);
                return;
            }

            if (errno != Posix.Interrupted)
            {
                throw Posix.Failure("fallocate", Path, errno);
            }
        }
    }

    public override void SetLength(long length)
    {
        CheckWritable("ftruncate");
        while (Posix.Truncate(_descriptor, length) != 0)
        {
            if (Marshal.GetLastPInvokeError() != Posix.Interrupted)
            {
                throw Failure("ftruncate");
            }
        }
    }

    public override void SyncData()
    {
        CheckWritable("fdatasync");
        while (Posix.SyncData(_descriptor) != 0)
        {
            NoteSyncFailure("fdatasync");
        }
    }

    public override void Sync()
    {
        CheckWritable("fsync");
        while (Posix.Sync(_descriptor) != 0)
        {
            NoteSyncFailure("fsync");
        }
    }

    public override void Dispose() => _descriptor.Dispose();

    // The first vector call may stop anywhere, even inside a segment: what is left of it goes out with plain writes.
    [SkipLocalsInit]
    private long WriteVectors(long offset, ReadOnlySpan<WriteSegment> segments)
    {
        Posix.IoVector* vectors = stackalloc Posix.IoVector[segments.Length];
        long total = 0;
        for (int i = 0; i < segments.Length; i++)
        {
            vectors[i] = new Posix.IoVector { Base = segments[i].Address, Length = (nuint)segments[i].Length };
            total += segments[i].Length;
        }

        nint written;
        while ((written = Posix.PWriteVector(_descriptor, vectors, segments.Length, offset)) < 0)
        {
            if (Marshal.GetLastPInvokeError() != Posix.Interrupted)
            {
                throw Failure("pwritev");
            }
        }

        if (written < total)
        {
            CompleteVectors(offset, segments, written);
        }

        return total;
    }

    private void CompleteVectors(long offset, ReadOnlySpan<WriteSegment> segments, long written)
    {
        long position = 0;
        foreach (WriteSegment segment in segments)
        {
            long skip = Math.Clamp(written - position, 0, segment.Length);
            if (skip < segment.Length)
            {
                WriteAll((byte*)segment.Address + skip, segment.Length - skip, offset + position + skip);
            }

            position += segment.Length;
        }
    }

    private void WriteAll(byte* start, long length, long offset)
    {
        long done = 0;
        while (done < length)
        {
            nint count = Posix.PWrite(_descriptor, start + done, (nuint)(length - done), offset + done);
            if (count > 0)
            {
                done += count;
            }
            else if (count == 0)
            {
                throw Posix.Failure("pwrite", Path, Posix.InputOutput);
            }
            else if (Marshal.GetLastPInvokeError() != Posix.Interrupted)
            {
                throw Failure("pwrite");
            }
        }
    }

    // File systems without fallocate: the C library writes into every block. Nobody else may write meanwhile.
    private void AllocateByWriting(long length)
    {
        int errno;
        while ((errno = Posix.PosixFallocate(_descriptor, 0, length)) != 0)
        {
            if (errno != Posix.Interrupted)
            {
                throw Posix.Failure("posix_fallocate", Path, errno);
            }
        }
    }

    private void NoteSyncFailure(string operation)
    {
        int errno = Marshal.GetLastPInvokeError();
        if (errno != Posix.Interrupted)
        {
            _syncFailure = errno;
            throw Posix.Failure(operation, Path, errno);
        }
    }

    private void CheckWritable(string operation)
    {
        if (!_writable)
        {
            throw Posix.Failure(operation, Path, Posix.BadDescriptor);
        }

        int errno = _syncFailure;
        if (errno != 0)
        {
            throw Posix.Failure($"{operation} after a failed sync", Path, errno);
        }
    }

    private StorageException Failure(string operation) =>
        Posix.Failure(operation, Path, Marshal.GetLastPInvokeError());
}
