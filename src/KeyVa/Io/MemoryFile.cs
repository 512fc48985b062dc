using System.Diagnostics;

namespace KeyVa.Io;

/// <summary>An open file of a <see cref="MemoryFileSystem"/>; every member takes that file system's lock.</summary>
internal sealed class MemoryFile : StorageFile
{
    private readonly MemoryFileSystem _owner;
    private readonly MemoryContent _content;
    private readonly bool _writable;
    private int _syncFailure;
    private bool _disposed;

    internal MemoryFile(MemoryFileSystem owner, string path, MemoryContent content, bool writable)
        : base(path)
    {
        _owner = owner;
        _content = content;
        _writable = writable;
        content.Handles++;
    }

    public override long Length
    {
        get
        {
            lock (_owner.Gate)
            {
                Check("lseek", writing: false);
                return _content.Length;
            }
        }
    }

    public override int Read(long offset, Span<byte> destination)
    {
        _owner.Faults.Before?.Invoke(FileOperation.Read, Path);
        lock (_owner.Gate)
        {
            Check("pread", writing: false);
            _owner.Enter(FileOperation.Read, "pread", Path);
            return _content.Read(offset, destination);
        }
    }

    // A hint: it is counted, and never fails.
    public override void Prefetch(long offset, long length)
    {
        lock (_owner.Gate)
        {
            _ = _owner.Faults.Next(FileOperation.Prefetch, Path);
        }
    }

    public override void Write(long offset, ReadOnlySpan<byte> data)
    {
        _owner.Faults.Before?.Invoke(FileOperation.Write, Path);
        lock (_owner.Gate)
        {
            Check("pwrite", writing: true);
            int errno = _owner.Faults.Next(FileOperation.Write, Path);
            if (errno != 0)
            {
                // A failed write may have left any part of itself, or all.
                int left = _owner.Random.Next(4) == 0 ? data.Length : _owner.Random.Next(data.Length + 1);
                WriteSome(offset, data[..left]);
                throw Posix.Failure("pwrite", Path, errno);
            }

            if (WriteSome(offset, data) < data.Length)
            {
                throw Posix.Failure("pwrite", Path, Posix.NoSpace);
            }
        }
    }

    public override unsafe void Write(long offset, ReadOnlySpan<WriteSegment> segments)
    {
        int total = 0;
        foreach (WriteSegment segment in segments)
        {
            total += (int)segment.Length;
        }

        // One write to the model: it may then be torn anywhere, not just between segments.
        byte[] joined = new byte[total];
        int position = 0;
        foreach (WriteSegment segment in segments)
        {
            new ReadOnlySpan<byte>((void*)segment.Address, (int)segment.Length).CopyTo(joined.AsSpan(position));
            position += (int)segment.Length;
        }

        Write(offset, joined);
    }

    public override void Allocate(long length)
    {
        _owner.Faults.Before?.Invoke(FileOperation.Allocate, Path);
        lock (_owner.Gate)
        {
            Check("fallocate", writing: true);
            _owner.Enter(FileOperation.Allocate, "fallocate", Path);
            if (length > _content.Length)
            {
                Resize(length, "fallocate");
            }
        }
    }

    public override void SetLength(long length)
    {
        _owner.Faults.Before?.Invoke(FileOperation.SetLength, Path);
        lock (_owner.Gate)
        {
            Check("ftruncate", writing: true);
            _owner.Enter(FileOperation.SetLength, "ftruncate", Path);
            Resize(length, "ftruncate");
        }
    }

    public override void SyncData() => Sync(FileOperation.SyncData, "fdatasync");

    public override void Sync() => Sync(FileOperation.Sync, "fsync");

    public override void Dispose()
    {
        lock (_owner.Gate)
        {
            if (!_disposed && !_owner.IsDead)
            {
                _content.Handles--;
                _owner.ReleaseIfUnused(_content);
            }

            _disposed = true;
        }
    }

    private void Sync(FileOperation operation, string name)
    {
        _owner.Faults.Before?.Invoke(operation, Path);
        lock (_owner.Gate)
        {
            Check(name, writing: true);
            int errno = _owner.Faults.Next(operation, Path);
            if (errno != 0)
            {
                _syncFailure = errno;
                _content.MarkLost();
                throw Posix.Failure(name, Path, errno);
            }

            _content.MarkSynced();
        }
    }

    // As much as the disk has room for; growing writes stop where it is full, as on a real one.
    private int WriteSome(long offset, ReadOnlySpan<byte> data)
    {
        long grown = Math.Max(0, offset + data.Length - _content.Length);
        long missing = Math.Max(0, grown - _owner.Free);
        int part = (int)Math.Max(0, data.Length - missing);
        if (part == 0)
        {
            return 0;
        }

        long before = _content.Charge;
        _content.Write(offset, data[..part]);
        _owner.Used += _content.Charge - before;
        Debug.Assert(_owner.Used <= _owner.Capacity || grown == 0, "a write took more room than there is");
        return part;
    }

    private void Resize(long length, string operation)
    {
        if (length - _content.Length > _owner.Free)
        {
            throw Posix.Failure(operation, Path, Posix.NoSpace);
        }

        long before = _content.Charge;
        _content.SetLength(length);
        _owner.Used += _content.Charge - before;
    }

    private void Check(string operation, bool writing)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _owner.CheckAlive(operation, Path);
        if (writing && !_writable)
        {
            throw Posix.Failure(operation, Path, Posix.BadDescriptor);
        }

        if (writing && _syncFailure != 0)
        {
            throw Posix.Failure($"{operation} after a failed sync", Path, _syncFailure);
        }
    }
}
