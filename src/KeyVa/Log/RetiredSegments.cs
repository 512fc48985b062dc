using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Segment files that nobody needs any more, kept for a moment to become segments again: their room is taken and their pages
/// are in the system's cache, so that writing into them costs half of what it costs in a new file. Bounded in files and bytes,
/// given back when the journal rests, when the disk is full and on closing. Thread-safe; the lock is never held over the disk.
/// </summary>
internal sealed class RetiredSegments(IFileSystem fileSystem, string directory, long segmentBytes)
{
    /// <summary>What the name of a file that waits ends in.</summary>
    public const string Suffix = ".retired";

    /// <summary>Bytes of all files that wait, at most: what a flush or two release at once.</summary>
    public const long MaxBytes = 128L << 20;

    private const int MaxFiles = 16;

    private readonly int _max = (int)Math.Min(MaxFiles, MaxBytes / segmentBytes);
    private readonly Lock _gate = new();

    // Guarded by the gate. The last one comes first: its pages are most likely to be in memory.
    private readonly Stack<string> _waiting = new();

    public bool Any
    {
        get
        {
            lock (_gate)
            {
                return _waiting.Count > 0;
            }
        }
    }

    /// <summary>Takes the file of a segment that is gone from the journal, durably; false if there are enough.</summary>
    public bool TryAdd(string segment)
    {
        lock (_gate)
        {
            if (_waiting.Count >= _max)
            {
                return false;
            }
        }

        string path = $"{directory}/{Path.GetFileNameWithoutExtension(segment)}{Suffix}";
        fileSystem.Rename(segment, path);
        fileSystem.SyncDirectory(directory);
        lock (_gate)
        {
            _waiting.Push(path);
        }

        return true;
    }

    /// <summary>
    /// Gives a file the name of a new segment, durably, in the place of one that has it already; false if none waits. Whoever has
    /// the replaced file open must have closed it.
    /// </summary>
    public bool TryTake(string segment)
    {
        string? path;
        lock (_gate)
        {
            if (!_waiting.TryPop(out path))
            {
                return false;
            }
        }

        fileSystem.Rename(path, segment);
        fileSystem.SyncDirectory(directory);
        return true;
    }

    /// <summary>
    /// Gives the room back; false if there was none. Not durably, and a file that cannot be deleted stays: the next opening of the
    /// journal deletes what is there.
    /// </summary>
    public bool Drop()
    {
        bool any = false;
        while (true)
        {
            string? path;
            lock (_gate)
            {
                if (!_waiting.TryPop(out path))
                {
                    return any;
                }
            }

            try
            {
                fileSystem.DeleteFile(path);
                any = true;
            }
            catch (StorageException)
            {
                // Nothing that counts is in it.
            }
        }
    }

    /// <summary>Deletes what an earlier run has left: its pages are not in memory any more.</summary>
    public static void DeleteLeftovers(IFileSystem fileSystem, string directory)
    {
        foreach (string name in fileSystem.List(directory))
        {
            if (name.EndsWith(Suffix, StringComparison.Ordinal))
            {
                fileSystem.DeleteFile($"{directory}/{name}");
            }
        }
    }
}
