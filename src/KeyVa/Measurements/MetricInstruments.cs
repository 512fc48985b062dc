using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace KeyVa.Measurements;

/// <summary>
/// Instruments of a <see cref="Meter"/> that show a list of metrics: each is read when somebody collects, and costs nothing until then.
/// Thread-safe.
/// </summary>
/// <remarks>
/// Percentiles are gauges by <c>quantile</c>, and a counter of how many they are of: they are counted in histograms of our own, whose
/// buckets no exporter knows, for a tenth of what recording in a Histogram of the base library costs.
/// </remarks>
internal sealed class MetricInstruments
{
    // A collection asks one instrument after the other: they all answer from one reading.
    private static readonly TimeSpan Freshness = TimeSpan.FromMilliseconds(250);

    private readonly Func<List<Metric>> _read;
    private readonly Lock _lock = new();
    private Dictionary<string, List<Measurement<double>>> _newest = [];
    private long _taken;
    private bool _isTaken;

    /// <param name="meter">Gets the instruments.</param>
    /// <param name="catalogue">At least one metric of each family and suffix that will ever be read.</param>
    /// <param name="read">Reads them as they stand.</param>
    public MetricInstruments(Meter meter, IEnumerable<Metric> catalogue, Func<List<Metric>> read)
    {
        _read = read;
        foreach (IGrouping<string, Metric> group in catalogue.GroupBy(static metric => metric.Name))
        {
            Metric metric = group.First();
            string name = group.Key;
            if (metric.Suffix.Length > 0)
            {
                meter.CreateObservableCounter(CountOf(metric.Family), () => Measure(name), null, "How many: " + metric.Family.Help);
            }
            else if (metric.Family.Kind == MetricKind.Counter)
            {
                meter.CreateObservableCounter(metric.Family.Instrument, () => Measure(name), metric.Family.Unit, metric.Family.Help);
            }
            else
            {
                meter.CreateObservableGauge(metric.Family.Instrument, () => Measure(name), metric.Family.Unit, metric.Family.Help);
            }
        }
    }

    /// <summary>The instrument of how many a summary is of: keyva.request.count beside keyva.request.duration.</summary>
    public static string CountOf(MetricFamily family) => family.Instrument.Replace("duration", "count", StringComparison.Ordinal);

    private List<Measurement<double>> Measure(string name)
    {
        lock (_lock)
        {
            if (!_isTaken || Stopwatch.GetElapsedTime(_taken) > Freshness)
            {
                _newest = Group(_read());
                _taken = Stopwatch.GetTimestamp();
                _isTaken = true;
            }

            return _newest.GetValueOrDefault(name) ?? [];
        }
    }

    private static Dictionary<string, List<Measurement<double>>> Group(List<Metric> metrics)
    {
        Dictionary<string, List<Measurement<double>>> groups = [];
        foreach (Metric metric in metrics)
        {
            if (!groups.TryGetValue(metric.Name, out List<Measurement<double>>? group))
            {
                groups.Add(metric.Name, group = []);
            }

            group.Add(new Measurement<double>(metric.Value, metric.Labels.Select(static label => new KeyValuePair<string, object?>(label.Key, label.Value))));
        }

        return groups;
    }
}
