using System.CommandLine;
using KeyVa.Cli.Transfer;

namespace KeyVa.Cli;

/// <summary><c>export</c>. Stateless.</summary>
internal static class ExportCommand
{
    public static Command Create(Session session)
    {
        Argument<string> file = new("FILE") { Description = "The file to write; '-' writes to the standard output" };
        Option<string?> format = ImportCommand.Format();
        RangeOptions range = new();
        Option<bool> resume = new("--resume") { Description = "Go on with an export of this name that broke off" };
        Option<bool> force = new("--force") { Description = "Replace the file" };
        Option<bool> quiet = new("--quiet", "-q") { Description = "No progress" };
        return CommandTree.Command(
            session,
            "export",
            "Write records as JSON Lines or CSV, as they are at one moment",
            [file, format, range.Prefix, range.From, range.To, range.Limit, range.Unordered, resume, force, quiet],
            invocation =>
            {
                string path = invocation.Get(file);
                if (path == "-" && (invocation.Get(resume) || invocation.Get(force)))
                {
                    throw CommandException.Usage("--resume and --force need a file");
                }

                if (invocation.Get(resume) && invocation.Get(force))
                {
                    throw CommandException.Usage("--resume goes on with what is there, --force begins anew; give one");
                }

                TransferFormat form = path == "-" && invocation.Get(format) is null ? TransferFormat.JsonLines : ImportCommand.FormatOf(invocation.Get(format), path);
                return RunAsync(invocation, path, form, range.ToScan(invocation), invocation.Get(resume), invocation.Get(force), invocation.Get(quiet));
            });
    }

    private static async Task<int> RunAsync(
        Invocation invocation, string path, TransferFormat format, ScanOptions options, bool resume, bool force, bool quiet)
    {
        long total = quiet ? 0 : await EstimateAsync(invocation, options);
        using Progress progress = new(invocation.Terminal, "records", total, quiet: quiet);
        Exporter? exporter = null;
        exporter = new Exporter(invocation.Store, options, format, (records, bytes) =>
            progress.Report(records, records - exporter!.RecordsBefore, bytes));
        try
        {
            if (path == "-")
            {
                await exporter.RunAsync(invocation.Terminal.Output, invocation.Cancellation);
            }
            else
            {
                await exporter.RunAsync(path, resume, force, invocation.Cancellation);
            }
        }
        catch (Exception) when (path != "-" && exporter.Records > 0)
        {
            progress.Dispose();
            invocation.Terminal.Say(
                $"stopped; {Progress.Number(exporter.Records)} records are in '{Exporter.PartialPath(path)}'. Run the same command with --resume to go on.");
            throw;
        }

        progress.Dispose();
        TellDone(invocation, path, exporter, progress.Elapsed);
        return ExitCode.Done;
    }

    /// <summary>About how many records there are, if that is easily known.</summary>
    private static async Task<long> EstimateAsync(Invocation invocation, ScanOptions options)
    {
        if (options.Limit > 0)
        {
            return options.Limit;
        }

        if (!options.Prefix.IsEmpty || !options.From.IsEmpty || !options.To.IsEmpty)
        {
            return 0;
        }

        try
        {
            return (await invocation.Control.ListPartitionsAsync(invocation.Cancellation)).Sum(partition => partition.Keys);
        }
        catch (StoreException)
        {
            // Only the progress needs it, and the control plane may well be out of reach.
            return 0;
        }
    }

    private static void TellDone(Invocation invocation, string path, Exporter exporter, TimeSpan elapsed)
    {
        double seconds = Math.Max(0.001, elapsed.TotalSeconds);
        long records = exporter.Records - exporter.RecordsBefore;
        if (invocation.Json && path != "-")
        {
            invocation.WriteJson(json =>
            {
                json.WriteString("file"u8, path);
                json.WriteNumber("records"u8, exporter.Records);
                json.WriteNumber("records_before"u8, exporter.RecordsBefore);
                json.WriteNumber("bytes"u8, exporter.Bytes);
                json.WriteNumber("seconds"u8, Math.Round(seconds, 3));
            });
            return;
        }

        string before = exporter.RecordsBefore == 0 ? "" : $", behind {Progress.Number(exporter.RecordsBefore)} of before";
        string summary = $"exported {Progress.Number(records)} records ({Progress.Bytes(exporter.Bytes)}) in {seconds:0.0} s{before}: "
            + $"{Progress.Number(records / seconds)} records/s, {Progress.Bytes(exporter.Bytes / seconds)}/s";
        if (path == "-")
        {
            // The output holds the records.
            if (invocation.Terminal.IsErrorTerminal && !invocation.Terminal.IsOutputTerminal)
            {
                invocation.Terminal.Error.WriteLine(summary);
            }
        }
        else
        {
            invocation.Terminal.Out.WriteLine(summary);
        }
    }
}
