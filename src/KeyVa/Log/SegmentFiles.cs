using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Makes the journal's files: segments, one spare segment ahead of need, and the reserve that keeps removals going on a
/// full disk. A file is handed out only when its room is taken and its name durable, so that using it needs one header.
/// The spare has its name, without room, as soon as the segment before it is in use: if that one is deleted, the gap shows it.
/// <see cref="PrepareSpare"/> runs on the sync thread, everything else on the flusher's; the lock lets one wait for the other.
/// </summary>
internal sealed class SegmentFiles : IDisposable
{
    private const string ReserveName = "reserve";

    // Immutable.
    private readonly IFileSystem _fileSystem;
    private readonly string _directory;
    private readonly JournalOptions _options;

    // Guarded by the lock.
    private readonly Lock _gate = new();
    private StorageFile? _spare;
    private long _spareSequence;

    /// <summary>The spare has its room, and its name is durable.</summary>
    private bool _spareReady;
    private long _taken;

    public SegmentFiles(IFileSystem fileSystem, string directory, JournalOptions options)
    {
        _fileSystem = fileSystem;
        _directory = directory;
        _options = options;
    }

    private string ReservePath => $"{_directory}/{ReserveName}";

    public string PathOf(long sequence) => $"{_directory}/{JournalFormat.SegmentName(sequence)}";

    /// <summary>
    /// Makes the segment of a sequence ready, unless it is, or was taken, or the disk is full. The sync thread may come late:
    /// a segment that was taken may be deleted again by then, and its name, made anew, would be a first segment without a header.
    /// </summary>
    public void PrepareSpare(long sequence)
    {
        lock (_gate)
        {
            if (_spare is not null && _spareSequence == sequence && !_spareReady)
            {
                _spareReady = TryFinish(_spare, _options.SegmentBytes);
            }
            else if (_spare is null && sequence > _taken && !_fileSystem.FileExists(PathOf(sequence)))
            {
                _spare = TryCreate(PathOf(sequence), _options.SegmentBytes);
                _spareSequence = sequence;
                _spareReady = true;
            }
        }
    }

    /// <summary>Gives the segment of a sequence its name ahead of need; costs no sync. Not having it is no failure.</summary>
    public void Announce(long sequence)
    {
        lock (_gate)
        {
            if (_spare is null && sequence > _taken && !_fileSystem.FileExists(PathOf(sequence)))
            {
                try
                {
                    _spare = _fileSystem.Create(PathOf(sequence));
                    _spareSequence = sequence;
                    _spareReady = false;
                }
                catch (StorageFullException)
                {
                    // PrepareSpare tries again.
                }
            }
        }
    }

    /// <summary>The file of a new segment with at least the bytes needed, zeros all of it; null if the disk has no room.</summary>
    public StorageFile? TryTake(long sequence, long needed)
    {
        lock (_gate)
        {
            if (_spare is { } spare && _spareSequence == sequence)
            {
                if (!(_spareReady && spare.Length >= needed) && !TryFinish(spare, Math.Max(_spareReady ? 0 : _options.SegmentBytes, needed)))
                {
                    return null;
                }

                _spare = null;
                _taken = sequence;
                Announce(sequence + 1);
                return spare;
            }

            StorageFile? file = TryCreate(PathOf(sequence), Math.Max(_options.SegmentBytes, needed));
            if (file is not null)
            {
                _taken = sequence;
                Announce(sequence + 1);
            }

            return file;
        }
    }

    /// <summary>Turns the reserve into the segment of a sequence; null if there is none or it is too small.</summary>
    public StorageFile? TryTakeReserve(long sequence, long needed)
    {
        lock (_gate)
        {
            if (!_fileSystem.FileExists(ReservePath))
            {
                return null;
            }

            try
            {
                using (StorageFile reserve = _fileSystem.Open(ReservePath, writable: false))
                {
                    if (reserve.Length < needed)
                    {
                        return null;
                    }
                }

                // Its name may be that of a spare too small for what is needed: the rename replaces that.
                _spare?.Dispose();
                _spare = null;
                _fileSystem.Rename(ReservePath, PathOf(sequence));
                _fileSystem.SyncDirectory(_directory);
                StorageFile segment = _fileSystem.Open(PathOf(sequence), writable: true);
                _taken = sequence;
                Announce(sequence + 1);
                return segment;
            }
            catch (StorageFullException)
            {
                // No descriptor is left; what was renamed already, the next attempt takes by its new name.
                return null;
            }
        }
    }

    /// <summary>Takes the reserve's room if it is not taken; false if the disk has too little.</summary>
    public bool TryMakeReserve()
    {
        lock (_gate)
        {
            if (_options.ReserveBytes == 0 || _fileSystem.FileExists(ReservePath))
            {
                return true;
            }

            StorageFile? reserve = TryCreate(ReservePath, _options.ReserveBytes);
            reserve?.Dispose();
            return reserve is not null;
        }
    }

    /// <summary>Deletes a segment for good: durably, so that none before it can outlive it.</summary>
    public void Delete(string path)
    {
        _fileSystem.DeleteFile(path);
        _fileSystem.SyncDirectory(_directory);
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _spare?.Dispose();
            _spare = null;
        }
    }

    // Asks for the free room first: trying costs the file system much more, and a full disk is asked for every put.
    private StorageFile? TryCreate(string path, long bytes)
    {
        if (_fileSystem.FreeBytes(_directory) < bytes)
        {
            return null;
        }

        StorageFile? file = null;
        try
        {
            // A file that could neither be completed nor deleted is taken again.
            file = _fileSystem.FileExists(path) ? _fileSystem.Open(path, writable: true) : _fileSystem.Create(path);
            file.Allocate(bytes);
            file.Sync();
            _fileSystem.SyncDirectory(_directory);
            return file;
        }
        catch (StorageFullException)
        {
            if (file is not null)
            {
                file.Dispose();
                TryDelete(path);
            }

            return null;
        }
        catch
        {
            file?.Dispose();
            throw;
        }
    }

    private void TryDelete(string path)
    {
        try
        {
            Delete(path);
        }
        catch (StorageFullException)
        {
            // The folder could not be opened to be synced, for want of descriptors; the file or its name may be left.
        }
    }

    private bool TryFinish(StorageFile file, long bytes)
    {
        if (_fileSystem.FreeBytes(_directory) < bytes - file.Length)
        {
            return false;
        }

        try
        {
            file.Allocate(bytes);
            file.Sync();
            _fileSystem.SyncDirectory(_directory);
            return true;
        }
        catch (StorageFullException)
        {
            return false;
        }
    }
}
