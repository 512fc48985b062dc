using System.Diagnostics;
using KeyVa.Engines;

namespace KeyVa.Partitions;

/// <summary>
/// The open snapshots of a store. Opening one pins its version: engines keep everything visible at it.
/// </summary>
/// <remarks>
/// Thread-safe. The list is under a lock (snapshots are opened per scan, not per get); the oldest version is also
/// published so that a writer can read it for every put. The race to avoid: an engine computes what it may forget from
/// its visible version while a snapshot is just being opened at an older one. So a snapshot first pins the version it
/// read, then reads again and takes the newer one: an engine that did not see the pin had read its visible version
/// before the second reading, so nothing visible at the version taken was forgotten.
/// </remarks>
internal sealed class SnapshotList(Retention? retention = null)
{
    private readonly Lock _lock = new();
    private Snapshot? _first;
    private Snapshot? _last;
    private int _count;
    private long _oldestVersion = long.MaxValue;
    private long _oldestStamp = long.MaxValue;

    /// <summary>What is kept besides.</summary>
    public Retention Retention { get; } = retention ?? Retention.None;

    /// <summary>How many snapshots are open.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _count;
            }
        }
    }

    /// <summary>The oldest open version, or <see cref="long.MaxValue"/>. A full fence stands before the read.</summary>
    public long OldestVersion
    {
        get
        {
            Interlocked.MemoryBarrier();
            return Volatile.Read(ref _oldestVersion);
        }
    }

    /// <summary>The oldest open version and how long ago the snapshot that was opened first was; zeros if none is open.</summary>
    public (long Version, TimeSpan Age) Oldest
    {
        get
        {
            lock (_lock)
            {
                long opened = long.MaxValue;
                for (Snapshot? snapshot = _first; snapshot is not null; snapshot = snapshot.Next)
                {
                    opened = Math.Min(opened, snapshot.OpenedTicks);
                }

                return _first is null ? default : (_first.Version, TimeSpan.FromMilliseconds(Environment.TickCount64 - opened));
            }
        }
    }

    /// <summary>
    /// What an engine with this visible version and stamp may forget; read those before the call. From here on nobody is
    /// promised anything below it: <paramref name="floor"/> says so.
    /// </summary>
    public Horizon Bound(HistoryFloor floor, long visibleVersion, long visibleStamp)
    {
        lock (_lock)
        {
            Horizon kept = Retention.Bound();
            var bound = new Horizon(
                Math.Min(Math.Min(visibleVersion, _oldestVersion), kept.Version), Math.Min(Math.Min(visibleStamp, _oldestStamp), kept.Stamp));
            if (bound.Version > floor.From)
            {
                floor.From = bound.Version;
            }

            return bound;
        }
    }

    /// <summary>
    /// Opens a snapshot at a version of the past. Null if one of the partitions has forgotten some of it:
    /// <paramref name="begins"/> is then the first version at which all of them can be read.
    /// </summary>
    public Snapshot? TryOpenAt(long version, ISnapshotSource source, ReadOnlySpan<Partition> partitions, out long begins, Snapshot? into = null)
    {
        lock (_lock)
        {
            begins = 0;
            foreach (Partition partition in partitions)
            {
                begins = Math.Max(begins, partition.Engine.Context.History.From);
            }

            if (version < begins)
            {
                return null;
            }

            // Stamps rise with the versions along the list: that of the one before is low enough for all behind.
            Snapshot? before = _last;
            while (before is not null && before.Version > version)
            {
                before = before.Previous;
            }

            Snapshot snapshot = into ?? new Snapshot();
            snapshot.Begin(this, new Horizon(version, before?.Stamp ?? Math.Min(_first?.Stamp ?? long.MaxValue, source.SnapshotStamp)));
            Insert(snapshot);
            PublishOldest();
            return snapshot;
        }
    }

    /// <summary>Pins the first version that an engine promises, and so all that it promises.</summary>
    internal Snapshot PinAll(HistoryFloor floor)
    {
        lock (_lock)
        {
            var snapshot = new Snapshot();
            snapshot.Begin(this, new Horizon(floor.From, _first?.Stamp ?? Retention.Bound().Stamp));
            Insert(snapshot);
            PublishOldest();
            return snapshot;
        }
    }

    /// <summary>
    /// Opens a snapshot at the source's newest version. <paramref name="into"/>: a closed one of this or another list that is
    /// used again; null: a new one.
    /// </summary>
    public Snapshot Open(ISnapshotSource source, Snapshot? into = null)
    {
        lock (_lock)
        {
            long pinned = source.SnapshotVersion;
            if (pinned < _oldestVersion)
            {
                Volatile.Write(ref _oldestStamp, source.SnapshotStamp);
                Volatile.Write(ref _oldestVersion, pinned);
            }

            Interlocked.MemoryBarrier();
            long stamp = source.SnapshotStamp;
            Snapshot snapshot = into ?? new Snapshot();
            snapshot.Begin(this, new Horizon(source.SnapshotVersion, stamp));
            Insert(snapshot);
            PublishOldest();
            return snapshot;
        }
    }

    /// <summary>
    /// Pins a version that the caller knows to be complete in the engine it is about to walk: an engine's own visible
    /// version, pinned while that engine cannot raise it and so cannot have forgotten anything visible at it.
    /// </summary>
    internal Snapshot Pin(long version, long stamp)
    {
        lock (_lock)
        {
            var snapshot = new Snapshot();
            snapshot.Begin(this, new Horizon(version, stamp));
            Insert(snapshot);
            PublishOldest();
            return snapshot;
        }
    }

    /// <summary>
    /// Opens another snapshot at the version of an open one. If that one may be closed meanwhile, the caller looks afterwards whether
    /// it was: the version may have been forgotten then.
    /// </summary>
    internal void Share(Snapshot open, Snapshot into)
    {
        lock (_lock)
        {
            into.Begin(this, new Horizon(open.Version, open.Stamp));
            Insert(into);
            PublishOldest();
        }
    }

    internal void Close(Snapshot snapshot)
    {
        lock (_lock)
        {
            bool oldest = _first == snapshot;
            Remove(snapshot);
            if (oldest)
            {
                PublishOldest();
            }
        }
    }

    /// <summary>By rising version. Snapshots of different partitions come nearly in order, so the way is short.</summary>
    private void Insert(Snapshot snapshot)
    {
        Snapshot? before = _last;
        while (before is not null && before.Version > snapshot.Version)
        {
            before = before.Previous;
        }

        Snapshot? next = before is null ? _first : before.Next;
        snapshot.Previous = before;
        snapshot.Next = next;
        if (before is null)
        {
            _first = snapshot;
        }
        else
        {
            before.Next = snapshot;
        }

        if (next is null)
        {
            _last = snapshot;
        }
        else
        {
            next.Previous = snapshot;
        }

        _count++;
    }

    private void Remove(Snapshot snapshot)
    {
        if (snapshot.Previous is null)
        {
            _first = snapshot.Next;
        }
        else
        {
            snapshot.Previous.Next = snapshot.Next;
        }

        if (snapshot.Next is null)
        {
            _last = snapshot.Previous;
        }
        else
        {
            snapshot.Next.Previous = snapshot.Previous;
        }

        snapshot.Previous = null;
        snapshot.Next = null;
        _count--;
    }

    private void PublishOldest()
    {
        Volatile.Write(ref _oldestStamp, _first?.Stamp ?? long.MaxValue);
        Volatile.Write(ref _oldestVersion, _first?.Version ?? long.MaxValue);
    }
}

/// <summary>
/// An open snapshot, and a link of its list. Dispose it to let the store forget what only it can see; a second dispose does
/// nothing. Once closed it may be opened again by its owner.
/// </summary>
internal sealed class Snapshot : IDisposable
{
    private SnapshotList? _list;

    // The list's, under its lock.
    internal Snapshot? Previous;
    internal Snapshot? Next;

    public long Version { get; private set; }

    public long Stamp { get; private set; }

    /// <summary>When it was opened, by <see cref="Environment.TickCount64"/>.</summary>
    internal long OpenedTicks { get; private set; }

    internal void Begin(SnapshotList list, Horizon at)
    {
        Debug.Assert(_list is null, "a snapshot is opened again only when it is closed");
        _list = list;
        Version = at.Version;
        Stamp = at.Stamp;
        OpenedTicks = Environment.TickCount64;
    }

    public void Dispose() => Interlocked.Exchange(ref _list, null)?.Close(this);
}
