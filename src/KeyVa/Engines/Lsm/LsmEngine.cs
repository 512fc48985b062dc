using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The engine on disk: a log-structured merge tree (O'Neil et al., 1996). Writes go to a memtable; full memtables are
/// flushed to tables of level 0; compactions merge tables downward.
/// </summary>
/// <remarks>
/// <para>Thread-safety as <see cref="Engine"/> says. A get takes no lock and counts no references: inside an epoch it loads
/// the <see cref="Superversion"/> and then the visible version. The epoch ends with the lease.</para>
/// <para>The way of a write: <see cref="Admit"/> makes room → <see cref="Put"/> into <see cref="Memtable"/> →
/// <see cref="FlushJob"/> → <see cref="CompactionJob"/>, each step recorded by <see cref="VersionSet"/>.</para>
/// </remarks>
internal sealed unsafe class LsmEngine : Engine
{
    /// <summary>How often the writer looks whether enough has expired for a compaction.</summary>
    private const long ExpiryCheckMilliseconds = 1000;

    /// <summary>How often, at most, a removed range that covers whole tables makes the writer begin a flush, so that they can go.</summary>
    private const long RangeFlushMilliseconds = 1000;

    /// <summary>An idle engine flushes for the sake of what has expired so often at most.</summary>
    private static readonly TimeSpan ExpiryFlushInterval = TimeSpan.FromSeconds(30);

    /// <summary>A memtable below this share of what all may use is not flushed early: it would make a tiny table, and free hardly anything.</summary>
    private const int SmallestShare = 64;

    /// <summary>How long a command that needs room waits between two looks whether there is some.</summary>
    private static readonly TimeSpan RoomPause = TimeSpan.FromMilliseconds(5);

    // Immutable.
    private readonly VersionSet _versions;
    private readonly FlushJob _flush;
    private readonly CompactionJob _compactTop;
    private readonly CompactionJob _compactBelow;
    private readonly CompactionPicker _picker;
    private readonly CompactionCounters _counters = new();
    private readonly ReclaimJob _reclaim;
    private readonly ExpiryJob _expiry;
    private readonly WriteThrottle _throttle;
    private readonly MemoryBudget _memory;
    private readonly FlushRequestJob _flushRequest;
    private readonly TrimJob _trim = new();

    // Shared.
    private volatile bool _closing;
    private long _splitGroup;

    // Writer-owned.
    private Memtable _active;
    private long _nextExpiryCheck;
    private bool _rangesToFlush;
    private long _nextRangeFlush;

    // The writer's while the store opens; false from then on.
    private bool _replaying;

    private LsmEngine(EngineContext context, VersionSet versions)
        : base(context)
    {
        _versions = versions;
        _active = versions.Current.Active;
        _flush = new FlushJob(this, versions);
        _picker = CompactionPicker.Create(context.Options, versions.Pointers);
        _compactTop = new CompactionJob(this, versions, _picker, _counters, firstLevel: 0);
        _compactBelow = new CompactionJob(this, versions, _picker, _counters, firstLevel: 1);
        _reclaim = new ReclaimJob(context.Background, versions);
        Ingestion = new Ingestion(this, versions, _flush);
        _expiry = new ExpiryJob(this, () => context.Snapshots.Retention.Due(versions.ExpiryDueAt), ExpiryFlushInterval);
        _throttle = new WriteThrottle(context.Options, context.Time);
        _memory = context.BlockCache.Memory;
        _flushRequest = new FlushRequestJob(context);
        LogMark mark = versions.Current.Durable;
        Recovered(mark.Index, mark.Version, mark.Stamp);
        ScheduleCompactions();
        _memory.Register(this);
    }

    public override EngineKind Kind => EngineKind.Lsm;

    public override bool IsOrdered => true;

    public override long DurableIndex => _versions.Current.Durable.Index;

    public override Horizon DurableAt => _versions.Current.Durable is var mark ? new Horizon(mark.Version, mark.Stamp) : default;

    public override StoreException? Failure => _versions.Failure;

    public override Ingestion? Ingestion { get; }

    /// <summary>What a flush of the active memtable would free, about. Any thread.</summary>
    internal long ActiveBytes => _versions.Current.Active is { IsEmpty: false } active ? active.AllocatedBytes : 0;

    /// <summary>For tests and statistics.</summary>
    internal VersionSet Versions => _versions;

    /// <summary>Opens the engine in the context's folder; an empty folder becomes an empty engine.</summary>
    public static LsmEngine Open(EngineContext context) => new(context, VersionSet.Open(context));

    public override TimeSpan Admit(long bytes)
    {
        if (Failure is not null)
        {
            // Nothing will be flushed any more, so there is nothing to wait for: the caller refuses the group.
            return TimeSpan.Zero;
        }

        if (!_active.IsEmpty && _active.UsedBytes + bytes > Context.Options.MemtableBytes)
        {
            Superversion current = _versions.Current;
            if (current.Immutables.Length < Context.Options.MaxImmutableMemtables)
            {
                Rotate();
            }
            else
            {
                Context.Background.Schedule(_flush);
            }
        }
        else if (_memory.NeedsAttention)
        {
            RelieveMemory();
        }

        return _throttle.Delay(bytes, _active, _versions.Current, _memory.Pressure);
    }

    public override void BeginReplay()
    {
        _replaying = true;
        _active.DeferLinks();
    }

    public override void EndReplay()
    {
        _replaying = false;
        _active.EndDeferring();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public override void Put(ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        Debug.Assert(key.Length is > 0 and <= ushort.MaxValue, "keys are checked before they get here");
        _active.Add(key, version, EntryKind.Value, stamp, expiresAt, value);
    }

    public override void Remove(ReadOnlySpan<byte> key, long version, long stamp)
    {
        Debug.Assert(key.Length is > 0 and <= ushort.MaxValue, "keys are checked before they get here");
        _active.Add(key, version, EntryKind.Tombstone, stamp, 0, default);
    }

    public override void RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp)
    {
        // The visible version is read before the snapshots' bound: see SnapshotList.
        long visible = VisibleVersion;
        int retained = Context.Snapshots.Retention.Count;
        _active.AddRange(from, to, version, stamp, retained > 0 ? 0 : Bound(visible, VisibleStamp).Version);
        if (retained == 0 && CoveredTables.Any(_versions.Current, from, to))
        {
            // Tables may only be dropped for what is in a table itself: the log may still lose the rest.
            _rangesToFlush = true;
            _nextExpiryCheck = 0;
        }
    }

    public override void EndGroup(long index, long version, long stamp)
    {
        base.EndGroup(index, version, stamp);
        if (stamp >= _nextExpiryCheck)
        {
            _nextExpiryCheck = stamp + ExpiryCheckMilliseconds;
            FlushRanges(stamp);
            if (_versions.ExpiryDueAt <= stamp)
            {
                ScheduleCompactions();
            }
        }
    }

    public override bool TryGet(scoped ReadOnlySpan<byte> key, long at, out ValueLease lease)
    {
        lease = default;
        LinkReplayed();
        Epochs.Enter();
        try
        {
            // In this order: what the superversion's tables have dropped was shadowed at a visible version of before.
            // The same goes for what the active memtable has forgotten of its ranges.
            Superversion superversion = _versions.Current;
            RangeTombstoneRuns? ranges = superversion.Active.Ranges;
            if (at == ReadVersion.Latest)
            {
                at = VisibleVersion;
            }

            fixed (byte* bytes = key)
            {
                bool found = ranges is null && !superversion.HasRanges
                    ? superversion.TryFind(bytes, key.Length, at, out BlockEntry entry)
                    : superversion.TryFindUncovered(bytes, key.Length, at, ranges, out entry);
                if (!found || entry.Kind != EntryKind.Value)
                {
                    if (!found || entry.Kind == EntryKind.Tombstone)
                    {
                        lease.Status = Status.NotFound;
                        Epochs.Exit();
                        return false;
                    }

                    superversion.Values.Resolve(ref entry, key);
                }

                lease.Status = Status.Ok;
                lease.Value = new ReadOnlySpan<byte>(entry.Value, entry.ValueLength);
                lease.Version = entry.Version;
                lease.ModifiedUnixMilliseconds = entry.Stamp;
                lease.ExpiresAtUnixMilliseconds = entry.ExpiresAt;
            }

            lease.Owner = this;
            return true;
        }
        catch
        {
            Epochs.Exit();
            throw;
        }
    }

    internal override void Release(nint pin) => Epochs.Exit();

    public override EngineCursor OpenCursor(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long at, bool reverse, bool fillCache = true)
    {
        LinkReplayed();
        return LsmCursor.Open(_versions, from, to, at, reverse, fillCache);
    }

    public override VersionWalk WalkVersions(ReadOnlySpan<byte> key, long at, long pinned)
    {
        LinkReplayed();
        return new StructureWalk(_versions, key, at, pinned, Context.History.Count);
    }

    public override VersionScan ScanVersions(KeyRange range, long after, long upTo)
    {
        LinkReplayed();
        return new StructureScan(_versions, range.From.Span, range.To.Span, after, upTo);
    }

    /// <summary>
    /// Room within a group: the memtable is changed in the middle of it, and what is flushed holds a part of a command that the
    /// manifest's mark does not contain. That is sound for a command that gives the same result when it is replayed over
    /// its own traces: its entries are written once more, and are the same.
    /// </summary>
    public override void MakeRoom(long bytes)
    {
        if (_active.UsedBytes + bytes <= Context.Options.MemtableBytes)
        {
            return;
        }

        while (_versions.Current.Immutables.Length >= Context.Options.MaxImmutableMemtables && Failure is null)
        {
            Context.Background.Schedule(_flush);
            Context.Background.Pause(RoomPause);
        }

        if (Failure is StoreException failure)
        {
            throw new StoreException($"the engine in '{Context.Directory}' has failed in the middle of a command", failure);
        }

        Volatile.Write(ref _splitGroup, AppliedIndex + 1);
        _active.HoldsPart = true;
        Rotate();
    }

    public override void BeginFlush()
    {
        if (!_active.IsEmpty || AppliedIndex > DurableIndexWithImmutables())
        {
            Rotate();
        }
    }

    /// <summary>
    /// What has expired may be dropped up to the stamp that the tables contain: so what is in memory is flushed. The
    /// compactions follow from the flush.
    /// </summary>
    public override void Settle()
    {
        if (_versions.Current.Durable.Stamp < VisibleStamp)
        {
            BeginFlush();
        }
    }

    public override void BeginCompaction(PartitionCompaction request, KeyRange range)
    {
        lock (_versions.Gate)
        {
            _picker.Add(new ManualCompaction(request, range, AppliedIndex));
        }

        ScheduleCompactions();
    }

    public override CheckpointResult Checkpoint(string directory, IProgress<CheckpointProgress>? progress, CancellationToken cancellation)
    {
        // What was immutable when we came is flushed here, on our own thread: no waiting for the background.
        Memtable[] immutables = _versions.Current.Immutables;
        if (immutables.Length > 0)
        {
            _flush.FlushUpTo(immutables[0].End.Index);
        }

        if (Failure is StoreException failure)
        {
            throw new StoreException($"the engine in '{Context.Directory}' has failed and cannot be copied", failure);
        }

        Superversion superversion = PinWhole(cancellation);
        try
        {
            return LsmCheckpoint.Write(Context, superversion, directory, progress, cancellation);
        }
        finally
        {
            _versions.Unpin(superversion);
        }
    }

    public override IReadOnlyList<CorruptionException> Verify(CancellationToken cancellation)
    {
        Superversion superversion = _versions.Pin();
        try
        {
            return TableVerifier.Verify(Context, superversion, cancellation);
        }
        finally
        {
            _versions.Unpin(superversion);
        }
    }

    public override ScrubPass? BeginScrub() => new TableScrub(_versions, Context);

    public override EngineStatistics GetStatistics()
    {
        Debug.Assert(!_replaying, "nobody asks while the store opens");
        Superversion superversion = _versions.Pin();
        try
        {
            return Statistics(superversion);
        }
        finally
        {
            _versions.Unpin(superversion);
        }
    }

    public override void Dispose()
    {
        _closing = true;
        Context.Background.Cancel(_expiry);
        _memory.Unregister(this);
        Context.Background.Cancel(_flushRequest);
        Context.Background.Cancel(_trim);
        _compactTop.Stop();
        _compactBelow.Stop();
        _compactTop.Cancel();
        _compactBelow.Cancel();
        Context.Background.Cancel(_flush);
        Context.Background.Cancel(_reclaim);
        FailManual(new StoreException($"the partition in '{Context.Directory}' was closed before its compaction was complete"));
        _versions.Dispose();
    }

    /// <summary>Called by the flush after each memtable.</summary>
    internal void Flushed()
    {
        ScheduleCompactions();
        Context.DurableAdvanced?.Invoke();
    }

    /// <summary>
    /// What new tables may leave out, if they and the present ones will hold the log up to <paramref name="contained"/>.
    /// What has expired since then must stay: a replay from there evaluates commands at the stamps they had, when it
    /// had not expired yet. (Shadowed versions may go: the table has what shadows them.)
    /// </summary>
    internal Horizon HorizonFor(LogMark contained)
    {
        // The visible version is read before the snapshots' bound: see SnapshotList.
        long visible = VisibleVersion;
        long stamp = VisibleStamp;
        Horizon bound = Bound(visible, stamp);
        return bound with { Stamp = Math.Min(bound.Stamp, contained.Stamp) };
    }

    /// <summary>
    /// For an engine that follows another one: what that one's files contain is contained here too, when this returns. Any
    /// thread but the writer's. Throws if it cannot be done.
    /// </summary>
    internal void FlushThrough(long index)
    {
        if (DurableIndex < index && _versions.Current.Immutables is [Memtable newest, ..])
        {
            _flush.FlushUpTo(newest.End.Index);
        }

        if (DurableIndex < index)
        {
            throw new StoreException($"the files in '{Context.Directory}' cannot be brought up to index {index}", Failure ?? new StoreException("what they lack was not set aside"));
        }
    }

    /// <summary>Lets the compactions look whether there is something to do.</summary>
    internal void ScheduleCompactions()
    {
        if (_closing)
        {
            return;
        }

        Context.Background.Schedule(_compactTop);
        Context.Background.Schedule(_compactBelow);
        ReclaimLater();
        _expiry.Begin();
    }

    /// <summary>No compaction that was asked for goes on.</summary>
    internal void FailManual(StoreException failure)
    {
        ManualCompaction[] requests;
        lock (_versions.Gate)
        {
            requests = _picker.TakeManual();
        }

        foreach (ManualCompaction request in requests)
        {
            request.Fail(failure);
        }
    }

    /// <summary>What may be forgotten, as far as this engine has got; and the one that it follows, if it follows one.</summary>
    private Horizon Bound(long visible, long stamp)
    {
        // Before the snapshots' bound, as the visible version is: see SnapshotList.
        if (Context.Retained?.Invoke() is { } retained)
        {
            visible = Math.Min(visible, retained.Version);
            stamp = Math.Min(stamp, retained.Stamp);
        }

        return Context.Snapshots.Bound(Context.History, visible, stamp);
    }

    /// <summary>Begins a flush where a removed range lets whole tables go, but not for every such range.</summary>
    private void FlushRanges(long stamp)
    {
        if (_rangesToFlush && stamp >= _nextRangeFlush && _versions.Current.Immutables.Length < Context.Options.MaxImmutableMemtables)
        {
            _rangesToFlush = false;
            _nextRangeFlush = stamp + RangeFlushMilliseconds;
            Rotate();
        }
    }

    /// <summary>A superversion whose tables hold no part of a group that its mark does not contain.</summary>
    private Superversion PinWhole(CancellationToken cancellation)
    {
        while (true)
        {
            // The group is looked for behind the superversion: if its traces are in the tables, it was noted before.
            Superversion superversion = _versions.Pin();
            if (superversion.Durable.Index >= Volatile.Read(ref _splitGroup))
            {
                return superversion;
            }

            _versions.Unpin(superversion);
            cancellation.ThrowIfCancellationRequested();
            Context.RequestFlush?.Invoke();
            Context.Background.Pause(RoomPause);
            FlushReady();
        }
    }

    private void FlushReady()
    {
        if (_versions.Current.Immutables is [Memtable newest, ..])
        {
            _flush.FlushUpTo(newest.End.Index);
        }

        if (Failure is StoreException failure)
        {
            throw new StoreException($"the engine in '{Context.Directory}' has failed and cannot be copied", failure);
        }
    }

    private void ReclaimLater()
    {
        if (_versions.HasRetired)
        {
            Context.Background.ScheduleAfter(_reclaim, ReclaimJob.Delay);
        }
    }

    /// <summary>The budget is nearly used up by memtables: the largest goes early, whichever partition's it is.</summary>
    private void RelieveMemory()
    {
        if (_memory.TakeTrim())
        {
            Context.Background.Schedule(_trim);
        }

        if (!_memory.TakeFlush())
        {
            return;
        }

        // Others are asked, by their own writers. During replay they cannot be: then this one goes, if it is worth a table.
        LsmEngine? largest = _memory.LargestActive();
        long worthFlushing = Math.Max(_memory.MemtableAllowance / SmallestShare, Arena.FirstChunkBytes + 1);
        if (largest is not null && largest != this && _memory.IsServing && largest.Context.RequestFlush is not null)
        {
            if (largest.ActiveBytes >= worthFlushing)
            {
                largest.AskForFlush();
            }
        }
        else if (ActiveBytes >= worthFlushing && _versions.Current.Immutables.Length < Context.Options.MaxImmutableMemtables)
        {
            Rotate();
        }
    }

    private void AskForFlush() => Context.Background.Schedule(_flushRequest);

    /// <summary>Before anything is looked for: what was replayed has its place in the memtable.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void LinkReplayed()
    {
        if (_replaying)
        {
            _active.LinkDeferred();
        }
    }

    private void Rotate()
    {
        Context.Rotating?.Invoke();
        _active.EndDeferring();
        _active.MoveTo(MemoryKind.Immutable);
        _active = _versions.Rotate(new LogMark(AppliedIndex, VisibleVersion, VisibleStamp) { Sessions = CaptureTables() });
        if (_replaying)
        {
            _active.DeferLinks();
        }

        Context.Background.Schedule(_flush);
    }

    private long DurableIndexWithImmutables()
    {
        Superversion current = _versions.Current;
        return current.Immutables.Length > 0 ? current.Immutables[0].End.Index : current.Durable.Index;
    }

    private EngineStatistics Statistics(Superversion superversion)
    {
        EngineFigures figures = EngineFigures.Of(superversion);
        LsmStatistics tree;
        lock (_versions.Gate)
        {
            tree = TreeFigures.Of(superversion, _picker, _counters.Read(), _flush.BytesFlushed, _versions.Reads.Sum) with
            {
                ValueFiles = superversion.Values.All.Count,
                ValueFileBytes = superversion.Values.All.Sum(file => file.FileBytes),
                ValueGarbageBytes = superversion.Values.All.Sum(file => file.GarbageBytes),
                ValueBytesFlushed = _flush.ValueBytesFlushed,
                ValueBytesMoved = _counters.ValueBytesWritten,
            };
        }

        return new EngineStatistics
        {
            Keys = figures.Keys,
            ValueBytes = figures.ValueBytes,
            OlderVersions = figures.OlderValues,
            OlderVersionBytes = figures.OlderValueBytes,
            StorageBytes = figures.StorageBytes + _versions.ManifestBytes,
            MemoryBytes = figures.MemoryBytes,
            CacheHits = Context.BlockCache.Hits,
            CacheMisses = Context.BlockCache.Misses,
            BytesFlushed = _flush.BytesFlushed + tree.ValueBytesFlushed,
            BytesCompacted = _compactTop.BytesCompacted + _compactBelow.BytesCompacted + tree.ValueBytesMoved,
            Throttled = _throttle.Total,
            Lsm = tree with
            {
                Stalls = _throttle.Count,
                Stalled = _throttle.Total,
                RunningCompactions = (_compactTop.IsRunning ? 1 : 0) + (_compactBelow.IsRunning ? 1 : 0),
            },
        };
    }
}

/// <summary>Asks the partition's writer to flush, off the thread of another partition's writer.</summary>
internal sealed class FlushRequestJob(EngineContext context) : BackgroundJob(JobPriority.Flush)
{
    public override void Run() => context.RequestFlush?.Invoke();
}

/// <summary>Has malloc give back the pages of evicted blocks.</summary>
internal sealed class TrimJob() : BackgroundJob(JobPriority.Flush)
{
    public override void Run() => NativePages.TrimHeap();
}

/// <summary>Frees what readers still held when it was retired.</summary>
internal sealed class ReclaimJob(IBackgroundWork background, VersionSet versions) : BackgroundJob(JobPriority.Flush)
{
    public static readonly TimeSpan Delay = TimeSpan.FromMilliseconds(100);

    public override void Run()
    {
        if (versions.Reclaim())
        {
            background.ScheduleAfter(this, Delay);
        }
    }
}
