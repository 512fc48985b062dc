using System.Diagnostics;
using System.Runtime.CompilerServices;
using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Watches;

/// <summary>A watch as its reader sees it. Stateless: the enumeration holds what there is.</summary>
internal static class WatchStream
{
    private const int CancellationMask = 1023;

    public static async IAsyncEnumerable<WatchEvent> RunAsync(
        WatchHub hub, WatchOptions options, Func<PartitionMap> map, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        (Watcher watcher, long last) = await hub.OpenAsync(options, map, cancellation).ConfigureAwait(false);
        using CancellationTokenRegistration cancelled = cancellation.UnsafeRegister(static state => ((Watcher)state!).Cancel(), watcher);
        try
        {
            yield return new WatchEvent { Version = last };
            while (true)
            {
                cancellation.ThrowIfCancellationRequested();
                if (watcher.TryTake(out Change? change, out bool hasMore))
                {
                    last = change!.Version;
                    hub.CountTold();
                    yield return change.ToEvent(watcher.Target, hasMore);
                    continue;
                }

                switch (watcher.Look(out StoreException? end, out long progress))
                {
                    case WatcherState.Ended:
                        throw end!;
                    case WatcherState.HasProgress:
                        last = Math.Max(last, progress);
                        yield return new WatchEvent { Version = last };
                        break;
                    case WatcherState.Behind when hub.ReadOn(watcher) is var load and > 0:
                        foreach (WatchEvent loaded in ReadLoad(hub, watcher, load, cancellation))
                        {
                            last = load;
                            hub.CountTold();
                            yield return loaded;
                        }

                        break;
                    case WatcherState.Idle:
                        await watcher.WaitAsync().ConfigureAwait(false);
                        break;
                    case WatcherState.Behind or WatcherState.HasChanges:
                        break;
                    default:
                        throw new UnreachableException();
                }
            }
        }
        finally
        {
            hub.Close(watcher);
        }
    }

    /// <summary>The records of a bulk load, from the engines: as many as there are, none held but one.</summary>
    private static IEnumerable<WatchEvent> ReadLoad(WatchHub hub, Watcher watcher, long version, CancellationToken cancellation)
    {
        PinnedLoad[] loads = hub.LoadsOf(watcher, version);
        WatchEvent? before = null;
        foreach (PinnedLoad load in loads)
        {
            Partition partition = load.Log.Partition;
            if (!partition.TryPin())
            {
                continue;
            }

            try
            {
                foreach (Change change in Records(hub, watcher, load, cancellation))
                {
                    if (before is { } complete)
                    {
                        yield return complete with { HasMore = true };
                    }

                    before = change.ToEvent(watcher.Target, hasMore: false);
                }
            }
            finally
            {
                partition.Unpin();
            }
        }

        watcher.MoveTo(version);
        hub.DoneWithLoads(watcher, version);
        if (before is { } last)
        {
            yield return last;
        }
    }

    private static IEnumerable<Change> Records(WatchHub hub, Watcher watcher, PinnedLoad load, CancellationToken cancellation)
    {
        KeyRange range = watcher.Target.Range;
        Engine engine = load.Log.Partition.Engine;
        KeyRange bounds = engine.IsOrdered ? range : KeyRange.All;
        using EngineCursor cursor = engine.OpenCursor(bounds.From.Span, bounds.To.Span, load.Version, reverse: false, fillCache: false);
        for (int i = 0; ; i++)
        {
            if (load.IsGone)
            {
                throw hub.Compacted(load.Version + 1);
            }

            if ((i & CancellationMask) == 0)
            {
                cancellation.ThrowIfCancellationRequested();
                watcher.NoteTaken();
            }

            if (!cursor.MoveNext())
            {
                yield break;
            }

            if (cursor.Version == load.Version && (engine.IsOrdered || range.Contains(cursor.Key)))
            {
                yield return new Change(cursor);
            }
        }
    }
}
