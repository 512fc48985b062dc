using KeyVa.Partitions;

namespace KeyVa.Watches;

/// <summary>
/// The bulk loads of a store that somebody who watches has yet to read. A load is pinned by the writer that applies it, before
/// it is visible; the hub says, when it comes to the load, who has to read it; the last of them lets it go.
/// </summary>
/// <remarks>
/// Thread-safe. So that a reader which stands still does not hold old versions for ever, the hub ends one that took nothing for
/// <see cref="PatientSweeps"/> sweeps.
/// </remarks>
internal sealed class PinnedLoads(SnapshotList snapshots)
{
    /// <summary>How often a reader may be found idle before its loads are let go.</summary>
    public const int PatientSweeps = 6;

    private readonly Lock _lock = new();
    private readonly List<PinnedLoad> _loads = [];

    /// <summary>Writer, before the load is visible.</summary>
    public void Pin(ChangeLog log, long version, long stamp)
    {
        lock (_lock)
        {
            _loads.Add(new PinnedLoad(log, version, snapshots.Pin(version, stamp)));
        }
    }

    /// <summary>The hub has come to a load: these have to read it.</summary>
    public void Assign(ChangeLog log, long version, List<Watcher> readers)
    {
        lock (_lock)
        {
            if (_loads.Find(load => load.Log == log && load.Version == version) is not { } load)
            {
                return;
            }

            load.IsAssigned = true;
            load.Readers = readers.Count;
            foreach (Watcher reader in readers)
            {
                (reader.Loads ??= []).Add(load);
            }

            if (readers.Count == 0)
            {
                Release(load);
            }
        }
    }

    /// <summary>
    /// A watcher has to read a version of the past from the engines, like a load. False if one of them has forgotten it; at best it is pinned already.
    /// </summary>
    public bool TryPinPast(Watcher watcher, ChangeLog[] logs, long version, ISnapshotSource source)
    {
        lock (_lock)
        {
            if (watcher.Loads?.Exists(load => load.Version == version) == true)
            {
                return true;
            }

            foreach (ChangeLog log in logs)
            {
                if (snapshots.TryOpenAt(version, source, [log.Partition], out _) is not { } snapshot)
                {
                    return false;
                }

                var load = new PinnedLoad(log, version, snapshot) { IsAssigned = true, Readers = 1 };
                _loads.Add(load);
                (watcher.Loads ??= []).Add(load);
            }

            return true;
        }
    }

    /// <summary>The loads of a version that a watcher has to read; empty: none is kept for it.</summary>
    public PinnedLoad[] Of(Watcher watcher, long version)
    {
        lock (_lock)
        {
            return watcher.Loads is null ? [] : [.. watcher.Loads.Where(load => load.Version == version && !load.IsGone)];
        }
    }

    /// <summary>A watcher has read its loads up to a version, or is gone.</summary>
    public void Release(Watcher watcher, long version)
    {
        lock (_lock)
        {
            foreach (PinnedLoad load in watcher.Loads ?? [])
            {
                if (load.Version <= version && --load.Readers == 0)
                {
                    Release(load);
                }
            }

            watcher.Loads?.RemoveAll(load => load.Version <= version);
        }
    }

    /// <summary>The hub will not come to the loads of this log that it has not seen.</summary>
    public void ReleaseUnassigned(ChangeLog log)
    {
        lock (_lock)
        {
            _loads.FindAll(load => load.Log == log && !load.IsAssigned).ForEach(Release);
        }
    }

    /// <summary>Nobody watches any more, or the store closes.</summary>
    public void ReleaseAll()
    {
        lock (_lock)
        {
            _loads.ForEach(static load => load.Release());
            _loads.Clear();
        }
    }

    private void Release(PinnedLoad load)
    {
        load.Release();
        _loads.Remove(load);
    }
}
