using System.CommandLine;

namespace KeyVa.Cli;

/// <summary><c>watch</c>. Stateless.</summary>
internal static class WatchCommand
{
    public static Command Create(Session session)
    {
        Argument<string?> key = new("KEY") { Description = "The key; without one: what the options say, or every key", Arity = ArgumentArity.ZeroOrOne };
        Option<string?> prefix = new("--prefix", "-p") { Description = "Only keys that begin with this", HelpName = "KEY" };
        Option<string?> from = new("--from") { Description = "The first key, inclusive", HelpName = "KEY" };
        Option<string?> to = new("--to") { Description = "The end of the range, exclusive", HelpName = "KEY" };
        Option<long> version = new("--from-version") { Description = "Begin with this version instead of now: one more than the last one seen resumes", HelpName = "N" };
        Option<bool> previous = new("--previous") { Description = "Tell what each change replaced" };
        Option<bool> keysOnly = new("--keys-only", "-k") { Description = "Leave the values out" };
        Option<bool> progress = new("--progress") { Description = "Tell every few seconds, too, up to which version nothing more has changed" };
        return CommandTree.Command(
            session,
            "watch",
            "Follow changes until Ctrl-C: a line for each, version, change, key and value apart by tabs, keys and values escaped",
            [key, prefix, from, to, version, previous, keysOnly, progress],
            invocation =>
            {
                string? text = invocation.Result.GetValue(key);
                byte[] start = invocation.KeyPart(from);
                byte[] end = invocation.KeyPart(to);
                byte[] beginning = invocation.KeyPart(prefix);
                if ((text is null ? 0 : 1) + (beginning.Length > 0 ? 1 : 0) + (start.Length + end.Length > 0 ? 1 : 0) > 1)
                {
                    throw CommandException.Usage("give a KEY, or --prefix, or --from and --to");
                }

                if (invocation.Get(version) < 0)
                {
                    throw CommandException.Usage("--from-version must be at least 1");
                }

                WatchOptions options = new()
                {
                    Key = text is null ? default : invocation.Key(text),
                    Prefix = beginning,
                    From = start,
                    To = end,
                    StartVersion = invocation.Get(version),
                    PreviousValues = invocation.Get(previous),
                    KeysOnly = invocation.Get(keysOnly),
                };
                return RunAsync(invocation, options, invocation.Get(progress));
            });
    }

    private static async Task<int> RunAsync(Invocation invocation, WatchOptions options, bool tellProgress)
    {
        Terminal terminal = invocation.Terminal;
        bool begun = false;
        try
        {
            await using IAsyncEnumerator<WatchEvent> reader =
                invocation.Store.WatchAsync(options, invocation.Cancellation).GetAsyncEnumerator(invocation.Cancellation);
            while (true)
            {
                ValueTask<bool> next = reader.MoveNextAsync();
                if (!next.IsCompleted)
                {
                    // Nothing more for now: whoever reads, a person or a program, gets what there is.
                    terminal.Flush();
                }

                if (!await next)
                {
                    return ExitCode.Done;
                }

                if (!begun && terminal.IsErrorTerminal)
                {
                    terminal.Say($"watching from version {reader.Current.Version + 1} on; Ctrl-C ends it");
                }

                begun = true;
                if (reader.Current.Kind != WatchEventKind.Progress || tellProgress)
                {
                    Tell(invocation, reader.Current, options);
                }
            }
        }
        catch (OperationCanceledException) when (invocation.Cancellation.IsCancellationRequested)
        {
            // The way to end it, so no failure.
            return ExitCode.Done;
        }
    }

    private static void Tell(Invocation invocation, WatchEvent told, WatchOptions options)
    {
        if (invocation.Json)
        {
            invocation.WriteJson(json => WriteJson(json, told, options));
            return;
        }

        StreamWriter output = invocation.Terminal.Out;
        output.Write(told.Version);
        output.Write('\t');
        output.Write(NameOf(told.Kind));
        if (told.Kind != WatchEventKind.Progress)
        {
            output.Write('\t');
            output.Write(KeyText.Format(told.Key.Span, invocation.KeyEncoding));
        }

        if (told.Kind == WatchEventKind.RemoveRange)
        {
            output.Write('\t');
            output.Write(KeyText.Format(told.To.Span, invocation.KeyEncoding));
        }
        else if (told.Kind == WatchEventKind.Put && !options.KeysOnly)
        {
            output.Write('\t');
            output.Write(KeyText.Escape(told.Value.Span));
        }

        if (options.PreviousValues && told.Kind is WatchEventKind.Put or WatchEventKind.Remove)
        {
            output.Write(told.PreviousVersion switch
            {
                > 0 => options.KeysOnly ? $"\twas {told.PreviousVersion}" : $"\twas {told.PreviousVersion}\t{KeyText.Escape(told.PreviousValue.Span)}",
                0 => "\twas absent",
                _ => "\twas unknown",
            });
        }

        output.Write('\n');
    }

    private static void WriteJson(System.Text.Json.Utf8JsonWriter json, WatchEvent told, WatchOptions options)
    {
        json.WriteString("event"u8, NameOf(told.Kind));
        switch (told.Kind)
        {
            case WatchEventKind.Progress:
                json.WriteNumber("version"u8, told.Version);
                return;
            case WatchEventKind.RemoveRange:
                RecordJson.WriteBytes(json, "from"u8, "from64"u8, told.Key.Span);
                RecordJson.WriteBytes(json, "to"u8, "to64"u8, told.To.Span);
                break;
            default:
                RecordJson.WriteKey(json, told.Key.Span);
                break;
        }

        if (told.Kind == WatchEventKind.Put && !options.KeysOnly)
        {
            RecordJson.WriteValue(json, told.Value.Span);
        }

        json.WriteNumber("version"u8, told.Version);
        json.WriteNumber("modified"u8, told.ModifiedUnixMilliseconds);
        if (told.ExpiresAtUnixMilliseconds != 0)
        {
            json.WriteNumber("expires"u8, told.ExpiresAtUnixMilliseconds);
        }

        if (options.PreviousValues && told.PreviousVersion >= 0)
        {
            json.WriteNumber("previousVersion"u8, told.PreviousVersion);
            if (told.PreviousVersion > 0 && !options.KeysOnly)
            {
                RecordJson.WriteBytes(json, "previous"u8, "previous64"u8, told.PreviousValue.Span);
            }
        }

        if (told.HasMore)
        {
            json.WriteBoolean("more"u8, true);
        }
    }

    private static string NameOf(WatchEventKind kind) => kind switch
    {
        WatchEventKind.Put => "put",
        WatchEventKind.Remove => "remove",
        WatchEventKind.RemoveRange => "remove-range",
        _ => "progress",
    };
}
