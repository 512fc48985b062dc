using System.Runtime.CompilerServices;

namespace KeyVa.Measurements;

/// <summary>What a store counts.</summary>
internal enum Counter
{
    Gets = 0,
    GetsFound = 1,
    Sets = 2,
    Removes = 3,
    Scans = 4,
    Refused = 5,
}

/// <summary>
/// Counters that many threads raise at once: each thread has one of a few stripes, far enough apart that no two share a
/// cache line. Thread-safe and exact.
/// </summary>
internal sealed class StripedCounters
{
    private const int Stripes = 32;
    private const int StripeLongs = 16;

    private readonly long[] _cells = new long[(Stripes + 1) * StripeLongs];

    /// <summary>Adds, and returns the stripe's new count, for sampling.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long Add(Counter counter, long count = 1)
    {
        int stripe = Environment.CurrentManagedThreadId & (Stripes - 1);
        return Interlocked.Add(ref _cells[((stripe + 1) * StripeLongs) + (int)counter], count);
    }

    public long Sum(Counter counter)
    {
        long sum = 0;
        for (int stripe = 1; stripe <= Stripes; stripe++)
        {
            sum += Volatile.Read(ref _cells[(stripe * StripeLongs) + (int)counter]);
        }

        return sum;
    }
}
