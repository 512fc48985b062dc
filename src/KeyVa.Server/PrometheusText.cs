using System.Globalization;
using System.Text;
using KeyVa.Measurements;

namespace KeyVa.Server;

/// <summary>The text format of Prometheus, version 0.0.4. Stateless.</summary>
internal static class PrometheusText
{
    internal const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    /// <summary>Renders a list in which the metrics of one family stand together.</summary>
    internal static string Render(IReadOnlyList<Metric> metrics)
    {
        StringBuilder text = new(16 * 1024);
        MetricFamily? family = null;
        foreach (Metric metric in metrics)
        {
            if (metric.Family.Name != family?.Name)
            {
                family = metric.Family;
                text.Append("# HELP ").Append(family.Name).Append(' ')
                    .Append(family.Help.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal))
                    .Append('\n');
                text.Append("# TYPE ").Append(family.Name).Append(' ').Append(NameOf(family.Kind)).Append('\n');
            }

            text.Append(metric.Name);
            AppendLabels(text, metric.Labels);
            text.Append(' ').Append(metric.Value.ToString("R", CultureInfo.InvariantCulture)).Append('\n');
        }

        return text.ToString();
    }

    private static void AppendLabels(StringBuilder text, IReadOnlyList<KeyValuePair<string, string>> labels)
    {
        for (int i = 0; i < labels.Count; i++)
        {
            text.Append(i == 0 ? '{' : ',').Append(labels[i].Key).Append("=\"");
            foreach (char c in labels[i].Value)
            {
                _ = c switch
                {
                    '\\' => text.Append("\\\\"),
                    '"' => text.Append("\\\""),
                    '\n' => text.Append("\\n"),
                    _ => text.Append(c),
                };
            }

            text.Append('"');
        }

        if (labels.Count > 0)
        {
            text.Append('}');
        }
    }

    private static string NameOf(MetricKind kind) => kind switch
    {
        MetricKind.Counter => "counter",
        MetricKind.Gauge => "gauge",
        _ => "summary",
    };
}
