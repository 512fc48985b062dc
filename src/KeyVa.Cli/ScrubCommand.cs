using System.CommandLine;
using KeyVa.Cli.Transfer;
using KeyVa.Client;
using KeyVa.Server;

namespace KeyVa.Cli;

/// <summary><c>admin scrub</c>: a server reads its files in search of damage, while it serves. Stateless.</summary>
internal static class ScrubCommand
{
    private const long MinRate = 64 << 10;

    public static Command Create(Session session)
    {
        Option<long?> partition = EngineCommands.Partition();
        Option<string?> rate = new("--rate") { Description = "Read at most so much per second, such as 64MiB [default: the server's scrub-rate]", HelpName = "BYTES" };
        return CommandTree.Command(
            session,
            "scrub",
            "Have the server read all its files, or those of a partition, and tell what is damaged. Exit code 5 if anything is",
            [partition, rate],
            invocation => ScrubAsync(invocation, EngineCommands.PartitionOf(invocation, partition), Rate(invocation.Get(rate))));
    }

    private static long? Rate(string? text)
    {
        if (text is null)
        {
            return null;
        }

        return Units.TryParseSize(text, out long rate) && rate >= MinRate
            ? rate
            : throw CommandException.Usage($"--rate is '{text}'; it must be at least {Units.FormatSize(MinRate)}: {Units.SizeForms}");
    }

    private static async Task<int> ScrubAsync(Invocation invocation, long? partition, long? rate)
    {
        ScrubReport last = default;
        Progress? progress = null;
        try
        {
            await foreach (ScrubReport report in invocation.Control.ScrubAsync(partition, rate, invocation.Cancellation))
            {
                last = report;
                progress ??= new Progress(invocation.Terminal, "bytes", report.BytesTotal, quiet: invocation.Json);
                progress.Report(report.BytesRead, report.BytesRead, report.BytesRead);
            }
        }
        finally
        {
            progress?.Dispose();
        }

        if (invocation.Json)
        {
            WriteJson(invocation, last);
        }
        else
        {
            WriteText(invocation.Terminal.Out, partition, last);
        }

        return last.DamageCount == 0 ? ExitCode.Done : ExitCode.Damage;
    }

    private static void WriteJson(Invocation invocation, ScrubReport report) => invocation.WriteJson(json =>
    {
        json.WriteBoolean("ok"u8, report.DamageCount == 0);
        json.WriteNumber("bytes_read"u8, report.BytesRead);
        json.WriteNumber("damage_count"u8, report.DamageCount);
        VerifyCommand.WriteDamages(json, report.Damages);
    });

    private static void WriteText(StreamWriter output, long? partition, ScrubReport report)
    {
        foreach (CorruptionException damage in report.Damages)
        {
            output.WriteLine($"damage: {damage.File} at offset {damage.Offset}: {damage.Detail}");
        }

        if (report.DamageCount > report.Damages.Count)
        {
            output.WriteLine($"and {report.DamageCount - report.Damages.Count} more places");
        }

        string what = partition is { } id ? $"partition {id}" : "all files";
        output.WriteLine(report.DamageCount switch
        {
            0 => $"{what}: read {Progress.Bytes(report.BytesRead)}, no damage found",
            1 => $"{what}: read {Progress.Bytes(report.BytesRead)}, 1 damage found; restore a snapshot, or stop the server and save what is intact with 'keyva repair'",
            _ => $"{what}: read {Progress.Bytes(report.BytesRead)}, {report.DamageCount} damages found; restore a snapshot, or stop the server and save what is intact with 'keyva repair'",
        });
    }
}
