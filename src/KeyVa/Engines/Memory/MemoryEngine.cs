using System.Diagnostics;
using System.Numerics;
using System.Runtime.Intrinsics.X86;
using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Engines.Memory;

/// <summary>
/// The engine that holds its state in memory: a hash index over chains of versions, outside the GC heap. The journal and
/// checkpoint files make it durable.
/// </summary>
/// <remarks>
/// <para>Thread-safety: see <see cref="Engine"/>. Reads are wait-free: they enter an epoch, load the visible version and
/// follow pointers. A read never meets a lock, whatever the writer does.</para>
/// <para>Invariants.
/// 1. A reader loads the visible version after it has entered its epoch and before it loads anything of the index.
/// 2. A node is linked complete and not changed afterwards, but for <see cref="Node.Older"/>.
/// 3. Memory is freed by the writer alone, a bounded number of pieces per group (<see cref="Reclaimer"/>).
/// 4. The capture of a checkpoint and the publishing of a group exclude each other, so that index, version and stamp
///    belong together and nothing visible at a captured version has been forgotten.
/// </para>
/// <para>Statistics count what the applied groups left, exactly; a key that has expired counts until its space is reclaimed.</para>
/// </remarks>
internal sealed unsafe class MemoryEngine : Engine
{
    /// <summary>Pieces reclaimed at the end of a group, and twice as many more as the group has writes.</summary>
    private const int ReclaimPerGroup = 16;

    /// <summary>Steps of the expiry hand at the end of a group, and one more per write: each may touch a handful of nodes.</summary>
    private const int SweepPerGroup = 2;

    /// <summary>Steps of the expiry hand when nobody writes, so often at most: a few milliseconds of the writer's role.</summary>
    private const int SweepWhenIdle = 32 << 10;
    private static readonly TimeSpan IdleInterval = TimeSpan.FromSeconds(1);

    /// <summary>About what a write takes in the journal besides key and value.</summary>
    private const int OverheadPerWrite = 40;

    // Immutable.
    private readonly SlabAllocator _memory;
    private readonly Reclaimer _reclaimer;
    private readonly ExpiryHand _hand;
    private readonly Checkpointer? _checkpointer;
    private readonly Lock _captureLock = new();
    private readonly ExpiryJob _expiry;

    // The writer's.
    private long _keys;
    private long _valueBytes;
    private int _writesInGroup;
    private long _bytesSinceCapture;

    // Published by the writer at the end of a group.
    private long _visibleKeys;
    private long _visibleValueBytes;
    private long _visibleOlder;
    private long _visibleOlderBytes;
    private long _expiryDueAt = long.MaxValue;

    private MemoryEngine(EngineContext context, bool guard)
        : base(context)
    {
        CheckpointReader? reader = null;
        _expiry = new ExpiryJob(this, () => context.Snapshots.Retention.Due(Volatile.Read(ref _expiryDueAt)), IdleInterval);
        _memory = new SlabAllocator(guard);
        try
        {
            reader = context.Volatile ? null : CheckpointFolder.OpenNewest(context.FileSystem, context.Directory);
            NativeQueue unlinked = new(_memory);
            Index = new HashIndex(_memory, unlinked, reader?.Keys ?? 0);
            _reclaimer = new Reclaimer(_memory, Index, unlinked, context.Snapshots, context.History);
            _hand = new ExpiryHand(Index, _reclaimer);
            context.History.Open(reader?.Header.History, reader?.Header.Version ?? 0, context.Snapshots.Retention);
            if (reader is not null)
            {
                Load(reader);
            }

            NoteExpiry();
            if (!context.Volatile)
            {
                CheckpointFolder.RemoveAllBut(context.FileSystem, context.Directory, AppliedIndex);
                _checkpointer = new Checkpointer(this, AppliedIndex, new Horizon(VisibleVersion, VisibleStamp), reader?.FileBytes ?? 0);
            }
        }
        catch
        {
            _memory.Dispose();
            throw;
        }
        finally
        {
            reader?.Dispose();
        }
    }

    public override EngineKind Kind => EngineKind.Memory;

    public override bool IsOrdered => false;

    public override long DurableIndex => _checkpointer?.DurableIndex ?? AppliedIndex;

    public override Horizon DurableAt => _checkpointer?.DurableAt ?? new Horizon(VisibleVersion, VisibleStamp);

    public override StoreException? Failure => _checkpointer?.Failure;

    /// <summary>For the checkpoints, which read it as a cursor does, and for tests.</summary>
    internal HashIndex Index { get; }

    /// <summary>
    /// Opens the engine in its folder: reads the newest checkpoint, if there is one, and removes what is left of
    /// interrupted ones. Throws <see cref="CorruptionException"/> if the checkpoint is damaged.
    /// </summary>
    public static MemoryEngine Open(EngineContext context) => new(context, guard: false);

    /// <summary>For tests: with checks of every object that is freed or used again.</summary>
    internal static MemoryEngine OpenGuarded(EngineContext context) => new(context, guard: true);

    public override TimeSpan Admit(long bytes) => TimeSpan.Zero;

    public override void Put(ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        Node* node = NewNode(key, version, stamp, expiresAt, value.Length);
        value.CopyTo(new Span<byte>((byte*)node + Node.HeaderBytes + key.Length, value.Length));
        Apply(node);
        if (expiresAt != 0)
        {
            _hand.Note(expiresAt);
        }

        _keys++;
        _valueBytes += value.Length;
        _bytesSinceCapture += key.Length + value.Length + OverheadPerWrite;
    }

    public override void Remove(ReadOnlySpan<byte> key, long version, long stamp)
    {
        _writesInGroup++;
        _bytesSinceCapture += key.Length + OverheadPerWrite;
        ulong hash = XxHash64.Compute(key);
        Node* head = Index.Find(hash, key);
        if (head is not null && !head->IsTombstone)
        {
            Apply(NewNode(key, version, stamp, 0, Node.Tombstone));
        }
    }

    /// <summary>
    /// A hash index has no order, so every key of the partition is looked at: its writer is busy for that long, readers
    /// are not held up. Each key removed gets a tombstone of its own, so what snapshots see stays.
    /// </summary>
    public override void RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp)
    {
        _writesInGroup++;
        _bytesSinceCapture += from.Length + to.Length + OverheadPerWrite;
        ulong hash = 0;
        do
        {
            // Linking a newer version of a key that has a slot changes that slot alone: the walk is not disturbed.
            Segment* segment = Index.SegmentOf(hash);
            for (int bucket = 0; bucket < Segment.Buckets; bucket++)
            {
                RemoveFrom(segment, bucket, from, to, version, stamp);
            }

            hash = segment->Depth == 0 ? 0 : segment->Prefix + (1UL << (64 - segment->Depth));
        }
        while (hash != 0);
    }

    public override void EndGroup(long index, long version, long stamp)
    {
        lock (_captureLock)
        {
            base.EndGroup(index, version, stamp);
        }

        int writes = _writesInGroup;
        _writesInGroup = 0;
        _reclaimer.Step(version, ReclaimPerGroup + (2 * writes));
        if (_hand.IsDue(stamp))
        {
            SweepExpired(Context.Snapshots.Bound(Context.History, version, stamp), SweepPerGroup + writes);
        }

        NoteExpiry();
        PublishFigures();
        if (_bytesSinceCapture > Context.Options.CheckpointAfterBytes)
        {
            BeginFlushIfWorthIt();
        }
    }

    public override bool TryGet(scoped ReadOnlySpan<byte> key, long at, out ValueLease lease)
    {
        ulong hash = XxHash64.Compute(key);
        lease = default;
        Epochs.Enter();
        long version = at == ReadVersion.Latest ? VisibleVersion : at;
        Node* node;
        try
        {
            node = Node.VisibleAt(Index.Find(hash, key), version);
        }
        catch
        {
            Epochs.Exit();
            throw;
        }

        if (node is null || node->IsTombstone)
        {
            Epochs.Exit();
            lease.Status = Status.NotFound;
            return false;
        }

        lease.Owner = this;
        lease.Status = Status.Ok;
        lease.Value = Node.ValueOf(node);
        lease.Version = node->Version;
        lease.ModifiedUnixMilliseconds = node->Stamp;
        lease.ExpiresAtUnixMilliseconds = node->ExpiresAt;
        return true;
    }

    internal override void Release(nint pin) => Epochs.Exit();

    /// <summary>The place in the index, and when that has come, the newest version: header, key and the beginning of the value.</summary>
    public override void Prefetch(ulong hash, bool isPlaceHere)
    {
        if (Sse.IsSupported)
        {
            ulong* line = Segment.LineOf(Index.SegmentOf(hash), hash);
            if (!isPlaceHere)
            {
                Sse.Prefetch0(line);
                return;
            }

            uint slots = Segment.Match(line, Segment.Tag(hash));
            if (slots != 0)
            {
                byte* node = (byte*)Segment.NodeAt(line + BitOperations.TrailingZeroCount(slots));
                Sse.Prefetch0(node);
                Sse.Prefetch0(node + Segment.LineBytes);
                Sse.Prefetch0(node + (2 * Segment.LineBytes));
            }
        }
    }

    public override EngineCursor OpenCursor(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long at, bool reverse, bool fillCache = true)
    {
        Debug.Assert(from.IsEmpty && to.IsEmpty && !reverse, "an unordered engine has no ranges; the caller refuses them");
        Debug.Assert(at is not ReadVersion.Latest and not ReadVersion.Newest, "a cursor reads at a snapshot");
        return new MemoryCursor(Index, at);
    }

    public override VersionWalk WalkVersions(ReadOnlySpan<byte> key, long at, long pinned)
    {
        ChainWalk walk = new(Index, at, pinned, Context.History.Count);
        walk.Begin(key);
        return walk;
    }

    public override VersionScan ScanVersions(KeyRange range, long after, long upTo) => new ChainScan(Index, range, after, upTo);

    public override void BeginFlush()
    {
        if (_checkpointer is not null)
        {
            Context.Rotating?.Invoke();
            _bytesSinceCapture = 0;
            _checkpointer.Request(Capture());
        }
    }

    public override void Settle()
    {
        _reclaimer.Step(VisibleVersion, SweepWhenIdle);
        if (_hand.IsDue(VisibleStamp))
        {
            SweepExpired(Context.Snapshots.Bound(Context.History, VisibleVersion, VisibleStamp), SweepWhenIdle);
            _reclaimer.Step(VisibleVersion, SweepWhenIdle);
        }

        NoteExpiry();
        PublishFigures();
    }

    /// <summary>There are no files to compact; what has expired goes.</summary>
    public override void BeginCompaction(PartitionCompaction request, KeyRange range)
    {
        Settle();
        request.Complete(Status.Ok, null);
    }

    /// <summary>
    /// Writes a checkpoint of what is visible now. The folder is created if it is missing; making the folder's own name
    /// durable in its parent is the caller's, who chose it.
    /// </summary>
    public override CheckpointResult Checkpoint(
        string directory, IProgress<CheckpointProgress>? progress, CancellationToken cancellation)
    {
        IFileSystem files = Context.FileSystem;
        files.CreateDirectory(directory);
        using CheckpointCapture capture = Capture();
        CheckpointFolder.Write(files, directory, capture, this, progress, cancellation);
        return new CheckpointResult(capture.Index, capture.Version, capture.Stamp);
    }

    public override IReadOnlyList<CorruptionException> Verify(CancellationToken cancellation) =>
        _checkpointer?.Verify(cancellation) ?? [];

    public override ScrubPass? BeginScrub() => _checkpointer?.BeginScrub();

    public override EngineStatistics GetStatistics() => new()
    {
        Keys = Volatile.Read(ref _visibleKeys),
        ValueBytes = Volatile.Read(ref _visibleValueBytes),
        StorageBytes = _checkpointer?.FileBytes ?? 0,
        MemoryBytes = _memory.Bytes,
        OlderVersions = Volatile.Read(ref _visibleOlder),
        OlderVersionBytes = Volatile.Read(ref _visibleOlderBytes),
        BytesFlushed = _checkpointer?.BytesWritten ?? 0,
    };

    /// <summary>Readers are refused from here on; the memory goes at once if nobody is inside, else with the last lease.</summary>
    public override void Dispose()
    {
        Context.Background.Cancel(_expiry);
        _checkpointer?.Dispose();
        Index.Close();
        long closed = Epochs.Advance();
        if (Epochs.OldestActive() > closed)
        {
            _memory.Dispose();
        }
    }

    /// <summary>For tests: reclaims all that nobody can see, on the writer's thread, between groups.</summary>
    internal void ReclaimAll()
    {
        _reclaimer.Drain(VisibleVersion);
        SweepExpired(Context.Snapshots.Bound(Context.History, VisibleVersion, VisibleStamp), int.MaxValue);
        _reclaimer.Drain(VisibleVersion);
        PublishFigures();
    }

    private void PublishFigures()
    {
        Volatile.Write(ref _visibleKeys, _keys);
        Volatile.Write(ref _visibleValueBytes, _valueBytes);
        Volatile.Write(ref _visibleOlder, _reclaimer.Older);
        Volatile.Write(ref _visibleOlderBytes, _reclaimer.OlderBytes);
    }

    private void NoteExpiry()
    {
        if (_hand.WakeAt != _expiryDueAt)
        {
            Volatile.Write(ref _expiryDueAt, _hand.WakeAt);
            if (!_expiry.HasBegun)
            {
                _expiry.Begin();
            }
        }
    }

    /// <summary>
    /// A checkpoint writes the whole state. Where that is large, one per fixed number of journal bytes would write many
    /// times what is put; so at least a quarter of the last file must have come in. The journal's budget bounds the rest:
    /// when it is exceeded, the store calls <see cref="BeginFlush"/>.
    /// </summary>
    private void BeginFlushIfWorthIt()
    {
        if (_checkpointer is { IsBusy: false } && _bytesSinceCapture > _checkpointer.FileBytes / 4)
        {
            BeginFlush();
        }
    }

    /// <summary>Takes index, version and stamp of the last group together and pins the version. Any thread.</summary>
    private CheckpointCapture Capture()
    {
        lock (_captureLock)
        {
            if (!Context.Snapshots.Retention.IsOn)
            {
                Snapshot pin = Context.Snapshots.Pin(VisibleVersion, VisibleStamp);
                return new CheckpointCapture(AppliedIndex, VisibleVersion, VisibleStamp, null, CaptureTables(), pin);
            }

            Snapshot all = Context.Snapshots.PinAll(Context.History);
            return new CheckpointCapture(AppliedIndex, VisibleVersion, VisibleStamp, Context.History.Mark with { From = all.Version }, CaptureTables(), all);
        }
    }

    private Node* NewNode(ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, int valueLength)
    {
        Debug.Assert(key.Length is > 0 and <= ushort.MaxValue, "key lengths are checked before the log");
        Node* node = (Node*)_memory.Allocate(Node.HeaderBytes + key.Length + Math.Max(0, valueLength));
        node->Version = version;
        node->Stamp = stamp;
        node->ExpiresAt = expiresAt;
        node->Hash = XxHash64.Compute(key);
        node->ValueLength = valueLength;
        node->KeyLength = (ushort)key.Length;
        node->Reserved = 0;
        key.CopyTo(new Span<byte>((byte*)node + Node.HeaderBytes, key.Length));
        return node;
    }

    /// <summary>Links a complete node and takes the one it shadows out of the figures.</summary>
    private void Apply(Node* node)
    {
        _writesInGroup++;
        Node* older = Index.Link(node);
        if (older is null)
        {
            return;
        }

        Debug.Assert(older->Version < node->Version, "versions of a key rise");
        if (!older->IsTombstone)
        {
            _keys--;
            _valueBytes -= older->ValueLength;
        }

        _reclaimer.Retire(node, Node.BytesOf(older));
    }

    private void RemoveFrom(Segment* segment, int bucket, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp)
    {
        for (ulong* line = Segment.Line(segment, bucket); line is not null; line = Segment.NextLine(line))
        {
            for (int i = 0; i < Segment.SlotsPerLine; i++)
            {
                Node* node = Segment.NodeAt(line + i);
                if (node is null || node->IsTombstone || node->Version >= version)
                {
                    continue;
                }

                ReadOnlySpan<byte> key = Node.KeyOf(node);
                if (key.SequenceCompareTo(from) >= 0 && (to.IsEmpty || key.SequenceCompareTo(to) < 0))
                {
                    Apply(NewNode(key, version, stamp, 0, Node.Tombstone));
                }
            }
        }
    }

    private void SweepExpired(Horizon horizon, int steps)
    {
        _hand.Step(horizon, steps);
        _keys -= _hand.Keys;
        _valueBytes -= _hand.ValueBytes;
    }

    private void Load(CheckpointReader reader)
    {
        List<nint> chain = [];
        while (reader.MoveNext())
        {
            Node* node = NewNode(reader.Key, reader.Version, reader.Stamp, reader.ExpiresAt, reader.IsRemoval ? Node.Tombstone : reader.Value.Length);
            reader.Value.CopyTo(new Span<byte>((byte*)node + Node.HeaderBytes + node->KeyLength, Math.Max(0, node->ValueLength)));
            if (chain.Count > 0 && Node.KeyOf((Node*)chain[^1]).SequenceEqual(reader.Key))
            {
                Node* newer = (Node*)chain[^1];
                if (reader.Header.History is null || newer->Version <= node->Version)
                {
                    throw reader.Damage("a key stands in the checkpoint twice");
                }

                node->Older = 0;
                newer->Older = (nint)node;
            }
            else
            {
                Retire(chain);
                if (Index.Link(node) is not null)
                {
                    throw reader.Damage("a key stands in the checkpoint twice");
                }

                Account(node);
            }

            chain.Add((nint)node);
        }

        Retire(chain);
        _visibleKeys = _keys;
        _visibleValueBytes = _valueBytes;
        Recovered(reader.Header.Index, reader.Header.Version, reader.Header.Stamp);
    }

    private void Account(Node* newest)
    {
        if (!newest->IsTombstone)
        {
            _keys++;
            _valueBytes += newest->ValueLength;
        }

        if (newest->ExpiresAt != 0)
        {
            _hand.Note(newest->ExpiresAt);
        }
    }

    /// <summary>The older versions of a key that was loaded, newest first, are to go when they may: the oldest first.</summary>
    private void Retire(List<nint> chain)
    {
        for (int i = chain.Count - 2; i >= 0; i--)
        {
            _reclaimer.Retire((Node*)chain[i], Node.BytesOf((Node*)chain[i + 1]));
        }

        chain.Clear();
    }
}
