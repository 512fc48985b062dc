using System.Runtime.CompilerServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The newest entries, in memory until a flush writes them to a table of level 0. Written by the partition's writer
/// until it is full, then immutable; read by anyone.
/// </summary>
internal sealed unsafe class Memtable(MemoryBudget? budget = null) : IDisposable
{
    // Writer-owned while active.
    private readonly SkipList _list = new(budget);
    private long _entries;
    private long _tombstones;
    private long _valueBytes;

    // Written by the writer, read by all; null while no range was removed.
    private RangeTombstoneRuns? _ranges;

    /// <summary>No entry has a lower version or stamp. Writer-owned, then immutable.</summary>
    public long MinVersion { get; private set; } = long.MaxValue;

    public long MinStamp { get; private set; } = long.MaxValue;

    /// <summary>Set when it becomes immutable: the log up to here is in this memtable and what is older.</summary>
    public LogMark End { get; set; }

    /// <summary>It holds a part of a command that <see cref="End"/> does not contain. Set before it becomes immutable.</summary>
    public bool HoldsPart { get; set; }

    /// <summary>How many superversions hold it; guarded by the engine's lock.</summary>
    public int References { get; set; }

    public SkipList List => _list;

    public long Entries => Volatile.Read(ref _entries);

    public long Tombstones => Volatile.Read(ref _tombstones);

    public long ValueBytes => Volatile.Read(ref _valueBytes);

    /// <summary>The removed ranges; null if there are none. Who reads at the latest version loads them before that version.</summary>
    public RangeTombstoneRuns? Ranges => Volatile.Read(ref _ranges);

    public long AllocatedBytes => _list.AllocatedBytes + (Ranges?.MemoryBytes ?? 0);

    /// <summary>What counts against the memtable's size. Writer only.</summary>
    public long UsedBytes => _list.UsedBytes + (_ranges?.MemoryBytes ?? 0);

    public bool IsEmpty => Entries == 0 && Ranges is null;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Add(ReadOnlySpan<byte> key, long version, EntryKind kind, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        MinVersion = Math.Min(MinVersion, version);
        MinStamp = Math.Min(MinStamp, stamp);
        fixed (byte* bytes = key)
        {
            _list.Insert(bytes, key.Length, version, kind, stamp, expiresAt, value);
        }

        Volatile.Write(ref _entries, _entries + 1);
        Volatile.Write(ref _valueBytes, _valueBytes + value.Length);
        if (kind == EntryKind.Tombstone)
        {
            Volatile.Write(ref _tombstones, _tombstones + 1);
        }
    }

    /// <summary>
    /// Removes [from, to) below the version; an empty <paramref name="to"/> is open. Nobody reads below
    /// <paramref name="horizon"/> any more.
    /// </summary>
    public void AddRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp, long horizon)
    {
        MinVersion = Math.Min(MinVersion, version);
        MinStamp = Math.Min(MinStamp, stamp);
        Volatile.Write(ref _ranges, RangeTombstoneRuns.Add(_ranges, RangeTombstones.Of(from, to, version, stamp), horizon));
    }

    /// <summary>The newest entry of the key at or below the version, or null.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public SkipNode* Find(byte* key, int keyLength, ulong head, long version)
    {
        SkipNode* node = _list.FindAtOrBehind(key, keyLength, head, version);
        return node != null && node->Head == head && node->KeyLength == keyLength
            && KeyOrder.CompareTails(SkipNode.Key(node), keyLength, key, keyLength) == 0
            ? node
            : null;
    }

    /// <summary>
    /// While the log is replayed: from here on what is added is found by nobody until <see cref="LinkDeferred"/>, and costs no search. Writer only.
    /// </summary>
    public void DeferLinks() => _list.DeferLinks();

    /// <summary>What was added can be found, by whoever looks from now on. Writer only.</summary>
    public void LinkDeferred() => _list.LinkDeferred();

    /// <summary>As <see cref="LinkDeferred"/>, and from here on what is added can be found at once. Writer only.</summary>
    public void EndDeferring() => _list.EndDeferring();

    /// <summary>From here on its memory counts as that of one that waits for its flush, or is past it.</summary>
    public void MoveTo(MemoryKind kind) => _list.MoveTo(kind);

    public void Dispose() => _list.Dispose();
}

/// <summary>A place in the log and what was visible there.</summary>
internal readonly record struct LogMark(long Index, long Version, long Stamp)
{
    private readonly byte[]? _sessions;

    /// <summary>The sessions of that place (<see cref="KeyVa.Sessions.SessionTable.Capture"/>); no part of a manifest, but of a file beside it.</summary>
    public byte[] Sessions
    {
        get => _sessions ?? [];
        init => _sessions = value;
    }
}
