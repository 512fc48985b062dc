using System.CommandLine;

namespace KeyVa.Cli;

/// <summary>The options with which <c>del</c> removes a range. Immutable.</summary>
internal sealed class RemovedRange
{
    public Option<string?> Prefix { get; } = new("--prefix", "-p") { Description = "Remove every key that begins with this", HelpName = "KEY" };

    public Option<string?> From { get; } = new("--from") { Description = "Remove every key from this one on, inclusive", HelpName = "KEY" };

    public Option<string?> To { get; } = new("--to") { Description = "Remove every key before this one", HelpName = "KEY" };

    public Option<bool> All { get; } = new("--all") { Description = "Remove every key of the store" };

    /// <summary>Whether a range is asked for.</summary>
    public bool IsGiven(Invocation invocation) =>
        invocation.Get(Prefix) is not null || invocation.Get(From) is not null || invocation.Get(To) is not null || invocation.Get(All);

    /// <summary>The range; a usage error if the options contradict each other or, empty, would mean everything.</summary>
    public KeyRange Read(Invocation invocation, bool hasKeys)
    {
        byte[] prefix = invocation.KeyPart(Prefix);
        byte[] from = invocation.KeyPart(From);
        byte[] to = invocation.KeyPart(To);
        bool bounded = from.Length > 0 || to.Length > 0;
        if (hasKeys)
        {
            throw CommandException.Usage("keys and --if-version do not go with a range");
        }

        if ((prefix.Length > 0 ? 1 : 0) + (bounded ? 1 : 0) + (invocation.Get(All) ? 1 : 0) != 1)
        {
            throw CommandException.Usage("give --prefix, or --from and --to (one of them may be left out), or --all; none of them empty");
        }

        return to.Length > 0 && from.AsSpan().SequenceCompareTo(to) >= 0
            ? throw CommandException.Usage("the range is empty: --from is not before --to")
            : prefix.Length > 0 ? KeyRange.WithPrefix(prefix) : new KeyRange(from, to);
    }

    /// <summary>Removes a range and says so.</summary>
    public static async Task<int> RunAsync(Invocation invocation, KeyRange range, Acknowledgement asked)
    {
        using WriteBatch batch = new() { Acknowledgement = asked };
        WriteResult result = asked.Class == AcknowledgementClass.Default
            ? await invocation.Keys.RemoveRangeAsync(range.From, range.To, invocation.Cancellation)
            : await invocation.Keys.WriteAsync(batch.RemoveRange(range.From.Span, range.To.Span), invocation.Cancellation);
        if (!result.IsOk)
        {
            throw CommandException.Refused(result.Status, result.Detail);
        }

        if (invocation.Json)
        {
            invocation.WriteJson(json =>
            {
                json.WriteNumber("version"u8, result.Version);
                AcknowledgementOption.Write(json, asked, result.Receipt);
            });
        }
        else
        {
            invocation.Terminal.Out.WriteLine(result.Version == 0 ? "removed the range, to be committed" : $"removed the range, version {result.Version}{AcknowledgementOption.Text(asked, result.Receipt)}");
        }

        return ExitCode.Done;
    }
}
