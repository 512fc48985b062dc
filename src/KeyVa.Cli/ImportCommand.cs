using System.CommandLine;
using System.Diagnostics;
using KeyVa.Cli.Transfer;

namespace KeyVa.Cli;

/// <summary><c>import</c>. Stateless.</summary>
internal static class ImportCommand
{
    // After so many, further problems are only counted.
    private const int MaxProblemsShown = 20;

    private static readonly TimeSpan SaveEvery = TimeSpan.FromMilliseconds(250);

    public static Command Create(Session session)
    {
        Argument<string> file = new("FILE") { Description = "The file; '-' reads the standard input" };
        Option<string?> format = Format();
        Option<string?> keyField = new("--key-field") { Description = "The field (or column) that holds the key of foreign records", HelpName = "NAME" };
        Option<string?> valueField = new("--value-field")
        {
            Description = "The field that holds their value [default: the whole record is the value]",
            HelpName = "NAME",
        };
        Option<bool> resume = new("--resume") { Description = "Keep a small state file beside the input, and go on where the last import of it stopped" };
        Option<bool> skipErrors = new("--skip-errors") { Description = "Leave out lines that are no records, and records that the server refuses" };
        Option<bool> sorted = new("--sorted") { Description = "The keys rise in byte order: load all of it at once, or nothing, straight into the server's tables" };
        Option<bool> quiet = new("--quiet", "-q") { Description = "No progress" };
        return CommandTree.Command(
            session,
            "import",
            "Load records from JSON Lines or CSV",
            [file, format, keyField, valueField, sorted, resume, skipErrors, quiet],
            invocation => new Run(invocation)
            {
                Path = invocation.Get(file),
                Format = FormatOf(invocation.Get(format), invocation.Get(file)),
                Fields = new FieldNames(invocation.Get(keyField), invocation.Get(valueField)),
                Sorted = invocation.Get(sorted),
                Resume = invocation.Get(resume),
                SkipErrors = invocation.Get(skipErrors),
                Quiet = invocation.Get(quiet),
            }.RunAsync());
    }

    /// <summary>The option that names the format.</summary>
    public static Option<string?> Format()
    {
        Option<string?> format = new("--format") { Description = "jsonl or csv [default: by the file's extension]", HelpName = "jsonl|csv" };
        format.AcceptOnlyFromAmong("jsonl", "csv");
        return format;
    }

    /// <summary>The format by option or extension.</summary>
    public static TransferFormat FormatOf(string? option, string path)
    {
        if (option is not null)
        {
            return option == "csv" ? TransferFormat.Csv : TransferFormat.JsonLines;
        }

        return Path.GetExtension(path).ToLowerInvariant() switch
        {
            ".csv" => TransferFormat.Csv,
            ".jsonl" or ".ndjson" or ".json" => TransferFormat.JsonLines,
            _ => throw CommandException.Usage($"the name '{path}' does not tell the format (.jsonl, .ndjson or .csv); name it with --format"),
        };
    }

    /// <summary>One import. One thread, but for the problems of records, which come from the sending tasks.</summary>
    private sealed class Run(Invocation invocation)
    {
        private readonly Lock _lock = new();
        private int _problems;
        private long _saved = Stopwatch.GetTimestamp();
        private ImportState? _state;
        private Progress? _progress;
        private long _recordsBefore;
        private long _offsetBefore;

        public required string Path { get; init; }

        public required TransferFormat Format { get; init; }

        public required FieldNames Fields { get; init; }

        public required bool Sorted { get; init; }

        public required bool Resume { get; init; }

        public required bool SkipErrors { get; init; }

        public required bool Quiet { get; init; }

        private bool IsInput => Path == "-";

        private string StatePath => ImportState.PathFor(Path);

        public async Task<int> RunAsync()
        {
            if (IsInput && (Resume || invocation.Session.InShell))
            {
                throw CommandException.Usage(Resume
                    ? "the standard input cannot be resumed; import from a file"
                    : "in the shell the standard input holds commands; name a file");
            }

            if (Sorted && Resume)
            {
                throw CommandException.Usage("a sorted import is all or nothing: there is no place to go on at; leave --resume or --sorted out");
            }

            using Stream stream = IsInput ? invocation.Terminal.Input : new FileStream(Path, FileMode.Open, FileAccess.Read, FileShare.Read, 1);
            ImportPosition begin = Begin();
            using RecordReader reader = Open(stream, begin);
            using Progress progress = new(
                invocation.Terminal, "records", stream is FileStream { CanSeek: true } sized ? sized.Length : 0, begin.Offset, Quiet);
            _progress = progress;
            ImportOptions options = new() { Name = IsInput ? "standard input" : Path, SkipErrors = SkipErrors, OnSkipped = TellSkipped, OnProgress = OnProgress };
            if (Sorted)
            {
                return await RunSortedAsync(reader, options, progress);
            }

            using Importer importer = new(invocation.Store, reader, options, begin.Records, _state?.Skipped ?? 0);
            try
            {
                // Reading and sending take turns on a pool thread; the thread that began only waits.
                await Task.Run(() => importer.RunAsync(invocation.Cancellation));
            }
            catch (Exception)
            {
                progress.Dispose();
                TellStopped(importer.Totals);
                throw;
            }

            progress.Dispose();
            if (_state is not null)
            {
                File.Delete(StatePath);
            }

            TellDone(importer.Totals, progress.Elapsed);
            return ExitCode.Done;
        }

        private async Task<int> RunSortedAsync(RecordReader reader, ImportOptions options, Progress progress)
        {
            using SortedImporter importer = new(invocation.Store.BulkLoadAsync, reader, options);
            try
            {
                await Task.Run(() => importer.RunAsync(invocation.Cancellation));
            }
            catch (Exception)
            {
                progress.Dispose();
                invocation.Terminal.Say("stopped; a sorted import is all or nothing, and nothing of it is in the store (but on partitions of the memory engine, which take it batch by batch)");
                throw;
            }

            progress.Dispose();
            TellDone(importer.Totals, progress.Elapsed);
            return ExitCode.Done;
        }

        private ImportPosition Begin()
        {
            if (!Resume)
            {
                return new ImportPosition(0, 1, 0);
            }

            string reading = $"format {(Format == TransferFormat.Csv ? "csv" : "jsonl")}, key field {Fields.Key ?? "key"}, value field {Fields.Value ?? "(usual)"}";
            _state = ImportState.Load(
                StatePath,
                ImportState.Begin(new FileInfo(Path), invocation.Session.Options.ServerOf(invocation.Result).ToString(), reading));
            _recordsBefore = _state.Done.Records;
            _offsetBefore = _state.Done.Offset;
            if (_recordsBefore > 0)
            {
                invocation.Terminal.Say($"going on at line {_state.Done.Line}, behind {Progress.Number(_recordsBefore)} records that are already in the store");
            }

            return _state.Done;
        }

        private RecordReader Open(Stream stream, ImportPosition begin)
        {
            try
            {
                return RecordReader.Open(stream, Format, Fields, begin.Offset, begin.Line);
            }
            catch (CommandException header)
            {
                throw new CommandException(header.Code, $"{Path}: {header.Message}");
            }
        }

        private void OnProgress(ImportTotals totals)
        {
            _progress!.Report(totals.Offset, totals.Records - _recordsBefore, totals.Offset - _offsetBefore);
            if (_state is not null && totals.Done.Offset > _state.Done.Offset && Stopwatch.GetElapsedTime(_saved) >= SaveEvery)
            {
                _saved = Stopwatch.GetTimestamp();
                Save(totals);
            }
        }

        private void Save(ImportTotals totals)
        {
            _state = _state! with { Done = totals.Done, Skipped = totals.Skipped };
            _state.Save(StatePath);
        }

        private void TellSkipped(string problem)
        {
            lock (_lock)
            {
                if (++_problems <= MaxProblemsShown)
                {
                    _progress!.Say($"skipped {problem}");
                }
                else if (_problems == MaxProblemsShown + 1)
                {
                    _progress!.Say("further problems are only counted");
                }
            }
        }

        private void TellStopped(ImportTotals totals)
        {
            string soFar = $"stopped; {Progress.Number(totals.Done.Records)} records, everything before line {totals.Done.Line}, are in the store";
            if (_state is not null)
            {
                Save(totals);
                invocation.Terminal.Say($"{soFar}. Run the same command again to go on there.");
            }
            else
            {
                invocation.Terminal.Say(IsInput
                    ? $"{soFar}."
                    : $"{soFar}. Importing again from the beginning is safe; with --resume an import can go on where it stopped.");
            }
        }

        private void TellDone(ImportTotals totals, TimeSpan elapsed)
        {
            long records = totals.Records - totals.Refused - _recordsBefore;
            long bytes = totals.Offset - _offsetBefore;
            if (invocation.Json)
            {
                invocation.WriteJson(json =>
                {
                    json.WriteNumber("records"u8, records);
                    json.WriteNumber("records_before"u8, _recordsBefore);
                    json.WriteNumber("bytes"u8, bytes);
                    json.WriteNumber("skipped"u8, totals.Skipped);
                    json.WriteNumber("seconds"u8, Math.Round(elapsed.TotalSeconds, 3));
                });
                return;
            }

            double seconds = Math.Max(0.001, elapsed.TotalSeconds);
            string skipped = totals.Skipped == 0 ? "" : $"; {Progress.Number(totals.Skipped)} left out";
            invocation.Terminal.Out.WriteLine(
                $"imported {Progress.Number(records)} records ({Progress.Bytes(bytes)}) in {seconds:0.0} s: {Progress.Number(records / seconds)} records/s, {Progress.Bytes(bytes / seconds)}/s{skipped}");
        }
    }
}
