using System.Globalization;
using KeyVa.Cli.Transfer;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary>A table of the live view; columns whose heading begins with '&gt;' are aligned to the right.</summary>
internal sealed record TopSection(string Title, string[] Heading, IReadOnlyList<string[]> Rows);

/// <summary>What <c>top</c> shows: the figures of a server at two moments, and what happened between them. Immutable.</summary>
internal sealed class TopFigures
{
    private readonly Dictionary<string, List<RemoteMetric>> _now;
    private readonly Dictionary<string, double> _before;
    private readonly double _seconds;

    /// <param name="before">The figures of a moment ago.</param>
    /// <param name="now">The figures.</param>
    /// <param name="between">The time between both.</param>
    public TopFigures(IReadOnlyList<RemoteMetric> before, IReadOnlyList<RemoteMetric> now, TimeSpan between)
    {
        _now = now.GroupBy(static metric => metric.Name).ToDictionary(static group => group.Key, static group => group.ToList(), StringComparer.Ordinal);
        _before = [];
        foreach (RemoteMetric metric in before)
        {
            _before[IdentityOf(metric)] = metric.Value;
        }

        _seconds = Math.Max(between.TotalSeconds, 1e-3);
    }

    /// <summary>The head, in a few words each.</summary>
    public IReadOnlyList<(string Name, string Value)> Head() =>
    [
        ("up", Progress.Time(TimeSpan.FromSeconds(One("keyva_uptime_seconds")))),
        ("keys", Progress.Number(One("keyva_keys"))),
        ("disk", Progress.Bytes(One("keyva_storage_bytes"))),
        ("engines", Progress.Bytes(One("keyva_memory_bytes"))),
        ("heap", Progress.Bytes(One("keyva_gc_heap_bytes"))),
        ("resident", Progress.Bytes(One("keyva_resident_bytes"))),
        ("cpu", string.Create(CultureInfo.InvariantCulture, $"{Rate("keyva_cpu_seconds_total") * 100:0} %")),
        ("transactions", Progress.Number(One("keyva_transactions_live"))),
        ("watches", Progress.Number(One("keyva_watchers"))),
        ("state", One("keyva_failed") > 0 ? "TAKES NO WRITES" : "ok"),
    ];

    /// <summary>The tables.</summary>
    public IReadOnlyList<TopSection> Sections() => [Store(), Requests(), Partitions(), Engines(), Connections()];

    private TopSection Store() => new(
        "Store, per second",
        [">GETS", ">FOUND", ">SETS", ">DELETES", ">SCANS", ">REFUSED", ">SLOW", ">COMMITS", ">CONFLICTS", ">SYNCS", ">CACHE HITS"],
        [
            [
                Number(Rate("keyva_gets_total")),
                Percent(Rate("keyva_gets_found_total"), Rate("keyva_gets_total")),
                Number(Rate("keyva_sets_total")),
                Number(Rate("keyva_deletes_total")),
                Number(Rate("keyva_scans_total")),
                Number(Rate("keyva_refused_total")),
                Number(Rate("keyva_slow_requests_total")),
                Number(Rate("keyva_transaction_commits_total")),
                Number(Rate("keyva_transaction_conflicts_total")),
                Number(Rate("keyva_journal_syncs_total")),
                Percent(Rate("keyva_cache_hits_total"), Rate("keyva_cache_hits_total") + Rate("keyva_cache_misses_total")),
            ],
        ]);

    private TopSection Requests()
    {
        List<string[]> rows = [];
        foreach (RemoteMetric count in All("keyva_request_seconds_count"))
        {
            string door = count.Labels["door"];
            string operation = count.Labels["operation"];
            string Quantile(string quantile) => Latency(All("keyva_request_seconds").FirstOrDefault(metric =>
                metric.Labels["door"] == door && metric.Labels["operation"] == operation && metric.Labels["quantile"] == quantile)?.Value ?? 0);
            rows.Add([door, operation, Number(RateOf(count)), Quantile("0.5"), Quantile("0.99"), Quantile("0.999")]);
        }

        return new TopSection("Requests (percentiles since the start)", ["DOOR", "OPERATION", ">PER SECOND", ">P50", ">P99", ">P99.9"], rows);
    }

    private TopSection Partitions() => new(
        "Partitions",
        [">ID", ">KEYS", ">VALUES", ">DISK", ">MEMORY", ">WRITES QUEUED", ">LOG/S", ">BEHIND"],
        [
            .. All("keyva_partition_keys").Select(keys => keys.Labels["partition"]).Select(id => new[]
            {
                id,
                Progress.Number(Of("keyva_partition_keys", id)),
                Progress.Bytes(Of("keyva_partition_value_bytes", id)),
                Progress.Bytes(Of("keyva_partition_storage_bytes", id)),
                Progress.Bytes(Of("keyva_partition_memory_bytes", id)),
                Progress.Number(Of("keyva_partition_queued_writes", id)),
                Number(RateOf("keyva_partition_applied_index", id)),
                Progress.Number(Of("keyva_partition_applied_index", id) - Of("keyva_partition_durable_index", id)),
            }),
        ]);

    private TopSection Engines() => new(
        "lsm engines",
        [">ID", ">MEMTABLES", ">WAITING", ">FLUSHED/S", ">COMPACTED/S", ">COMPACTIONS", ">DUE", ">STALLS/S", ">WRITE AMP", ">READ AMP"],
        [
            .. All("keyva_engine_memtable_bytes").Select(metric => metric.Labels["partition"]).Select(id => new[]
            {
                id,
                Progress.Bytes(Of("keyva_engine_memtable_bytes", id)),
                Progress.Number(Of("keyva_engine_immutable_memtables", id)),
                Progress.Bytes(RateOf("keyva_engine_flushed_bytes_total", id)),
                Progress.Bytes(RateOf("keyva_engine_compacted_bytes_total", id)),
                Progress.Number(Of("keyva_engine_running_compactions", id)),
                Progress.Bytes(Of("keyva_engine_pending_compaction_bytes", id)),
                Number(RateOf("keyva_engine_stalls_total", id)),
                Ratio(Of("keyva_engine_write_amplification", id)),
                Ratio(Of("keyva_engine_read_amplification", id)),
            }),
        ]);

    private TopSection Connections() => new(
        "Connections",
        [.. All("keyva_connections").Select(static metric => ">" + metric.Labels["listener"].ToUpperInvariant())],
        [[.. All("keyva_connections").Select(static metric => Progress.Number(metric.Value))]]);

    private List<RemoteMetric> All(string name) => _now.GetValueOrDefault(name) ?? [];

    private double One(string name) => All(name).FirstOrDefault()?.Value ?? 0;

    private RemoteMetric? Find(string name, string partition) => All(name).Find(metric => metric.Labels.GetValueOrDefault("partition") == partition);

    private double Of(string name, string partition) => Find(name, partition)?.Value ?? 0;

    private double Rate(string name) => All(name).FirstOrDefault() is { } metric ? RateOf(metric) : 0;

    private double RateOf(string name, string partition) => Find(name, partition) is { } metric ? RateOf(metric) : 0;

    // A server that was started again in between counts from 0.
    private double RateOf(RemoteMetric metric) => Math.Max(0, metric.Value - _before.GetValueOrDefault(IdentityOf(metric))) / _seconds;

    private static string IdentityOf(RemoteMetric metric) =>
        metric.Labels.Count == 0 ? metric.Name : $"{metric.Name} {string.Join(' ', metric.Labels.Select(static label => $"{label.Key}={label.Value}"))}";

    private static string Number(double value) => value is 0 or >= 10 ? Progress.Number(value) : value.ToString("0.0", CultureInfo.InvariantCulture);

    private static string Ratio(double value) => value.ToString("0.00", CultureInfo.InvariantCulture);

    private static string Percent(double part, double whole) =>
        whole <= 0 ? "-" : string.Create(CultureInfo.InvariantCulture, $"{Math.Min(1, part / whole) * 100:0.0} %");

    private static string Latency(double seconds) => MetricsCommand.Latency(seconds);
}
