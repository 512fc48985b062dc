using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using KeyVa.Cli.Transfer;
using KeyVa.Client;
using KeyVa.Indexes;

namespace KeyVa.Cli;

/// <summary><c>index create|list|show|wait|drop|query</c>. Stateless.</summary>
internal static class IndexCommands
{
    /// <summary>The command that holds them.</summary>
    public const string Name = "index";

    /// <summary>Those whose first argument is the name of an index that is there.</summary>
    public static readonly HashSet<string> OfOne = new(StringComparer.Ordinal) { "show", "wait", "drop", "query" };

    public static Command Create(Session session)
    {
        Command index = new(Name, "Secondary indexes: find records by what is in their JSON values");
        index.Subcommands.Add(CreateCreate(session));
        index.Subcommands.Add(CreateList(session));
        index.Subcommands.Add(CreateShow(session));
        index.Subcommands.Add(CreateWait(session));
        index.Subcommands.Add(CreateDrop(session));
        index.Subcommands.Add(IndexQueryCommand.Create(session));
        return index;
    }

    /// <summary>The name of an index that is there.</summary>
    public static Argument<string> NameArgument() => new("NAME") { Description = "The index's name" };

    private static Command CreateCreate(Session session)
    {
        Argument<string> name = new("NAME") { Description = "1 to 64 letters, digits, dots, hyphens and underscores" };
        Argument<string[]> fields = new("PATH")
        {
            Description = "The fields to order by, 1 to 8: a, a.b, a[0].b, tags[*] for every element, $ for the value itself",
            Arity = ArgumentArity.OneOrMore,
        };
        Option<bool> unique = new("--unique") { Description = "No two records have the same values" };
        Option<bool> sparse = new("--sparse") { Description = "Leave records out in which a field is missing; otherwise it counts as null" };
        Option<bool> strict = new("--strict") { Description = "Refuse writes whose value cannot be read; otherwise they are stored and counted as unindexed" };
        Option<bool> noWait = new("--no-wait") { Description = "Do not wait until what is there already is indexed" };
        return CommandTree.Command(
            session,
            "create",
            "Create an index, and wait until it answers queries; writes go on meanwhile (over the control plane)",
            [name, fields, unique, sparse, strict, noWait],
            async invocation =>
            {
                IndexDefinition definition = new()
                {
                    Name = invocation.Get(name),
                    Fields = invocation.Get(fields),
                    Unique = invocation.Get(unique),
                    Sparse = invocation.Get(sparse),
                    Strict = invocation.Get(strict),
                };
                IndexResult result = await invocation.Indexes.CreateAsync(definition, invocation.Cancellation);
                Check(result);
                if (!invocation.Get(noWait))
                {
                    await FollowAsync(invocation, definition.Name);
                }

                return await TellAsync(
                    invocation, definition.Name, result.WasThere ? "was there already" : invocation.Get(noWait) ? "is being filled; 'keyva index wait' waits for it" : "created");
            });
    }

    private static Command CreateList(Session session) =>
        CommandTree.Command(session, "list", "List the indexes", [], async invocation =>
        {
            IReadOnlyList<IndexInfo> indexes = await invocation.Indexes.ListAsync(invocation.Cancellation);
            if (invocation.Json)
            {
                foreach (IndexInfo index in indexes)
                {
                    invocation.WriteJson(json => WriteProperties(json, index));
                }
            }
            else if (indexes.Count == 0)
            {
                invocation.Terminal.Say("there are no indexes; create one with 'keyva index create'");
            }
            else
            {
                Table.Write(
                    invocation.Terminal,
                    ["NAME", "FIELDS", "KIND", "STATE", ">ENTRIES", ">STORAGE", ">UNINDEXED"],
                    indexes.Select(Row));
            }

            return ExitCode.Done;
        });

    private static Command CreateShow(Session session)
    {
        Argument<string> name = NameArgument();
        return CommandTree.Command(session, "show", "Show an index: how far it is, and which records it cannot read", [name], async invocation =>
        {
            IndexInfo index = await FindAsync(invocation, invocation.Get(name));
            if (invocation.Json)
            {
                invocation.WriteJson(json => WriteProperties(json, index));
                return ExitCode.Done;
            }

            List<string[]> rows = [];
            rows.Add(["fields", Fields(index)]);
            rows.Add(["kind", Kind(index.Definition)]);
            rows.Add(["state", State(index)]);
            rows.Add(["entries", "~" + Progress.Number(index.Entries)]);
            rows.Add(["storage", Progress.Bytes(index.StorageBytes)]);
            rows.Add(["unindexed", Progress.Number(index.Unindexed)]);
            rows.AddRange(index.UnindexedKeys.Select(key => (string[])["", KeyText.Format(key.Span, invocation.KeyEncoding)]));
            Table.Write(invocation.Terminal, ["index", index.Definition.Name], rows);
            return ExitCode.Done;
        });
    }

    private static Command CreateWait(Session session)
    {
        Argument<string> name = NameArgument();
        return CommandTree.Command(session, "wait", "Wait until an index answers queries", [name], async invocation =>
        {
            await FollowAsync(invocation, invocation.Get(name));
            return await TellAsync(invocation, invocation.Get(name), "is ready");
        });
    }

    private static Command CreateDrop(Session session)
    {
        Argument<string> name = NameArgument();
        return CommandTree.Command(session, "drop", "Drop an index; the records stay (over the control plane)", [name], async invocation =>
        {
            Check(await invocation.Indexes.DropAsync(invocation.Get(name), invocation.Cancellation));
            if (invocation.Json)
            {
                invocation.WriteJson(json => json.WriteString("dropped"u8, invocation.Get(name)));
            }
            else
            {
                invocation.Terminal.Out.WriteLine($"index {invocation.Get(name)}: dropped");
            }

            return ExitCode.Done;
        });
    }

    private static void Check(IndexResult result)
    {
        if (!result.IsOk)
        {
            throw CommandException.Refused(result.Status, result.Detail);
        }
    }

    private static async Task FollowAsync(Invocation invocation, string name)
    {
        Progress? progress = null;
        try
        {
            await foreach (IndexReport report in invocation.Indexes.FollowAsync(name, invocation.Cancellation))
            {
                progress ??= new Progress(invocation.Terminal, "records", report.TotalRecords, quiet: invocation.Json);
                progress.Report(report.FilledRecords, report.FilledRecords, 0);
            }
        }
        finally
        {
            progress?.Dispose();
        }
    }

    private static async Task<IndexInfo> FindAsync(Invocation invocation, string name) =>
        name.Length > 0 && await invocation.Indexes.FindAsync(name, invocation.Cancellation) is { } index
            ? index
            : throw new CommandException(ExitCode.NotFound, $"there is no index '{name}'; 'keyva index list' shows them");

    private static async Task<int> TellAsync(Invocation invocation, string name, string how)
    {
        IndexInfo index = await FindAsync(invocation, name);
        if (invocation.Json)
        {
            invocation.WriteJson(json => WriteProperties(json, index));
        }
        else
        {
            invocation.Terminal.Out.WriteLine($"index {name}: {how}");
        }

        if (index.Unindexed > 0)
        {
            invocation.Terminal.Say(string.Create(
                CultureInfo.InvariantCulture, $"{index.Unindexed:N0} {(index.Unindexed == 1 ? "record" : "records")} cannot be read by it and {(index.Unindexed == 1 ? "is" : "are")} in no answer; 'keyva index show {name}' names some"));
        }

        return ExitCode.Done;
    }

    private static string[] Row(IndexInfo index) =>
    [
        index.Definition.Name,
        Fields(index),
        Kind(index.Definition),
        State(index),
        "~" + Progress.Number(index.Entries),
        Progress.Bytes(index.StorageBytes),
        Progress.Number(index.Unindexed),
    ];

    private static string Fields(IndexInfo index) => string.Join(", ", index.Definition.Fields);

    private static string Kind(IndexDefinition definition)
    {
        List<string> words = [];
        if (definition.Unique)
        {
            words.Add("unique");
        }

        if (definition.Sparse)
        {
            words.Add("sparse");
        }

        if (definition.Strict)
        {
            words.Add("strict");
        }

        if (definition.Extractor is { } extractor)
        {
            words.Add($"{extractor} {definition.ExtractorVersion}");
        }

        return words.Count == 0 ? "-" : string.Join(", ", words);
    }

    private static string State(IndexInfo index) => index.State switch
    {
        IndexState.Ready => "ready",
        IndexState.Building => string.Create(
            CultureInfo.InvariantCulture, $"building, {(index.TotalRecords == 0 ? 0 : 100 * index.FilledRecords / index.TotalRecords)} %"),
        _ => "dropping",
    };

    private static void WriteProperties(Utf8JsonWriter json, IndexInfo index)
    {
        IndexDefinition definition = index.Definition;
        json.WriteString("name"u8, definition.Name);
        json.WriteStartArray("fields"u8);
        foreach (string field in definition.Fields)
        {
            json.WriteStringValue(field);
        }

        json.WriteEndArray();
        json.WriteBoolean("unique"u8, definition.Unique);
        json.WriteBoolean("sparse"u8, definition.Sparse);
        json.WriteBoolean("strict"u8, definition.Strict);
        if (definition.Extractor is { } extractor)
        {
            json.WriteString("extractor"u8, extractor);
            json.WriteNumber("extractor_version"u8, definition.ExtractorVersion);
        }

        json.WriteString("state"u8, index.State switch { IndexState.Ready => "ready", IndexState.Building => "building", _ => "dropping" });
        json.WriteNumber("filled_records"u8, index.FilledRecords);
        json.WriteNumber("total_records"u8, index.TotalRecords);
        json.WriteNumber("entries"u8, index.Entries);
        json.WriteNumber("storage_bytes"u8, index.StorageBytes);
        json.WriteNumber("unindexed"u8, index.Unindexed);
        json.WriteStartArray("unindexed_keys"u8);
        foreach (ReadOnlyMemory<byte> key in index.UnindexedKeys)
        {
            json.WriteStartObject();
            RecordJson.WriteKey(json, key.Span);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
