namespace KeyVa.Engines.Lsm;

/// <summary>
/// Smooth backpressure: how long a group should wait, from how far flushes and compactions are behind. The rate granted
/// falls continuously with the debt, so that there is no cliff. Writer only, but for <see cref="Total"/> and <see cref="Count"/>.
/// </summary>
internal sealed class WriteThrottle(EngineOptions options, TimeProvider time)
{
    /// <summary>The rate granted when a debt begins to count, and when it is largest, in bytes per second.</summary>
    private const double FastestRate = 512 << 20;
    private const double SlowestRate = 1 << 20;

    /// <summary>Debt of the deeper levels begins to count at this many times level 1, and is largest at twice that.</summary>
    private const int DebtBegins = 64;

    /// <summary>
    /// No single delay is longer; what a group owes beyond it, the next ones pay. Below full memory nobody should wait as
    /// long as one notices; then memory is at stake, and large groups must not slip through.
    /// </summary>
    private static readonly TimeSpan LongestDelay = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestDelayWhenFull = TimeSpan.FromSeconds(1);

    /// <summary>
    /// Shorter waits cost more than they are (some 60 µs pass until a thread runs again): they are saved up. Longer ones would be what the slowest
    /// of a thousand puts takes.
    /// </summary>
    private static readonly TimeSpan ShortestDelay = TimeSpan.FromMicroseconds(250);

    // Writer-owned: the time that groups should have taken beyond what they have.
    private double _owedSeconds;
    private long _lastTimestamp;

    private long _totalTicks;
    private long _count;

    /// <summary>All delays asked for.</summary>
    public TimeSpan Total => TimeSpan.FromTicks(Volatile.Read(ref _totalTicks));

    /// <summary>How many they were.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <param name="bytes">Of the group that asks.</param>
    /// <param name="active">Where it will be written.</param>
    /// <param name="current">What is there.</param>
    /// <param name="memory">The pressure of the store's memory budget; counts where it is the strongest.</param>
    public TimeSpan Delay(long bytes, Memtable active, Superversion current, double memory = 0)
    {
        double pressure = Math.Max(memory, Math.Max(MemoryPressure(active, current), TablePressure(current)));
        if (pressure <= 0)
        {
            _owedSeconds = 0;
            return TimeSpan.Zero;
        }

        // The time that has passed since the last group counts, whether it was waited or worked.
        long now = time.GetTimestamp();
        double passed = _owedSeconds > 0 ? time.GetElapsedTime(_lastTimestamp, now).TotalSeconds : 0;
        _lastTimestamp = now;

        // Geometric between the two rates: every step of debt costs the same factor.
        double rate = FastestRate * Math.Pow(SlowestRate / FastestRate, Math.Min(1, pressure)) / Math.Max(1, pressure);
        _owedSeconds = Math.Min(LongestDelayWhenFull.TotalSeconds, Math.Max(0, _owedSeconds - passed) + (bytes / rate));
        TimeSpan longest = pressure < 1 ? LongestDelay : LongestDelayWhenFull;
        TimeSpan delay = _owedSeconds < longest.TotalSeconds ? TimeSpan.FromSeconds(_owedSeconds) : longest;
        if (delay < ShortestDelay)
        {
            return TimeSpan.Zero;
        }

        Volatile.Write(ref _totalTicks, _totalTicks + delay.Ticks);
        Volatile.Write(ref _count, _count + 1);
        return delay;
    }

    /// <summary>0 while a quarter of the memtables is free, 1 when all are full; above 1 when the active one outgrows its size too.</summary>
    private double MemoryPressure(Memtable active, Superversion current)
    {
        int immutables = current.Immutables.Length;
        if (immutables * 4 < options.MaxImmutableMemtables * 3)
        {
            return 0;
        }

        double full = Math.Max(0, immutables - 1 + ((double)active.UsedBytes / options.MemtableBytes));
        double free = options.MaxImmutableMemtables * 0.75;
        return Math.Max(0, (full - free) / Math.Max(1, options.MaxImmutableMemtables - free));
    }

    /// <summary>
    /// Tables of level 0 beyond where they begin to count. Those in a compaction go all at once and soon: they count half, as many as lie
    /// between the slowdown and the stop.
    /// </summary>
    private double TablePressure(Superversion current)
    {
        double tables = current.Level0.Length - options.Level0SlowdownTables;
        if (tables > 0)
        {
            int range = options.Level0StopTables - options.Level0SlowdownTables;
            tables -= 0.5 * Math.Min(range, current.Level0.Count(static table => table.BeingCompacted));
        }

        double pressure = tables / Math.Max(1, options.Level0StopTables - options.Level0SlowdownTables);
        double debt = current.Targets.Debt - (DebtBegins * (double)options.Level1Bytes);
        return Math.Max(0, Math.Max(pressure, debt / (DebtBegins * (double)options.Level1Bytes)));
    }
}
