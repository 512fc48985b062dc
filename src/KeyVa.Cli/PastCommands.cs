using System.CommandLine;
using System.Globalization;
using KeyVa.Server;

namespace KeyVa.Cli;

/// <summary><c>history</c> and <c>rollback</c>. Stateless.</summary>
internal static class PastCommands
{
    private const long DefaultLimit = 100;

    public static Command CreateHistory(Session session)
    {
        Argument<string> key = new("KEY") { Description = "The key" };
        Option<long> limit = new("--limit", "-n") { Description = "The most versions; 100 unless given", HelpName = "N", DefaultValueFactory = static _ => DefaultLimit };
        Option<long?> before = new("--before") { Description = "Only versions below this one", HelpName = "N" };
        Option<bool> keysOnly = new("--keys-only", "-k") { Description = "Leave the values out" };
        return CommandTree.Command(
            session,
            "history",
            "List the versions of a key that are still there, newest first",
            [key, limit, before, keysOnly],
            invocation => HistoryAsync(
                invocation, invocation.Key(invocation.Get(key)), invocation.Get(limit), invocation.Get(before), invocation.Get(keysOnly)));
    }

    public static Command CreateRollBack(Session session)
    {
        Argument<string?> key = new("KEY") { Description = "The key; without one: what the options say", Arity = ArgumentArity.ZeroOrOne };
        Option<string?> prefix = new("--prefix", "-p") { Description = "Roll back every key that begins with this", HelpName = "KEY" };
        Option<string?> from = new("--from") { Description = "Roll back every key from this one on, inclusive", HelpName = "KEY" };
        Option<string?> to = new("--to") { Description = "Roll back every key before this one", HelpName = "KEY" };
        Option<long?> partition = new("--partition") { Description = "Roll back the keys of a partition", HelpName = "ID" };
        Option<bool> all = new("--all") { Description = "Roll back every key of the store" };
        MomentOptions moment = MomentOptions.To();
        return CommandTree.Command(
            session,
            "revert",
            "Bring a key, a range or a partition back to what it was, by new writes at one version, all or nothing; tells what it did",
            [key, prefix, from, to, partition, all, moment.Version, moment.Time],
            async invocation =>
            {
                string? text = invocation.Result.GetValue(key);
                byte[] beginning = invocation.KeyPart(prefix);
                byte[] start = invocation.KeyPart(from);
                byte[] end = invocation.KeyPart(to);
                bool isBounded = start.Length + end.Length > 0;
                long? id = invocation.Get(partition);
                int given = (text is null ? 0 : 1) + (beginning.Length > 0 ? 1 : 0) + (isBounded ? 1 : 0) + (id is null ? 0 : 1) + (invocation.Get(all) ? 1 : 0);
                if (given != 1)
                {
                    throw CommandException.Usage("give one of these: a KEY, --prefix, --from and --to (one of them may be left out), --partition, --all; none of them empty");
                }

                if (end.Length > 0 && start.AsSpan().SequenceCompareTo(end) >= 0)
                {
                    throw CommandException.Usage("the range is empty: --from is not before --to");
                }

                AsOf target = moment.Read(invocation);
                if (!target.IsSet)
                {
                    throw CommandException.Usage("say what to roll back to, with --to-version or --to-time; 'keyva history KEY' lists a key's versions");
                }

                ValueTask<RollBackResult> done = text is not null ? invocation.Store.RollBackAsync(invocation.Key(text), target, invocation.Cancellation)
                    : id is { } number ? invocation.Store.RollBackAsync(number, target, invocation.Cancellation)
                    : invocation.Store.RollBackAsync(
                        beginning.Length > 0 ? KeyRange.WithPrefix(beginning) : new KeyRange(start, end), target, invocation.Cancellation);
                return Finish(invocation, await done);
            });
    }

    private static async Task<int> HistoryAsync(Invocation invocation, byte[] key, long limit, long? before, bool keysOnly)
    {
        if (limit < 1)
        {
            throw CommandException.Usage("--limit must be at least 1");
        }

        if (before is < 2)
        {
            throw CommandException.Usage("--before must be at least 2; there is no version before 1");
        }

        List<KeyVersion> versions = [];
        long begins;
        long resume = before - 1 ?? 0;
        do
        {
            int page = (int)Math.Min(limit - versions.Count, HistoryOptions.MaxLimit);
            HistoryResult result = await invocation.Store.HistoryAsync(
                key, new HistoryOptions { To = resume, Limit = page, WithoutValues = keysOnly }, invocation.Cancellation);
            if (result.Status != Status.Ok)
            {
                throw CommandException.Refused(result.Status, result.Detail);
            }

            versions.AddRange(result.Versions);
            begins = result.BeginsAtVersion;
            resume = result.ResumeVersion;
        }
        while (resume != 0 && versions.Count < limit);
        Tell(invocation, versions, keysOnly);
        Say(invocation, begins, resume);
        return versions.Count > 0
            ? ExitCode.Done
            : throw new CommandException(ExitCode.NotFound, $"nothing is known of the key '{KeyText.Format(key, invocation.KeyEncoding)}'");
    }

    private static void Tell(Invocation invocation, List<KeyVersion> versions, bool keysOnly)
    {
        if (invocation.Json)
        {
            foreach (KeyVersion version in versions)
            {
                invocation.WriteJson(json => WriteJson(json, version, keysOnly));
            }

            return;
        }

        if (versions.Count == 0)
        {
            return;
        }

        string[] heading = [">version", "time", ">size", "value"];
        Table.Write(invocation.Terminal, keysOnly ? heading[..3] : heading, versions.Select(version => Row(version, keysOnly)));
    }

    private static string[] Row(KeyVersion version, bool keysOnly)
    {
        string size = version.IsRemoval ? "removed" : keysOnly ? "" : version.Value.Length.ToString(CultureInfo.InvariantCulture);
        string[] row =
        [
            version.Version.ToString(CultureInfo.InvariantCulture),
            IsoTime.Format(version.ModifiedUnixMilliseconds),
            size,
            version.IsRemoval ? "" : KeyText.Escape(version.Value.Span),
        ];
        return keysOnly ? row[..3] : row;
    }

    private static void WriteJson(System.Text.Json.Utf8JsonWriter json, KeyVersion version, bool keysOnly)
    {
        json.WriteNumber("version"u8, version.Version);
        json.WriteNumber("modified"u8, version.ModifiedUnixMilliseconds);
        if (version.IsRemoval)
        {
            json.WriteBoolean("removed"u8, true);
        }
        else if (!keysOnly)
        {
            RecordJson.WriteValue(json, version.Value.Span);
        }

        if (version.ExpiresAtUnixMilliseconds != 0)
        {
            json.WriteNumber("expires"u8, version.ExpiresAtUnixMilliseconds);
        }
    }

    private static void Say(Invocation invocation, long begins, long resume)
    {
        if (resume != 0)
        {
            invocation.Terminal.Say(string.Create(CultureInfo.InvariantCulture, $"there are more; go on with --before {resume + 1}"));
        }
        else if (begins > 1)
        {
            invocation.Terminal.Say(string.Create(
                CultureInfo.InvariantCulture, $"complete from version {begins} on; what was overwritten or removed before it may be missing"));
        }
    }

    private static int Finish(Invocation invocation, in RollBackResult result)
    {
        if (result.Status != Status.Ok)
        {
            throw CommandException.Refused(result.Status, result.Detail);
        }

        RollBackResult done = result;
        if (invocation.Json)
        {
            invocation.WriteJson(json =>
            {
                json.WriteNumber("version"u8, done.Version);
                json.WriteNumber("toVersion"u8, done.ToVersion);
                json.WriteNumber("keysChanged"u8, done.KeysChanged);
            });
        }
        else
        {
            string keys = done.KeysChanged == 1 ? "1 key" : string.Create(CultureInfo.InvariantCulture, $"{done.KeysChanged:N0} keys");
            invocation.Terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"rolled back {keys} to version {done.ToVersion}, version {done.Version}"));
        }

        return ExitCode.Done;
    }
}
