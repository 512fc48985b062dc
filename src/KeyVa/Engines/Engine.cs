using System.Diagnostics;
using KeyVa.Commits;
using KeyVa.Engines.Lsm;
using KeyVa.Partitions;
using KeyVa.Sessions;

namespace KeyVa.Engines;

/// <summary>
/// Holds the state of one partition: every version of a key, ordered by key and then by version, newest first.
/// </summary>
/// <remarks>
/// <para>Thread-safety. <see cref="Admit"/>, <see cref="Put"/>, <see cref="Remove"/>, <see cref="RemoveRange"/> and <see cref="EndGroup"/>
/// belong to the partition's writer: one thread at a time, handed over with a full fence. Everything else may run on any thread at
/// any time and never waits for the writer.</para>
/// <para>Invariants.
/// 1. Versions given to Put and Remove rise strictly per key, and never fall between calls.
/// 2. Between EndGroup calls nothing is visible to readers: a read at <see cref="ReadVersion.Latest"/> sees
///    <see cref="VisibleVersion"/>, which EndGroup alone raises.
/// 3. After EndGroup(index) the engine has applied every log index up to it; <see cref="DurableIndex"/> is the highest
///    index whose effects, and those of all below it, are in the engine's own synced files. The log keeps what is above.
/// 4. Applying cannot fail for want of room: Admit makes room before the group is logged.
/// 5. Replaying a group that is already contained (index at or below the recovered one) is not done: the caller skips it.
/// </para>
/// </remarks>
internal abstract class Engine : ISnapshotSource, IDisposable
{
    private long _visibleVersion;
    private long _visibleStamp;
    private long _appliedIndex;
    private PendingCommit? _commit;

    protected Engine(EngineContext context) => Context = context;

    public EngineContext Context { get; }

    public abstract EngineKind Kind { get; }

    /// <summary>Whether scans run in key order; the memory engine iterates by hash.</summary>
    public abstract bool IsOrdered { get; }

    /// <summary>The newest version readers may see. After opening: the newest version in the engine's files.</summary>
    /// <remarks>
    /// A commit over several partitions becomes visible in all of them at once: its parts are applied everywhere, then it
    /// is decided by one store, then each partition publishes. The commit is read before the version: if it is no longer
    /// there, its version is.
    /// </remarks>
    public long VisibleVersion
    {
        get
        {
            PendingCommit? commit = Volatile.Read(ref _commit);
            long version = Volatile.Read(ref _visibleVersion);
            return commit is null ? version : commit.Resolve(version);
        }
    }

    /// <summary>The stamp of the group that made <see cref="VisibleVersion"/> visible.</summary>
    public long VisibleStamp => Volatile.Read(ref _visibleStamp);

    long ISnapshotSource.SnapshotVersion => VisibleVersion;

    long ISnapshotSource.SnapshotStamp => VisibleStamp;

    /// <summary>The last log index applied. After opening: the index that the engine's files contain.</summary>
    public long AppliedIndex => Volatile.Read(ref _appliedIndex);

    /// <summary>See invariant 3.</summary>
    public abstract long DurableIndex { get; }

    /// <summary>Version and stamp of the group at <see cref="DurableIndex"/>.</summary>
    public abstract Horizon DurableAt { get; }

    /// <summary>How bulk loads come in; null on an engine that takes them as ordinary batches.</summary>
    public virtual Ingestion? Ingestion => null;

    /// <summary>Which writes of clients' sessions are in the state: a part of it, in the engine's files as of the index that they contain.</summary>
    public SessionTable Sessions { get; } = new();

    /// <summary>What is prepared and decided of commits over several partitions of a cluster: a part of the state, as sessions are.</summary>
    public CommitTable Commits { get; } = new();

    /// <summary>The partition's own settings: a part of the state, as sessions are.</summary>
    public SettingsTable Settings { get; } = new();

    /// <summary>
    /// What stopped the engine (damage, a failed sync), or null. Once set, writes are refused; reads that do not touch
    /// the damage go on.
    /// </summary>
    public abstract StoreException? Failure { get; }

    /// <summary>
    /// Asks whether a group of about <paramref name="bytes"/> bytes can be applied, and makes room for it. Returns how
    /// long the writer should wait before it goes on (smooth backpressure): zero in the normal case. Called before the
    /// group is logged; never blocks for long itself.
    /// </summary>
    public abstract TimeSpan Admit(long bytes);

    /// <summary>
    /// While opening: the log is about to be replayed. Until <see cref="EndReplay"/> the writer's thread alone uses the engine, but for its own
    /// background work; reads are right at any time, but cost more, so that writes cost less.
    /// </summary>
    public virtual void BeginReplay()
    {
    }

    /// <summary>The log is replayed; any thread may read from here on.</summary>
    public virtual void EndReplay()
    {
    }

    /// <summary>Writes a key. <paramref name="stamp"/>: when it was first accepted; <paramref name="expiresAt"/>: 0 for never; both in Unix milliseconds.</summary>
    public abstract void Put(ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value);

    /// <summary>Writes a tombstone.</summary>
    public abstract void Remove(ReadOnlySpan<byte> key, long version, long stamp);

    /// <summary>
    /// Removes every key of [<paramref name="from"/>, <paramref name="to"/>) whose newest version is below
    /// <paramref name="version"/> (so the writes of the same command stay, in whatever order they come); an empty bound is
    /// open. The range is not empty.
    /// </summary>
    public abstract void RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp);

    /// <summary>Ends a group: publishes its versions and notes its index. Overrides do their part and then call the base.</summary>
    public virtual void EndGroup(long index, long version, long stamp)
    {
        Debug.Assert(index > _appliedIndex, "groups are applied in log order");
        Debug.Assert(version >= _visibleVersion, "versions rise");
        Sessions.Publish(stamp);
        Commits.Publish(stamp);
        Settings.Publish();
        _appliedIndex = index;
        _visibleStamp = stamp;
        Volatile.Write(ref _visibleVersion, version);
    }

    /// <summary>Writer only: from here on readers look whether this commit is decided; null once EndGroup published it.</summary>
    public void SetPendingCommit(PendingCommit? commit) => Volatile.Write(ref _commit, commit);

    /// <summary>
    /// Reads a key at a version (see <see cref="ReadVersion"/>). True if it is there, expired or not: the lease then holds
    /// value, version, stamp and expiry, pinned until it is disposed. False if it is not: the lease holds nothing. Throws <see cref="CorruptionException"/> or
    /// <see cref="StorageException"/> if the bytes cannot be had.
    /// </summary>
    public abstract bool TryGet(scoped ReadOnlySpan<byte> key, long at, out ValueLease lease);

    /// <summary>
    /// A key with this hash (XxHash64) will be read or written soon: brings nearer to the processor what that touches first, in two steps, since the second
    /// cannot be known before the first has come. A hint; called inside an <see cref="Epochs"/> stay.
    /// </summary>
    public virtual void Prefetch(ulong hash, bool isPlaceHere)
    {
    }

    /// <summary>Ends a lease that this engine gave out; same thread as the read.</summary>
    internal abstract void Release(nint pin);

    /// <summary>
    /// Opens a cursor over the keys of [<paramref name="from"/>, <paramref name="to"/>) (empty bounds are open) that exist
    /// at version <paramref name="at"/> (expired ones among them), in key order (or reverse). On an engine that is not ordered, the bounds must be open and
    /// reverse false; the order is then the engine's own, stable while keys come and go.
    /// The caller holds a snapshot at <paramref name="at"/> (never Latest or Newest) for as long as the cursor lives.
    /// <paramref name="fillCache"/>: whether blocks that have to be read go into the block cache.
    /// </summary>
    public abstract EngineCursor OpenCursor(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long at, bool reverse, bool fillCache = true);

    /// <summary>
    /// What happened to a key up to version <paramref name="at"/>, newest first. The caller holds a snapshot at
    /// <paramref name="pinned"/>, at or above <see cref="HistoryFloor.From"/>, for as long as the walk lives.
    /// </summary>
    public abstract VersionWalk WalkVersions(ReadOnlySpan<byte> key, long at, long pinned);

    /// <summary>
    /// Everything that was written to the keys of a range (empty bounds are open) above <paramref name="after"/> and up to <paramref name="upTo"/>,
    /// which is visible. The caller holds a snapshot at <paramref name="after"/>, at or above <see cref="HistoryFloor.From"/>, for as long
    /// as the scan lives.
    /// </summary>
    public abstract VersionScan ScanVersions(KeyRange range, long after, long upTo);

    /// <summary>
    /// Makes room for more of a command that is being applied, however large it is; may wait for the disk. Writer only, off
    /// the journal's sync thread: a flush may have to wait for that one. See <see cref="RollBackRun"/>.
    /// </summary>
    public virtual void MakeRoom(long bytes)
    {
    }

    /// <summary>
    /// Starts moving everything applied so far into the engine's own files, in the background; <see cref="DurableIndex"/>
    /// rises and <see cref="EngineContext.DurableAdvanced"/> is called when done. Writer only.
    /// </summary>
    public abstract void BeginFlush();

    /// <summary>
    /// Gives back room that only time has freed, a bounded amount: what has expired where nobody writes. Writer only; see
    /// <see cref="EngineContext.Settle"/>.
    /// </summary>
    public abstract void Settle();

    /// <summary>
    /// Begins to compact a range of keys (empty bounds are open) down to what is alive. Writer only; the caller has called
    /// <see cref="BeginFlush"/> just before. An engine without files in order completes it at once.
    /// </summary>
    public abstract void BeginCompaction(PartitionCompaction request, KeyRange range);

    /// <summary>
    /// Writes a copy of the engine's state to a new folder (hard links where possible): a folder that <c>Open</c> of the
    /// same engine accepts, containing exactly the log up to the returned index. Runs on the calling thread, which is
    /// not the writer; the caller has called <see cref="BeginFlush"/> on the writer just before where the snapshot must
    /// contain all that was acknowledged. Everything in the folder is synced when it returns.
    /// </summary>
    public abstract CheckpointResult Checkpoint(string directory, IProgress<CheckpointProgress>? progress, CancellationToken cancellation);

    /// <summary>Reads every byte of the engine's files and returns what is damaged; empty: nothing.</summary>
    public abstract IReadOnlyList<CorruptionException> Verify(CancellationToken cancellation);

    /// <summary>Begins to read the engine's files past all caches; null if it has none.</summary>
    public virtual ScrubPass? BeginScrub() => null;

    public abstract EngineStatistics GetStatistics();

    /// <summary>Stops background work and closes files. Does not flush: the log has what the files lack.</summary>
    public abstract void Dispose();

    /// <summary>The tables that go into the engine's files, as of the end of the last group.</summary>
    public byte[] CaptureTables() => PartitionTables.Capture(Sessions, Commits, Settings);

    /// <summary>For engines while opening: what their files contain.</summary>
    protected void Recovered(long index, long version, long stamp)
    {
        _appliedIndex = index;
        _visibleStamp = stamp;
        _visibleVersion = version;
        if (!Context.Volatile)
        {
            SessionsFile.Load(Context.FileSystem, Context.Directory, index, Sessions, Commits, Settings);
            SessionsFile.RemoveAllBut(Context.FileSystem, Context.Directory, index);
        }
    }
}

/// <summary>What a checkpoint contains: everything up to this log index, version and stamp.</summary>
internal readonly record struct CheckpointResult(long Index, long Version, long Stamp);

/// <summary>How far a checkpoint has come, in bytes.</summary>
internal readonly record struct CheckpointProgress(long BytesDone, long BytesTotal);

/// <summary>A snapshot of an engine's figures; counters since opening.</summary>
internal readonly record struct EngineStatistics
{
    /// <summary>Keys that exist: exact on memory, estimated on lsm.</summary>
    public long Keys { get; init; }

    /// <summary>Bytes of the values of those keys: exact on memory, estimated on lsm.</summary>
    public long ValueBytes { get; init; }

    /// <summary>
    /// Versions that newer ones of their keys shadow, kept for snapshots and retention or not given up yet: exact on memory,
    /// estimated on lsm.
    /// </summary>
    public long OlderVersions { get; init; }

    /// <summary>Their bytes: with keys on memory, of values on lsm.</summary>
    public long OlderVersionBytes { get; init; }

    /// <summary>Bytes of the engine's files.</summary>
    public long StorageBytes { get; init; }

    /// <summary>Bytes held outside the GC heap (memtables, index, arenas), caches not counted.</summary>
    public long MemoryBytes { get; init; }

    public long CacheHits { get; init; }

    public long CacheMisses { get; init; }

    public long BytesFlushed { get; init; }

    public long BytesCompacted { get; init; }

    /// <summary>Time that writers were slowed down by <see cref="Engine.Admit"/>.</summary>
    public TimeSpan Throttled { get; init; }

    /// <summary>The tree's figures; null on other engines.</summary>
    public LsmStatistics? Lsm { get; init; }
}
