using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Watches;

/// <summary>
/// The versions that the engines retain, as history: what is too old for the changes kept in memory, and not for retention. Thread-safe.
/// </summary>
/// <remarks>
/// Engines keep versions by key, and a watch wants them by version: each reading goes through all that was written in the watch's range
/// since its position and picks the lowest versions. So it takes long for what is large; nothing is held for it but for the
/// time of one reading, and retention may overtake a reader that is slower than the writers.
/// <para>It has everything above the version at which the partitions of the store last changed, or their indexes: what a partition held that was removed
/// since is gone without a trace. A partition that is volatile has no history beyond its process.</para>
/// </remarks>
internal sealed class RetainedChanges(WatchHub hub, StoreContext context) : IChangeHistory
{
    private const int LookMask = 1023;

    public HistoryRead TryReadSince(Watcher watcher, long cap)
    {
        ChangeLog[] logs = hub.LogsOf(watcher.Target.Range);
        Partition[] partitions = Array.ConvertAll(logs, static log => log.Partition);
        long kept = logs.Length == 0 ? 0 : logs.Max(static log => log.Floor);
        long after = watcher.Position;
        var gone = new HistoryRead(kept + 1, 0);
        if (kept <= after)
        {
            // Memory has what comes next, since this moment.
            return default;
        }

        if (!context.Snapshots.Retention.IsOn || after < hub.Feed.ChangedAt || Array.Exists(partitions, static partition => partition.Definition.IsVolatile))
        {
            return gone;
        }

        var pinned = new List<Partition>(partitions.Length);
        using Snapshot snapshot = new();
        try
        {
            foreach (Partition partition in partitions)
            {
                if (!partition.TryPin())
                {
                    return gone;
                }

                pinned.Add(partition);
            }

            return context.Snapshots.TryOpenAt(after, context.Oracle, partitions, out _, snapshot) is null
                ? gone
                : Read(watcher, logs, Math.Min(cap, kept));
        }
        finally
        {
            pinned.ForEach(static partition => partition.Unpin());
        }
    }

    private HistoryRead Read(Watcher watcher, ChangeLog[] logs, long upTo)
    {
        var found = new VersionCollection(watcher.Target, upTo, isBounded: true);
        if (upTo <= watcher.Position || !Collect(watcher, logs, found))
        {
            return default;
        }

        if (found.IsCut)
        {
            long version = found.FirstVersion;
            if (!found.HasRemovals)
            {
                // As long as a bulk load, and read as one.
                return hub.TryPinVersion(watcher, logs, version) ? new HistoryRead(0, version) : default;
            }

            found = new VersionCollection(watcher.Target, version, isBounded: false);
            if (!Collect(watcher, logs, found))
            {
                return default;
            }
        }

        foreach ((long version, IEnumerable<Change> changes) in found.Versions)
        {
            foreach (Change change in changes)
            {
                watcher.Add(change);
            }

            watcher.MoveTo(version);
        }

        watcher.MoveTo(found.UpTo);
        return default;
    }

    /// <summary>False: the reader does not want it any more.</summary>
    private static bool Collect(Watcher watcher, ChangeLog[] logs, VersionCollection found)
    {
        foreach (ChangeLog log in logs)
        {
            Engine engine = log.Partition.Engine;
            using VersionScan scan = engine.ScanVersions(watcher.Target.Range, watcher.Position, found.UpTo);
            found.Add(scan.Ranges);
            for (int i = 1; scan.MoveNext(); i++)
            {
                found.Add(scan, engine);
                if ((i & LookMask) == 0 && !watcher.IsWanted)
                {
                    return false;
                }
            }
        }

        return true;
    }
}
