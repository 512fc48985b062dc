namespace KeyVa.Measurements;

/// <summary>How a metric behaves, in the words of Prometheus.</summary>
internal enum MetricKind
{
    Counter,
    Gauge,
    Summary,
}

/// <summary>A metric and what it means.</summary>
internal sealed record MetricFamily(string Name, MetricKind Kind, string Help)
{
    private const string Prefix = "keyva_";

    // What a first word is a group of; the rest of the name is one word to OpenTelemetry.
    private static readonly string[] Groups =
        ["partition", "engine", "level", "index", "journal", "cache", "memory", "transaction", "lock", "watch", "scrub", "table", "request", "gc", "replication"];

    /// <summary>The name of its instrument, by the conventions of OpenTelemetry: in groups, without unit and kind.</summary>
    public string Instrument
    {
        get
        {
            string name = Without("_total", Name[Prefix.Length..]);
            name = Kind == MetricKind.Counter ? Without("_bytes", Without("_seconds", name))
                : name.EndsWith("_bytes", StringComparison.Ordinal) ? Without("_bytes", name) + "_size"
                : Kind == MetricKind.Summary ? Without("_seconds", name) + "_duration"
                : name == "uptime_seconds" ? "uptime"
                : name.EndsWith("_seconds", StringComparison.Ordinal) ? Without("_seconds", name) + "_age"
                : name == "operations_per_second" ? "operation_rate"
                : name;
            string? group = Array.Find(Groups, one => name.StartsWith(one + "_", StringComparison.Ordinal));
            return "keyva." + (group is null ? name : $"{group}.{name[(group.Length + 1)..]}");
        }
    }

    /// <summary>Its unit, as UCUM writes it; null: it is a number of things.</summary>
    public string? Unit
    {
        get
        {
            string name = Without("_total", Name);
            return name.EndsWith("_bytes", StringComparison.Ordinal) ? "By"
                : name.EndsWith("_per_second", StringComparison.Ordinal) ? "{key}/s"
                : name.EndsWith("_seconds", StringComparison.Ordinal) ? "s"
                : name.EndsWith("_ratio", StringComparison.Ordinal) ? "1"
                : null;
        }
    }

    private static string Without(string suffix, string name) => name.EndsWith(suffix, StringComparison.Ordinal) ? name[..^suffix.Length] : name;
}

/// <summary>One value of a metric. A summary's count and sum have a suffix to the name.</summary>
internal readonly record struct Metric(
    MetricFamily Family, double Value, IReadOnlyList<KeyValuePair<string, string>> Labels, string Suffix = "")
{
    /// <summary>The name as it is published.</summary>
    public string Name => Family.Name + Suffix;
}
