using KeyVa.Measurements;

namespace KeyVa.Server;

/// <summary>
/// The one place that says which metrics there are. <see cref="PrometheusText"/> and the control plane render the same
/// list. Thread-safe.
/// </summary>
internal sealed class MetricList(
    Store store, RateSampler rates, IReadOnlyList<RequestMeter> doors, Func<IEnumerable<(string Listener, int Connections)>> connections, SlowLog slow)
{
    /// <summary>All metrics as they stand; those of one family come together.</summary>
    public List<Metric> Read()
    {
        StoreStatistics statistics = store.GetStatistics();
        List<Metric> list = new(256);
        StoreMetrics.Add(list, statistics, store.ListIndexes());
        AddRates(list, rates.Read());
        AddRequestLatency(list, doors.SelectMany(static door => door.Read().Select(one => (door.Door, one.Operation, one.Latency))));
        AddServer(list, connections(), slow.Total, store.Failure is not null);
        return list;
    }

    /// <summary>One metric of each kind there is, whatever this server has: for instruments, and for the documentation.</summary>
    public static List<Metric> Catalogue()
    {
        List<Metric> list = StoreMetrics.Catalogue();
        AddRates(list, default);
        AddRequestLatency(list, [("rest", "get", default)]);
        AddServer(list, [("rest", 0)], slow: 0, failed: false);
        return list;
    }

    private static void AddRates(List<Metric> list, OperationRates rates)
    {
        MetricFamily family = new(
            "keyva_operations_per_second", MetricKind.Gauge, "Keys per second over the last five seconds, by operation.");
        list.Add(new Metric(family, rates.Gets, StoreMetrics.Labels("operation", "get")));
        list.Add(new Metric(family, rates.Sets, StoreMetrics.Labels("operation", "set")));
        list.Add(new Metric(family, rates.Removes, StoreMetrics.Labels("operation", "delete")));
    }

    private static void AddRequestLatency(List<Metric> list, IEnumerable<(string Door, string Operation, LatencySummary Latency)> latencies)
    {
        MetricFamily family = new(
            "keyva_request_seconds", MetricKind.Summary, "Time a request spends in the server, by front door and operation.");
        foreach ((string door, string operation, LatencySummary latency) in latencies)
        {
            StoreMetrics.Quantiles(list, family, [new("door", door), new("operation", operation)], latency);
        }
    }

    private static void AddServer(List<Metric> list, IEnumerable<(string Listener, int Connections)> connections, long slow, bool failed)
    {
        MetricFamily family = new("keyva_connections", MetricKind.Gauge, "Connections open now, by listener.");
        foreach ((string listener, int count) in connections)
        {
            list.Add(new Metric(family, count, StoreMetrics.Labels("listener", listener)));
        }

        StoreMetrics.Counter(list, "keyva_slow_requests_total", "Requests that went into the slow log.", slow);
        StoreMetrics.Gauge(list, "keyva_failed", "1 if the store stopped taking writes after a failed sync or damage.", failed ? 1 : 0);
        StoreMetrics.Gauge(list, "keyva_resident_bytes", "Memory of the process.", Environment.WorkingSet);
        StoreMetrics.Gauge(list, "keyva_gc_heap_bytes", "Memory of the process under garbage collection.", GC.GetTotalMemory(false));
        StoreMetrics.Counter(list, "keyva_cpu_seconds_total", "Processor time of the process.", Environment.CpuUsage.TotalTime.TotalSeconds);
    }
}
