using System.CommandLine;
using System.Text;

namespace KeyVa.Cli;

/// <summary><c>incr</c> and <c>merge</c>. Stateless.</summary>
internal static class MergeCommands
{
    /// <summary>The command whose second argument is a function.</summary>
    public const string MergeName = "merge";

    public static Command CreateIncrement(Session session)
    {
        Argument<string> key = new("KEY") { Description = "The key of the counter; one that is not there counts as 0" };
        Argument<long> delta = new("DELTA") { Description = "How much to add; negative: to subtract. 1 unless given", DefaultValueFactory = static _ => 1 };
        Option<string?> ttl = new("--ttl") { Description = "Forget the counter after a time, such as 90s, 15m, 1.5h or 7d; without it an expiry stays", HelpName = "TIME" };
        return CommandTree.Command(
            session,
            "incr",
            "Add to a counter; tells what it came to",
            [key, delta, ttl],
            async invocation =>
            {
                byte[] bytes = invocation.Key(invocation.Get(key));
                WriteOptions options = new() { Expiry = Expires(invocation.Get(ttl)) };
                return Finish(invocation, await invocation.Keys.IncrementAsync(bytes, invocation.Get(delta), options, invocation.Cancellation));
            });
    }

    public static Command CreateMerge(Session session)
    {
        Argument<string> key = new("KEY") { Description = "The key" };
        Argument<string> function = new("FUNCTION") { Description = "What makes the new value: " + Names() };
        Argument<string?> operand = new("OPERAND") { Description = "The operand; '-' reads it from the standard input", Arity = ArgumentArity.ZeroOrOne };
        Option<string?> file = new("--file", "-f") { Description = "Take the operand from a file", HelpName = "FILE" };
        Option<string?> ttl = new("--ttl") { Description = "Forget the key after a time, such as 90s, 15m, 1.5h or 7d; without it an expiry stays", HelpName = "TIME" };
        Option<bool> ifAbsent = new("--if-absent") { Description = "Only if the key does not exist" };
        Option<bool> ifPresent = new("--if-present") { Description = "Only if the key exists" };
        Option<long?> ifVersion = new("--if-version") { Description = "Only if the key is at exactly this version", HelpName = "N" };
        return CommandTree.Command(
            session,
            MergeName,
            "Make a key's value from the one that it has and an operand; tells what it came to",
            [key, function, operand, file, ttl, ifAbsent, ifPresent, ifVersion],
            async invocation =>
            {
                string name = invocation.Get(function);
                MergeFunction merge = MergeFunction.Find(name)
                    ?? throw CommandException.Usage(Unknown(name));
                WriteOptions options = new()
                {
                    Expiry = Expires(invocation.Get(ttl)),
                    Condition = WriteCommands.Condition(invocation.Get(ifAbsent), invocation.Get(ifPresent), invocation.Get(ifVersion)),
                };
                byte[] bytes = invocation.Key(invocation.Get(key));
                byte[] with = await WriteCommands.ValueAsync(invocation, invocation.Get(operand), invocation.Get(file), "operand");
                return Finish(invocation, await invocation.Keys.MergeAsync(bytes, merge, with, options, invocation.Cancellation));
            });
    }

    /// <summary>What is said of a name that no function has.</summary>
    public static string Unknown(string name) => $"no merge function '{name}'; there are: {Names()}";

    private static string Names() => string.Join(", ", MergeFunction.BuiltIn.Select(static function => function.Name));

    private static Expiry Expires(string? ttl) => ttl is null ? Expiry.Never : Expiry.In(TimeText.Parse(ttl, "--ttl"));

    private static int Finish(Invocation invocation, in WriteResult result)
    {
        if (!result.IsOk)
        {
            throw WriteCommands.Refusal(result);
        }

        if (result.Merged.Count == 0)
        {
            return Pending(invocation);
        }

        ReadOnlyMemory<byte> value = result.Merged[0];
        long version = result.Version;
        if (invocation.Json)
        {
            invocation.WriteJson(json =>
            {
                RecordJson.WriteValue(json, value.Span);
                json.WriteNumber("version"u8, version);
            });
        }
        else
        {
            invocation.Terminal.Out.WriteLine(KeyText.IsPrintable(value.Span) ? Encoding.UTF8.GetString(value.Span) : KeyText.Escape(value.Span));
        }

        return ExitCode.Done;
    }

    // Inside a transaction what it comes to is not known, and reading the key to tell would make it a merge that may conflict.
    private static int Pending(Invocation invocation)
    {
        if (invocation.Json)
        {
            invocation.WriteJson(static json => json.WriteNumber("version"u8, 0));
        }
        else
        {
            invocation.Terminal.Out.WriteLine("merged, to be committed");
        }

        return ExitCode.Done;
    }
}
