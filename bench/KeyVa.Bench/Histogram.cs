using System.Numerics;

namespace KeyVa.Bench;

/// <summary>
/// Counts latencies in buckets of 1/16 of a power of two, so a percentile is exact to about 6 %. Allocates once. One
/// thread at a time; threads have their own and are merged afterwards.
/// </summary>
internal sealed class Histogram
{
    private const int SubBits = 4;
    private const int Sub = 1 << SubBits;

    private readonly long[] _counts = new long[64 * Sub];

    public long Count { get; private set; }

    /// <summary>The longest time, exact, in ticks of Stopwatch.</summary>
    public long Longest { get; private set; }

    /// <summary>Adds a time in ticks of Stopwatch.</summary>
    public void Add(long ticks)
    {
        _counts[Bucket(Math.Max(ticks, 1))]++;
        Count++;
        Longest = Math.Max(Longest, ticks);
    }

    public void Merge(Histogram other)
    {
        for (int i = 0; i < _counts.Length; i++)
        {
            _counts[i] += other._counts[i];
        }

        Count += other.Count;
        Longest = Math.Max(Longest, other.Longest);
    }

    /// <summary>The time in microseconds that this share of the operations did not exceed; 0 without operations.</summary>
    public double Microseconds(double share)
    {
        long rank = (long)Math.Ceiling(share * Count);
        long seen = 0;
        for (int i = 0; i < _counts.Length; i++)
        {
            seen += _counts[i];
            if (seen >= rank && seen > 0)
            {
                return UpperBound(i) * 1e6 / System.Diagnostics.Stopwatch.Frequency;
            }
        }

        return 0;
    }

    private static int Bucket(long ticks)
    {
        int log = BitOperations.Log2((ulong)ticks);
        int sub = log >= SubBits ? (int)(ticks >> (log - SubBits)) & (Sub - 1) : (int)(ticks << (SubBits - log)) & (Sub - 1);
        return (log * Sub) + sub;
    }

    private static double UpperBound(int bucket) => Math.ScaleB(1 + ((bucket % Sub) + 1) / (double)Sub, bucket / Sub);
}
