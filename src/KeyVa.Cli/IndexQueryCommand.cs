using System.CommandLine;
using System.Text.Json;
using KeyVa.Indexes;

namespace KeyVa.Cli;

/// <summary><c>index query</c>. Stateless.</summary>
internal static class IndexQueryCommand
{
    public static Command Create(Session session)
    {
        Argument<string> name = IndexCommands.NameArgument();
        Argument<string[]> equal = new("VALUE")
        {
            Description = "What the first fields are: a number, true, false, null, or text; text that looks like one of those stands in double quotes: '\"30\"'",
            Arity = ArgumentArity.ZeroOrMore,
        };
        Option<string[]> from = Values("--from", "Where the fields behind those begin, inclusive; once for each field");
        Option<string[]> to = Values("--to", "Where they end, exclusive; once for each field");
        Option<bool> fromExclusive = new("--from-exclusive") { Description = "Leave out what has exactly the values of --from" };
        Option<bool> toInclusive = new("--to-inclusive") { Description = "Leave in what has exactly the values of --to" };
        Option<string?> prefix = new("--prefix", "-p") { Description = "The beginning of the text in the next field", HelpName = "TEXT" };
        Option<bool> reverse = new("--reverse", "-r") { Description = "From the last to the first" };
        Option<long> limit = new("--limit", "-n") { Description = "The most records", HelpName = "N" };
        Option<bool> keysOnly = new("--keys-only", "-k") { Description = "Leave the values out" };
        return CommandTree.Command(
            session,
            "query",
            "List the records that an index finds, in its order: a line for each, key and value apart by a tab, both escaped",
            [name, equal, from, to, fromExclusive, toInclusive, prefix, reverse, limit, keysOnly],
            invocation =>
            {
                long most = invocation.Get(limit);
                if (most < 0 || (most == 0 && invocation.Result.GetResult(limit) is { Implicit: false }))
                {
                    throw CommandException.Usage("--limit must be at least 1");
                }

                return RunAsync(invocation, new IndexQuery
                {
                    Index = invocation.Get(name),
                    Equal = [.. (invocation.Get(equal) ?? []).Select(text => Value(text, "VALUE"))],
                    From = [.. (invocation.Get(from) ?? []).Select(static text => Value(text, "--from"))],
                    To = [.. (invocation.Get(to) ?? []).Select(static text => Value(text, "--to"))],
                    FromExclusive = invocation.Get(fromExclusive),
                    ToInclusive = invocation.Get(toInclusive),
                    Prefix = invocation.Get(prefix),
                    Reverse = invocation.Get(reverse),
                    Limit = most,
                    KeysOnly = invocation.Get(keysOnly),
                });
            });
    }

    private static Option<string[]> Values(string name, string description) => new(name) { Description = description, HelpName = "VALUE" };

    /// <summary>A value as a person writes it: text needs no quotes.</summary>
    private static IndexValue Value(string text, string place)
    {
        if (text is "null" or "true" or "false")
        {
            return text == "null" ? IndexValue.Null : IndexValue.From(text == "true");
        }

        if (!text.StartsWith('"'))
        {
            return text.StartsWith('[') || text.StartsWith('{')
                ? throw CommandException.Usage($"{place} is '{text}': an index holds no arrays and no objects; text that begins like one stands in double quotes, and several values apart")
                : IndexValue.TryParseNumber(text, out IndexValue number) ? number : text;
        }

        try
        {
            using JsonDocument quoted = JsonDocument.Parse(text);
            return quoted.RootElement.GetString()!;
        }
        catch (JsonException)
        {
            throw CommandException.Usage($"{place} is '{text}', which begins with a double quote and is no JSON string");
        }
    }

    private static async Task<int> RunAsync(Invocation invocation, IndexQuery query)
    {
        await foreach (IndexedRecord found in invocation.Keys.QueryAsync(query, invocation.Cancellation))
        {
            if (invocation.Json)
            {
                invocation.WriteJson(json => WriteProperties(json, found, query.KeysOnly));
            }
            else
            {
                ReadCommands.WriteLine(invocation, found.Record, query.KeysOnly);
            }

            if (invocation.Terminal.IsOutputTerminal)
            {
                invocation.Terminal.Flush();
            }
        }

        return ExitCode.Done;
    }

    private static void WriteProperties(Utf8JsonWriter json, in IndexedRecord found, bool keysOnly)
    {
        if (keysOnly)
        {
            RecordJson.WriteKey(json, found.Record.Key.Span);
        }
        else
        {
            RecordJson.WriteRecord(json, found.Record);
        }

        json.WriteStartArray("fields"u8);
        foreach (IndexValue field in found.Fields)
        {
            json.WriteRawValue(field.ToString(), skipInputValidation: true);
        }

        json.WriteEndArray();
    }
}
