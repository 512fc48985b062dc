using System.Diagnostics;
using System.Numerics;

namespace KeyVa.Server;

/// <summary>
/// Counts latencies in buckets whose width grows with the latency, so that every percentile is exact to about 3 %.
/// </summary>
/// <remarks>
/// Thread-safe, lock-free, no allocation. Each processor counts in a stripe of its own, so recording costs two
/// uncontended atomic additions; reading adds the stripes up and may miss what is recorded meanwhile.
/// 1. A latency of v units of 64 ns stands in bucket v below 16, else in one of 16 buckets of its power of two.
/// 2. Latencies beyond 2^40 units (19 hours) count as that.
/// </remarks>
internal sealed class LatencyHistogram
{
    private const int UnitShift = 6;
    private const int SubBits = 4;
    private const int SubBuckets = 1 << SubBits;
    private const int MaxExponent = 40;
    private const int Buckets = (MaxExponent - SubBits + 2) * SubBuckets;
    private const int MaxStripes = 8;

    private static readonly int StripeMask = (int)BitOperations.RoundUpToPowerOf2(
        (uint)Math.Min(Environment.ProcessorCount, MaxStripes)) - 1;

    // Shared, atomic. The last cell of a stripe is the sum of its latencies in units.
    private readonly long[][] _stripes = NewStripes();

    /// <summary>Counts the time since a timestamp of <see cref="Stopwatch"/>.</summary>
    public void RecordSince(long started) =>
        Record((long)((Stopwatch.GetTimestamp() - started) * (1e9 / Stopwatch.Frequency)));

    /// <summary>Counts a latency.</summary>
    public void Record(long nanoseconds)
    {
        long units = Math.Clamp(nanoseconds >> UnitShift, 0, (1L << (MaxExponent + 1)) - 1);
        long[] stripe = _stripes[Thread.GetCurrentProcessorId() & StripeMask];
        Interlocked.Increment(ref stripe[BucketOf(units)]);
        Interlocked.Add(ref stripe[Buckets], units);
    }

    /// <summary>What was counted so far.</summary>
    public RequestLatency Read()
    {
        Span<long> counts = stackalloc long[Buckets + 1];
        counts.Clear();
        foreach (long[] stripe in _stripes)
        {
            for (int i = 0; i < counts.Length; i++)
            {
                counts[i] += Volatile.Read(ref stripe[i]);
            }
        }

        long sum = counts[Buckets];
        counts = counts[..Buckets];
        long total = 0;
        foreach (long count in counts)
        {
            total += count;
        }

        return new RequestLatency(
            total, Seconds(sum), Percentile(counts, total, 0.5), Percentile(counts, total, 0.99), Percentile(counts, total, 0.999));
    }

    private static int BucketOf(long units)
    {
        if (units < SubBuckets)
        {
            return (int)units;
        }

        int exponent = BitOperations.Log2((ulong)units);
        return ((exponent - SubBits + 1) * SubBuckets) + (int)((units >> (exponent - SubBits)) & (SubBuckets - 1));
    }

    // The middle of a bucket.
    private static double MiddleOf(int bucket)
    {
        if (bucket < SubBuckets)
        {
            return bucket + 0.5;
        }

        int shift = (bucket / SubBuckets) - 1;
        long first = (long)(SubBuckets + (bucket % SubBuckets)) << shift;
        return first + ((1L << shift) / 2.0);
    }

    private static double Percentile(ReadOnlySpan<long> counts, long total, double share)
    {
        long wanted = (long)Math.Ceiling(total * share);
        long seen = 0;
        for (int i = 0; i < counts.Length && total > 0; i++)
        {
            seen += counts[i];
            if (seen >= wanted)
            {
                return Seconds(MiddleOf(i));
            }
        }

        return 0;
    }

    private static double Seconds(double units) => units * (1 << UnitShift) / 1e9;

    private static long[][] NewStripes()
    {
        long[][] stripes = new long[StripeMask + 1][];
        for (int i = 0; i < stripes.Length; i++)
        {
            stripes[i] = new long[Buckets + 1];
        }

        return stripes;
    }
}

/// <summary>Requests counted, and their latencies in seconds.</summary>
internal readonly record struct RequestLatency(long Count, double Sum, double P50, double P99, double P999);
