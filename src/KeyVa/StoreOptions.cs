using KeyVa.Indexes;

namespace KeyVa;

/// <summary>How a store is opened. Immutable; the defaults are the contracts of the product.</summary>
public sealed record StoreOptions
{
    /// <summary>When a write counts as done. Default: <see cref="Durability.Always"/>.</summary>
    public Durability Durability { get; init; } = Durability.Always;

    /// <summary>
    /// When writes that do not say so themselves are answered, in every partition of the store that has no setting of its own (<see cref="PartitionSettings"/>), where partitions are replicated. Those that must not be
    /// answered below <see cref="KeyVa.Acknowledgement.Sync"/> never are: conditions, merges, checks, transactions. A store that lives on one node takes
    /// no <see cref="KeyVa.Acknowledgement.SemiSync"/>. Default: <see cref="KeyVa.Acknowledgement.Sync"/>.
    /// </summary>
    public Acknowledgement Acknowledgement { get; init; } = Acknowledgement.Sync;

    /// <summary>Between two syncs under <see cref="Durability.Interval"/>. Default: 100 ms.</summary>
    public TimeSpan SyncInterval { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>The engine of the partition over all keys that a new store begins with. Default: <see cref="EngineKind.Lsm"/>.</summary>
    public EngineKind Engine { get; init; } = EngineKind.Lsm;

    /// <summary>Whether a new store begins with one partition over all keys. Default: true.</summary>
    public bool CreateDefaultPartition { get; init; } = true;

    /// <summary>
    /// At which keys, in rising order, a new store's keys are split into partitions: one more than there are keys here. A store that is there keeps the
    /// partitions that it has, and says so in <see cref="Store.RecoveryNotes"/> if they are others. All first nodes of a cluster have the same; a node that joins has
    /// the cluster's. Default: none.
    /// </summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> SplitAt { get; init; } = [];

    /// <summary>
    /// The first partition has no journal and no files: everything is lost at exit. Memory engine only. Default: false.
    /// </summary>
    public bool Volatile { get; init; }

    /// <summary>The longest value in bytes, 1 to 64 MiB. Default: 1 MiB.</summary>
    public int MaxValueBytes { get; init; } = 1 << 20;

    /// <summary>The largest batch in bytes of keys and values; one of a single operation is bound by the value's limit instead. Default: 1 MiB.</summary>
    public int MaxBatchBytes { get; init; } = 1 << 20;

    /// <summary>
    /// What one transaction may hold of keys and values it has written and of keys it must find unchanged, with a few dozen bytes
    /// for each; its commit is one write of as much, bound by this and not by <see cref="MaxBatchBytes"/>. 64 KiB to 64 MiB.
    /// Default: 64 MiB.
    /// </summary>
    public int MaxTransactionBytes { get; init; } = 64 << 20;

    /// <summary>Transactions that may be under way at once; one more is refused with <see cref="Status.Busy"/>. Default: 10,000.</summary>
    public int MaxTransactions { get; init; } = 10_000;

    /// <summary>
    /// How long a call waits for the locks that transactions hold, a write outside of a transaction too, before it ends with
    /// <see cref="Status.LockTimeout"/>; 0 to 1 day. Default: 5 seconds.
    /// </summary>
    public TimeSpan LockTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Bytes of memory outside the GC heap that all lsm partitions use together: memtables, block cache, indexes and
    /// filters of open tables, blocks and buffers of cursors and compactions. At least 8 MiB. When memtables need it the cache
    /// shrinks, down to an eighth of this; when they need nearly all of it, the largest is flushed and writers are slowed.
    /// Default, 0: what the cache, five memtables and 64 MiB take together, but at most half of the memory of
    /// the machine or of the process's control group.
    /// </summary>
    public long MemoryBudgetBytes { get; init; }

    /// <summary>Bytes of the block cache that all lsm partitions share, as far as the memory budget allows. Default: 256 MiB.</summary>
    public long BlockCacheBytes { get; init; } = 256L << 20;

    /// <summary>What stays in the block cache. Default: <see cref="BlockCachePolicy.S3Fifo"/>.</summary>
    public BlockCachePolicy BlockCachePolicy { get; init; }

    /// <summary>Bytes a memtable of an lsm partition takes before it is flushed. Default: 64 MiB.</summary>
    public long MemtableBytes { get; init; } = 64L << 20;

    /// <summary>
    /// How tables that lsm partitions write are compressed; present ones stay as they are until a compaction. Opening
    /// fails if the library is missing. Default: <see cref="Compression.None"/>, which needs none.
    /// </summary>
    public Compression Compression { get; init; }

    /// <summary>
    /// The compression of the deepest level of an lsm partition, where most of its data is and least is written. Default:
    /// null, the same as <see cref="Compression"/>.
    /// </summary>
    public Compression? BottommostCompression { get; init; }

    /// <summary>How hard <see cref="Compression.Zstandard"/> tries, 1 to 22. Default: 3.</summary>
    public int ZstdLevel { get; init; } = 3;

    /// <summary>
    /// Bytes of the dictionary that is trained for each table under <see cref="Compression.Zstandard"/>, 1 KiB to 1 MiB;
    /// 0: none. It makes blocks of small, similar values smaller, and writing tables slower. Default: 0.
    /// </summary>
    public int ZstdDictionaryBytes { get; init; }

    /// <summary>
    /// Values of so many bytes and more are separated from their keys when an lsm partition writes them to disk: they stand
    /// in value files, which compactions leave alone until much of one is garbage. Less is written, and a scan reads
    /// each such value by itself. 0: no value is; otherwise 64 or more. May change from one opening to the next: what is on disk
    /// follows when it is written anew. Default: 0.
    /// </summary>
    public int SeparateValuesFrom { get; init; }

    /// <summary>How lsm partitions keep their tables together; may change from one opening to the next. Default: <see cref="CompactionStyle.Leveled"/>.</summary>
    public CompactionStyle Compaction { get; init; } = CompactionStyle.Leveled;

    /// <summary>
    /// Bytes per second that all compactions together may write; 0: no limit. Flushes are not held back. If compactions cannot
    /// keep up with the writes at this rate, writers are slowed down. Default: 0.
    /// </summary>
    public long CompactionBytesPerSecond { get; init; }

    /// <summary>
    /// How long a version of a key that was overwritten, removed or has expired can still be read (<see cref="Store.GetAt(ReadOnlySpan{byte}, AsOf)"/>,
    /// <see cref="Store.History"/>, <see cref="ScanOptions.At"/>, <see cref="Store.RollBack(KeyRange, AsOf)"/>). May change from one opening to the
    /// next: what is forgotten stays so. At most 10 years. Default: zero; then only what open cursors see stays.
    /// </summary>
    public TimeSpan RetainVersionsFor { get; init; }

    /// <summary>
    /// So many versions of each key, the newest ones, stay for ever; a removal is one, so a removed key leaves traces. With
    /// <see cref="RetainVersionsFor"/>: what either keeps. What has expired is kept by time only. 0 and 1: the newest alone; at
    /// most 10,000. Default: 0.
    /// </summary>
    public int RetainVersions { get; init; }

    /// <summary>
    /// The program's own merge functions, each name in as many versions as it has had; KeyVa's own need not be given. Opening a store whose
    /// journal holds a merge by another one fails, and names it. Default: none.
    /// </summary>
    public IReadOnlyList<MergeFunction> MergeFunctions { get; init; } = [];

    /// <summary>Threads for flushes, compactions and checkpoints. Default: 2.</summary>
    public int BackgroundThreads { get; init; } = 2;

    /// <summary>Writers that may wait for one partition; the next one gets <see cref="Status.Busy"/>. Default: 4096.</summary>
    public int MaxQueuedWrites { get; init; } = 4096;

    /// <summary>Bytes of one journal segment. Default: 8 MiB.</summary>
    public long JournalSegmentBytes { get; init; } = 8L << 20;

    /// <summary>
    /// How often all files are read in the background in search of damage: from the beginning of one pass to that of the next;
    /// the first begins an hour after opening, or an interval if that is shorter. Zero: never. Default: 7 days.
    /// </summary>
    public TimeSpan ScrubInterval { get; init; } = TimeSpan.FromDays(7);

    /// <summary>At most so many bytes per second are read for that, 64 KiB or more. Default: 8 MiB.</summary>
    public long ScrubBytesPerSecond { get; init; } = 8L << 20;

    /// <summary>
    /// Bytes of memory outside the GC heap in which the newest changes of all partitions are kept for those who watch, 64 KiB or
    /// more: how far back a watch can begin or resume, and how far behind a slow one may fall. Part of the memory budget, of which it
    /// takes a quarter at most.
    /// Default: 16 MiB.
    /// </summary>
    public long WatchHistoryBytes { get; init; } = 16L << 20;

    /// <summary>
    /// Whether changes are kept for watches all the time, also while nobody watches, and filled from the journal when the store
    /// is opened: a watch can then resume after a restart. It costs each write a copy in memory. Default: false, from the first
    /// watch until <see cref="WatchLinger"/> after the last.
    /// </summary>
    public bool WatchHistoryAlways { get; init; }

    /// <summary>How long changes are still kept after the last watch ended, for one that comes back. Default: 5 minutes.</summary>
    public TimeSpan WatchLinger { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How often a watch with nothing to tell says how far it is. Default: 5 seconds.</summary>
    public TimeSpan WatchProgressInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Watches open at a time; one more is refused with <see cref="Status.Busy"/>. Default: 50,000.</summary>
    public int MaxWatchers { get; init; } = 50_000;

    /// <summary>
    /// Bytes that wait in the queues of all watches together. Past it, a watch whose reader has not taken all it was given falls
    /// back on the changes that are kept. Default: 64 MiB.
    /// </summary>
    public long WatchQueueBytes { get; init; } = 64L << 20;

    /// <summary>Past this many bytes of journal, partitions that hold it back are flushed. Default: 1 GiB.</summary>
    public long JournalBudgetBytes { get; init; } = 1L << 30;

    /// <summary>
    /// The functions that read values for indexes, where they are no JSON. Opening fails if the store has an index whose function
    /// is not among them.
    /// </summary>
    public IReadOnlyList<IndexExtractor> IndexExtractors { get; init; } = [];
}
