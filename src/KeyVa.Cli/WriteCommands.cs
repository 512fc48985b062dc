using System.CommandLine;

namespace KeyVa.Cli;

/// <summary><c>set</c>, <c>mset</c> and <c>del</c>. Stateless.</summary>
internal static class WriteCommands
{
    // The most that any server can be configured to take.
    private const int MaxValueBytes = 64 << 20;

    public static Command CreateSet(Session session)
    {
        Argument<string> key = new("KEY") { Description = "The key" };
        Argument<string?> value = new("VALUE") { Description = "The value; '-' reads it from the standard input", Arity = ArgumentArity.ZeroOrOne };
        Option<string?> file = new("--file", "-f") { Description = "Take the value from a file", HelpName = "FILE" };
        Option<string?> ttl = new("--ttl") { Description = "Forget the key after a time, such as 90s, 15m, 1.5h or 7d", HelpName = "TIME" };
        Option<bool> ifAbsent = new("--if-absent") { Description = "Only if the key does not exist" };
        Option<bool> ifPresent = new("--if-present") { Description = "Only if the key exists" };
        Option<long?> ifVersion = new("--if-version") { Description = "Only if the key is at exactly this version", HelpName = "N" };
        Option<string?> ack = AcknowledgementOption.Create();
        return CommandTree.Command(
            session,
            "set",
            "Write a key; tells its version",
            [key, value, file, ttl, ifAbsent, ifPresent, ifVersion, ack],
            async invocation =>
            {
                Condition condition = Condition(invocation.Get(ifAbsent), invocation.Get(ifPresent), invocation.Get(ifVersion));
                WriteOptions options = new()
                {
                    Expiry = invocation.Get(ttl) is { } time ? Expiry.In(TimeText.Parse(time, "--ttl")) : Expiry.Never,
                    Condition = condition,
                    Acknowledgement = AcknowledgementOption.Read(invocation, ack),
                };
                byte[] keyBytes = invocation.Key(invocation.Get(key));
                byte[] bytes = await ValueAsync(invocation, invocation.Get(value), invocation.Get(file));
                WriteResult result = await invocation.Keys.UpsertAsync(keyBytes, bytes, options, invocation.Cancellation);
                return Finish(invocation, result, options.Acknowledgement);
            });
    }

    public static Command CreateMultiSet(Session session)
    {
        Argument<string[]> pairs = new("KEY VALUE") { Description = "Keys, each with its value behind it", Arity = ArgumentArity.OneOrMore };
        Option<string?> ack = AcknowledgementOption.Create();
        return CommandTree.Command(
            session,
            "mset",
            "Write several keys, all or nothing, at one version",
            [pairs, ack],
            async invocation =>
            {
                string[] words = invocation.Get(pairs);
                if (words.Length % 2 != 0)
                {
                    throw CommandException.Usage($"the last key '{words[^1]}' has no value; write KEY VALUE KEY VALUE …");
                }

                using WriteBatch batch = new() { Acknowledgement = AcknowledgementOption.Read(invocation, ack) };
                for (int i = 0; i < words.Length; i += 2)
                {
                    batch.Put(invocation.Key(words[i]), KeyText.ParseUtf8(words[i + 1], "value"));
                }

                return Finish(invocation, await invocation.Keys.WriteAsync(batch, invocation.Cancellation), batch.Acknowledgement);
            });
    }

    public static Command CreateDelete(Session session)
    {
        Argument<string[]> keys = new("KEY") { Description = "The keys", Arity = ArgumentArity.ZeroOrMore };
        Option<long?> ifVersion = new("--if-version") { Description = "Only if the key (one) is at exactly this version", HelpName = "N" };
        Option<string?> ack = AcknowledgementOption.Create();
        RemovedRange range = new();
        return CommandTree.Command(
            session,
            "del",
            "Remove keys, all or nothing; tells how many were there. Exit code 1 if one was not. Or remove a range, whatever is in it",
            [keys, ifVersion, range.Prefix, range.From, range.To, range.All, ack],
            async invocation =>
            {
                string[] texts = invocation.Get(keys);
                Acknowledgement asked = AcknowledgementOption.Read(invocation, ack);
                if (range.IsGiven(invocation))
                {
                    return await RemovedRange.RunAsync(invocation, range.Read(invocation, texts.Length > 0 || invocation.Get(ifVersion) is not null), asked);
                }

                if (texts.Length == 0)
                {
                    throw CommandException.Usage("no keys: write them behind the command, or give a range with --prefix, --from and --to, or --all");
                }

                if (invocation.Get(ifVersion) is not null && texts.Length > 1)
                {
                    throw CommandException.Usage("--if-version goes with one key");
                }

                using WriteBatch batch = new() { Acknowledgement = asked };
                foreach (string text in texts)
                {
                    batch.Remove(invocation.Key(text), Condition(false, false, invocation.Get(ifVersion)));
                }

                WriteResult result = await invocation.Keys.WriteAsync(batch, invocation.Cancellation);
                return FinishDelete(invocation, result, texts, asked);
            });
    }

    /// <summary>The condition that options ask for.</summary>
    public static Condition Condition(bool ifAbsent, bool ifPresent, long? ifVersion)
    {
        if ((ifAbsent ? 1 : 0) + (ifPresent ? 1 : 0) + (ifVersion is null ? 0 : 1) > 1)
        {
            throw CommandException.Usage("--if-absent, --if-present and --if-version exclude each other; give one");
        }

        return ifAbsent ? KeyVa.Condition.IfAbsent
            : ifPresent ? KeyVa.Condition.IfPresent
            : ifVersion is { } version ? KeyVa.Condition.IfVersion(version)
            : default;
    }

    /// <summary>A value from the command line, a file or the standard input.</summary>
    public static async Task<byte[]> ValueAsync(Invocation invocation, string? argument, string? file, string what = "value")
    {
        if (argument is not null && file is not null)
        {
            throw CommandException.Usage($"the {what} is given twice, as an argument and with --file");
        }

        if (argument is not null and not "-")
        {
            return KeyText.ParseUtf8(argument, what);
        }

        if (file is not null && file != "-")
        {
            await using FileStream stream = File.OpenRead(file);
            return await ReadAsync(stream, $"'{file}'", invocation.Cancellation);
        }

        if (argument is null && file is null)
        {
            throw CommandException.Usage($"no {what}: write it at the end, name a file with --file, or write '-' to read it from the standard input");
        }

        return invocation.Session.InShell
            ? throw CommandException.Usage("in the shell the standard input holds commands; name a file with --file")
            : await ReadAsync(invocation.Terminal.Input, "the standard input", invocation.Cancellation);
    }

    private static async Task<byte[]> ReadAsync(Stream stream, string name, CancellationToken cancellation)
    {
        using MemoryStream bytes = new();
        byte[] buffer = new byte[1 << 16];
        int read;
        while ((read = await stream.ReadAsync(buffer, cancellation)) > 0)
        {
            bytes.Write(buffer, 0, read);
            if (bytes.Length > MaxValueBytes)
            {
                throw new CommandException(ExitCode.Refused, $"{name} is longer than the {MaxValueBytes >> 20} MiB that a value can have on any server");
            }
        }

        return bytes.ToArray();
    }

    private static int Finish(Invocation invocation, in WriteResult result, Acknowledgement asked)
    {
        if (!result.IsOk)
        {
            throw Refusal(result);
        }

        long version = result.Version;
        WriteReceipt receipt = result.Receipt;
        if (invocation.Json)
        {
            invocation.WriteJson(json =>
            {
                json.WriteNumber("version"u8, version);
                AcknowledgementOption.Write(json, asked, receipt);
            });
        }
        else
        {
            invocation.Terminal.Out.WriteLine(version == 0 ? "written, to be committed" : $"version {version}{AcknowledgementOption.Text(asked, receipt)}");
        }

        return ExitCode.Done;
    }

    private static int FinishDelete(Invocation invocation, in WriteResult result, string[] keys, Acknowledgement asked)
    {
        if (!result.IsOk)
        {
            throw Refusal(result);
        }

        long version = result.Version;
        WriteReceipt receipt = result.Receipt;
        bool isKnown = receipt.Class is not (AcknowledgementClass.Async or AcknowledgementClass.SemiSync);
        int removed = result.Removed.Span.Count(true);
        List<string> missing = [];
        for (int i = 0; i < keys.Length && isKnown; i++)
        {
            if (!result.Removed.Span[i])
            {
                missing.Add($"'{keys[i]}'");
            }
        }

        if (invocation.Json)
        {
            invocation.WriteJson(json =>
            {
                if (isKnown)
                {
                    json.WriteNumber("removed"u8, removed);
                }

                json.WriteNumber("version"u8, version);
                AcknowledgementOption.Write(json, asked, receipt);
            });
        }
        else if (!isKnown)
        {
            invocation.Terminal.Out.WriteLine($"version {version}{AcknowledgementOption.Text(asked, receipt)}");
        }
        else
        {
            invocation.Terminal.Out.WriteLine(removed == keys.Length && removed == 1 ? $"removed{AcknowledgementOption.Text(asked, receipt)}" : $"removed {removed} of {keys.Length}{AcknowledgementOption.Text(asked, receipt)}");
        }

        return missing.Count == 0
            ? ExitCode.Done
            : throw new CommandException(ExitCode.NotFound, $"no {(missing.Count == 1 ? "key" : "keys")} {string.Join(", ", missing)}");
    }

    /// <summary>What ends a command whose write was refused.</summary>
    public static CommandException Refusal(in WriteResult result)
    {
        string? current = result.Status != Status.ConditionFailed || result.Detail?.Contains("version", StringComparison.Ordinal) == true
            ? null
            : result.CurrentVersion > 0 ? $" (the key is at version {result.CurrentVersion})" : null;
        CommandException refused = CommandException.Refused(result.Status, result.Detail);
        return current is null ? refused : new CommandException(refused.Code, refused.Message + current);
    }
}
