using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Makes the journal's files: segments, one spare segment ahead of need, and the reserve that keeps removals going on a
/// full disk. A file is handed out only when its room is taken and its name durable, so that using it needs one header. It is
/// a new one, of zeros, or one that was a segment before (<see cref="RetiredSegments"/>).
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
    private bool _spareUsedBefore;
    private long _taken;

    private volatile bool _isPreparing;

    public SegmentFiles(IFileSystem fileSystem, string directory, JournalOptions options)
    {
        _fileSystem = fileSystem;
        _directory = directory;
        _options = options;
        Retired = new RetiredSegments(fileSystem, directory, options.SegmentBytes);
    }

    /// <summary>Files that were segments and will be again.</summary>
    public RetiredSegments Retired { get; }

    /// <summary>
    /// The sync thread was asked for the next segment's file and has not come to an end with it: <see cref="TryTake"/> would wait for
    /// its syncs. Set by whoever asks, reset by the sync thread.
    /// </summary>
    public bool IsPreparing
    {
        get => _isPreparing;
        set => _isPreparing = value;
    }

    public string Directory => _directory;

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
                _spareReady = TryFinish(_options.SegmentBytes);
            }
            else if (_spare is null && sequence > _taken && !_fileSystem.FileExists(PathOf(sequence)))
            {
                _spareSequence = sequence;
                _spareReady = TryReuse(sequence) || TryMake(sequence, _options.SegmentBytes);
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
                    _spareUsedBefore = false;
                }
                catch (StorageFullException)
                {
                    // PrepareSpare tries again.
                }
            }
        }
    }

    /// <summary>
    /// The file of a new segment with at least the bytes needed: zeros all of it, but where it was a segment before. Null if the disk
    /// has no room.
    /// </summary>
    public StorageFile? TryTake(long sequence, long needed, out bool usedBefore)
    {
        lock (_gate)
        {
            bool ready = _spare is { } spare && _spareSequence == sequence
                ? (_spareReady && spare.Length >= needed) || TryFinish(Math.Max(_spareReady ? 0 : _options.SegmentBytes, needed))
                : MakeAnew(sequence, needed);
            usedBefore = _spareUsedBefore;
            if (!ready)
            {
                return null;
            }

            StorageFile taken = _spare!;
            _spare = null;
            _taken = sequence;
            Announce(sequence + 1);
            return taken;
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

    /// <summary>Notes durably where the journal begins, before the segments in front of that go.</summary>
    public void NoteBeginning(JournalBeginning beginning) => beginning.Write(_fileSystem, _directory);

    /// <summary>
    /// A segment is needed no more, and nobody reads it: it goes, durably, so that none before it can outlive it. If it is
    /// <paramref name="worth"/> it and of the usual size, its file waits to become another segment.
    /// </summary>
    public void Retire(JournalSegment segment, bool worth)
    {
        if (!worth || segment.Capacity != _options.SegmentBytes || !Retired.TryAdd(segment.Path))
        {
            Delete(segment.Path);
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

        Retired.Drop();
    }

    // Where no spare has the name: the one of another sequence, if there is any, stays for that one.
    private bool MakeAnew(long sequence, long needed)
    {
        _spare?.Dispose();
        _spare = null;
        _spareSequence = sequence;
        return (needed <= _options.SegmentBytes && TryReuse(sequence)) || TryMake(sequence, Math.Max(_options.SegmentBytes, needed));
    }

    private bool TryMake(long sequence, long bytes)
    {
        _spareUsedBefore = _fileSystem.FileExists(PathOf(sequence));
        _spare = TryCreate(PathOf(sequence), bytes);
        return _spare is not null;
    }

    // Its room was synced in its former life; nothing of that life is wanted on the disk, so the file is not synced. What of its
    // pages the system has dropped is read now, and not when a group is written over it.
    private bool TryReuse(long sequence)
    {
        try
        {
            if (!Retired.TryTake(PathOf(sequence)))
            {
                return false;
            }

            _spare = _fileSystem.Open(PathOf(sequence), writable: true);
            _spareUsedBefore = true;
            _spare.Prefetch(0, _options.SegmentBytes);
            return true;
        }
        catch (StorageFullException)
        {
            // No descriptor is left. A file that has its name already is taken later as it is.
            return false;
        }
    }

    // Asks for the free room first: trying costs the file system much more, and a full disk is asked for every put.
    private StorageFile? TryCreate(string path, long bytes)
    {
        if (!HasRoom(bytes))
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

    // Completes the spare, which has its name and nothing else, or too little room.
    private bool TryFinish(long bytes)
    {
        StorageFile file = _spare!;
        if (bytes == _options.SegmentBytes && file.Length == 0 && Retired.Any)
        {
            file.Dispose();
            _spare = null;
            return TryReuse(_spareSequence) || TryMake(_spareSequence, bytes);
        }

        if (!HasRoom(bytes - file.Length))
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

    private bool HasRoom(long bytes) =>
        _fileSystem.FreeBytes(_directory) >= bytes || (Retired.Drop() && _fileSystem.FreeBytes(_directory) >= bytes);
}
