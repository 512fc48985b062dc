using System.CommandLine;
using System.Text.Json;

namespace KeyVa.Cli;

/// <summary><c>repair</c>. Stateless.</summary>
internal static class RepairCommand
{
    public static Command Create(Session session)
    {
        Argument<string> directory = new("DIR") { Description = "A damaged data folder, not in use" };
        Option<string?> to = new("--to") { Description = "Write the repaired store to this folder (missing or empty) and leave DIR alone; without it, what is replaced moves to DIR/damaged-N" };
        return CommandTree.Command(
            session,
            "repair",
            "Save everything in a damaged data folder whose checksum fits, and say what is lost. Exit code 5 if anything is",
            [directory, to],
            invocation => Task.FromResult(Run(invocation, invocation.Get(directory), invocation.Get(to))));
    }

    private static int Run(Invocation invocation, string directory, string? to)
    {
        if (!Directory.Exists(directory))
        {
            throw CommandException.Usage(File.Exists(directory) ? $"'{directory}' is no folder" : $"there is no folder '{directory}'");
        }

        RepairReport report = Store.Repair(directory, to, invocation.Cancellation);
        if (invocation.Json)
        {
            WriteJson(invocation, report);
        }
        else
        {
            WriteText(invocation.Terminal.Out, report, isInPlace: to is null);
        }

        return report.Losses.Count == 0 ? ExitCode.Done : ExitCode.Damage;
    }

    private static void WriteText(StreamWriter output, RepairReport report, bool isInPlace)
    {
        foreach (CorruptionException damage in report.Damages)
        {
            output.WriteLine($"damage: {damage.File} at offset {damage.Offset}: {damage.Detail}");
        }

        foreach (string note in report.Notes)
        {
            output.WriteLine($"note: {note}");
        }

        foreach (RepairLoss loss in report.Losses)
        {
            string records = loss.Records is { } count ? $" ({Count(count, "record")})" : "";
            output.WriteLine($"lost: {loss.File} at offset {loss.Offset}: {loss.Detail}{records}");
        }

        if (isInPlace && report.DamagedDirectory is null)
        {
            // Without damage nothing was done: the note says so.
            return;
        }

        output.WriteLine($"kept {Count(report.FilesKept, "file")}, salvaged parts of {report.FilesSalvaged}, replayed {Count(report.RecordsReplayed, "record")} of the journal");
        if (report.DamagedDirectory is { } damaged)
        {
            output.WriteLine($"what was replaced is in {damaged}; delete it when you have no use for it any more");
        }

        output.WriteLine(report.Losses.Count == 0 ? $"{report.Directory}: nothing is lost" : $"{report.Directory}: repaired, with losses as above");
    }

    private static string Count(long count, string noun) => count == 1 ? $"1 {noun}" : $"{count} {noun}s";

    private static void WriteJson(Invocation invocation, RepairReport report) =>
        invocation.WriteJson(json =>
        {
            json.WriteBoolean("ok"u8, report.Losses.Count == 0);
            json.WriteString("directory"u8, report.Directory);
            json.WriteString("damagedDirectory"u8, report.DamagedDirectory);
            json.WriteNumber("filesKept"u8, report.FilesKept);
            json.WriteNumber("filesSalvaged"u8, report.FilesSalvaged);
            json.WriteNumber("recordsReplayed"u8, report.RecordsReplayed);
            VerifyCommand.WriteDamages(json, report.Damages);
            json.WriteStartArray("losses"u8);
            foreach (RepairLoss loss in report.Losses)
            {
                Write(json, loss);
            }

            json.WriteEndArray();
            VerifyCommand.WriteNotes(json, report.Notes);
        });

    private static void Write(Utf8JsonWriter json, RepairLoss loss)
    {
        json.WriteStartObject();
        json.WriteString("file"u8, loss.File);
        json.WriteNumber("offset"u8, loss.Offset);
        json.WriteString("detail"u8, loss.Detail);
        if (loss.Records is { } records)
        {
            json.WriteNumber("records"u8, records);
        }

        if (!loss.Behind.IsEmpty)
        {
            json.WriteBase64String("behind64"u8, loss.Behind.Span);
        }

        if (!loss.Before.IsEmpty)
        {
            json.WriteBase64String("before64"u8, loss.Before.Span);
        }

        json.WriteEndObject();
    }
}
