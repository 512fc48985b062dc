using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Log;
using KeyVa.Merges;
using KeyVa.Partitions;

namespace KeyVa;

/// <summary>
/// Opens a data folder: lock, catalog, engines, journal, replay. The layout of the folder (docs/format.md):
/// <code>
///   LOCK              held by the process that has the store open
///   CATALOG           format version, identity, partitions
///   CLUSTER           of a cluster's node alone
///   journal/          the log of all partitions
///   partitions/ID/    the files of one partition's engine
/// </code>
/// </summary>
internal sealed class StoreOpening : IDisposable
{
    public const string LockName = "LOCK";

    /// <summary>Says that the folder is a node's of a cluster: which one, and who the others are. Written and read by the cluster's code alone.</summary>
    public const string ClusterName = "CLUSTER";
    public const string ClusterTemporaryName = "CLUSTER.tmp";

    /// <summary>More threads than this on one compaction would wait for the disk.</summary>
    private const int MaxThreadsPerCompaction = 8;

    /// <summary>What leads to a separated value takes about half of this itself.</summary>
    private const int MinSeparateValuesFrom = 64;

    private const int MaxRetainedVersions = 10_000;
    private static readonly TimeSpan MaxRetention = TimeSpan.FromDays(3650);

    private readonly StoreOptions _options;
    private readonly StoreEnvironment _environment;
    private readonly EngineOptions _engineOptions;
    private readonly MergeRegistry _mergeFunctions;
    private readonly string _directory;
    private readonly List<string> _notes = [];

    public StoreOpening(string directory, StoreOptions options, StoreEnvironment environment)
    {
        _directory = Path.GetFullPath(directory);
        _options = options;
        _environment = environment;
        Check(options);
        if (options.Acknowledgement.Replicas > 0 && environment.Replication is null)
        {
            throw new StoreException($"acknowledgement is {options.Acknowledgement}, and this store lives on one node: set it to sync, or leave it out");
        }

        _engineOptions = EngineOptions(options, environment);
        _mergeFunctions = new MergeRegistry(options.MergeFunctions);
    }

    public IDisposable? FolderLock { get; private set; }

    public StoreContext? Context { get; private set; }

    public PartitionRegistry? Registry { get; private set; }

    public Journal? Journal { get; private set; }

    public BackgroundThreads? OwnThreads { get; private set; }

    public IReadOnlyList<string> Notes => _notes;

    /// <summary>Opens everything. On failure the caller disposes this, which closes what was opened.</summary>
    public void Run()
    {
        IFileSystem files = _environment.FileSystem;
        if (files.FileExists(_directory))
        {
            throw new StoreException($"'{_directory}' is a file, not a folder; name a folder for the data");
        }

        if (_environment.Replication is null && files.FileExists(Path.Combine(_directory, ClusterName)))
        {
            throw new StoreException($"'{_directory}' is the data folder of a cluster's node (it has {ClusterName}); serve it with --cluster, as it was served before");
        }

        bool isNew = !files.FileExists(Path.Combine(_directory, Catalog.FileName));
        if (isNew)
        {
            CheckNewFolder(files);
        }

        Lock(files);
        Catalog catalog = isNew ? CreateCatalog(files) : Catalog.Read(files, _directory);
        NoteSplit(catalog);
        CheckExtractors(catalog);
        Context = CreateContext();
        Context.Watches = new Watches.WatchHub(Context);
        Context.Oracle.Recover(catalog.Version, catalog.Stamp);
        if (!Context.History.Load())
        {
            _notes.Add($"{HistoryFile.FileName} is damaged and was passed over: versions stay longer than was asked for, and times before now lead to none");
        }

        Journal = Journal.Open(files, Context.JournalDirectory, JournalOptions(), _environment.Time);
        if (Journal.Recovery.Cut is { } cut)
        {
            _notes.Add($"{cut.Message}; it was cut off, nothing acknowledged as synced was in it");
        }

        Registry = new PartitionRegistry(Context, catalog);
        Context.AcrossPartitions = _environment.Replication is null ? Context.Oracle : new NewestVisible(Registry);
        Registry.OpenAll(Journal);
        var replay = new JournalReplay(
            Registry.Map, Context.Oracle, Path.Combine(Context.JournalDirectory, JournalFormat.SegmentName(Journal.Recovery.FirstSequence - 1)))
        {
            Replication = _environment.Replication,
            Chunks = catalog.Partitions.Any(static partition => partition.Engine == EngineKind.Lsm) ? Context.BlockCache.Memory.Chunks : null,
            ForgetsParts = (_environment.Defects & Defects.ForgetsPartOfCommit) != 0,
        };
        foreach (Partition partition in Registry.Map.Partitions)
        {
            partition.Engine.BeginReplay();
        }

        Journal.Replay(replay);
        foreach (Partition partition in Registry.Map.Partitions)
        {
            partition.Engine.EndReplay();
        }

        if (replay.Applied > 0)
        {
            _notes.Add($"replayed {replay.Applied} groups from the journal");
        }

        foreach (Partition partition in Registry.Map.Partitions)
        {
            partition.Engine.Ingestion?.DeleteLeftovers();
        }

        ReleaseJournal();
        _environment.Replication?.Opened(Registry, Context, Journal);
        Context.History.Opened(id => Registry.Map.TryFind(id, out Partition? partition) ? partition.Engine.AppliedIndex : 0);
        Context.IsOpen = true;
        Context.BlockCache.Memory.Serve();
    }

    public void Dispose()
    {
        if (Registry is not null)
        {
            foreach (Partition partition in Registry.Map.Partitions)
            {
                partition.Writer.EndReplication();
            }

            Registry.CloseAsync().AsTask().GetAwaiter().GetResult();
        }

        Context?.Watches.Dispose();

        if (Context is { IsOpen: true })
        {
            Context.History.Close();
        }

        OwnThreads?.Dispose();
        Journal?.Dispose();
        Context?.CompactionRate?.Dispose();
        Context?.ReleaseCache();
        FolderLock?.Dispose();
    }

    private static void Check(StoreOptions options)
    {
        if (options.MaxValueBytes is < 1 or > Limits.MaxValueBytesCeiling)
        {
            throw new StoreException($"max-value-bytes is {options.MaxValueBytes}; it must be 1 to {Limits.MaxValueBytesCeiling}");
        }

        if (options.MaxBatchBytes is < 1 or > Limits.MaxValueBytesCeiling)
        {
            throw new StoreException($"max-batch-bytes is {options.MaxBatchBytes}; it must be 1 to {Limits.MaxValueBytesCeiling}");
        }

        if (options.MaxTransactionBytes is < 64 << 10 or > Limits.MaxValueBytesCeiling || options.MaxTransactions < 1)
        {
            throw new StoreException($"max-transaction-bytes is {options.MaxTransactionBytes} and must be {64 << 10} to {Limits.MaxValueBytesCeiling}; max-transactions is {options.MaxTransactions} and must be at least 1");
        }

        if (options.LockTimeout < TimeSpan.Zero || options.LockTimeout > TimeSpan.FromDays(1))
        {
            throw new StoreException($"lock-timeout is {options.LockTimeout}; it must be 0 to 1 day");
        }

        if (options.Volatile && options.Engine != EngineKind.Memory)
        {
            throw new StoreException("only the memory engine can be volatile; choose engine memory or leave volatile out");
        }

        if (options.ScrubBytesPerSecond < Scrubber.MinBytesPerSecond || options.ScrubInterval < TimeSpan.Zero || options.ScrubInterval > TimeSpan.FromDays(40))
        {
            throw new StoreException("scrub-rate must be at least 64KiB, scrub-interval 0 to 40 days");
        }

        if (options.ZstdLevel is < 1 or > 22 || options.ZstdDictionaryBytes is not (0 or >= 1 << 10 and <= BlockDecompressor.MaxDictionaryBytes))
        {
            throw new StoreException($"zstd-level is {options.ZstdLevel} and must be 1 to 22; zstd-dictionary is {options.ZstdDictionaryBytes} and must be 0 or {1 << 10} to {BlockDecompressor.MaxDictionaryBytes}");
        }

        if (options.MemoryBudgetBytes is not 0 and < MemoryBudget.MinBytes)
        {
            throw new StoreException($"memory-budget is {options.MemoryBudgetBytes}; it must be at least {MemoryBudget.MinBytes}, or 0 to follow from the other sizes");
        }

        if (options.BackgroundThreads < 1 || options.MaxQueuedWrites < 1)
        {
            throw new StoreException("background-threads and max-queued-writes must be at least 1");
        }

        if (options.SeparateValuesFrom is not (0 or >= MinSeparateValuesFrom and <= Limits.MaxValueBytesCeiling))
        {
            throw new StoreException($"separate-values-from is {options.SeparateValuesFrom}; it must be 0 (never) or {MinSeparateValuesFrom} to {Limits.MaxValueBytesCeiling}");
        }

        if (options.RetainVersionsFor < TimeSpan.Zero || options.RetainVersionsFor > MaxRetention || options.RetainVersions is < 0 or > MaxRetainedVersions)
        {
            throw new StoreException($"retain-versions-for must be 0 to {MaxRetention.TotalDays} days, retain-versions 0 to {MaxRetainedVersions}");
        }

        if (options.WatchHistoryBytes < 64 << 10 || options.WatchQueueBytes < 64 << 10 || options.MaxWatchers < 1)
        {
            throw new StoreException("watch-history and watch-queues must be at least 64KiB, max-watchers at least 1");
        }

        if (options.WatchProgressInterval < TimeSpan.FromMilliseconds(10) || options.WatchLinger < TimeSpan.Zero || options.WatchLinger > TimeSpan.FromDays(40) || options.WatchProgressInterval > TimeSpan.FromDays(40))
        {
            throw new StoreException("watch-progress must be 10ms to 40 days, watch-linger 0 to 40 days");
        }

        if (options.SplitAt.Count > 0 && !options.CreateDefaultPartition)
        {
            throw new StoreException("split-at is for a store that begins with partitions, and partitions is none; leave one of them out");
        }

        for (int i = 0; i < options.SplitAt.Count; i++)
        {
            ReadOnlySpan<byte> before = i == 0 ? default : options.SplitAt[i - 1].Span;
            if (options.SplitAt[i].Length > Limits.MaxKeyBytes || options.SplitAt[i].Span.SequenceCompareTo(before) <= 0)
            {
                throw new StoreException($"split-at has {options.SplitAt.Count} keys, which must rise, with 1 to {Limits.MaxKeyBytes} bytes each; key {i + 1} does not");
            }
        }

        if (options.CompactionBytesPerSecond < 0)
        {
            throw new StoreException($"compaction-rate is {options.CompactionBytesPerSecond}; it must be 0 (no limit) or a number of bytes per second");
        }
    }

    /// <summary>Partitions are what the catalog says, whatever is asked for of a new store: whoever asks for others is told so.</summary>
    private void NoteSplit(Catalog catalog)
    {
        static bool IsSame(KeyRange one, KeyRange other) => one.From.Span.SequenceEqual(other.From.Span) && one.To.Span.SequenceEqual(other.To.Span);

        if (_options.SplitAt.Count == 0)
        {
            return;
        }

        PartitionDefinition[] asked = FirstPartitions(_options);
        if (catalog.Partitions.Count != asked.Length || asked.Any(one => !catalog.Partitions.Any(present => IsSame(one.Range, present.Range))))
        {
            _notes.Add($"split-at asks for {asked.Length} partitions; the store was made with other ranges and keeps the {catalog.Partitions.Count} that it has ('keyva admin partition list')");
        }
    }

    private void CheckExtractors(Catalog catalog)
    {
        foreach (StoredIndex index in catalog.Indexes)
        {
            if (index.Definition.Extractor is { } name
                && !_options.IndexExtractors.Any(known => known.Name == name && known.Version == index.Definition.ExtractorVersion))
            {
                throw new StoreException($"the index '{index.Definition.Name}' is made by version {index.Definition.ExtractorVersion} of the extractor '{name}', which is not among the store's options; give it, or drop the index with a program that has it");
            }
        }
    }

    private static EngineOptions EngineOptions(StoreOptions options, StoreEnvironment environment)
    {
        var asked = new EngineOptions
        {
            MemtableBytes = options.MemtableBytes,
            Compression = options.Compression,
            BottommostCompression = options.BottommostCompression,
            ZstdLevel = options.ZstdLevel,
            ZstdDictionaryBytes = options.ZstdDictionaryBytes,
            CompactionStyle = options.Compaction,
            SeparateValuesFrom = options.SeparateValuesFrom,
            CompactionBytesPerSecond = options.CompactionBytesPerSecond,
            MaxSubCompactions = Math.Min(options.BackgroundThreads, MaxThreadsPerCompaction),
        };
        EngineOptions engine = environment.Engine?.Invoke(asked) ?? asked;

        // Better now, before anything is touched, than when the first memtable is full.
        engine.CompressionLibraries.Require(engine.Compression);
        engine.CompressionLibraries.Require(engine.BottommostCompression ?? engine.Compression);
        return engine;
    }

    private void CheckNewFolder(IFileSystem files)
    {
        if (!files.DirectoryExists(_directory))
        {
            files.CreateDirectory(_directory);
            SyncParents(files);
            return;
        }

        foreach (string name in files.List(_directory))
        {
            // What a store leaves that was killed while it was being created.
            if (name is not (LockName or ClusterName or ClusterTemporaryName or "CATALOG.tmp" or HistoryFile.TemporaryName or "journal" or "partitions"))
            {
                throw new StoreException($"'{_directory}' is no KeyVa data folder and is not empty (it has '{name}'); name an empty folder or one that does not exist yet");
            }
        }

        // The catalog is durable before anything is put into these; without it, a new store would take over their files.
        if (HasEntries(files, StoreContext.JournalDirectoryOf(_directory)) || HasEntries(files, StoreContext.PartitionsDirectoryOf(_directory)))
        {
            throw MissingCatalog(_directory);
        }
    }

    /// <summary>What is said of a folder that has data and no catalog.</summary>
    public static CorruptionException MissingCatalog(string directory) => new(
        Path.Combine(directory, Catalog.FileName), 0, "the catalog is missing, though there are a journal or partitions (a snapshot that was broken off looks the same)");

    public static bool HasEntries(IFileSystem files, string directory) =>
        files.DirectoryExists(directory) && files.List(directory).Count > 0;

    private void SyncParents(IFileSystem files)
    {
        string? parent = Path.GetDirectoryName(_directory);
        if (parent is not null)
        {
            files.SyncDirectory(parent);
        }
    }

    private void Lock(IFileSystem files) =>
        FolderLock = files.TryLock(Path.Combine(_directory, LockName))
            ?? throw new StoreException($"the data folder '{_directory}' is in use by another process (it holds {LockName}); stop that one or choose another folder");

    private static PartitionDefinition[] FirstPartitions(StoreOptions options)
    {
        var partitions = new List<PartitionDefinition>();
        ReadOnlyMemory<byte> from = default;
        foreach (ReadOnlyMemory<byte> key in options.SplitAt)
        {
            partitions.Add(new PartitionDefinition(partitions.Count + 1, new KeyRange(from, key.ToArray()), options.Engine, options.Volatile));
            from = partitions[^1].Range.To;
        }

        return [.. partitions, new PartitionDefinition(partitions.Count + 1, new KeyRange(from, default), options.Engine, options.Volatile)];
    }

    private Catalog CreateCatalog(IFileSystem files)
    {
        files.CreateDirectory(StoreContext.JournalDirectoryOf(_directory));
        files.CreateDirectory(StoreContext.PartitionsDirectoryOf(_directory));
        files.SyncDirectory(_directory);
        PartitionDefinition[] partitions = _options.CreateDefaultPartition ? FirstPartitions(_options) : [];
        var catalog = new Catalog { StoreId = Guid.NewGuid(), NextPartitionId = partitions.Length + 1, Partitions = partitions };
        catalog.Write(files, _directory);
        return catalog;
    }

    private StoreContext CreateContext()
    {
        IBackgroundWork? background = _environment.Background;
        if (background is null)
        {
            background = OwnThreads = new BackgroundThreads(_options.BackgroundThreads);
        }

        EngineOptions engine = _engineOptions;
        var oracle = new VersionOracle(_environment.Time);
        var clock = new VersionClock(oracle, Resolution(_options));
        var snapshots = new SnapshotList(new Retention(_options.RetainVersionsFor, _options.RetainVersions, clock, oracle));
        long budget = _options.MemoryBudgetBytes != 0
            ? _options.MemoryBudgetBytes
            : MemoryBudget.Automatic(_options.BlockCacheBytes, engine.MemtableBytes, engine.MaxImmutableMemtables + 1, MemoryLimit.Read());
        return new StoreContext
        {
            FileSystem = _environment.FileSystem,
            Directory = _directory,
            Options = _options,
            EngineOptions = _engineOptions,
            CompactionRate = new CompactionRate(_engineOptions.CompactionBytesPerSecond, _environment.Time),
            Background = background,
            Time = _environment.Time,
            Oracle = oracle,
            Snapshots = snapshots,
            History = new VersionHistory(_environment.FileSystem, _directory, oracle, clock, snapshots, background),
            MergeFunctions = _mergeFunctions,
            Defects = _environment.Defects,
            Replication = _environment.Replication,
            BlockCache = new BlockCache(_options.BlockCacheBytes, _options.BlockCachePolicy, budget),
        };
    }

    /// <summary>An eight-thousandth of the time that versions are retained; a second where they are retained by count alone.</summary>
    private static long Resolution(StoreOptions options) => options.RetainVersionsFor > TimeSpan.Zero
        ? Math.Max(1, (long)options.RetainVersionsFor.TotalMilliseconds / (VersionClock.Capacity / 2))
        : 1000;

    private JournalOptions JournalOptions()
    {
        var options = new JournalOptions
        {
            Durability = _options.Durability,
            SyncInterval = _options.SyncInterval,
            SegmentBytes = _options.JournalSegmentBytes,
            BudgetBytes = _options.JournalBudgetBytes,
            BudgetExceeded = partitions => Registry?.Flush(partitions),
        };
        return _environment.Journal?.Invoke(options) ?? options;
    }

    private void ReleaseJournal()
    {
        Journal!.ForgetAllBut(id => Registry!.Map.TryFind(id, out _));
        foreach (Partition partition in Registry!.Map.Partitions)
        {
            if (!partition.Definition.IsVolatile && _environment.Replication is null)
            {
                Journal.Release(partition.Id, partition.Engine.DurableIndex);
            }
        }
    }
}
