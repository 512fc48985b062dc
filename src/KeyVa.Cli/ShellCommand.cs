using System.CommandLine;
using KeyVa.Cli.Shell;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary>
/// <c>shell</c>: all commands without <c>keyva</c> in front, one per line, over connections that stay open. Without a
/// terminal the lines come from the standard input as a script. Stateless.
/// </summary>
internal static class ShellCommand
{
    private const string Help =
        """
        Commands are those of keyva without its name: get KEY, set KEY VALUE, mget, mset, del, scan --prefix P --limit N,
        begin, commit, rollback, savepoint, rollback-to N (get, set, mget, mset, del, scan run in the transaction),
        history KEY, watch --prefix P (Ctrl-C ends it), metrics, import FILE, export FILE,
        admin partition list …  Each tells more with --help.
          help           this text
          exit           leave (also Ctrl-D)
          # …            a remark
        Words with spaces stand in quotes. Tab completes commands, options and keys; the arrows and Ctrl-R find earlier
        lines; a line that begins with a space is not kept.
        """;

    public static Command Create(Session session)
    {
        Option<bool> keepGoing = new("--keep-going") { Description = "In a script, go on after a command that failed" };
        return CommandTree.Command(
            session,
            "shell",
            "Type commands with history and completion; or run a script of them from the standard input",
            [keepGoing],
            async invocation =>
            {
                if (invocation.Session.InShell)
                {
                    throw CommandException.Usage("this is the shell already");
                }

                session.InShell = true;
                return invocation.Terminal is { IsInputTerminal: true, IsOutputTerminal: true }
                    ? await TypeAsync(invocation)
                    : await RunScriptAsync(invocation, invocation.Get(keepGoing));
            });
    }

    private static async Task<int> TypeAsync(Invocation invocation)
    {
        Session session = invocation.Session;
        ServerAddress server = session.Options.ServerOf(invocation.Result);
        History history = new(History.DefaultPath());
        if (history.Problem is not null)
        {
            session.Terminal.Say($"the history is not kept: {history.Problem}");
        }

        Completer completer = new(CommandTree.Create(session), () => invocation.Store);
        LineEditor editor = new(ReadKey, session.Terminal.Out, () => Terminal.Width, history, completer.Complete);
        session.Terminal.Out.WriteLine($"KeyVa {VersionCommand.Version}, server {server}. Type 'help' for help, 'exit' to leave.");
        while (true)
        {
            Console.TreatControlCAsInput = true;
            string? line = editor.Read(Prompt(session, server));
            session.Terminal.Flush();
            Console.TreatControlCAsInput = false;
            if (line is null || (await RunLineAsync(invocation, line)).IsExit)
            {
                await LeaveAsync(session);
                return ExitCode.Done;
            }
        }

        ConsoleKeyInfo ReadKey()
        {
            session.Terminal.Flush();
            return Console.ReadKey(intercept: true);
        }
    }

    private static string Prompt(Session session, ServerAddress server) => session.Transaction is { Transaction: RemoteTransaction running }
        ? $"keyva {server} (txn {running.Number})> "
        : $"keyva {server}> ";

    /// <summary>A transaction that was neither committed nor rolled back is not left to its time limit; true if there was one.</summary>
    private static async Task<bool> LeaveAsync(Session session)
    {
        if (session.Transaction is not { } transaction)
        {
            return false;
        }

        session.Transaction = null;
        await transaction.DisposeAsync();
        session.Terminal.Say("the transaction was not committed: rolled back");
        return true;
    }

    private static async Task<int> RunScriptAsync(Invocation invocation, bool keepGoing)
    {
        int code = await RunLinesAsync(invocation, keepGoing);
        return await LeaveAsync(invocation.Session) ? Math.Max(code, ExitCode.Refused) : code;
    }

    private static async Task<int> RunLinesAsync(Invocation invocation, bool keepGoing)
    {
        using StreamReader script = new(invocation.Terminal.Input);
        int worst = ExitCode.Done;
        int number = 0;
        while (await script.ReadLineAsync(invocation.Cancellation) is { } line)
        {
            number++;
            (int code, bool isExit) = await RunLineAsync(invocation, line);
            worst = Math.Max(worst, code);
            if (isExit || code == ExitCode.BrokenPipe)
            {
                return worst;
            }

            // A key that is not there is an answer; what follows may well depend on everything else.
            if (code > ExitCode.NotFound && !keepGoing)
            {
                invocation.Terminal.Say($"stopped at line {number} of the script; --keep-going goes on");
                return code;
            }
        }

        return worst;
    }

    private static async Task<(int Code, bool IsExit)> RunLineAsync(Invocation invocation, string line)
    {
        Session session = invocation.Session;
        List<string> words = [];
        string trimmed = line.Trim();
        if (trimmed.Length == 0 || trimmed[0] == '#')
        {
            return (ExitCode.Done, false);
        }

        if (WordSplitter.Split(trimmed, words) is { } problem)
        {
            session.Terminal.Say(problem);
            return (ExitCode.Usage, false);
        }

        switch (words[0])
        {
            case "exit" or "quit":
                return (ExitCode.Done, true);
            case "help" or "?":
                session.Terminal.Out.WriteLine(Help);
                session.Terminal.Flush();
                return (ExitCode.Done, false);
            case "serve":
                session.Terminal.Say("a server cannot be run in the shell; start 'keyva serve' in another terminal");
                return (ExitCode.Usage, false);
            case "keyva":
                words.RemoveAt(0);
                break;
            default:
                break;
        }

        // The shell's own options go before each command's, so that these win.
        words.InsertRange(0, Inherited(invocation));
        int code = await CommandRunner.RunAsync(session, words, session.Interrupts.Begin());

        // A command that was interrupted has come to its end; the shell goes on and needs no term set.
        session.Interrupts.Begin();
        return (code, false);
    }

    private static List<string> Inherited(Invocation invocation)
    {
        GlobalOptions options = invocation.Session.Options;
        List<string> words =
        [
            options.Server.Name, options.ServerOf(invocation.Result).ToString(),
            options.Control.Name, options.ControlOf(invocation.Result).ToString(),
        ];
        if (invocation.Json)
        {
            words.Add(options.Json.Name);
        }

        return words;
    }
}
