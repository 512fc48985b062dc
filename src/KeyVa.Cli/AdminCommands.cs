using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using KeyVa.Cli.Transfer;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary><c>admin partition add|remove|list|set|snapshot</c>, <c>admin compact</c>, <c>admin engine</c>, <c>admin scrub</c>, <c>admin transactions</c>, <c>admin cluster</c>: the control plane. Stateless.</summary>
internal static class AdminCommands
{
    public static Command Create(Session session)
    {
        Command partition = new("partition", "Partitions: ranges of keys, each with an engine of its own");
        partition.Subcommands.Add(CreateList(session));
        partition.Subcommands.Add(CreateAdd(session));
        partition.Subcommands.Add(CreateRemove(session));
        partition.Subcommands.Add(CreateSet(session));
        partition.Subcommands.Add(CreateSnapshot(session));
        Command admin = new("admin", "Administer a server (over its control plane)");
        admin.Subcommands.Add(partition);
        admin.Subcommands.Add(EngineCommands.CreateCompact(session));
        admin.Subcommands.Add(EngineCommands.CreateEngine(session));
        admin.Subcommands.Add(ScrubCommand.Create(session));
        admin.Subcommands.Add(LiveTransactionsCommand.Create(session));
        admin.Subcommands.Add(ClusterCommands.Create(session));
        admin.Subcommands.Add(UserCommands.Create(session));
        return admin;
    }

    private static Command CreateList(Session session) =>
        CommandTree.Command(session, "list", "List the partitions by range", [], async invocation =>
        {
            IReadOnlyList<PartitionInfo> partitions = await invocation.Control.ListPartitionsAsync(invocation.Cancellation);
            if (invocation.Json)
            {
                foreach (PartitionInfo partition in partitions)
                {
                    invocation.WriteJson(json => WriteProperties(json, partition));
                }

                return ExitCode.Done;
            }

            if (partitions.Count == 0)
            {
                invocation.Terminal.Say("there are no partitions; add one with 'keyva admin partition add'");
                return ExitCode.Done;
            }

            Table.Write(
                invocation.Terminal,
                [">ID", "FROM", "TO", "ENGINE", ">KEYS", ">STORAGE", ">APPLIED", ">DURABLE", "SETTINGS"],
                partitions.Select(partition => Row(invocation, partition)));
            return ExitCode.Done;
        });

    private static Command CreateAdd(Session session)
    {
        (Option<string?> from, Option<string?> to) = Bounds();
        Option<string> engine = GlobalOptions.Choice("--engine", "The engine that holds it", "lsm", "memory");
        Option<bool> isVolatile = new("--volatile") { Description = "No journal and no files: everything in it is lost at exit (memory engine)" };
        return CommandTree.Command(session, "add", "Add an empty partition for a range that nobody owns", [from, to, engine, isVolatile], async invocation =>
        {
            PartitionResult result = await invocation.Control.AddPartitionAsync(
                Range(invocation, from, to),
                invocation.Get(engine) == "memory" ? EngineKind.Memory : EngineKind.Lsm,
                invocation.Get(isVolatile),
                invocation.Cancellation);
            return Finish(invocation, result, "added");
        });
    }

    private static Command CreateRemove(Session session)
    {
        Argument<long?> id = new("ID") { Description = "The partition's number", Arity = ArgumentArity.ZeroOrOne };
        (Option<string?> from, Option<string?> to) = Bounds();
        Option<bool> discard = new("--discard-data") { Description = "Remove it with the keys it holds" };
        return CommandTree.Command(session, "remove", "Remove a partition, by number or by exactly its range", [id, from, to, discard], async invocation =>
        {
            bool byRange = invocation.Get(from) is not null || invocation.Get(to) is not null;
            long? number = invocation.Get(id);
            if (byRange == number is not null)
            {
                throw CommandException.Usage("name the partition by its number, or by its range with --from and --to");
            }

            PartitionResult result = number is { } partition
                ? await invocation.Control.RemovePartitionAsync(partition, invocation.Get(discard), invocation.Cancellation)
                : await invocation.Control.RemovePartitionAsync(Range(invocation, from, to), invocation.Get(discard), invocation.Cancellation);
            if (result.Status == Status.ConditionFailed && !invocation.Get(discard))
            {
                throw new CommandException(ExitCode.Refused, $"{result.Detail}: remove it with --discard-data to lose them");
            }

            return Finish(invocation, result, "removed");
        });
    }

    private static Command CreateSet(Session session)
    {
        Argument<long> id = new("ID") { Description = "The partition's number" };
        Argument<string> setting = new("NAME=VALUE") { Description = "acknowledgement=async|semi-sync=K|sync|default" };
        return CommandTree.Command(session, "set", "Change one of a partition's own settings, on all nodes that have it; the value 'default' ends it: the server's counts again", [id, setting], async invocation =>
        {
            string text = invocation.Get(setting);
            int equals = text.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
            {
                throw CommandException.Usage($"'{text}' is no setting with a value; write NAME=VALUE, for example acknowledgement=async");
            }

            PartitionResult result = await invocation.Control.SetPartitionAsync(invocation.Get(id), text[..equals], text[(equals + 1)..], invocation.Cancellation);
            return Finish(invocation, result, "set");
        });
    }

    private static Command CreateSnapshot(Session session)
    {
        Argument<long> id = new("ID") { Description = "The partition's number" };
        Argument<string> path = new("PATH") { Description = "A folder on the server's machine that does not exist yet or is empty" };
        return CommandTree.Command(
            session,
            "snapshot",
            "Write a consistent copy of a partition while it serves; the copy is a data folder by itself",
            [id, path],
            invocation => SnapshotAsync(invocation, invocation.Get(id), invocation.Get(path)));
    }

    private static async Task<int> SnapshotAsync(Invocation invocation, long id, string path)
    {
        // A relative path means the folder that the person is in, which the server, if it is on this machine, does not know.
        string full = Path.GetFullPath(path);
        using Progress progress = new(invocation.Terminal, "bytes", 0, quiet: invocation.Json);
        SnapshotReport last = default;
        await foreach (SnapshotReport report in invocation.Control.SnapshotAsync(id, full, invocation.Cancellation))
        {
            last = report;
            progress.Report(report.BytesDone, report.BytesDone, report.BytesDone);
        }

        progress.Dispose();
        if (invocation.Json)
        {
            invocation.WriteJson(json =>
            {
                json.WriteNumber("partition"u8, id);
                json.WriteString("path"u8, full);
                json.WriteNumber("bytes"u8, last.BytesTotal);
                json.WriteNumber("version"u8, last.Version);
                json.WriteNumber("index"u8, last.Index);
            });
        }
        else
        {
            invocation.Terminal.Out.WriteLine(
                $"snapshot of partition {id} in {full}: {Progress.Bytes(last.BytesTotal)}, everything up to version {last.Version}");
        }

        return ExitCode.Done;
    }

    internal static (Option<string?> From, Option<string?> To) Bounds() => (
        new Option<string?>("--from") { Description = "The first key, inclusive [default: the first possible]", HelpName = "KEY" },
        new Option<string?>("--to") { Description = "The end of the range, exclusive [default: behind the last possible]", HelpName = "KEY" });

    internal static KeyRange Range(Invocation invocation, Option<string?> from, Option<string?> to)
    {
        KeyRange range = new(invocation.KeyPart(from), invocation.KeyPart(to));
        return range.IsEmpty ? throw CommandException.Usage("the range is empty: --from is not before --to") : range;
    }

    private static int Finish(Invocation invocation, in PartitionResult result, string done)
    {
        if (result.Status != Status.Ok)
        {
            throw CommandException.Refused(result.Status, result.Detail);
        }

        PartitionInfo partition = result.Partition ?? throw new StoreException("the server answered without the partition");
        if (invocation.Json)
        {
            invocation.WriteJson(json => WriteProperties(json, partition));
        }
        else
        {
            invocation.Terminal.Out.WriteLine(
                $"{done} partition {partition.Id}: {Bound(invocation, partition.Range.From, "-∞")} to {Bound(invocation, partition.Range.To, "+∞")}, {EngineName(partition)}{(partition.Settings.All.Count == 0 ? "" : $", {partition.Settings}")}");
        }

        return ExitCode.Done;
    }

    private static string[] Row(Invocation invocation, PartitionInfo partition) =>
    [
        partition.Id.ToString(CultureInfo.InvariantCulture),
        Bound(invocation, partition.Range.From, "-∞"),
        Bound(invocation, partition.Range.To, "+∞"),
        EngineName(partition),
        (partition.Engine == EngineKind.Lsm ? "~" : "") + Progress.Number(partition.Keys),
        Progress.Bytes(partition.StorageBytes),
        partition.AppliedIndex.ToString(CultureInfo.InvariantCulture),
        partition.DurableIndex.ToString(CultureInfo.InvariantCulture),
        partition.Settings.ToString(),
    ];

    private static string Bound(Invocation invocation, ReadOnlyMemory<byte> bound, string open) =>
        bound.IsEmpty ? open : KeyText.Format(bound.Span, invocation.KeyEncoding);

    private static string EngineName(PartitionInfo partition) =>
        (partition.Engine == EngineKind.Memory ? "memory" : "lsm") + (partition.Volatile ? ", volatile" : "");

    private static void WriteProperties(Utf8JsonWriter json, PartitionInfo partition)
    {
        json.WriteNumber("id"u8, partition.Id);
        RecordJson.WriteBytes(json, "from"u8, "from64"u8, partition.Range.From.Span);
        RecordJson.WriteBytes(json, "to"u8, "to64"u8, partition.Range.To.Span);
        json.WriteString("engine"u8, partition.Engine == EngineKind.Memory ? "memory" : "lsm");
        json.WriteBoolean("volatile"u8, partition.Volatile);
        json.WriteNumber("keys"u8, partition.Keys);
        json.WriteNumber("storage_bytes"u8, partition.StorageBytes);
        json.WriteNumber("applied_index"u8, partition.AppliedIndex);
        json.WriteNumber("durable_index"u8, partition.DurableIndex);
        json.WriteStartObject("settings"u8);
        foreach ((string name, string value) in partition.Settings.All)
        {
            json.WriteString(name, value);
        }

        json.WriteEndObject();
    }
}
