using System.CommandLine;
using System.Globalization;
using KeyVa.Cli.Transfer;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary><c>admin compact</c> and <c>admin engine</c>: the trees of lsm partitions. Stateless.</summary>
internal static class EngineCommands
{
    private const string OfLevel = "keyva_level_";
    private const string OfEngine = "keyva_engine_";

    public static Command CreateCompact(Session session)
    {
        Option<long?> partition = Partition();
        (Option<string?> from, Option<string?> to) = AdminCommands.Bounds();
        return CommandTree.Command(
            session,
            "compact",
            "Compact down to what is alive, while it serves: all partitions, one, or a range of keys",
            [partition, from, to],
            invocation => CompactAsync(invocation, PartitionOf(invocation, partition), AdminCommands.Range(invocation, from, to)));
    }

    public static Command CreateEngine(Session session)
    {
        Option<long?> partition = Partition();
        return CommandTree.Command(
            session,
            "engine",
            "Show the levels of lsm partitions, and what compactions, stalls, reads and filters have cost",
            [partition],
            invocation => ShowAsync(invocation, PartitionOf(invocation, partition)));
    }

    /// <summary>Which partition is meant; null: all. To the server 0 means all too, and a person who types it means something else.</summary>
    internal static long? PartitionOf(Invocation invocation, Option<long?> partition) =>
        invocation.Get(partition) is { } id and < 1
            ? throw CommandException.Usage($"there is no partition {id}: they count from 1; 'keyva admin partition list' shows them")
            : invocation.Get(partition);

    internal static Option<long?> Partition() => new("--partition") { Description = "Only this partition [default: all]", HelpName = "ID" };

    private static async Task<int> CompactAsync(Invocation invocation, long? partition, KeyRange range)
    {
        using Progress progress = new(invocation.Terminal, "bytes", 0, quiet: invocation.Json);
        CompactionReport last = default;
        await foreach (CompactionReport report in invocation.Control.CompactAsync(partition, range, invocation.Cancellation))
        {
            last = report;
            progress.Report(report.BytesRead, report.BytesRead, report.BytesRead);
        }

        progress.Dispose();
        if (invocation.Json)
        {
            invocation.WriteJson(json =>
            {
                json.WriteNumber("bytes_read"u8, last.BytesRead);
                json.WriteNumber("bytes_written"u8, last.BytesWritten);
            });
        }
        else
        {
            invocation.Terminal.Out.WriteLine($"compacted {Progress.Bytes(last.BytesRead)} to {Progress.Bytes(last.BytesWritten)}");
        }

        return ExitCode.Done;
    }

    private static async Task<int> ShowAsync(Invocation invocation, long? partition)
    {
        string? only = partition?.ToString(CultureInfo.InvariantCulture);
        RemoteMetric[] metrics =
        [
            .. (await invocation.Control.StatsAsync(invocation.Cancellation)).Where(metric =>
                (metric.Name.StartsWith(OfLevel, StringComparison.Ordinal) || metric.Name.StartsWith(OfEngine, StringComparison.Ordinal))
                && (only is null || metric.Labels["partition"] == only)),
        ];
        if (metrics.Length == 0)
        {
            throw new CommandException(ExitCode.NotFound, only is null ? "there are no lsm partitions" : $"there is no lsm partition {only}; 'keyva admin partition list' shows them");
        }

        foreach (IGrouping<string, RemoteMetric> one in metrics.GroupBy(metric => metric.Labels["partition"]))
        {
            Figures figures = new(one);
            if (invocation.Json)
            {
                WriteJson(invocation, one.Key, figures);
            }
            else
            {
                Write(invocation.Terminal, one.Key, figures);
            }
        }

        return ExitCode.Done;
    }

    private static void WriteJson(Invocation invocation, string partition, Figures figures) => invocation.WriteJson(json =>
    {
        json.WriteNumber("partition"u8, long.Parse(partition, CultureInfo.InvariantCulture));
        foreach ((string name, double value) in figures.OfEngine)
        {
            json.WriteNumber(name, value);
        }

        json.WriteStartArray("levels"u8);
        foreach (IReadOnlyDictionary<string, double> level in figures.Levels)
        {
            json.WriteStartObject();
            foreach ((string name, double value) in level)
            {
                json.WriteNumber(name, value);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    });

    private static void Write(Terminal terminal, string partition, Figures figures)
    {
        terminal.Out.WriteLine($"partition {partition}");
        Table.Write(
            terminal,
            ["LEVEL", ">TABLES", ">BYTES", ">TARGET", ">SCORE", ">TOMBSTONES", ">READ ABOVE", ">READ LEVEL", ">WRITTEN", ">W-AMP", ">COMPACTIONS", ">MOVES", ">TIME"],
            figures.Levels.Where(level => level["tables"] > 0 || level["written_bytes_total"] > 0 || level["moves_total"] > 0).Select(Row));
        IReadOnlyDictionary<string, double> all = figures.OfEngine;
        terminal.Out.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"""
            flushed {Progress.Bytes(all["flushed_bytes_total"])}, compactions wrote {Progress.Bytes(all["compacted_bytes_total"])}: write amplification {all["write_amplification"]:0.0}
            value files: {all["value_files"]:0}, {Progress.Bytes(all["value_file_bytes"])}, {Progress.Bytes(all["value_garbage_bytes"])} of it garbage; flushed {Progress.Bytes(all["value_flushed_bytes_total"])}, moved {Progress.Bytes(all["value_moved_bytes_total"])}
            memtables {Progress.Bytes(all["memtable_bytes"])}, {all["immutable_memtables"]:0} waiting for a flush
            compactions: {all["running_compactions"]:0} running, {Progress.Bytes(all["pending_compaction_bytes"])} due
            stalls: {all["stalls_total"]:0}, {all["stall_seconds_total"]:0.000} s in all
            reads: {all["read_amplification"]:0.00} blocks each, Bloom filters ruled out {all["bloom_useful_ratio"] * 100:0.0} % of the tables without the key ({all["sampled_reads_total"]:0} samples)
            """));
    }

    private static string[] Row(IReadOnlyDictionary<string, double> level) =>
    [
        level["level"].ToString("0", CultureInfo.InvariantCulture),
        level["tables"].ToString("0", CultureInfo.InvariantCulture) + (level["compacting_tables"] > 0 ? string.Create(CultureInfo.InvariantCulture, $" ({level["compacting_tables"]:0} busy)") : ""),
        Progress.Bytes(level["bytes"]),
        level["target_bytes"] > 0 ? Progress.Bytes(level["target_bytes"]) : "",
        level["score"].ToString("0.00", CultureInfo.InvariantCulture),
        Progress.Number((long)level["tombstones"]),
        Progress.Bytes(level["read_above_bytes_total"]),
        Progress.Bytes(level["read_level_bytes_total"]),
        Progress.Bytes(level["written_bytes_total"]),
        level["write_amplification"].ToString("0.0", CultureInfo.InvariantCulture),
        level["compactions_total"].ToString("0", CultureInfo.InvariantCulture),
        level["moves_total"].ToString("0", CultureInfo.InvariantCulture),
        level["compaction_seconds_total"].ToString("0.0", CultureInfo.InvariantCulture) + " s",
    ];

    /// <summary>One partition's figures, by name without the prefix.</summary>
    private sealed class Figures
    {
        public Figures(IEnumerable<RemoteMetric> metrics)
        {
            SortedDictionary<int, Dictionary<string, double>> levels = [];
            Dictionary<string, double> engine = [];
            foreach (RemoteMetric metric in metrics)
            {
                if (!metric.Labels.TryGetValue("level", out string? text))
                {
                    engine[metric.Name[EngineCommands.OfEngine.Length..]] = metric.Value;
                    continue;
                }

                int number = int.Parse(text, CultureInfo.InvariantCulture);
                if (!levels.TryGetValue(number, out Dictionary<string, double>? level))
                {
                    levels[number] = level = new Dictionary<string, double> { ["level"] = number };
                }

                level[metric.Name[OfLevel.Length..]] = metric.Value;
            }

            OfEngine = engine;
            Levels = [.. levels.Values];
        }

        public IReadOnlyDictionary<string, double> OfEngine { get; }

        public IReadOnlyList<IReadOnlyDictionary<string, double>> Levels { get; }
    }
}
