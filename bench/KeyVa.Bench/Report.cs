using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace KeyVa.Bench;

/// <summary>Writes sections as a text table, as Markdown or as JSON. The same columns in each.</summary>
internal static class Report
{
    private static readonly string[] Header =
        ["workload", "threads", "target", "ops/s", "min..max", "p50 µs", "p99 µs", "p99.9 µs", "B/op", "B/op all", "switches/op", "CPU µs/op", "ratio"];

    private static readonly JsonSerializerOptions JsonFormat = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    public static string Text(BenchOptions options, IReadOnlyList<Section> sections)
    {
        StringBuilder text = new();
        foreach (string line in Machine(options))
        {
            text.AppendLine(line);
        }

        foreach (Section section in sections)
        {
            text.AppendLine().AppendLine(Heading(section));
            foreach (Table table in TablesOf(section))
            {
                text.AppendLine().AppendLine(table.Title);
                List<string[]> rows = [[.. table.Header], .. table.Rows.Select(Texts)];
                int[] widths = [.. table.Header.Select((_, column) => rows.Max(row => row[column].Length))];
                foreach (string[] row in rows)
                {
                    text.AppendLine(string.Join("  ", row.Select((item, column) =>
                        IsText(table, column) ? item.PadRight(widths[column]) : item.PadLeft(widths[column]))).TrimEnd());
                }
            }

            text.AppendLine();
            foreach (string line in Remarks(section))
            {
                text.AppendLine("  " + line);
            }
        }

        return text.ToString();
    }

    public static string Markdown(BenchOptions options, IReadOnlyList<Section> sections)
    {
        StringBuilder text = new();
        foreach (string line in Machine(options))
        {
            text.AppendLine("- " + line);
        }

        foreach (Section section in sections)
        {
            text.AppendLine().AppendLine("## " + Heading(section)).AppendLine();
            foreach (Table table in TablesOf(section))
            {
                text.AppendLine(table.Title).AppendLine();
                text.AppendLine("| " + string.Join(" | ", table.Header) + " |");
                text.AppendLine("|" + string.Concat(table.Header.Select((_, column) => IsText(table, column) ? "---|" : "--:|")));
                foreach (object?[] row in table.Rows)
                {
                    text.AppendLine("| " + string.Join(" | ", Texts(row)) + " |");
                }

                text.AppendLine();
            }

            foreach (string line in Remarks(section))
            {
                text.AppendLine("- " + line);
            }
        }

        return text.ToString();
    }

    public static void WriteJson(string file, BenchOptions options, IReadOnlyList<Section> sections)
    {
        object document = new
        {
            Machine = Machine(options),
            Sections = sections.Select(section => new
            {
                section.Title,
                section.AskedRatio,
                Targets = section.Targets.ToDictionary(target => target.Name, target => target.Settings),
                Conditions = section.Conditions.ToDictionary(workload => workload.Name, workload => workload.Conditions),
                section.Notes,
                Tables = section.Tables.Select(table => new
                {
                    table.Title,
                    Rows = table.Rows.Select(row => table.Header.Zip(row).ToDictionary(item => item.First, item => item.Second)),
                }),
                Cells = section.Cells.Select(cell => new
                {
                    cell.Workload,
                    cell.Threads,
                    cell.Target,
                    OperationsPerSecond = cell.Median.PerSecond,
                    Ratio = section.Ratio(cell),
                    Peer = section.PeerOf(cell),
                    cell.Samples,
                }),
            }),
        };
        File.WriteAllText(file, JsonSerializer.Serialize(document, JsonFormat));
    }

    private static string Heading(Section section) =>
        section.AskedRatio > 0 ? Invariant($"{section.Title} (ratio asked for: {section.AskedRatio:0.0##})") : section.Title;

    private static IEnumerable<Table> TablesOf(Section section)
    {
        Table rates = new("Rates", Header);
        section.Cells.ToList().ForEach(cell => rates.Add(Row(section, cell)));
        return rates.Rows.Count == 0 ? section.Tables : section.Tables.Append(rates);
    }

    private static bool IsText(Table table, int column) => table.Rows.Any(row => row[column] is string text && text.Length > 0 && !char.IsAsciiDigit(text[0]));

    private static string[] Texts(object?[] row) => [.. row.Select(item => item switch
    {
        null => "",
        double measure => Invariant($"{measure:#,0.00}"),
        IFormattable number => number.ToString("N0", CultureInfo.InvariantCulture),
        _ => item.ToString() ?? "",
    })];

    private static object?[] Row(Section section, Cell cell)
    {
        Sample median = cell.Median;
        double least = cell.Samples.Min(sample => sample.PerSecond);
        double most = cell.Samples.Max(sample => sample.PerSecond);
        double? ratio = section.Ratio(cell);
        bool ours = median.CpuMicroseconds > 0;
        return
        [
            cell.Workload,
            Invariant($"{cell.Threads}"),
            cell.Target,
            Invariant($"{median.PerSecond:N0}"),
            Invariant($"{least:N0}..{most:N0}"),
            median.P50 > 0 ? Invariant($"{median.P50:0.00}") : "",
            median.P50 > 0 ? Invariant($"{median.P99:0.00}") : "",
            median.P50 > 0 ? Invariant($"{median.P999:0.0}") : "",
            ours ? Invariant($"{median.CallerBytes:0.0}") : "",
            ours ? Invariant($"{median.ProcessBytes:0.0}") : "",
            ours ? Invariant($"{median.Switches:0.00000}") : "",
            ours ? Invariant($"{median.CpuMicroseconds:0.00}") : "",
            ratio is null ? "" : Invariant($"{ratio:0.00} x {section.PeerOf(cell)}"),
        ];
    }

    private static IEnumerable<string> Remarks(Section section) =>
        section.Targets.Select(target => $"{target.Name}: {target.Settings}.")
            .Concat(section.Conditions.Select(workload => $"{workload.Name}: {workload.Conditions}."))
            .Concat(section.Notes);

    private static IEnumerable<string> Machine(BenchOptions options)
    {
        string model = File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal)) ?? "";
        long memory = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes >> 30;
        yield return Invariant($"{model[(model.IndexOf(':') + 1)..].Trim()}, {Environment.ProcessorCount} processors, {memory} GiB; {RuntimeInformation.OSDescription}; {RuntimeInformation.FrameworkDescription}");
        yield return Invariant($"values compressible by half, durability {options.Durability.ToString().ToLowerInvariant()}, median of {options.Rounds} interleaved round(s) where nothing else is said, seed {options.Seed}");
        yield return "B/op: allocated on the GC heap by the calling threads; B/op all: by the whole process; switches: voluntary, of the calling threads; latency: of every "
            + Invariant($"{options.LatencyEvery}th operation; ratio: of the median rates");
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
