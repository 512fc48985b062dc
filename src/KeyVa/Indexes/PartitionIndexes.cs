using System.Globalization;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Indexes;

/// <summary>The indexes of one partition: opens their companions, keeps them in step with the partition's engine, and closes them.</summary>
/// <remarks>
/// Thread-safety: <see cref="Open"/> and <see cref="Close"/> with the writer's role held or before the partition is used; the
/// list is replaced whole, so that everyone else reads it as it is.
/// </remarks>
internal sealed class PartitionIndexes : IDisposable
{
    public const string FolderName = "indexes";

    /// <summary>A companion's memtable is at most this part of the partition's: entries are small.</summary>
    private const int MemtableShare = 4;
    private const long SmallestMemtable = 1 << 20;

    private const string VolatileFolder = "/index";

    private readonly EngineContext _context;
    private readonly PartitionState _state;
    private readonly IReadOnlyList<IndexExtractor> _extractors;
    private readonly Action<Action<PartitionWriter>> _enter;
    private PartitionIndex[] _all = [];

    /// <param name="context">The partition's.</param>
    /// <param name="state">What is applied.</param>
    /// <param name="extractors">The functions that the store knows.</param>
    /// <param name="enter">Runs something with the writer's role.</param>
    public PartitionIndexes(EngineContext context, PartitionState state, IReadOnlyList<IndexExtractor> extractors, Action<Action<PartitionWriter>> enter)
    {
        _context = context;
        _state = state;
        _extractors = extractors;
        _enter = enter;
    }

    public PartitionIndex[] All => Volatile.Read(ref _all);

    public PartitionIndex? Find(long id) => Array.Find(All, index => index.Id == id);

    /// <summary>Where an index of a partition keeps its files.</summary>
    public static string DirectoryOf(string partitionDirectory, long id) =>
        Path.Combine(partitionDirectory, FolderName, id.ToString(CultureInfo.InvariantCulture));

    /// <summary>Opens or creates the companion of an index; what it holds follows from the log.</summary>
    public PartitionIndex Open(StoredIndex stored)
    {
        PartitionIndex index = new(stored, _state.Engine, OpenCompanion(stored), _extractors.FirstOrDefault(extractor => extractor.Name == stored.Definition.Extractor));
        _state.Follow(index);
        Volatile.Write(ref _all, [.. _all, index]);
        return index;
    }

    /// <summary>Lets go of an index; its files go with its last reader.</summary>
    public void Close(PartitionIndex index)
    {
        _state.Unfollow(index);
        Volatile.Write(ref _all, [.. _all.Where(other => other != index)]);
        if (!_context.Volatile)
        {
            index.Closed = () => Delete(_context.FileSystem, index.Companion.Context.Directory);
        }

        index.Dispose();
    }

    /// <summary>While opening: deletes the folders of indexes that the catalog does not know.</summary>
    public void DeleteOrphans(IReadOnlyList<StoredIndex> known)
    {
        string folder = Path.Combine(_context.Directory, FolderName);
        if (_context.Volatile || !_context.FileSystem.DirectoryExists(folder))
        {
            return;
        }

        foreach (string name in _context.FileSystem.List(folder))
        {
            if (!known.Any(index => index.Id.ToString(CultureInfo.InvariantCulture) == name))
            {
                Delete(_context.FileSystem, Path.Combine(folder, name));
            }
        }
    }

    /// <summary>Writer only: as <see cref="Engine.Admit"/>.</summary>
    public TimeSpan Admit(long bytes)
    {
        TimeSpan longest = TimeSpan.Zero;
        foreach (PartitionIndex index in All)
        {
            TimeSpan delay = index.Companion.Admit(bytes);
            longest = delay > longest ? delay : longest;
        }

        return longest;
    }

    /// <summary>Writer only: does what the log says of an index; one that is not known any more was dropped later on.</summary>
    public void Apply(in Operation operation, long version, long stamp) =>
        Find(operation.IndexId)?.Apply(operation.IndexAction, operation.Key, version, stamp);

    /// <summary>Bytes of files and of memory.</summary>
    public (long Storage, long Memory) Measure()
    {
        long storage = 0;
        long memory = 0;
        foreach (PartitionIndex index in All)
        {
            if (index.TryPin())
            {
                EngineStatistics statistics = index.Companion.GetStatistics();
                storage += _context.Volatile ? 0 : statistics.StorageBytes;
                memory += statistics.MemoryBytes + (_context.Volatile ? statistics.StorageBytes : 0);
                index.Unpin();
            }
        }

        return (storage, memory);
    }

    public void Rotate()
    {
        foreach (PartitionIndex index in All)
        {
            index.Rotate();
        }
    }

    public void FlushThrough(long durable)
    {
        foreach (PartitionIndex index in All)
        {
            index.FlushThrough(durable);
        }
    }

    public void Dispose()
    {
        foreach (PartitionIndex index in All)
        {
            index.Dispose();
        }
    }

    private static void Delete(IFileSystem files, string directory)
    {
        if (files.DirectoryExists(directory))
        {
            files.DeleteDirectory(directory);
            files.SyncDirectory(Path.GetDirectoryName(directory)!);
        }
    }

    private LsmEngine OpenCompanion(StoredIndex stored)
    {
        IFileSystem files = _context.Volatile ? new MemoryFileSystem() : _context.FileSystem;
        string directory = _context.Volatile ? VolatileFolder : DirectoryOf(_context.Directory, stored.Id);
        if (!files.DirectoryExists(directory))
        {
            files.CreateDirectory(directory);
            SyncNew(files, directory);
        }

        LsmEngine? companion = null;
        companion = LsmEngine.Open(new EngineContext
        {
            FileSystem = files,
            Directory = directory,
            Options = _context.Options with
            {
                MemtableBytes = Math.Min(_context.Options.MemtableBytes, Math.Max(SmallestMemtable, _context.Options.MemtableBytes / MemtableShare)),
                SeparateValuesFrom = 0,
            },
            Background = _context.Background,
            Snapshots = _context.Snapshots,
            BlockCache = _context.BlockCache,
            Time = _context.Time,
            SyncLog = _context.SyncLog,
            CompactionRate = _context.CompactionRate,

            // A replay asks what an index held when a command came: whether a value was free, whether a transaction still sees what it has
            // seen. The past that it asks about must be there. And a snapshot at what the partition shows may be opened when the companion is a
            // group further already.
            Retained = _context.Volatile
                ? () => new Horizon(_state.Engine.VisibleVersion, _state.Engine.VisibleStamp)
                : () => _state.Engine.DurableAt,
            RequestFlush = () => Enter(stored.Id, static index => index.Companion.BeginFlush()),
            Settle = append => Enter(stored.Id, static index => index.Companion.Settle()),
        });
        return companion;
    }

    private void SyncNew(IFileSystem files, string directory)
    {
        if (_context.Volatile)
        {
            return;
        }

        files.SyncDirectory(Path.Combine(_context.Directory, FolderName));
        files.SyncDirectory(_context.Directory);
    }

    private void Enter(long id, Action<PartitionIndex> action) => _enter(writer =>
    {
        if (writer.Closed == Status.Ok && Find(id) is { } index)
        {
            action(index);
        }
    });
}
