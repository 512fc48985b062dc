using System.Globalization;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Engines.Memory;
using KeyVa.Io;
using KeyVa.Log;
using KeyVa.Merges;
using KeyVa.Partitions;
using KeyVa.Sessions;

namespace KeyVa;

/// <summary>
/// Builds a data folder anew from everything in another one whose checksum fits, and says what is gone. The original is
/// read only, and kept: a repair in place moves it into <c>damaged-N</c> below the folder. One thread.
/// </summary>
/// <remarks>
/// 1. Catalog: as it is, or made from the partitions' folders and the keys in them.
/// 2. Engines: their files, intact ones linked, damaged ones block by block (<see cref="LsmRepair"/>, <see cref="CheckpointSalvage"/>).
/// 3. Journal: every intact record that the files lack is applied (<see cref="JournalSalvageReplay"/>) and flushed. The result
///    has an empty journal, as a snapshot does; its catalog is written last.
/// </remarks>
internal sealed class StoreRepair
{
    private const string WorkName = "repair.tmp";

    private readonly string _source;
    private readonly string _target;
    private readonly IFileSystem _files;
    private readonly StoreEnvironment _environment;
    private readonly MergeRegistry _functions;
    private readonly RepairLog _log = new();

    private StoreRepair(string source, string target, StoreEnvironment environment, MergeRegistry functions)
    {
        _functions = functions;
        _source = source;
        _target = target;
        _environment = environment;
        _files = environment.FileSystem;
    }

    /// <summary>Repairs into <paramref name="to"/>, a folder that is missing or empty; null: in place.</summary>
    public static RepairReport Run(string path, string? to, StoreEnvironment environment, CancellationToken cancellation, MergeRegistry? functions = null)
    {
        IFileSystem files = environment.FileSystem;
        string source = Path.GetFullPath(path);
        StoreVerification.CheckIsStore(files, source);
        if (files.FileExists(Path.Combine(source, StoreOpening.ClusterName)))
        {
            throw new StoreException($"'{source}' is the data folder of a cluster's node: what is damaged here, the other nodes have. Remove the node ('keyva admin cluster remove-node') and add one with another number and an empty folder");
        }

        using IDisposable? folderLock = StoreVerification.Lock(files, source);
        if (to is null && !StoreRepairInPlace.IsNeeded(source, environment, cancellation))
        {
            return new RepairReport { Directory = source, Damages = [], Losses = [], Notes = ["no damage was found; nothing was changed"] };
        }

        string target = to is null ? Path.Combine(source, WorkName) : Path.GetFullPath(to);
        if (to is null && files.DirectoryExists(target))
        {
            files.DeleteDirectory(target);
        }

        if (files.FileExists(target) || (files.DirectoryExists(target) && files.List(target).Count > 0))
        {
            throw new StoreException($"'{target}' is not empty; name a folder that does not exist yet or is empty");
        }

        var repair = new StoreRepair(source, target, environment, functions ?? MergeRegistry.OfBuiltIn);
        repair.Run(cancellation);
        if (to is not null)
        {
            CopyUsers(files, source, target);
        }

        string? damaged = to is null ? StoreRepairInPlace.Exchange(files, source, target) : null;
        return new RepairReport
        {
            Directory = to is null ? source : target,
            DamagedDirectory = damaged,
            Damages = repair._log.Damages,
            Losses = repair._log.Losses,
            Notes = repair._log.Notes,
            FilesKept = repair._log.FilesKept,
            FilesSalvaged = repair._log.FilesSalvaged,
            RecordsReplayed = repair._log.RecordsReplayed,
        };
    }

    /// <summary>A server's users go along, or the repaired folder would be open to everybody.</summary>
    private static void CopyUsers(IFileSystem files, string source, string target)
    {
        string from = Path.Combine(source, StoreContext.UsersFile);
        if (!files.FileExists(from))
        {
            return;
        }

        using (StorageFile old = files.Open(from, writable: false))
        using (StorageFile copy = files.Create(Path.Combine(target, StoreContext.UsersFile)))
        {
            byte[] bytes = new byte[old.Length];
            int read = old.Read(0, bytes);
            copy.Write(0, bytes.AsSpan(0, read));
            copy.Sync();
        }

        files.SyncDirectory(target);
    }

    private void Run(CancellationToken cancellation)
    {
        _files.CreateDirectory(StoreContext.JournalDirectoryOf(_target));
        _files.CreateDirectory(StoreContext.PartitionsDirectoryOf(_target));
        Catalog? catalog = ReadCatalog();
        IReadOnlyList<PartitionDefinition> definitions = catalog?.Partitions ?? FindPartitions();
        using var cache = new BlockCache(16 << 20);
        var partitions = new Dictionary<long, RepairedPartition>();
        try
        {
            foreach (PartitionDefinition definition in definitions.Where(static definition => !definition.IsVolatile))
            {
                cancellation.ThrowIfCancellationRequested();
                partitions.Add(definition.Id, Open(definition, cache, cancellation));
            }

            JournalSalvageReplay replay = ReplayJournal(partitions);
            foreach (RepairedPartition partition in partitions.Values)
            {
                Flush(partition);
                partition.Engine.Ingestion?.DeleteLeftovers();
            }

            WriteCatalog(catalog, catalog is null ? StoreRepairRanges.Infer(partitions.Values, _log) : definitions, partitions, replay);
        }
        finally
        {
            foreach (RepairedPartition partition in partitions.Values)
            {
                partition.Engine.Dispose();
            }
        }
    }

    private Catalog? ReadCatalog()
    {
        string path = Path.Combine(_source, Catalog.FileName);
        try
        {
            return _files.FileExists(path) ? Catalog.Read(_files, _source) : throw StoreOpening.MissingCatalog(_source);
        }
        catch (CorruptionException damage)
        {
            _log.Damages.Add(damage);
            _log.Notes.Add("the catalog is lost: partitions were taken from their folders, their ranges from the keys in them; compare 'keyva admin partition list' with what you had");
            return null;
        }
    }

    private List<PartitionDefinition> FindPartitions()
    {
        var found = new List<PartitionDefinition>();
        string directory = StoreContext.PartitionsDirectoryOf(_source);
        foreach (string name in _files.DirectoryExists(directory) ? _files.List(directory) : [])
        {
            if (long.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out long id))
            {
                // A folder without files is that of a partition that never flushed; which engine it had, nothing says.
                EngineKind engine = StoreVerification.EngineOf(_files, Path.Combine(directory, name)) ?? EngineKind.Memory;
                found.Add(new PartitionDefinition(id, KeyRange.All, engine, false));
            }
        }

        return found;
    }

    private RepairedPartition Open(PartitionDefinition definition, BlockCache cache, CancellationToken cancellation)
    {
        string source = StoreContext.PartitionDirectoryOf(_source, definition.Id);
        string target = StoreContext.PartitionDirectoryOf(_target, definition.Id);
        bool isRebuilt = false;
        if (!_files.DirectoryExists(source))
        {
            _log.Damages.Add(new CorruptionException(source, 0, $"the folder of partition {definition.Id} is missing"));
            _log.Lose(source, 0, $"partition {definition.Id}: its folder is missing; the journal is all there is");
            _files.CreateDirectory(target);
        }
        else if (definition.Engine == EngineKind.Lsm)
        {
            using var reading = new BlockCache(1 << 20);
            var repair = new LsmRepair(_files, source, target, LsmFolder.ForReading(_files, source, reading, _environment.Time), _log);
            repair.Run(cancellation);
            isRebuilt = repair.IsRebuilt;
            SessionsFile.Salvage(_files, source, target, Manifest.Read(_files, target)!.Mark.Index, _log);
        }
        else
        {
            new CheckpointSalvage(_files, source, target, _log).Run(cancellation);
            SessionsFile.Salvage(_files, source, target, Math.Max(0, CheckpointFolder.NewestIndex(_files, target)), _log);
        }

        _files.SyncDirectory(StoreContext.PartitionsDirectoryOf(_target));
        var work = new InlineWork();
        var options = new EngineOptions();
        var context = new EngineContext
        {
            FileSystem = _files,
            Directory = target,
            Options = _environment.Engine?.Invoke(options) ?? options,
            Background = work,
            Snapshots = new SnapshotList(),
            BlockCache = cache,
            Time = _environment.Time,
        };
        return new RepairedPartition(definition, definition.Engine == EngineKind.Memory ? MemoryEngine.Open(context) : LsmEngine.Open(context), work, isRebuilt);
    }

    private JournalSalvageReplay ReplayJournal(Dictionary<long, RepairedPartition> partitions)
    {
        string directory = StoreContext.JournalDirectoryOf(_source);
        if (!_files.DirectoryExists(directory))
        {
            _log.Damages.Add(new CorruptionException(directory, 0, "the journal's folder is missing"));
            _log.Lose(directory, 0, "the journal: every write that the partitions' files do not hold");
            return new JournalSalvageReplay(partitions, _functions, directory, directory, _log);
        }

        JournalScan scan = JournalScan.Run(_files, directory);
        long first = scan.Segments.Count > 0 ? scan.Segments[0].Header.Sequence : 1;
        var replay = new JournalSalvageReplay(partitions, _functions, directory, Path.Combine(directory, JournalFormat.SegmentName(first - 1)), _log);
        var visitor = new ReplayVisitor { Replay = replay };
        if (scan.Damage is { } damage)
        {
            using var salvage = new JournalSalvage(_files, directory);
            replay.Salvage = salvage;
            salvage.Run(ref visitor);
            replay.NoteLostEnds();
            _log.Damages.Add(damage);
            _log.Damages.AddRange(salvage.Damages.Where(other => other.File != damage.File || other.Offset != damage.Offset));
            return replay;
        }

        if (scan.Tail is { } tail)
        {
            _log.Notes.Add($"journal: {tail.Message}; it was left out");
        }

        using var scanner = new GroupScanner();
        foreach (ScannedSegment segment in scan.Segments)
        {
            using StorageFile file = _files.Open(segment.Path, writable: false);
            scanner.Begin(file, segment.Header, segment.End - segment.Header.Base + JournalFormat.SegmentHeaderBytes);
            while (scanner.TryNext())
            {
                scanner.ReadRecords(ref visitor);
            }
        }

        return replay;
    }

    private static void Flush(RepairedPartition partition)
    {
        partition.Engine.BeginFlush();
        partition.Work.RunAll();
        if (partition.Engine.Failure is { } failure)
        {
            throw failure;
        }

        if (partition.Engine.DurableIndex < partition.Engine.AppliedIndex)
        {
            throw new StoreException($"there is no room for the repaired files of partition {partition.Definition.Id}; make room, or repair to a folder on another disk");
        }
    }

    private void WriteCatalog(Catalog? old, IReadOnlyList<PartitionDefinition> definitions, Dictionary<long, RepairedPartition> partitions, JournalSalvageReplay replay)
    {
        long version = Math.Max(old?.Version ?? 0, replay.Version);
        long stamp = Math.Max(old?.Stamp ?? 0, replay.Stamp);
        foreach (RepairedPartition partition in partitions.Values)
        {
            version = Math.Max(version, partition.Engine.VisibleVersion);
            stamp = Math.Max(stamp, partition.Engine.VisibleStamp);
        }

        long next = definitions.Select(static definition => definition.Id + 1).Append(partitions.Keys.DefaultIfEmpty().Max() + 1).Max();
        _files.SyncDirectory(_target);
        if (old is { Indexes.Count: > 0 })
        {
            _log.Notes.Add("the secondary indexes are filled again when the folder is opened; what unique or strict ones had refused at the very end of the journal, and transactions that had been refused for what an index had shown them, may be there now; a unique index is given up then, with the names of the two keys");
        }

        new Catalog
        {
            StoreId = old?.StoreId ?? Guid.NewGuid(),
            NextPartitionId = Math.Max(old?.NextPartitionId ?? 1, next),
            Version = version,
            Stamp = stamp,
            Partitions = definitions,

            // Their files are left behind: opening the store fills them again.
            NextIndexId = old?.NextIndexId ?? 1,
            Indexes = [.. (old?.Indexes ?? []).Where(static index => index.State != Indexes.IndexState.Dropping).Select(static index => index with { State = Indexes.IndexState.Building })],
        }.Write(_files, _target);
        if (Path.GetDirectoryName(_target) is { Length: > 0 } parent)
        {
            _files.SyncDirectory(parent);
        }
    }

    private struct ReplayVisitor : IRecordVisitor
    {
        public required JournalSalvageReplay Replay;

        public readonly void Visit(in JournalRecord record)
        {
            if (record.Kind == RecordKind.Reached)
            {
                Replay.Reach(record.Positions);
            }
            else
            {
                Replay.Visit(record);
            }
        }
    }
}
