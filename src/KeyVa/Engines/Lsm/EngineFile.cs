using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// A file that the manifest names and that superversions hold: a table or a value file. It may be open or not; see
/// <see cref="TableCache"/>.
/// </summary>
internal abstract class EngineFile(long id, string path, long fileBytes, EngineContext context)
{
    /// <summary>Rises with every file of the engine.</summary>
    public long Id => id;

    public string Path => path;

    public long FileBytes => fileBytes;

    /// <summary>How many superversions hold it; guarded by the engine's lock.</summary>
    public int References { get; set; }

    /// <summary>The manifest no longer has it: the file goes with its last reference. Guarded by the engine's lock.</summary>
    public bool Obsolete { get; set; }

    /// <summary>What reads it, if it is open; for the table cache.</summary>
    public abstract FileReader? OpenFile { get; }

    public abstract void ForgetReader();

    /// <summary>The reader, once however many ask for it at a time; the file has to be as long as the manifest says.</summary>
    protected FileReader OpenOnce()
    {
        FileReader reader;
        lock (this)
        {
            if (OpenFile is { } open)
            {
                return open;
            }

            StorageFile file = context.FileSystem.Open(Path, writable: false);
            if (file.Length != FileBytes)
            {
                long length = file.Length;
                file.Dispose();
                throw new CorruptionException(Path, Math.Min(length, FileBytes), $"the file has {length} bytes, the manifest says {FileBytes}");
            }

            reader = Open(file, context);
        }

        context.BlockCache.Tables.Opened(this, reader, context.Options.MaxOpenTables);
        return reader;
    }

    /// <summary>Makes the reader of a file, whose owner it becomes, and keeps it as <see cref="OpenFile"/>. Under the lock on this.</summary>
    protected abstract FileReader Open(StorageFile file, EngineContext context);
}

/// <summary>An open file of the engine, which the <see cref="TableCache"/> closes when others need its place.</summary>
/// <remarks>Thread-safe but for <see cref="Dispose"/>. Who uses it is inside an epoch since before it took it, or has pinned it.</remarks>
internal abstract class FileReader : IDisposable
{
    // Shared, by interlocked operations; negative: it is being closed.
    private int _pins;

    /// <summary>Used since the table cache's hand last passed.</summary>
    public bool Referenced { get; set; }

    /// <summary>Native bytes it holds, blocks in the cache not counted.</summary>
    public abstract long MemoryBytes { get; }

    /// <summary>Whether nobody has pinned it; for assertions.</summary>
    protected bool IsUnpinned => Volatile.Read(ref _pins) <= 0;

    /// <summary>Keeps the reader open; false if it is being closed.</summary>
    public bool TryPin()
    {
        int seen = Volatile.Read(ref _pins);
        while (seen >= 0)
        {
            int found = Interlocked.CompareExchange(ref _pins, seen + 1, seen);
            if (found == seen)
            {
                return true;
            }

            seen = found;
        }

        return false;
    }

    public void Unpin() => Interlocked.Decrement(ref _pins);

    /// <summary>Begins to close it, unless it is pinned; from then on it cannot be pinned.</summary>
    public bool TryEndPins() => Interlocked.CompareExchange(ref _pins, -1, 0) == 0;

    /// <summary>Nobody uses it any more.</summary>
    public abstract void Dispose();
}
