using System.CommandLine;

namespace KeyVa.Cli;

/// <summary><c>get</c> and <c>mget</c>. Stateless.</summary>
internal static class ReadCommands
{
    public static Command CreateGet(Session session)
    {
        Argument<string> key = new("KEY") { Description = "The key" };
        MomentOptions moment = MomentOptions.At();
        return CommandTree.Command(
            session,
            "get",
            "Write the value of a key: its exact bytes to a pipe or file, readable to a terminal",
            [key, moment.Version, moment.Time],
            invocation => GetAsync(invocation, invocation.Get(key), moment.Read(invocation)));
    }

    public static Command CreateMultiGet(Session session)
    {
        Argument<string[]> keys = new("KEY") { Description = "The keys", Arity = ArgumentArity.OneOrMore };
        return CommandTree.Command(
            session,
            "mget",
            "Read several keys at one moment: a line for each, key and value apart by a tab, both escaped",
            [keys],
            invocation => MultiGetAsync(invocation, invocation.Get(keys)));
    }

    /// <summary>A line of key and value as <c>mget</c> and <c>scan</c> write it.</summary>
    public static void WriteLine(Invocation invocation, in Record record, bool keysOnly)
    {
        StreamWriter output = invocation.Terminal.Out;
        output.Write(KeyText.Format(record.Key.Span, invocation.KeyEncoding));
        if (!keysOnly)
        {
            output.Write('\t');
            output.Write(KeyText.Escape(record.Value.Span));
        }

        output.Write('\n');
    }

    private static async Task<int> GetAsync(Invocation invocation, string text, AsOf at)
    {
        byte[] key = invocation.Key(text);
        ReadResult result = at.IsSet
            ? await invocation.Keys.GetAtAsync(key, at, invocation.Cancellation)
            : await invocation.Keys.GetAsync(key, invocation.Cancellation);
        if (result.Status != Status.Ok)
        {
            throw result.Status == Status.NotFound
                ? new CommandException(ExitCode.NotFound, $"no key '{KeyText.Format(key, invocation.KeyEncoding)}'{(at.IsSet ? " at that time" : "")}")
                : CommandException.Refused(result.Status, result.Detail);
        }

        Record record = result.Record;
        if (invocation.Json)
        {
            invocation.WriteJson(json => RecordJson.WriteRecord(json, record));
        }
        else if (!invocation.Terminal.IsOutputTerminal)
        {
            invocation.Terminal.Output.Write(record.Value.Span);
        }
        else if (KeyText.IsPrintable(record.Value.Span))
        {
            invocation.Terminal.Output.Write(record.Value.Span);
            if (!record.Value.Span.EndsWith("\n"u8))
            {
                invocation.Terminal.Output.WriteByte((byte)'\n');
            }
        }
        else
        {
            invocation.Terminal.Out.WriteLine(KeyText.Escape(record.Value.Span));
        }

        return ExitCode.Done;
    }

    private static async Task<int> MultiGetAsync(Invocation invocation, string[] texts)
    {
        byte[][] keys = [.. texts.Select(invocation.Key)];
        MultiReadResult result = await invocation.Keys.GetAsync(
            [.. keys.Select(key => (ReadOnlyMemory<byte>)key)], invocation.Cancellation);
        if (result.Status != Status.Ok)
        {
            throw CommandException.Refused(result.Status, result.Detail);
        }

        List<string> missing = [];
        for (int i = 0; i < keys.Length; i++)
        {
            Record? found = result.Records[i];
            byte[] key = keys[i];
            if (invocation.Json)
            {
                invocation.WriteJson(json =>
                {
                    json.WriteBoolean("found"u8, found is not null);
                    RecordJson.WriteRecord(json, found ?? new Record { Key = key }, keysOnly: found is null);
                });
            }
            else if (found is { } record)
            {
                WriteLine(invocation, record, keysOnly: false);
            }

            if (found is null)
            {
                missing.Add($"'{KeyText.Format(key, invocation.KeyEncoding)}'");
            }
        }

        return missing.Count == 0
            ? ExitCode.Done
            : throw new CommandException(ExitCode.NotFound, $"no {(missing.Count == 1 ? "key" : "keys")} {string.Join(", ", missing)}");
    }
}
