using System.CommandLine;
using System.Globalization;
using KeyVa.Cli.Transfer;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary><c>metrics</c>: the server's figures for a person, or all of them as JSON. Stateless.</summary>
internal static class MetricsCommand
{
    // Per-partition figures are shown by 'admin partition list' and 'admin engine', and indexes say nothing to a person.
    private static readonly string[] PerPartition = ["keyva_partition_", "keyva_level_", "keyva_engine_"];

    public static Command Create(Session session)
    {
        Option<bool> all = new("--all") { Description = "Every metric by its name in the Prometheus text, as it is" };
        Option<bool> reference = new("--reference") { Description = "Print the page about all metrics, docs/metrics.md; asks no server" };
        return CommandTree.Command(
            session,
            "metrics",
            "Show the server's figures (over its control plane)",
            [all, reference],
            invocation => invocation.Get(reference) ? PrintReferenceAsync(invocation) : RunAsync(invocation, invocation.Get(all)));
    }

    private static Task<int> PrintReferenceAsync(Invocation invocation)
    {
        invocation.Terminal.Out.Write(KeyVa.Server.MetricsReference.Markdown());
        return Task.FromResult(ExitCode.Done);
    }

    private static async Task<int> RunAsync(Invocation invocation, bool all)
    {
        IReadOnlyList<RemoteMetric> metrics = await invocation.Control.StatsAsync(invocation.Cancellation);
        if (invocation.Json)
        {
            foreach (RemoteMetric metric in metrics)
            {
                WriteJson(invocation, metric);
            }

            return ExitCode.Done;
        }

        Table.Write(
            invocation.Terminal,
            ["METRIC", ">VALUE"],
            all
                ? metrics.Select(metric => new[] { metric.Name + Labels(metric, "{", "}"), metric.Value.ToString("R", CultureInfo.InvariantCulture) })
                : metrics.Where(IsForPeople).Select(metric => new[] { Name(metric), Value(metric) }));
        return ExitCode.Done;
    }

    private static void WriteJson(Invocation invocation, RemoteMetric metric) => invocation.WriteJson(json =>
    {
        json.WriteString("name"u8, metric.Name);
        json.WriteStartObject("labels"u8);
        foreach ((string label, string value) in metric.Labels)
        {
            json.WriteString(label, value);
        }

        json.WriteEndObject();
        if (double.IsFinite(metric.Value))
        {
            json.WriteNumber("value"u8, metric.Value);
        }
        else
        {
            json.WriteNull("value"u8);
        }
    });

    private static bool IsForPeople(RemoteMetric metric) =>
        !PerPartition.Any(prefix => metric.Name.StartsWith(prefix, StringComparison.Ordinal))
        && !metric.Name.EndsWith("_sum", StringComparison.Ordinal) && !metric.Name.EndsWith("_count", StringComparison.Ordinal);

    /// <summary>keyva_latency_seconds{operation=get,quantile=0.99} → latency get p99.</summary>
    private static string Name(RemoteMetric metric)
    {
        string name = metric.Name.StartsWith("keyva_", StringComparison.Ordinal) ? metric.Name[6..] : metric.Name;
        foreach (string unit in (string[])["_total", "_seconds", "_bytes"])
        {
            name = name.EndsWith(unit, StringComparison.Ordinal) && name is not ("gc_heap_bytes" or "value_bytes") ? name[..^unit.Length] : name;
        }

        name = name.Replace("_per_second", "/s", StringComparison.Ordinal);
        string quantile = metric.Labels.TryGetValue("quantile", out string? q)
            ? string.Create(CultureInfo.InvariantCulture, $" p{double.Parse(q, CultureInfo.InvariantCulture) * 100:0.##}")
            : "";
        return name.Replace('_', ' ') + Labels(metric, " ", "") + quantile;
    }

    private static string Labels(RemoteMetric metric, string before, string after)
    {
        if (before == "{")
        {
            return metric.Labels.Count == 0 ? "" : before + string.Join(',', metric.Labels.Select(label => $"{label.Key}=\"{label.Value}\"")) + after;
        }

        IEnumerable<string> values = metric.Labels.Where(label => label.Key != "quantile").Select(label => label.Value);
        string text = string.Join(' ', values);
        return text.Length == 0 ? "" : before + text + after;
    }

    private static string Value(RemoteMetric metric)
    {
        double value = metric.Value;
        if (metric.Name.EndsWith("_bytes", StringComparison.Ordinal))
        {
            return Progress.Bytes(value);
        }

        if (metric.Name.EndsWith("uptime_seconds", StringComparison.Ordinal))
        {
            return Progress.Time(TimeSpan.FromSeconds(value));
        }

        return metric.Name.EndsWith("_seconds", StringComparison.Ordinal) ? Latency(value)
            : metric.Name.EndsWith("_ratio", StringComparison.Ordinal) ? string.Create(CultureInfo.InvariantCulture, $"{value * 100:0.0} %")
            : value == Math.Floor(value) ? Progress.Number(value)
            : value.ToString("#,0.0", CultureInfo.InvariantCulture);
    }

    /// <summary>A time of less than a minute, in its own unit.</summary>
    internal static string Latency(double seconds) => seconds switch
    {
        0 => "0",
        < 1e-3 => string.Create(CultureInfo.InvariantCulture, $"{seconds * 1e6:0.#} µs"),
        < 1 => string.Create(CultureInfo.InvariantCulture, $"{seconds * 1e3:0.##} ms"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{seconds:0.##} s"),
    };
}
