using System.Globalization;

namespace KeyVa.Bench.Front;

/// <summary>
/// Tells what one setting of a server costs more than another, to a hundredth: the same load in short slices, in turns with one and with the other, in one process of the
/// server; the processor time that it used in a slice by the requests that were answered in it. A pair of slices lies within a second, so that what changes
/// more slowly (other tenants, clocks, the compiler) is in both; which comes first is drawn. The median of many pairs, and where it may lie.
/// </summary>
/// <remarks>One thread at a time.</remarks>
internal sealed class PairedSlices(string before, string after, ulong seed)
{
    private const double MostRatio = 1.03;
    private const int Resamples = 4000;

    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(200);

    // What the other setting has left behind in caches is not this one's.
    private static readonly TimeSpan LeadIn = TimeSpan.FromMilliseconds(15);
    private static readonly TimeSpan Warmup = TimeSpan.FromMilliseconds(1200);

    private readonly List<string> _loads = [];
    private readonly Dictionary<string, List<Pair>> _pairs = [];
    private readonly Random _order = new((int)(seed & int.MaxValue));
    private int _process = -1;

    /// <summary>Measures one process of the server until the time is over.</summary>
    /// <param name="process">The server's number.</param>
    /// <param name="loads">What is put on it: a name, and what puts it on with the one setting and with the other.</param>
    /// <param name="until">Ends the measurement, after each load has had its turn.</param>
    /// <param name="choose">Has the server take the other setting (true) or the one; nothing where it has both.</param>
    public void Measure(int process, IReadOnlyList<(string Name, ISliceLoad Before, ISliceLoad After)> loads, Func<bool> until, Action<bool> choose)
    {
        _process++;
        foreach ((string name, ISliceLoad plain, ISliceLoad changed) in loads)
        {
            if (_pairs.TryAdd(name, []))
            {
                _loads.Add(name);
            }

            choose(false);
            plain.Run(Warmup);
            choose(true);
            changed.Run(Warmup);
        }

        do
        {
            foreach ((string name, ISliceLoad plain, ISliceLoad changed) in loads)
            {
                bool isReversed = _order.Next(2) == 1;
                double first = Cost(process, isReversed, isReversed ? changed : plain, choose);
                double second = Cost(process, !isReversed, isReversed ? plain : changed, choose);
                _pairs[name].Add(isReversed ? new Pair(_process, second, first) : new Pair(_process, first, second));
            }
        }
        while (!until());
    }

    /// <summary>Adds the table; whether no load is known to cost more than its limit, and each is known to keep it.</summary>
    public bool Report(Section section)
    {
        Table table = new(
            $"Processor time of the server a request, {before} and {after}",
            ["load", before + ", µs", after + ", µs", "more, %", "95 % from", "to", "pairs", "of each process, %", "limit 3 %"]);
        bool kept = true;
        foreach (string load in _loads)
        {
            List<Pair> pairs = _pairs[load];
            double[] ratios = [.. pairs.Select(static pair => pair.After / pair.Before)];
            (double low, double high) = Interval(ratios, new Random((int)(seed & int.MaxValue)));
            string verdict = high <= MostRatio ? "kept" : low > MostRatio ? "BROKEN" : "not told";
            kept &= high <= MostRatio;
            table.Add(
                load,
                Microseconds(Median([.. pairs.Select(static pair => pair.Before)])),
                Microseconds(Median([.. pairs.Select(static pair => pair.After)])),
                Percent(Median(ratios)),
                Percent(low),
                Percent(high),
                (long)pairs.Count,
                string.Join(", ", pairs.GroupBy(static pair => pair.Process).Select(one => Percent(Median([.. one.Select(static pair => pair.After / pair.Before)])))),
                verdict);
        }

        section.Tables.Add(table);
        section.Note(string.Create(
            CultureInfo.InvariantCulture,
            $"Slices of {Slice.TotalMilliseconds:0} ms over the same connections, in pairs, which setting comes first drawn at random; the median of the pairs' ratios, its interval by {Resamples} resamples of the pairs. Kept: the whole interval lies below 3 %; broken: above."));
        return kept;
    }

    /// <summary>Microseconds of the server's processor time a request.</summary>
    private static double Cost(int process, bool after, ISliceLoad load, Action<bool> choose)
    {
        choose(after);
        load.Run(LeadIn);
        TimeSpan begun = Native.ProcessorTime(process);
        long answered = load.Run(Slice);
        return (Native.ProcessorTime(process) - begun).TotalMicroseconds / answered;
    }

    /// <summary>Between which the median lies with 95 %: the bootstrap's percentiles (Efron, 1979).</summary>
    internal static (double Low, double High) Interval(double[] values, Random random)
    {
        double[] medians = new double[Resamples];
        double[] drawn = new double[values.Length];
        for (int i = 0; i < medians.Length; i++)
        {
            for (int j = 0; j < drawn.Length; j++)
            {
                drawn[j] = values[random.Next(values.Length)];
            }

            medians[i] = Median(drawn);
        }

        Array.Sort(medians);
        return (medians[(int)(Resamples * 0.025)], medians[(int)(Resamples * 0.975)]);
    }

    internal static double Median(double[] values)
    {
        double[] sorted = [.. values.Order()];
        int middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    private static string Microseconds(double time) => string.Create(CultureInfo.InvariantCulture, $"{time:0.000}");

    private static string Percent(double ratio) => string.Create(CultureInfo.InvariantCulture, $"{(ratio - 1) * 100:+0.0;-0.0}");

    private readonly record struct Pair(int Process, double Before, double After);
}
