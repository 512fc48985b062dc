using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Merges;
using KeyVa.Transactions.Locks;

namespace KeyVa.Partitions;

/// <summary>What a store's parts share. Immutable but for what is said to change; thread-safe.</summary>
internal sealed class StoreContext
{
    /// <summary>The file of a server's users, which the store itself never reads; it stands beside the catalog.</summary>
    public const string UsersFile = "USERS";

    // The store itself and each open engine use the cache; the last one to let go frees it.
    private int _cacheUsers = 1;
    private StoreOptions _options = null!;
    private bool _isOpen;
    private LockTable? _locks;
    private long _lastOwner;
    private long _detours;

    public required IFileSystem FileSystem { get; init; }

    public required string Directory { get; init; }

    /// <summary>As the store was opened, but for what has been changed since (<see cref="Store.Change"/>).</summary>
    public required StoreOptions Options
    {
        get => Volatile.Read(ref _options);
        set => Volatile.Write(ref _options, value);
    }

    public required EngineOptions EngineOptions { get; init; }

    public required IBackgroundWork Background { get; init; }

    public required TimeProvider Time { get; init; }

    public required VersionOracle Oracle { get; init; }

    public required SnapshotList Snapshots { get; init; }

    public required VersionHistory History { get; init; }

    public required BlockCache BlockCache { get; init; }

    public Defects Defects { get; init; }

    /// <summary>What replicates the partitions; null: they live here alone.</summary>
    public Replication.IReplication? Replication { get; init; }

    public required MergeRegistry MergeFunctions { get; init; }

    /// <summary>Where snapshots of several partitions stand. Set while opening, before the store is used.</summary>
    public ISnapshotSource AcrossPartitions { get; set; } = null!;

    /// <summary>Who watches. Set while opening, before there are partitions.</summary>
    public Watches.WatchHub Watches { get; set; } = null!;

    /// <summary>Whether the parts of a write's time are noted.</summary>
    public Measurements.WriteTiming Timing { get; } = new();

    /// <summary>What all compactions together may write; null: no limit.</summary>
    public CompactionRate? CompactionRate { get; init; }

    /// <summary>The locks of transactions; null until one needs them.</summary>
    public LockTable? Locks => Volatile.Read(ref _locks);

    /// <summary>The table of locks if somebody holds one, or waits; otherwise null, for one volatile read where no transaction ever locked.</summary>
    public LockTable? HeldLocks => Locks is { HasLocks: true } locks ? locks : null;

    /// <summary>See <see cref="Store.Detours"/>.</summary>
    public long Detours => Interlocked.Read(ref _detours);

    /// <summary>A write begins that may overtake others, or be overtaken.</summary>
    public void NoteDetour() => Interlocked.Increment(ref _detours);

    /// <summary>The number of the next transaction, or of the next owner of locks.</summary>
    public long NextOwner() => Interlocked.Increment(ref _lastOwner);

    /// <summary>Makes the table of locks, once.</summary>
    public LockTable MakeLocks()
    {
        lock (Snapshots)
        {
            LockTable locks = _locks ?? new LockTable(Time, new LockLimits());
            Volatile.Write(ref _locks, locks);
            return locks;
        }
    }

    /// <summary>Whether the journal has been replayed: from then on the store writes of its own accord.</summary>
    public bool IsOpen
    {
        get => Volatile.Read(ref _isOpen);
        set => Volatile.Write(ref _isOpen, value);
    }

    public void RetainCache() => Interlocked.Increment(ref _cacheUsers);

    public void ReleaseCache()
    {
        if (Interlocked.Decrement(ref _cacheUsers) == 0)
        {
            BlockCache.Dispose();
        }
    }

    public string JournalDirectory => JournalDirectoryOf(Directory);

    public static string JournalDirectoryOf(string directory) => Path.Combine(directory, "journal");

    public static string PartitionsDirectoryOf(string directory) => Path.Combine(directory, "partitions");

    public static string PartitionDirectoryOf(string directory, long id) =>
        Path.Combine(PartitionsDirectoryOf(directory), id.ToString(System.Globalization.CultureInfo.InvariantCulture));

    public string PartitionDirectory(long id) => PartitionFolders.Current(FileSystem, Directory, id);
}
