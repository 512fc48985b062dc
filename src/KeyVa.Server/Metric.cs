namespace KeyVa.Server;

/// <summary>How a metric behaves, in the words of Prometheus.</summary>
internal enum MetricKind
{
    Counter,
    Gauge,
    Summary,
}

/// <summary>A metric and what it means.</summary>
internal sealed record MetricFamily(string Name, MetricKind Kind, string Help);

/// <summary>One value of a metric. A summary's count and sum have a suffix to the name.</summary>
internal readonly record struct Metric(
    MetricFamily Family, double Value, IReadOnlyList<KeyValuePair<string, string>> Labels, string Suffix = "")
{
    /// <summary>The name as it is published.</summary>
    public string Name => Family.Name + Suffix;
}
