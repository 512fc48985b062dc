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
internal sealed class SnapshotList
{
    private readonly Lock _lock = new();
    private readonly LinkedList<Horizon> _open = new();
    private long _oldestVersion = long.MaxValue;
    private long _oldestStamp = long.MaxValue;

    /// <summary>How many snapshots are open.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _open.Count;
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

    /// <summary>What an engine with this visible version and stamp may forget; read those before the call.</summary>
    public Horizon Bound(long visibleVersion, long visibleStamp)
    {
        lock (_lock)
        {
            return new Horizon(Math.Min(visibleVersion, _oldestVersion), Math.Min(visibleStamp, _oldestStamp));
        }
    }

    /// <summary>Opens a snapshot at the source's newest version.</summary>
    public Snapshot Open(ISnapshotSource source)
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
            var node = new LinkedListNode<Horizon>(new Horizon(source.SnapshotVersion, stamp));
            Insert(node);
            PublishOldest();
            return new Snapshot(this, node);
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
            var node = new LinkedListNode<Horizon>(new Horizon(version, stamp));
            Insert(node);
            PublishOldest();
            return new Snapshot(this, node);
        }
    }

    internal void Close(LinkedListNode<Horizon> node)
    {
        lock (_lock)
        {
            bool oldest = _open.First == node;
            _open.Remove(node);
            if (oldest)
            {
                PublishOldest();
            }
        }
    }

    /// <summary>By rising version. Snapshots of different partitions come nearly in order, so the way is short.</summary>
    private void Insert(LinkedListNode<Horizon> node)
    {
        LinkedListNode<Horizon>? before = _open.Last;
        while (before is not null && before.Value.Version > node.Value.Version)
        {
            before = before.Previous;
        }

        if (before is null)
        {
            _open.AddFirst(node);
        }
        else
        {
            _open.AddAfter(before, node);
        }
    }

    private void PublishOldest()
    {
        Horizon? oldest = _open.First?.Value;
        Volatile.Write(ref _oldestStamp, oldest?.Stamp ?? long.MaxValue);
        Volatile.Write(ref _oldestVersion, oldest?.Version ?? long.MaxValue);
    }
}

/// <summary>An open snapshot. Dispose it to let the store forget what only it can see; a second dispose does nothing.</summary>
internal sealed class Snapshot : IDisposable
{
    private readonly SnapshotList _list;
    private LinkedListNode<Horizon>? _node;

    internal Snapshot(SnapshotList list, LinkedListNode<Horizon> node)
    {
        _list = list;
        _node = node;
        Version = node.Value.Version;
    }

    public long Version { get; }

    public void Dispose()
    {
        LinkedListNode<Horizon>? node = Interlocked.Exchange(ref _node, null);
        if (node is not null)
        {
            _list.Close(node);
        }
    }
}
