using System.Text;
using KeyVa.Measurements;

namespace KeyVa.Server;

/// <summary>docs/metrics.md, as it follows from the metrics there are: <c>keyva metrics --reference</c> prints it, a test holds the page against it. Stateless.</summary>
public static class MetricsReference
{
    /// <summary>The page.</summary>
    public static string Markdown()
    {
        StringBuilder text = new(
            """
            # Metrics

            Made by `keyva metrics --reference` (`make docs`) from the list that the server publishes; do not edit it by hand.

            One list, three ways to read it: `/metrics` in the text format of Prometheus, `keyva metrics` (and gRPC `Stats`), and instruments of the meter
            `KeyVa` of System.Diagnostics.Metrics, which the server exports by OTLP where `otlp-endpoint` is set ([operations.md](operations.md#telemetry)).
            An embedded store has the instruments of its store alone, by `StoreMeter`. Counters count since the start. Percentiles are exact to
            about 3 %, since the start, and by the label `quantile`; as instruments they are gauges, with a counter of how many they are of beside them.

            | Prometheus | labels | kind | instrument | unit | what it is |
            |---|---|---|---|---|---|

            """);
        foreach (IGrouping<string, Metric> group in MetricList.Catalogue().GroupBy(static metric => metric.Name))
        {
            Metric metric = group.First();
            MetricFamily family = metric.Family;
            bool isCount = metric.Suffix.Length > 0;
            string kind = isCount || family.Kind == MetricKind.Counter ? "counter" : family.Kind == MetricKind.Summary ? "summary" : "gauge";
            text.Append($"| `{metric.Name}` | {string.Join(", ", metric.Labels.Select(static label => label.Key))} | {kind} ")
                .Append($"| `{(isCount ? MetricInstruments.CountOf(family) : family.Instrument)}` | {(isCount ? "" : family.Unit)} ")
                .Append($"| {(isCount ? "How many these are." : family.Help)} |\n");
        }

        return text.ToString();
    }
}
