using System.Diagnostics;

namespace KeyVa.Bench;

/// <summary>A stretch of time in ticks of Stopwatch, which on Linux is one clock for all processes.</summary>
internal readonly record struct Pause(long From, long To)
{
    public long Ticks => To - From;

    public double Milliseconds => Ticks * 1000.0 / Stopwatch.Frequency;

    /// <summary>
    /// The stretches in which nobody completed anything, the longest first: those that lie in a pause of every thread.
    /// Each thread's pauses are in order and do not overlap.
    /// </summary>
    public static Pause[] OfAll(IReadOnlyList<Pause[]> threads)
    {
        IEnumerable<Pause> common = threads[0];
        foreach (Pause[] other in threads.Skip(1))
        {
            common = Intersect([.. common], other);
        }

        return [.. common.OrderByDescending(pause => pause.Ticks)];
    }

    private static List<Pause> Intersect(Pause[] left, Pause[] right)
    {
        List<Pause> common = [];
        for (int i = 0, j = 0; i < left.Length && j < right.Length;)
        {
            Pause both = new(Math.Max(left[i].From, right[j].From), Math.Min(left[i].To, right[j].To));
            if (both.Ticks > 0)
            {
                common.Add(both);
            }

            _ = left[i].To < right[j].To ? i++ : j++;
        }

        return common;
    }
}
