using System.Diagnostics.Metrics;

namespace KeyVa.Measurements;

/// <summary>
/// The figures of an embedded store as instruments of the meter <c>KeyVa</c>, for OpenTelemetry and whoever else listens to meters:
/// docs/metrics.md lists them. Costs nothing until somebody collects. Dispose it before the store. Thread-safe.
/// </summary>
public sealed class StoreMeter : IDisposable
{
    /// <summary>The meter's name.</summary>
    public const string Name = "KeyVa";

    private readonly Meter _meter;

    /// <param name="store">The store, which must stay open.</param>
    /// <param name="meters">The scope of the meter, so that several hosts of one process can be told apart; null: none.</param>
    public StoreMeter(Store store, IMeterFactory? meters = null)
    {
        ArgumentNullException.ThrowIfNull(store);

        // Not made by the factory, which would keep it until the end of the host: its listeners know it by its scope all the same.
        _meter = new Meter(new MeterOptions(Name) { Version = typeof(StoreMeter).Assembly.GetName().Version?.ToString(3), Scope = meters });
        _ = new MetricInstruments(_meter, StoreMetrics.Catalogue(), () =>
        {
            List<Metric> list = new(256);
            StoreMetrics.Add(list, store.GetStatistics(), store.ListIndexes());
            return list;
        });
    }

    /// <summary>Ends the instruments.</summary>
    public void Dispose() => _meter.Dispose();
}
