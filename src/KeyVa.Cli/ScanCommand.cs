using System.CommandLine;

namespace KeyVa.Cli;

/// <summary>The options that choose a range, shared by <c>scan</c> and <c>export</c>. Immutable.</summary>
internal sealed class RangeOptions
{
    public Option<string?> Prefix { get; } = new("--prefix", "-p") { Description = "Only keys that begin with this", HelpName = "KEY" };

    public Option<string?> From { get; } = new("--from") { Description = "The first key, inclusive", HelpName = "KEY" };

    public Option<string?> To { get; } = new("--to") { Description = "The end of the range, exclusive", HelpName = "KEY" };

    public Option<long> Limit { get; } = new("--limit", "-n") { Description = "The most records", HelpName = "N" };

    public Option<bool> Unordered { get; } = new("--unordered")
    {
        Description = "Take the order of the engine where it keeps none (memory engine)",
    };

    public ScanOptions ToScan(Invocation invocation)
    {
        long limit = invocation.Get(Limit);
        if (limit < 0 || (limit == 0 && invocation.Result.GetResult(Limit) is { Implicit: false }))
        {
            throw CommandException.Usage("--limit must be at least 1");
        }

        byte[] from = invocation.KeyPart(From);
        byte[] to = invocation.KeyPart(To);
        return to.Length > 0 && from.AsSpan().SequenceCompareTo(to) >= 0
            ? throw CommandException.Usage("the range is empty: --from is not before --to")
            : new ScanOptions
            {
                Prefix = invocation.KeyPart(Prefix),
                From = from,
                To = to,
                Limit = limit,
                Unordered = invocation.Get(Unordered),
            };
    }
}

/// <summary><c>scan</c>. Stateless.</summary>
internal static class ScanCommand
{
    public static Command Create(Session session)
    {
        RangeOptions range = new();
        Option<bool> reverse = new("--reverse", "-r") { Description = "From the end of the range to its beginning" };
        Option<bool> keysOnly = new("--keys-only", "-k") { Description = "Leave the values out" };
        MomentOptions moment = MomentOptions.At();
        return CommandTree.Command(
            session,
            "scan",
            "List records in key order at one moment: a line for each, key and value apart by a tab, both escaped",
            [range.Prefix, range.From, range.To, range.Limit, reverse, keysOnly, range.Unordered, moment.Version, moment.Time],
            invocation => RunAsync(
                invocation,
                range.ToScan(invocation) with { Reverse = invocation.Get(reverse), KeysOnly = invocation.Get(keysOnly), At = moment.Read(invocation) }));
    }

    private static async Task<int> RunAsync(Invocation invocation, ScanOptions options)
    {
        bool json = invocation.Json;
        await foreach (Record record in invocation.Keys.ScanAsync(options, invocation.Cancellation))
        {
            if (json)
            {
                invocation.WriteJson(writer => RecordJson.WriteRecord(writer, record, options.KeysOnly));
            }
            else
            {
                ReadCommands.WriteLine(invocation, record, options.KeysOnly);
            }

            if (invocation.Terminal.IsOutputTerminal)
            {
                invocation.Terminal.Flush();
            }
        }

        return ExitCode.Done;
    }
}
