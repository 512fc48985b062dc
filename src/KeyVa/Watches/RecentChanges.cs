namespace KeyVa.Watches;

/// <summary>The changes kept in memory, as history for one watcher at a time. Thread-safe.</summary>
internal sealed class RecentChanges(WatchHub hub) : IChangeHistory
{
    public HistoryRead TryReadSince(Watcher watcher, long cap)
    {
        ChangeLog[] logs = hub.LogsOf(watcher.Target.Range);
        var merge = new ChangeMerge(logs);
        try
        {
            merge.Open(watcher.Position);
            return FirstKept(logs, watcher.Position) is var first and > 0 ? new HistoryRead(first, 0) : Read(merge, watcher, cap);
        }
        finally
        {
            merge.Close();
        }
    }

    /// <summary>The first version from which nothing of these logs is gone, if something above a version is; else 0.</summary>
    private static long FirstKept(ChangeLog[] logs, long after)
    {
        long floor = logs.Length == 0 ? 0 : logs.Max(static log => log.Floor);
        return floor > after ? floor + 1 : 0;
    }

    private static HistoryRead Read(ChangeMerge merge, Watcher watcher, long cap)
    {
        var version = new List<Change>();
        merge.Begin(cap);
        while (merge.Next is var next and < long.MaxValue)
        {
            bool isLoad = false;
            do
            {
                ChangeRecord record = merge.At.Current;
                isLoad |= record.Kind == ChangeKind.Load;
                if (record.Kind != ChangeKind.Load && watcher.Target.Concerns(record))
                {
                    version.Insert(record.Kind == ChangeKind.RemoveRange ? 0 : version.Count, new Change(record));
                }

                merge.Advance();
            }
            while (merge.Next == next);

            if (merge.HasLost)
            {
                // What was read before is whole; the next reading tells what is gone.
                return default;
            }

            if (isLoad)
            {
                return new HistoryRead(0, next);
            }

            version.ForEach(watcher.Add);
            version.Clear();
            watcher.MoveTo(next);
            if (watcher.IsFull)
            {
                return default;
            }
        }

        if (!merge.HasLost)
        {
            watcher.MoveTo(Math.Max(watcher.Position, cap));
        }

        return default;
    }
}
