using System.CommandLine;
using System.Globalization;
using System.Text;
using KeyVa.Cli.Shell;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary><c>txn</c>: a whole transaction in one command, from a script. Stateless.</summary>
internal static class TransactCommand
{
    private const int MaxScriptBytes = 64 << 20;

    private const string Description =
        """
        Do several things as one transaction, all or nothing, if conditions hold. The script comes from the standard input or a
        file, a line for each; words with spaces stand in quotes, as in the shell:

          check KEY absent | present | version N | value V    a condition
          get KEY …                                           tell what is there
          put KEY VALUE [ttl TIME]                            write (also: set)
          incr KEY [N]                                        add to a counter
          merge KEY FUNCTION OPERAND                          make a value from the one that is there
          del KEY …                                           remove
          del-range FROM TO | del-prefix PREFIX               remove a range
          otherwise                                           what follows is done if a condition does not hold

        Ends with 0 if it was done, one way or the other, and with 4 if a condition does not hold and there is no 'otherwise'.
        """;

    public static Command Create(Session session)
    {
        Argument<string?> file = new("FILE") { Description = "The script; '-' or nothing reads it from the standard input", Arity = ArgumentArity.ZeroOrOne };
        return CommandTree.Command(session, "txn", Description, [file], invocation => RunAsync(invocation, invocation.Get(file)));
    }

    private static async Task<int> RunAsync(Invocation invocation, string? file)
    {
        if (file is null or "-" && invocation.Session.InShell)
        {
            throw CommandException.Usage("in the shell the standard input holds commands; name a file, or use begin and commit");
        }

        Script script = new(invocation);
        int number = 0;
        foreach (string line in (await ReadAsync(invocation, file)).Split('\n'))
        {
            script.Take(++number, line.Trim());
        }

        ConditionalResult result = await invocation.Store.TransactAsync(script.Batch, invocation.Cancellation);
        if (result.Status != Status.Ok)
        {
            CommandException refused = CommandException.Refused(result.Status, result.Detail);
            throw new CommandException(refused.Code, script.Place(result.FailedStep) + refused.Message + "; nothing was written");
        }

        if (!result.Succeeded && !script.HasOtherwise)
        {
            throw new CommandException(ExitCode.Refused, "a condition does not hold; nothing was written");
        }

        Tell(invocation, result);
        return ExitCode.Done;
    }

    private static void Tell(Invocation invocation, ConditionalResult result)
    {
        if (invocation.Json)
        {
            invocation.WriteJson(json =>
            {
                json.WriteBoolean("succeeded"u8, result.Succeeded);
                json.WriteNumber("version"u8, result.Version);
                json.WriteStartArray("records"u8);
                foreach ((ReadOnlyMemory<byte> key, Record? found) in result.Records)
                {
                    json.WriteStartObject();
                    json.WriteBoolean("found"u8, found is not null);
                    RecordJson.WriteRecord(json, found ?? new Record { Key = key }, keysOnly: found is null);
                    json.WriteEndObject();
                }

                json.WriteEndArray();
            });
            return;
        }

        foreach ((ReadOnlyMemory<byte> key, Record? found) in result.Records)
        {
            if (found is { } record)
            {
                ReadCommands.WriteLine(invocation, record, keysOnly: false);
            }
            else
            {
                invocation.Terminal.Out.Flush();
                invocation.Terminal.Say($"no key '{KeyText.Format(key.Span, invocation.KeyEncoding)}'");
            }
        }

        string done = result.Succeeded ? "done" : "otherwise";
        invocation.Terminal.Out.WriteLine(result.Version == 0 ? done : string.Create(CultureInfo.InvariantCulture, $"{done}, version {result.Version}"));
    }

    private static async Task<string> ReadAsync(Invocation invocation, string? file)
    {
        await using FileStream? opened = file is null or "-" ? null : File.OpenRead(file);
        using MemoryStream bytes = new();
        byte[] buffer = new byte[1 << 16];
        int read;
        while ((read = await (opened ?? invocation.Terminal.Input).ReadAsync(buffer, invocation.Cancellation)) > 0)
        {
            bytes.Write(buffer, 0, read);
            if (bytes.Length > MaxScriptBytes)
            {
                throw CommandException.Usage($"the script is longer than {MaxScriptBytes >> 20} MiB");
            }
        }

        return Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }

    /// <summary>A script while it is read. One thread.</summary>
    private sealed class Script(Invocation invocation)
    {
        private readonly List<int> _then = [];
        private readonly List<int> _otherwise = [];
        private readonly List<string> _words = [];

        public ConditionalBatch Batch { get; } = new();

        public bool HasOtherwise { get; private set; }

        /// <summary>The line of a step that was refused, where there is no doubt which part was done.</summary>
        public string Place(int step) => step >= 0 && step < _then.Count && _otherwise.Count == 0
            ? string.Create(CultureInfo.InvariantCulture, $"line {_then[step]}: ")
            : "";

        public void Take(int line, string text)
        {
            if (text.Length == 0 || text[0] == '#')
            {
                return;
            }

            if (WordSplitter.Split(text, _words) is { } problem)
            {
                throw Wrong(line, problem);
            }

            switch (_words[0])
            {
                case "check" when _words.Count >= 3:
                    Batch.If(Key(1), Condition(line));
                    break;
                case "get" when _words.Count > 1:
                    Each(line, key => Batch.Get(key));
                    break;
                case "put" or "set" when _words.Count == 3 || (_words.Count == 5 && _words[3] == "ttl"):
                    Expiry expiry = _words.Count == 5 ? Expiry.In(TimeText.Parse(_words[4], "ttl")) : Expiry.Never;
                    Batch.Put(Key(1), KeyText.ParseUtf8(_words[2], "value"), new WriteOptions { Expiry = expiry });
                    Note(line);
                    break;
                case "incr" when _words.Count == 2 || (_words.Count == 3 && long.TryParse(_words[2], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _)):
                    Batch.Merge(Key(1), MergeFunction.Increment, Encoding.ASCII.GetBytes(_words.Count == 2 ? "1" : _words[2]));
                    Note(line);
                    break;
                case "merge" when _words.Count == 4:
                    MergeFunction function = MergeFunction.Find(_words[2]) ?? throw Wrong(line, MergeCommands.Unknown(_words[2]));
                    Batch.Merge(Key(1), function, KeyText.ParseUtf8(_words[3], "operand"));
                    Note(line);
                    break;
                case "del" when _words.Count > 1:
                    Each(line, key => Batch.Remove(key));
                    break;
                case "del-range" when _words.Count == 3:
                    Batch.RemoveRange(Part(1), Part(2));
                    Note(line);
                    break;
                case "del-prefix" when _words.Count == 2 && _words[1].Length > 0:
                    KeyRange range = KeyRange.WithPrefix(Part(1));
                    Batch.RemoveRange(range.From.Span, range.To.Span);
                    Note(line);
                    break;
                case "otherwise" when _words.Count == 1 && !HasOtherwise:
                    HasOtherwise = true;
                    Batch.Otherwise();
                    break;
                default:
                    throw Wrong(line, $"'{text}' is not understood; see 'keyva txn --help'");
            }
        }

        private Condition Condition(int line) => (_words[2], _words.Count) switch
        {
            ("absent", 3) => KeyVa.Condition.IfAbsent,
            ("present", 3) => KeyVa.Condition.IfPresent,
            ("version", 4) when long.TryParse(_words[3], NumberStyles.None, CultureInfo.InvariantCulture, out long version) => KeyVa.Condition.IfVersion(version),
            ("value", 4) => KeyVa.Condition.IfValue(KeyText.ParseUtf8(_words[3], "value")),
            _ => throw Wrong(line, "a check ends with absent, present, version N or value V"),
        };

        private void Each(int line, Action<byte[]> add)
        {
            for (int i = 1; i < _words.Count; i++)
            {
                add(Key(i));
                Note(line);
            }
        }

        private void Note(int line) => (HasOtherwise ? _otherwise : _then).Add(line);

        private byte[] Key(int word) => invocation.Key(_words[word]);

        private byte[] Part(int word) => KeyText.Parse(_words[word], invocation.KeyEncoding, "bound");

        private static CommandException Wrong(int line, string what) =>
            CommandException.Usage(string.Create(CultureInfo.InvariantCulture, $"line {line}: {what}"));
    }
}
