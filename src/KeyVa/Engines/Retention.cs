using KeyVa.Partitions;

namespace KeyVa.Engines;

/// <summary>
/// Which versions stay though no open snapshot sees them: by time, what was superseded less than <see cref="Time"/> ago; by
/// count, the newest <see cref="Count"/> versions of each key, tombstones among them. Both: what either keeps.
/// </summary>
/// <remarks>
/// Immutable, thread-safe. Time is a bound on the horizon and nothing else: whatever respects open snapshots respects it. It
/// is the version that was the newest <see cref="Time"/> ago: what a newer version at or below that one shadows was superseded
/// before then. Count is asked for where entries are dropped (<see cref="Lsm.EntryFilter"/>, <see cref="Memory.Reclaimer"/>).
/// </remarks>
internal sealed class Retention
{
    private readonly VersionClock? _clock;
    private readonly VersionOracle? _oracle;
    private readonly long _milliseconds;

    private Retention()
    {
    }

    public Retention(TimeSpan time, int count, VersionClock clock, VersionOracle oracle)
    {
        Time = time;
        Count = count > 1 ? count : 0;
        _milliseconds = (long)time.TotalMilliseconds;
        _clock = clock;
        _oracle = oracle;
    }

    /// <summary>Nothing beyond open snapshots.</summary>
    public static Retention None { get; } = new();

    public TimeSpan Time { get; }

    /// <summary>0 or 2 and more: the newest version is there in any case.</summary>
    public int Count { get; }

    public bool IsOn => _milliseconds > 0 || Count > 0;

    /// <summary>What time lets go.</summary>
    public Horizon Bound()
    {
        if (_milliseconds <= 0)
        {
            return new Horizon(long.MaxValue, long.MaxValue);
        }

        long since = _oracle!.Now() - _milliseconds;
        return new Horizon(_clock!.TryFind(since, out long version) ? version : 0, since);
    }

    /// <summary>When what is due at a time may go.</summary>
    public long Due(long time) => time > long.MaxValue - _milliseconds ? long.MaxValue : time + _milliseconds;
}

/// <summary>From which version on everything that one engine held can be read.</summary>
/// <remarks>
/// Written under the lock of the <see cref="SnapshotList"/>, before anything is forgotten for its sake; a reader pins its version
/// under the same lock and looks here: one of the two comes first, and so nothing is forgotten that a reader has been promised.
/// </remarks>
internal sealed class HistoryFloor
{
    private long _from;

    /// <summary>Reads at this version and newer ones find everything.</summary>
    public long From
    {
        get => Volatile.Read(ref _from);
        set => Volatile.Write(ref _from, value);
    }

    /// <summary>
    /// The newest <see cref="Count"/> versions of each key are complete, as far as they are above this version; set while
    /// opening. MaxValue: nothing is kept by count.
    /// </summary>
    public long CountedFrom { get; private set; } = long.MaxValue;

    public int Count { get; private set; }

    /// <summary>
    /// While opening: what the files say. <paramref name="contained"/>: the version up to which they hold the log; nothing they hold
    /// was dropped for a newer one's sake.
    /// </summary>
    public void Open(HistoryMark? mark, long contained, Retention retention)
    {
        From = Math.Min(mark?.From ?? contained, contained);
        Count = retention.Count;
        CountedFrom = Count == 0 ? long.MaxValue
            : mark is { } known && known.Count >= Count ? Math.Min(known.CountedFrom, contained)
            : contained;
    }

    /// <summary>What the files are to say.</summary>
    public HistoryMark Mark => new(From, Count, Count == 0 ? 0 : CountedFrom);
}

/// <summary>How files tell what they have forgotten; see <see cref="HistoryFloor"/>.</summary>
internal readonly record struct HistoryMark(long From, int Count, long CountedFrom);
