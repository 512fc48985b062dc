namespace KeyVa.Histories;

/// <summary>An increment of a counter by <see cref="Amount"/>, or a read that found it.</summary>
public sealed record CounterOperation(int Process, long Invoked, long Completed, Outcome Outcome, bool IsRead, long Amount);

/// <summary>
/// A counter that begins at 0 and is added to. What a read finds lies between bounds: increments that had ended before it
/// began count; those that were under way, or whose outcome is unknown, may; those that began after it had ended, or
/// failed, do not. Weaker than linearizability, and linear in time. Stateless.
/// </summary>
public static class CounterChecker
{
    private const int MostReported = 5;

    /// <summary>What is wrong, for a person; null if nothing is.</summary>
    public static string? Check(IEnumerable<CounterOperation> operations)
    {
        CounterOperation[] all = [.. operations.Where(static one => one.Outcome != Outcome.Fail)];
        CounterOperation[] adds = [.. all.Where(static one => !one.IsRead)];
        CounterOperation[] reads = [.. all.Where(static one => one.IsRead && one.Outcome == Outcome.Ok)];

        // What surely happened by a time, and what a time has seen begin, split by sign.
        (long[] doneAt, long[] done) = Sums(adds.Where(static one => one.Outcome == Outcome.Ok), static one => one.Completed, static one => one.Amount);
        (long[] upDoneAt, long[] upDone) = Sums(adds.Where(static one => one.Outcome == Outcome.Ok), static one => one.Completed, static one => Math.Max(0, one.Amount));
        (long[] upAt, long[] up) = Sums(adds, static one => one.Invoked, static one => Math.Max(0, one.Amount));
        (long[] downAt, long[] down) = Sums(adds, static one => one.Invoked, static one => Math.Min(0, one.Amount));
        StringWriter text = new();
        int wrong = 0;
        foreach (CounterOperation read in reads)
        {
            long sure = At(doneAt, done, read.Invoked, inclusive: false);
            long sureUp = At(upDoneAt, upDone, read.Invoked, inclusive: false);
            long most = sure + At(upAt, up, read.Completed, inclusive: true) - sureUp;
            long least = sure + At(downAt, down, read.Completed, inclusive: true) - (sure - sureUp);
            if ((read.Amount < least || read.Amount > most) && ++wrong <= MostReported)
            {
                text.Write($"p{read.Process} {HistoryText.Span(read.Invoked, read.Completed)} read {read.Amount}; between {least} and {most} was possible\n");
            }
        }

        return wrong == 0 ? null : $"{wrong} of {reads.Length} reads are out of bounds\n{text}";
    }

    private static (long[] At, long[] Sums) Sums(IEnumerable<CounterOperation> some, Func<CounterOperation, long> time, Func<CounterOperation, long> amount)
    {
        CounterOperation[] sorted = [.. some.OrderBy(time)];
        long[] sums = new long[sorted.Length + 1];
        for (int i = 0; i < sorted.Length; i++)
        {
            sums[i + 1] = sums[i] + amount(sorted[i]);
        }

        return ([.. sorted.Select(time)], sums);
    }

    // The sum of what has a time before the given one (or at it).
    private static long At(long[] times, long[] sums, long time, bool inclusive)
    {
        (int low, int high) = (0, times.Length);
        while (low < high)
        {
            int middle = (low + high) / 2;
            bool counts = inclusive ? times[middle] <= time : times[middle] < time;
            (low, high) = counts ? (middle + 1, high) : (low, middle);
        }

        return sums[low];
    }
}
