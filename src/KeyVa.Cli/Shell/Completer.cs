using System.CommandLine;
using System.Text;

namespace KeyVa.Cli.Shell;

/// <summary>
/// Completes commands, subcommands and options from the command tree, and keys by scanning the store. A store that is not
/// there, or does not answer soon, offers nothing. One thread.
/// </summary>
internal sealed class Completer
{
    private const int MaxKeys = 60;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);
    private static readonly HashSet<string> WithKeys = new(StringComparer.Ordinal) { "get", "mget", "set", "del", "mset", "incr", "merge", "history", "revert" };
    private static readonly HashSet<string> KeyOptions = new(StringComparer.Ordinal) { "--prefix", "-p", "--from", "--to" };

    private readonly Command _root;
    private readonly Func<IStore> _store;

    /// <summary>Completes for a tree of commands and a store, which is asked for only when keys are.</summary>
    public Completer(Command root, Func<IStore> store)
    {
        _root = root;
        _store = store;
    }

    /// <summary>What may stand at the end of a text.</summary>
    public Completions Complete(string text)
    {
        int start = WordStart(text);
        List<string> words = [];
        if (WordSplitter.Split(text[..start], words) is not null)
        {
            return new Completions(start, []);
        }

        List<string> last = [];
        string word = WordSplitter.Split(text[start..], last) is null && last.Count > 0 ? last[0] : text[start..].TrimStart('"', '\'');
        Command command = Find(words, out bool atCommand);
        if (word.StartsWith('-'))
        {
            return new Completions(start, Matching(Options(command), word));
        }

        if (atCommand && command.Subcommands.Count > 0)
        {
            IEnumerable<string> names = command.Subcommands.Where(sub => !sub.Hidden).Select(sub => sub.Name);
            return new Completions(start, Matching(command == _root ? names.Concat(["help", "exit"]) : names, word));
        }

        if (command.Name == MergeCommands.MergeName && Place(words) == 1)
        {
            return new Completions(start, Matching(MergeFunction.BuiltIn.Select(static function => function.Name), word));
        }

        if (command.Parents.Any(static parent => parent.Name == IndexCommands.Name) && IndexCommands.OfOne.Contains(command.Name) && Place(words) == 1)
        {
            return new Completions(start, Matching(Indexes(), word));
        }

        bool isKey = (WithKeys.Contains(command.Name) && IsKeyPosition(command, words)) || (words.Count > 0 && KeyOptions.Contains(words[^1]));
        return isKey ? Keys(start, word) : new Completions(start, []);
    }

    /// <summary>Where the last word begins, a quoted one with its quote.</summary>
    private static int WordStart(string text)
    {
        int start = 0;
        char quote = '\0';
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (quote != '\0')
            {
                if (c == '\\' && quote == '"')
                {
                    i++;
                }
                else if (c == quote)
                {
                    quote = '\0';
                }
            }
            else if (c is '"' or '\'')
            {
                quote = c;
            }
            else if (c == '\\')
            {
                i++;
            }
            else if (c == ' ')
            {
                start = i + 1;
            }
        }

        return Math.Min(start, text.Length);
    }

    private Command Find(List<string> words, out bool atCommand)
    {
        Command command = _root;
        atCommand = true;
        foreach (string word in words)
        {
            if (word.StartsWith('-'))
            {
                continue;
            }

            Command? sub = command.Subcommands.FirstOrDefault(sub => sub.Name == word);
            if (sub is null)
            {
                atCommand = false;
                break;
            }

            command = sub;
        }

        return command;
    }

    private static IEnumerable<string> Options(Command command)
    {
        IEnumerable<Option> options = command.Options;
        for (Command? at = command; at is not null; at = at.Parents.OfType<Command>().FirstOrDefault())
        {
            Command parent = at;
            options = options.Concat(parent == command ? [] : parent.Options.Where(option => option.Recursive));
        }

        return options.Where(option => !option.Hidden).Select(option => option.Name).Append("--help").Distinct();
    }

    private static bool IsKeyPosition(Command command, List<string> words)
    {
        int place = Place(words);
        return command.Name switch
        {
            "get" or "set" or "incr" or "merge" or "history" or "revert" => place == 0,
            "mset" => place % 2 == 0,
            _ => true,
        };
    }

    /// <summary>How many arguments stand behind the command already.</summary>
    private static int Place(List<string> words) => words.Count(word => !word.StartsWith('-')) - 1;

    private static List<string> Matching(IEnumerable<string> names, string word) =>
        [.. names.Where(name => name.StartsWith(word, StringComparison.Ordinal)).Order(StringComparer.Ordinal)];

    private List<string> Indexes()
    {
        using CancellationTokenSource patience = new(Patience);
        try
        {
            return [.. Task.Run(async () => await _store().Indexes.ListAsync(patience.Token)).GetAwaiter().GetResult().Select(static index => index.Definition.Name)];
        }
        catch (Exception e) when (e is OperationCanceledException or StoreException)
        {
            return [];
        }
    }

    private Completions Keys(int start, string prefix)
    {
        // The line editor waits for its key presses, so it can as well wait here; never longer than a moment.
        using CancellationTokenSource patience = new(Patience);
        List<string> keys = [];
        try
        {
            Task.Run(() => CollectAsync(prefix, keys, patience.Token)).GetAwaiter().GetResult();
        }
        catch (Exception e) when (e is OperationCanceledException or StoreException)
        {
            return new Completions(start, []);
        }

        bool complete = keys.Count < MaxKeys;
        return new Completions(start, [.. keys.Select(WordSplitter.Quote)], complete);
    }

    private async Task CollectAsync(string prefix, List<string> keys, CancellationToken cancellation)
    {
        ScanOptions options = new() { Prefix = Encoding.UTF8.GetBytes(prefix), Limit = MaxKeys, KeysOnly = true };
        await foreach (Record record in _store().ScanAsync(options, cancellation))
        {
            // Keys that are no text cannot be typed; they are reached with --key-encoding.
            if (System.Text.Unicode.Utf8.IsValid(record.Key.Span))
            {
                keys.Add(Encoding.UTF8.GetString(record.Key.Span));
            }
        }
    }
}
