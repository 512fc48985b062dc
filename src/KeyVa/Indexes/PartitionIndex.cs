using System.Buffers.Binary;
using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Partitions;

namespace KeyVa.Indexes;

/// <summary>
/// One index of one partition: a companion engine that holds an entry (tuple, then key; no value) for each record, at the version
/// that made it so. It is written by the partition's writer in the same group as the record, and read at the same snapshots.
/// </summary>
/// <remarks>
/// <para>Thread-safety: the changes are the partition's writer's. Reading the companion needs a pin, which any thread may take.</para>
/// <para>Invariants.
/// 1. The companion's files contain the log at least as far as the partition's own (<see cref="EngineContext.BeforeDurable"/>): it may
///    be ahead after a crash, and then passes over what it contains, but it is never behind.
/// 2. An entry expires when its record does: what the partition forgets for its age, is forgotten here.
/// 3. What is written depends on the record and its state just before the command alone, so a replay may come by when shadowed versions are gone.
/// 4. From the log index of its activation on, the index follows every change; the fillings that come behind it write what is
///    there anyway once more. So it is whole when a filling has gone through all keys, and ready from the version on that says so.
/// </para>
/// </remarks>
internal sealed class PartitionIndex : ChangeFollower, IDisposable
{
    /// <summary>Begins the entry of a record that cannot be indexed; below the tags of all values.</summary>
    public const byte UnindexedTag = 0x01;

    /// <summary>Records of one step of a filling, and bytes of their values: about a millisecond of the writer's role.</summary>
    public const int MaxRecordsPerStep = 256;
    private const int MaxBytesPerStep = 256 << 10;

    /// <summary>Tells of the index itself begin with this.</summary>
    private const byte StateTag = 0x00;

    // Immutable.
    private readonly Engine _primary;
    private readonly LsmEngine _companion;
    private readonly RecordReader _reader;

    // Writer-owned.
    private readonly IndexEntries _old = new();
    private readonly IndexEntries _new = new();

    // Written by the writer, read by all.
    private long _activatedAt;
    private long _readyVersion;
    private long _filled;
    private byte[]? _nextToFill;
    private volatile bool _follows;

    // Shared: one for the partition, one for each reader.
    private int _pins = 1;

    /// <summary>The partition's engine holds what its files do.</summary>
    public PartitionIndex(StoredIndex stored, Engine primary, LsmEngine companion, IndexExtractor? extractor)
    {
        Id = stored.Id;
        Definition = stored.Definition;
        _primary = primary;
        _companion = companion;
        _reader = new RecordReader(stored.Definition, extractor);

        // What the companion knows beyond the partition's files comes again with the replay.
        long activated = ReadState((byte)IndexAction.Define, out _);
        long ready = ReadState((byte)IndexAction.Ready, out long readyVersion);
        long dropped = ReadState((byte)IndexAction.Drop, out _);
        if (activated != 0 && activated <= primary.AppliedIndex)
        {
            _activatedAt = activated;
            _readyVersion = ready != 0 && ready <= primary.AppliedIndex ? readyVersion : 0;
            _follows = dropped == 0 || dropped > primary.AppliedIndex;
        }
    }

    public long Id { get; }

    public IndexDefinition Definition { get; }

    public LsmEngine Companion => _companion;

    /// <summary>Whether it follows the partition's changes.</summary>
    public bool IsActive => _follows;

    /// <summary>From this version on it can be queried; 0: it is not ready.</summary>
    public long ReadyVersion => Volatile.Read(ref _readyVersion);

    /// <summary>Records that were gone through since the filling began.</summary>
    public long Filled => Volatile.Read(ref _filled);

    /// <summary>The thread that fills it has been through it.</summary>
    public bool IsFilled { get; set; }

    /// <summary>Where the filling goes on; null: it has been through all keys. For who led the last step.</summary>
    public byte[]? NextToFill => Volatile.Read(ref _nextToFill);

    /// <summary>Called when the last reader is gone and the companion is closed.</summary>
    public Action? Closed { get; set; }

    /// <summary>The companion holds the group that is being applied.</summary>
    private bool IsContained => _companion.AppliedIndex > _primary.AppliedIndex;

    /// <summary>Keeps the companion open; false if it is closed already.</summary>
    public bool TryPin()
    {
        for (int pins = Volatile.Read(ref _pins); pins > 0;)
        {
            int seen = Interlocked.CompareExchange(ref _pins, pins + 1, pins);
            if (seen == pins)
            {
                return true;
            }

            pins = seen;
        }

        return false;
    }

    public void Unpin()
    {
        if (Interlocked.Decrement(ref _pins) == 0)
        {
            _companion.Dispose();
            Closed?.Invoke();
        }
    }

    /// <summary>The partition lets go of it.</summary>
    public void Dispose() => Unpin();

    public override void OnPut(ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        if (!_follows || IsContained)
        {
            return;
        }

        long oldExpiry = ReadOld(key, version);
        _reader.Read(key, value, _new);

        // Both are in order.
        int before = 0;
        for (int i = 0; i < _new.Count; i++)
        {
            ReadOnlySpan<byte> entry = _new[i];
            int order = 1;
            while (before < _old.Count && (order = _old[before].SequenceCompareTo(entry)) < 0)
            {
                _companion.Remove(_old[before++], version, stamp);
            }

            bool stays = before < _old.Count && order == 0;
            before += stays ? 1 : 0;
            if (!stays || oldExpiry != expiresAt)
            {
                _companion.Put(entry, version, stamp, expiresAt, default);
            }
        }

        RemoveOld(before, version, stamp);
    }

    public override void OnRemove(ReadOnlySpan<byte> key, long version, long stamp)
    {
        if (_follows && !IsContained)
        {
            ReadOld(key, version);
            RemoveOld(0, version, stamp);
        }
    }

    public override void OnRemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp)
    {
        if (!_follows || IsContained)
        {
            return;
        }

        using Snapshot pin = _primary.Context.Snapshots.Pin(version - 1, stamp);
        using EngineCursor cursor = _primary.IsOrdered
            ? _primary.OpenCursor(from, to, version - 1, reverse: false, fillCache: false)
            : _primary.OpenCursor(default, default, version - 1, reverse: false, fillCache: false);
        while (cursor.MoveNext())
        {
            ReadOnlySpan<byte> key = cursor.Key;
            bool inside = key.SequenceCompareTo(from) >= 0 && (to.IsEmpty || key.SequenceCompareTo(to) < 0);
            if (inside && IsBelow(key, version))
            {
                _reader.Read(key, cursor.Value, _old);
                RemoveOld(0, version, stamp);
            }
        }
    }

    /// <summary>Loads are refused where an index follows; one that is replayed came before.</summary>
    public override void OnLoad(long version, long stamp) =>
        Debug.Assert(!_follows || IsContained, "a load goes as batches into a partition with indexes");

    public override void OnEndGroup(long index, long version, long stamp)
    {
        if (Volatile.Read(ref _activatedAt) != 0 && index > _companion.AppliedIndex)
        {
            _companion.EndGroup(index, version, stamp);
        }
    }

    /// <summary>Writer only: does what the log says of the index.</summary>
    public void Apply(IndexAction action, ReadOnlySpan<byte> from, long version, long stamp)
    {
        bool isContained = IsContained;
        long index = _primary.AppliedIndex + 1;
        switch (action)
        {
            case IndexAction.Define when !_follows:
                Volatile.Write(ref _activatedAt, index);
                _follows = true;
                WriteState(action, isContained, index, version, stamp);
                break;
            case IndexAction.Fill:
                // Dropped in the middle of it: there is no more to fill.
                Volatile.Write(ref _nextToFill, null);
                if (_follows && !isContained)
                {
                    Fill(from, version, stamp);
                }

                break;
            case IndexAction.Ready when _follows:
                WriteState(action, isContained, index, version, stamp);
                Volatile.Write(ref _readyVersion, version);
                break;
            case IndexAction.Drop when _follows:
                _follows = false;
                Volatile.Write(ref _readyVersion, 0);
                WriteState(action, isContained, index, version, stamp);
                break;
        }
    }

    /// <summary>Writer only: the partition sets aside what it has applied.</summary>
    public void Rotate()
    {
        if (Volatile.Read(ref _activatedAt) != 0)
        {
            _companion.BeginFlush();
        }
    }

    /// <summary>The partition's files are about to contain this index.</summary>
    public void FlushThrough(long index)
    {
        long activated = Volatile.Read(ref _activatedAt);
        if (activated != 0 && activated <= index && TryPin())
        {
            try
            {
                _companion.FlushThrough(index);
            }
            finally
            {
                Unpin();
            }
        }
    }

    /// <summary>Fills in a record's entries.</summary>
    public void Read(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, IndexEntries into) => _reader.Read(key, value, into);

    /// <summary>
    /// The key of a living record other than <paramref name="key"/> with this tuple, at a version, that <paramref name="command"/>
    /// does not rewrite; null if there is none. The caller pins or is the writer.
    /// </summary>
    public byte[]? FindOther(ReadOnlySpan<byte> tuple, ReadOnlySpan<byte> key, long at, long stamp, ReadOnlySpan<byte> command)
    {
        using var end = new Io.NativeBuffer(tuple.Length);
        end.Append(tuple);
        IndexValueEncoding.ToSuccessor(end);
        using EngineCursor cursor = _companion.OpenCursor(tuple, end.Written, at, reverse: false);
        while (cursor.MoveNext())
        {
            ReadOnlySpan<byte> other = cursor.Key[tuple.Length..];
            bool isAlive = cursor.ExpiresAt == 0 || cursor.ExpiresAt > stamp;
            if (isAlive && !other.SequenceEqual(key) && !IndexConstraints.Rewrites(command, other))
            {
                return other.ToArray();
            }
        }

        return null;
    }

    private void Fill(ReadOnlySpan<byte> from, long version, long stamp)
    {
        using Snapshot pin = _primary.Context.Snapshots.Pin(version - 1, stamp);
        using EngineCursor cursor = _primary.OpenCursor(_primary.IsOrdered ? from : default, default, version - 1, reverse: false, fillCache: false);
        if (!_primary.IsOrdered && !from.IsEmpty)
        {
            cursor.Seek(from);
        }

        int records = 0;
        long bytes = 0;
        byte[]? next = null;
        while (cursor.MoveNext())
        {
            if (records == MaxRecordsPerStep || bytes > MaxBytesPerStep)
            {
                next = cursor.Key.ToArray();
                break;
            }

            records++;
            bytes += cursor.Value.Length;
            if (cursor.ExpiresAt == 0 || cursor.ExpiresAt > stamp)
            {
                _reader.Read(cursor.Key, cursor.Value, _new);
                for (int i = 0; i < _new.Count; i++)
                {
                    _companion.Put(_new[i], version, stamp, cursor.ExpiresAt, default);
                }
            }
        }

        Volatile.Write(ref _filled, _filled + records);
        Volatile.Write(ref _nextToFill, next);
    }

    /// <summary>
    /// Reads the entries of the record as it was before the command, and returns its expiry; there are none if it was not there. Not the newest: where
    /// a roll back was flushed in part (<see cref="Engine.MakeRoom"/>), its replay finds what it has written itself.
    /// </summary>
    private long ReadOld(ReadOnlySpan<byte> key, long version)
    {
        bool found = _primary.TryGet(key, version - 1, out ValueLease lease);
        using (lease)
        {
            if (!found)
            {
                _old.Begin(0);
                return 0;
            }

            _reader.Read(key, lease.Value, _old);
            return lease.ExpiresAtUnixMilliseconds;
        }
    }

    private void RemoveOld(int from, long version, long stamp)
    {
        for (int i = from; i < _old.Count; i++)
        {
            _companion.Remove(_old[i], version, stamp);
        }
    }

    /// <summary>Whether the key is there and was not written by the command of this version.</summary>
    private bool IsBelow(ReadOnlySpan<byte> key, long version)
    {
        bool found = _primary.TryGet(key, ReadVersion.Newest, out ValueLease lease);
        using (lease)
        {
            return found && lease.Version < version;
        }
    }

    private long ReadState(byte what, out long version)
    {
        bool found = _companion.TryGet([StateTag, what], ReadVersion.Latest, out ValueLease lease);
        using (lease)
        {
            version = 0;
            if (!found || lease.Value.Length != 16)
            {
                return 0;
            }

            version = BinaryPrimitives.ReadInt64LittleEndian(lease.Value[8..]);
            return BinaryPrimitives.ReadInt64LittleEndian(lease.Value);
        }
    }

    private void WriteState(IndexAction what, bool isContained, long index, long version, long stamp)
    {
        if (isContained)
        {
            return;
        }

        Span<byte> value = stackalloc byte[16];
        BinaryPrimitives.WriteInt64LittleEndian(value, index);
        BinaryPrimitives.WriteInt64LittleEndian(value[8..], version);
        _companion.Put([StateTag, (byte)what], version, stamp, 0, value);
    }
}

/// <summary>What the log says of an index.</summary>
internal enum IndexAction : byte
{
    None = 0,

    /// <summary>From here on it follows the partition's changes.</summary>
    Define = 1,

    /// <summary>The records from a key on, a bounded number, get their entries.</summary>
    Fill = 2,

    /// <summary>It is whole.</summary>
    Ready = 3,

    /// <summary>It follows no more.</summary>
    Drop = 4,
}
