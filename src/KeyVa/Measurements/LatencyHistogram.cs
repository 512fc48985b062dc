using System.Diagnostics;
using System.Numerics;

namespace KeyVa.Measurements;

/// <summary>
/// Counts durations in buckets whose width grows with the value (HdrHistogram's idea, Tene 2012): 32 to each power of
/// two, so a percentile is exact to about 3 %. Thread-safe: recording is one atomic increment.
/// </summary>
internal sealed class LatencyHistogram
{
    private const int SubBucketBits = 5;
    private const int SubBuckets = 1 << SubBucketBits;
    private const int Buckets = (64 - SubBucketBits) * SubBuckets;

    private readonly long[] _counts = new long[Buckets];
    private long _max;

    /// <summary>Records a time measured with <see cref="Stopwatch.GetTimestamp"/>.</summary>
    public void RecordSince(long startTimestamp)
    {
        long elapsed = Stopwatch.GetTimestamp() - startTimestamp;
        Record((long)(elapsed * (1e9 / Stopwatch.Frequency)));
    }

    /// <summary>Records a time in ticks of <see cref="Stopwatch"/>, for so many that shared it.</summary>
    public void RecordTicks(long ticks, int count = 1) => Record((long)(ticks * (1e9 / Stopwatch.Frequency)), count);

    public void Record(long nanoseconds, int count = 1)
    {
        long value = Math.Max(0, nanoseconds);
        Interlocked.Add(ref _counts[BucketOf(value)], count);
        long max = Volatile.Read(ref _max);
        while (value > max)
        {
            long seen = Interlocked.CompareExchange(ref _max, value, max);
            if (seen == max)
            {
                break;
            }

            max = seen;
        }
    }

    public LatencySummary Summarize()
    {
        var counts = new long[Buckets];
        long total = 0;
        for (int i = 0; i < Buckets; i++)
        {
            counts[i] = Volatile.Read(ref _counts[i]);
            total += counts[i];
        }

        return new LatencySummary(total, Percentile(counts, total, 0.5), Percentile(counts, total, 0.99), Percentile(counts, total, 0.999), Volatile.Read(ref _max) / 1000.0);
    }

    /// <summary>How many took up to 1, 2, 4, ... microseconds, each counted once, in the first of these that it fits.</summary>
    public long[] ByMicroseconds()
    {
        // 2^53 microseconds are more than a long has in nanoseconds.
        var powers = new long[54];
        for (int i = 0; i < Buckets; i++)
        {
            if (Volatile.Read(ref _counts[i]) is > 0 and var count)
            {
                double microseconds = MiddleOf(i) / 1000;
                powers[microseconds <= 1 ? 0 : (int)Math.Ceiling(Math.Log2(microseconds))] += count;
            }
        }

        return powers;
    }

    private static int BucketOf(long value)
    {
        if (value < SubBuckets)
        {
            return (int)value;
        }

        int shift = 63 - BitOperations.LeadingZeroCount((ulong)value) - SubBucketBits;
        return ((shift + 1) << SubBucketBits) + (int)((value >> shift) & (SubBuckets - 1));
    }

    private static double MiddleOf(int bucket)
    {
        if (bucket < SubBuckets)
        {
            return bucket;
        }

        int shift = (bucket >> SubBucketBits) - 1;
        double low = (double)(SubBuckets + (bucket & (SubBuckets - 1))) * Math.Pow(2, shift);
        return low + (Math.Pow(2, shift) / 2);
    }

    private static double Percentile(long[] counts, long total, double share)
    {
        if (total == 0)
        {
            return 0;
        }

        long rank = Math.Max(1, (long)Math.Ceiling(total * share));
        long seen = 0;
        for (int i = 0; i < counts.Length; i++)
        {
            seen += counts[i];
            if (seen >= rank)
            {
                return MiddleOf(i) / 1000.0;
            }
        }

        return 0;
    }
}
