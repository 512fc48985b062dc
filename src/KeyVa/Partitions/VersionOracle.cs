namespace KeyVa.Partitions;

/// <summary>
/// Hands out versions and stamps. Versions rise by one per command over the whole store; stamps are the wall clock,
/// never falling. Thread-safe.
/// </summary>
internal sealed class VersionOracle : ISnapshotSource
{
    private readonly TimeProvider _time;
    private long _lastVersion;
    private long _lastStamp;

    public VersionOracle(TimeProvider time) => _time = time;

    /// <summary>The newest version handed out.</summary>
    public long LastVersion => Volatile.Read(ref _lastVersion);

    /// <summary>The newest stamp handed out, in Unix milliseconds.</summary>
    public long LastStamp => Volatile.Read(ref _lastStamp);

    long ISnapshotSource.SnapshotVersion => LastVersion;

    long ISnapshotSource.SnapshotStamp => LastStamp;

    /// <summary>Takes <paramref name="count"/> versions and returns the first.</summary>
    public long Take(int count) => Interlocked.Add(ref _lastVersion, count) - count + 1;

    /// <summary>
    /// The present time in Unix milliseconds, never below what was returned or recovered before.
    /// </summary>
    public long Now()
    {
        long now = _time.GetUtcNow().ToUnixTimeMilliseconds();
        long last = Volatile.Read(ref _lastStamp);
        while (now > last)
        {
            long seen = Interlocked.CompareExchange(ref _lastStamp, now, last);
            if (seen == last)
            {
                return now;
            }

            last = seen;
        }

        return last;
    }

    /// <summary>Goes on above what the log and the engines hold, while opening; or above what another node has handed out.</summary>
    public void Recover(long version, long stamp)
    {
        Raise(ref _lastVersion, version);
        Raise(ref _lastStamp, stamp);
    }

    private static void Raise(ref long last, long to)
    {
        long seen = Volatile.Read(ref last);
        while (to > seen)
        {
            long found = Interlocked.CompareExchange(ref last, to, seen);
            if (found == seen)
            {
                return;
            }

            seen = found;
        }
    }
}
