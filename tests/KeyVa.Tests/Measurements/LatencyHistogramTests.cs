using KeyVa.Measurements;
using Xunit;

namespace KeyVa.Tests.Measurements;

public sealed class LatencyHistogramTests
{
    [Fact]
    public void PercentilesAreExactToThreePercent()
    {
        for (int seed = 0; seed < 20; seed++)
        {
            var random = new Random(seed);
            var histogram = new LatencyHistogram();
            var values = new long[10_000];
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = (long)Math.Pow(10, random.NextDouble() * 10);
                histogram.Record(values[i]);
            }

            Array.Sort(values);
            LatencySummary summary = histogram.Summarize();
            Assert.Equal(values.Length, summary.Count);
            Near(values[4999], summary.P50, seed);
            Near(values[9899], summary.P99, seed);
            Near(values[9989], summary.P999, seed);
            Assert.Equal(values[^1] / 1000.0, summary.Max);
        }
    }

    [Fact]
    public void NothingMeasuredIsZero() => Assert.Equal(default, new LatencyHistogram().Summarize());

    [Fact]
    public void PowersOfTwoMicrosecondsHoldEverything()
    {
        var histogram = new LatencyHistogram();
        foreach (long nanoseconds in new long[] { 0, 700, 1_500, 3_000, 3_500, 1_000_000, long.MaxValue })
        {
            histogram.Record(nanoseconds);
        }

        long[] counts = histogram.ByMicroseconds();
        Assert.Equal((2, 1, 2, 1), (counts[0], counts[1], counts[2], counts[10]));
        Assert.Equal(7, counts.Sum());
    }

    [Fact]
    public void CountersOfManyThreadsAreExact()
    {
        var counters = new StoreCounters();
        Parallel.For(0, 64, _ =>
        {
            for (int i = 0; i < 1000; i++)
            {
                counters.Add(Counter.Sets, 2);
            }
        });
        Assert.Equal(128_000, counters.Sum(Counter.Sets));
        Assert.Equal(0, counters.Sum(Counter.Gets));
    }

    [Fact]
    public void AThreadThatUsesTwoStoresAndEndsIsCountedInBoth()
    {
        var first = new StoreCounters();
        var second = new StoreCounters();
        var thread = new Thread(() =>
        {
            for (int i = 0; i < 100; i++)
            {
                first.Add(Counter.Gets);
                second.Add(Counter.Gets, 3);
            }

            first.Close();
            second.Add(Counter.Gets, 3);
            second.Add(Counter.Gets, 3);
        });
        thread.Start();
        thread.Join();
        Assert.Equal((100L, 306L), (first.Sum(Counter.Gets), second.Sum(Counter.Gets)));
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.Equal((100L, 306L), (first.Sum(Counter.Gets), second.Sum(Counter.Gets)));
    }

    private static void Near(long nanoseconds, double microseconds, int seed) =>
        Assert.True(Math.Abs((microseconds * 1000) - nanoseconds) <= (nanoseconds * 0.032) + 1, $"seed {seed}: {nanoseconds} ns came out as {microseconds} µs");
}
