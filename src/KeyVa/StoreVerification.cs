using System.Globalization;
using KeyVa.Commits;
using KeyVa.Engines.Lsm;
using KeyVa.Engines.Memory;
using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Log;
using KeyVa.Partitions;
using KeyVa.Sessions;

namespace KeyVa;

/// <summary>
/// Reads every byte of a data folder that nobody has open: catalog, journal, the files of every engine. Nothing is written,
/// so that a read-only folder will do. Damage is collected, not thrown: one broken file does not hide another.
/// </summary>
internal sealed class StoreVerification
{
    /// <summary>How the folders begin into which a repair in place moves what it replaced.</summary>
    public const string DamagedPrefix = "damaged-";

    private const string ReserveName = "reserve";

    private readonly string _directory;
    private readonly IFileSystem _files;
    private readonly TimeProvider _time;
    private readonly Action<string>? _note;
    private readonly List<CorruptionException> _damages = [];

    private IReadOnlyList<StoredIndex> _indexes = [];

    /// <summary>The journal, if it is intact.</summary>
    private JournalScan? _journal;

    private StoreVerification(string directory, StoreEnvironment environment, Action<string>? note)
    {
        _directory = directory;
        _files = environment.FileSystem;
        _time = environment.Time;
        _note = note;
    }

    public static IReadOnlyList<CorruptionException> Run(string path, StoreEnvironment environment, Action<string>? note, CancellationToken cancellation)
    {
        IFileSystem files = environment.FileSystem;
        string directory = Path.GetFullPath(path);
        CheckIsStore(files, directory);
        using IDisposable? folderLock = Lock(files, directory);
        return Find(directory, environment, cancellation, note);
    }

    /// <summary>As <see cref="Run(string, StoreEnvironment, Action{string}?, CancellationToken)"/>, where the caller holds the folder's lock.</summary>
    public static IReadOnlyList<CorruptionException> Find(string directory, StoreEnvironment environment, CancellationToken cancellation, Action<string>? note = null)
    {
        var verification = new StoreVerification(directory, environment, note);
        verification.Run(cancellation);
        return verification._damages;
    }

    /// <summary>Throws unless the folder is, or was, a store.</summary>
    public static void CheckIsStore(IFileSystem files, string directory)
    {
        if (!files.FileExists(Path.Combine(directory, Catalog.FileName))
            && !StoreOpening.HasEntries(files, StoreContext.JournalDirectoryOf(directory))
            && !StoreOpening.HasEntries(files, StoreContext.PartitionsDirectoryOf(directory)))
        {
            throw new StoreException($"'{directory}' is no KeyVa data folder: it has no {Catalog.FileName}");
        }
    }

    /// <summary>Keeps stores out while the folder is read; null where no store ever ran in it (a snapshot).</summary>
    public static IDisposable? Lock(IFileSystem files, string directory)
    {
        string path = Path.Combine(directory, StoreOpening.LockName);
        return files.FileExists(path)
            ? files.TryLockUnchanged(path)
                ?? throw new StoreException($"the data folder '{directory}' is in use by another process; stop that one first, or use a snapshot")
            : null;
    }

    /// <summary>What the files of a partition's folder are of; null if nothing shows it.</summary>
    public static EngineKind? EngineOf(IFileSystem files, string directory)
    {
        foreach (string name in files.List(directory))
        {
            if (FileNames.TryParseTable(name, out _) || FileNames.TryParseManifest(name, out _))
            {
                return EngineKind.Lsm;
            }

            if (CheckpointFolder.TryParse(name, out _))
            {
                return EngineKind.Memory;
            }
        }

        return null;
    }

    private void Run(CancellationToken cancellation)
    {
        Catalog? catalog = null;
        Collect(() => catalog = _files.FileExists(Path.Combine(_directory, Catalog.FileName))
            ? Catalog.Read(_files, _directory)
            : throw StoreOpening.MissingCatalog(_directory));
        NoteUnknownFiles();
        Collect(VerifyJournal);
        _indexes = catalog?.Indexes ?? [];
        IReadOnlyList<(long Id, EngineKind Engine)> partitions = catalog is null
            ? FindPartitions()
            : [.. catalog.Partitions.Where(static partition => !partition.IsVolatile).Select(static partition => (partition.Id, partition.Engine))];
        foreach ((long id, EngineKind engine) in partitions)
        {
            cancellation.ThrowIfCancellationRequested();
            Collect(() => VerifyEngine(id, engine, cancellation));
        }

        if (catalog is not null)
        {
            NoteUnknownPartitions(catalog);
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

    private void NoteUnknownFiles()
    {
        foreach (string name in _files.List(_directory).Order(StringComparer.Ordinal))
        {
            string path = Path.Combine(_directory, name);
            if (name.StartsWith(DamagedPrefix, StringComparison.Ordinal))
            {
                _note?.Invoke($"'{path}' holds what a repair has replaced; delete it when it is of no use any more");
            }
            else if (name is not (StoreOpening.LockName or Catalog.FileName or Catalog.TemporaryName or "journal" or "partitions" or StoreContext.UsersFile or "ADMIN-TOKEN"))
            {
                _note?.Invoke($"'{path}' is nothing of the store");
            }
        }
    }

    private void NoteUnknownPartitions(Catalog catalog)
    {
        string directory = StoreContext.PartitionsDirectoryOf(_directory);
        foreach (string name in _files.DirectoryExists(directory) ? _files.List(directory) : [])
        {
            string folder = name.EndsWith(PartitionFolders.MetaSuffix, StringComparison.Ordinal) ? name[..^PartitionFolders.MetaSuffix.Length] : name;
            if (!catalog.Partitions.Any(partition => !partition.IsVolatile && Path.GetFileName(PartitionFolders.Current(_files, _directory, partition.Id)) == folder))
            {
                _note?.Invoke($"'{Path.Combine(directory, name)}' belongs to no partition; opening the store deletes what a removal left");
            }
        }
    }

    private List<(long Id, EngineKind Engine)> FindPartitions()
    {
        var found = new List<(long Id, EngineKind Engine)>();
        string directory = StoreContext.PartitionsDirectoryOf(_directory);
        foreach (string name in _files.DirectoryExists(directory) ? _files.List(directory) : [])
        {
            if (long.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out long id)
                && EngineOf(_files, Path.Combine(directory, name)) is { } engine)
            {
                found.Add((id, engine));
            }
        }

        return found;
    }

    private void VerifyJournal()
    {
        string directory = StoreContext.JournalDirectoryOf(_directory);
        if (!_files.DirectoryExists(directory))
        {
            _damages.Add(new CorruptionException(directory, 0, "the journal's folder is missing"));
            return;
        }

        foreach (string name in _files.List(directory))
        {
            if (name == ReserveName)
            {
                Collect(() => VerifyReserve(Path.Combine(directory, name)));
            }
            else if (JournalFormat.SequenceOf(name) == 0 && !IsJournalFile(name))
            {
                _note?.Invoke($"'{Path.Combine(directory, name)}' is no file of the journal");
            }
        }

        JournalScan scan = JournalScan.Run(_files, directory);
        if (scan.Damage is { } damage)
        {
            _damages.Add(damage);
            NameFurtherDamage(directory, damage);
            return;
        }

        _journal = scan;
        _note?.Invoke($"journal: {scan.Segments.Count} segments, {scan.Groups} groups, {scan.Records} records are intact");
        if (scan.Tail is { } tail)
        {
            _note?.Invoke($"journal: {tail.Message}; opening the store cuts it off");
        }

        foreach (ScannedSegment segment in scan.Segments.SkipLast(1))
        {
            NoteUnusedEnd(segment);
        }
    }

    // What they hold is read with the journal, or is nothing that counts.
    private static bool IsJournalFile(string name) =>
        name is JournalBeginning.FileName or JournalBeginning.TemporaryName || name.EndsWith(RetiredSegments.Suffix, StringComparison.Ordinal);

    // A write that found no room, or was cut off before the journal went on in the next segment, may have left something
    // there; it never counts.
    private void NoteUnusedEnd(ScannedSegment segment)
    {
        if (segment.Header.UsedBefore)
        {
            // Remains of what the file was before.
            return;
        }

        using StorageFile file = _files.Open(segment.Path, writable: false);
        long end = segment.End - segment.Header.Base + JournalFormat.SegmentHeaderBytes;
        long found = FirstByte(file, end);
        if (found >= 0)
        {
            _note?.Invoke($"journal: '{segment.Path}' has something at offset {found}, behind its last group at {end}, that means nothing");
        }
    }

    // The scan ends at the first damage; what lies behind is looked through for the next places.
    private void NameFurtherDamage(string directory, CorruptionException first)
    {
        using var salvage = new JournalSalvage(_files, directory);
        IgnoredRecords ignored = default;
        salvage.Run(ref ignored);
        foreach (CorruptionException damage in salvage.Damages)
        {
            if (damage.File != first.File || damage.Offset != first.Offset)
            {
                _damages.Add(damage);
            }
        }
    }

    // The reserve becomes a segment as it is, so it must be what an unused one is: zeros.
    private void VerifyReserve(string path)
    {
        using StorageFile file = _files.Open(path, writable: false);
        long found = FirstByte(file, 0);
        if (found >= 0)
        {
            throw new CorruptionException(path, found, "the reserve holds something, though it was never written to");
        }
    }

    /// <summary>The first byte from an offset on that is not zero; -1 if there is none.</summary>
    private static long FirstByte(StorageFile file, long from)
    {
        const int PieceBytes = 256 << 10;
        using var buffer = new NativeBuffer((int)Math.Clamp(file.Length - from, 1, PieceBytes));
        Span<byte> piece = buffer.Append(buffer.Capacity);
        for (int read; (read = file.Read(from, piece)) > 0; from += read)
        {
            int found = piece[..read].IndexOfAnyExcept((byte)0);
            if (found >= 0)
            {
                return from + found;
            }
        }

        return -1;
    }

    private void VerifyEngine(long id, EngineKind engine, CancellationToken cancellation)
    {
        string directory = PartitionFolders.Current(_files, _directory, id);
        if (!_files.DirectoryExists(directory))
        {
            _damages.Add(new CorruptionException(directory, 0, $"the folder of partition {id} is missing"));
            return;
        }

        int before = _damages.Count;
        long index;
        if (engine == EngineKind.Lsm)
        {
            var folder = new LsmFolder(_files, directory, _time, _damages, _note);
            folder.Verify(cancellation);
            index = folder.Index;
        }
        else
        {
            _damages.AddRange(CheckpointFolder.Verify(_files, directory, cancellation));
            index = Math.Max(0, CheckpointFolder.NewestIndex(_files, directory));
            NoteUnknownCheckpointFiles(directory);
        }

        if (index >= 0)
        {
            Collect(() => SessionsFile.Load(_files, directory, index, new SessionTable(), new CommitTable(), new SettingsTable()));
        }

        VerifyIndexes(directory, cancellation);
        if (_damages.Count == before)
        {
            CheckContinuation(id, directory, index);
            _note?.Invoke($"partition {id}: the files are intact up to index {index}");
        }
    }

    private void VerifyIndexes(string partition, CancellationToken cancellation)
    {
        string folder = Path.Combine(partition, PartitionIndexes.FolderName);
        foreach (string name in _files.DirectoryExists(folder) ? _files.List(folder) : [])
        {
            string directory = Path.Combine(folder, name);
            if (_indexes.Any(index => index.Id.ToString(CultureInfo.InvariantCulture) == name))
            {
                new LsmFolder(_files, directory, _time, _damages, _note).Verify(cancellation);
            }
            else
            {
                _note?.Invoke($"'{directory}' belongs to no index; opening the store deletes it");
            }
        }
    }

    private void NoteUnknownCheckpointFiles(string directory)
    {
        foreach (string name in _files.List(directory))
        {
            if (name != CheckpointFolder.CurrentName && name != PartitionIndexes.FolderName && !SessionsFile.IsName(name) && !name.EndsWith(CheckpointFolder.TemporarySuffix, StringComparison.Ordinal) && !CheckpointFolder.TryParse(name, out _))
            {
                _note?.Invoke($"'{Path.Combine(directory, name)}' is no file of the engine");
            }
        }
    }

    // Every file may be intact and one missing, or cut where it might have ended: then the journal does not go on where the
    // partition's files end, and opening the store would refuse it.
    private void CheckContinuation(long id, string directory, long end)
    {
        if (_files.FileExists(Path.Combine(_directory, StoreOpening.ClusterName)))
        {
            // The log of a replica goes on behind what is applied, and may have been cut; opening it compares the two.
            return;
        }

        foreach (ScannedSegment segment in _journal?.Segments ?? [])
        {
            if (segment.Reached.GetValueOrDefault(id) > end)
            {
                string missing = Path.Combine(StoreContext.JournalDirectoryOf(_directory), JournalFormat.SegmentName(segment.Header.Sequence - 1));
                _damages.Add(JournalReplay.MissingSegment(missing, id, segment.Reached[id], end));
                return;
            }

            if (segment.Ranges.TryGetValue(id, out IndexRange range) && range.Last > end)
            {
                if (range.First > end + 1)
                {
                    _damages.Add(new CorruptionException(directory, 0, $"the partition's files end at index {end}, but the journal goes on with {range.First}: files are missing or cut"));
                }

                return;
            }
        }
    }
}
