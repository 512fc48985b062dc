using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Engines.Memory;
using KeyVa.Io;
using KeyVa.Log;
using KeyVa.Partitions;

namespace KeyVa;

/// <summary>
/// Reads every byte of a data folder that nobody has open: catalog, journal, the files of every engine. Damage is
/// collected, not thrown, so that one broken file does not hide another.
/// </summary>
internal sealed class StoreVerification
{
    private readonly string _directory;
    private readonly StoreEnvironment _environment;
    private readonly Action<string>? _note;
    private readonly List<CorruptionException> _damages = [];

    /// <summary>The journal, if it is intact.</summary>
    private JournalScan? _journal;

    private StoreVerification(string directory, StoreEnvironment environment, Action<string>? note)
    {
        _directory = directory;
        _environment = environment;
        _note = note;
    }

    public static IReadOnlyList<CorruptionException> Run(string path, StoreEnvironment environment, Action<string>? note, CancellationToken cancellation)
    {
        IFileSystem files = environment.FileSystem;
        string directory = Path.GetFullPath(path);
        if (!files.FileExists(Path.Combine(directory, Catalog.FileName)))
        {
            throw new StoreException($"'{directory}' is no KeyVa data folder: it has no {Catalog.FileName}");
        }

        using IDisposable folderLock = files.TryLock(Path.Combine(directory, StoreOpening.LockName))
            ?? throw new StoreException($"the data folder '{directory}' is in use by another process; stop that one first, or verify a snapshot");
        var verification = new StoreVerification(directory, environment, note);
        verification.Run(cancellation);
        return verification._damages;
    }

    private void Run(CancellationToken cancellation)
    {
        Catalog? catalog = null;
        Collect(() => catalog = Catalog.Read(_environment.FileSystem, _directory));
        Collect(VerifyJournal);
        foreach (PartitionDefinition partition in catalog?.Partitions ?? [])
        {
            if (!partition.IsVolatile)
            {
                cancellation.ThrowIfCancellationRequested();
                Collect(() => VerifyEngine(partition, cancellation));
            }
        }
    }

    private void Collect(Action check)
    {
        try
        {
            check();
        }
        catch (CorruptionException damage)
        {
            _damages.Add(damage);
        }
    }

    private void VerifyJournal()
    {
        string directory = StoreContext.JournalDirectoryOf(_directory);
        if (!_environment.FileSystem.DirectoryExists(directory))
        {
            _damages.Add(new CorruptionException(directory, 0, "the journal's folder is missing"));
            return;
        }

        JournalScan scan = JournalScan.Run(_environment.FileSystem, directory);
        if (scan.Damage is { } damage)
        {
            _damages.Add(damage);
        }
        else
        {
            _journal = scan;
            _note?.Invoke($"journal: {scan.Segments.Count} segments, {scan.Groups} groups, {scan.Records} records are intact");
            if (scan.Tail is { } tail)
            {
                _note?.Invoke($"journal: {tail.Message}; opening the store cuts it off");
            }
        }
    }

    private void VerifyEngine(PartitionDefinition partition, CancellationToken cancellation)
    {
        string directory = StoreContext.PartitionDirectoryOf(_directory, partition.Id);
        if (!_environment.FileSystem.DirectoryExists(directory))
        {
            _damages.Add(new CorruptionException(directory, 0, $"the folder of partition {partition.Id} is missing"));
            return;
        }

        using var cache = new BlockCache(1 << 20);
        var context = new EngineContext
        {
            FileSystem = _environment.FileSystem,
            Directory = directory,
            Options = new EngineOptions(),
            Background = new NoWork(),
            Snapshots = new SnapshotList(),
            BlockCache = cache,
            Time = _environment.Time,
        };
        using Engine engine = partition.Engine == EngineKind.Memory ? MemoryEngine.Open(context) : LsmEngine.Open(context);
        IReadOnlyList<CorruptionException> damages = engine.Verify(cancellation);
        _damages.AddRange(damages);
        CheckContinuation(partition, directory, engine.AppliedIndex);
        if (damages.Count == 0)
        {
            _note?.Invoke($"partition {partition.Id}: {engine.GetStatistics().StorageBytes} bytes of files are intact");
        }
    }

    // Every file may be intact and one missing, or cut where it might have ended: then the journal does not go on where the
    // partition's files end, and opening the store would refuse it.
    private void CheckContinuation(PartitionDefinition partition, string directory, long end)
    {
        foreach (ScannedSegment segment in _journal?.Segments ?? [])
        {
            if (segment.Ranges.TryGetValue(partition.Id, out IndexRange range) && range.Last > end)
            {
                if (range.First > end + 1)
                {
                    _damages.Add(new CorruptionException(directory, 0, $"the partition's files end at index {end}, but the journal goes on with {range.First}: files are missing or cut"));
                }

                return;
            }
        }
    }

    /// <summary>Nothing is to be changed while a folder is verified: jobs are not run.</summary>
    private sealed class NoWork : IBackgroundWork
    {
        public void Schedule(BackgroundJob job)
        {
        }

        public void ScheduleAfter(BackgroundJob job, TimeSpan delay)
        {
        }

        public void Pause(TimeSpan delay)
        {
        }

        public void Cancel(BackgroundJob job)
        {
        }
    }
}
