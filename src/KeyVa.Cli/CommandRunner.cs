using System.CommandLine;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary>Carries out one command line and turns whatever happens into an exit code and a message. Stateless.</summary>
internal static class CommandRunner
{
    public static async Task<int> RunAsync(Session session, IReadOnlyList<string> arguments, CancellationToken cancellation)
    {
        Terminal terminal = session.Terminal;
        ParseResult result = CommandTree.Create(session).Parse(arguments);
        try
        {
            if (result.Errors.Count > 0)
            {
                return Misused(terminal, result);
            }

            InvocationConfiguration configuration = new()
            {
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
                Output = terminal.Out,
                Error = terminal.Error,
            };
            int code = await result.InvokeAsync(configuration, cancellation);
            terminal.Flush();
            return code;
        }
        catch (BrokenPipeException)
        {
            return ExitCode.BrokenPipe;
        }
        catch (Exception failure) when (Explain(failure, cancellation) is var (code, message))
        {
            FlushWhatThereIs(terminal);
            if (message is not null)
            {
                terminal.Say(message);
            }

            return code;
        }
    }

    /// <summary>What a failure means to a person; null if it is a bug, which shall be seen as one.</summary>
    private static (int Code, string? Message)? Explain(Exception failure, CancellationToken cancellation) => failure switch
    {
        CommandException known => (known.Code, known.Message),
        OperationCanceledException when cancellation.IsCancellationRequested => (ExitCode.Interrupted, null),
        ServerUnreachableException lost => (
            ExitCode.Unreachable,
            lost.NothingSent ? $"{lost.Message}\nStart one with 'keyva serve', or name another with --server or {GlobalOptions.ServerVariable}." : lost.Message),
        RefusedException refused => (ExitCode.Of(refused.Status), refused.Message),
        KeyVa.Server.ConfigurationException wrong => (ExitCode.Usage, wrong.Message),
        CorruptionException damage => (ExitCode.Damage, damage.Message),
        StoreException refused => (ExitCode.Refused, refused.Message),
        IOException or UnauthorizedAccessException => (ExitCode.Usage, failure.Message),
        _ => null,
    };

    private static int Misused(Terminal terminal, ParseResult result)
    {
        if (result.CommandResult.Command.Subcommands.Count > 0 && result.UnmatchedTokens.Count > 0)
        {
            terminal.Say($"there is no command '{result.UnmatchedTokens[0]}'");
        }
        else
        {
            foreach (System.CommandLine.Parsing.ParseError error in result.Errors)
            {
                terminal.Say(Plain(error.Message));
            }
        }

        List<string> names = [];
        for (System.CommandLine.Parsing.SymbolResult? at = result.CommandResult; at is System.CommandLine.Parsing.CommandResult command; at = at.Parent)
        {
            names.Insert(0, command.Command.Name);
        }

        terminal.Error.WriteLine($"See '{string.Join(' ', names)} --help'.");
        return ExitCode.Usage;
    }

    /// <summary>The parser names types of the runtime, which mean nothing to a person.</summary>
    private static string Plain(string message)
    {
        int type = message.IndexOf(" as expected type 'System.", StringComparison.Ordinal);
        return type < 0 ? message
            : message.IndexOf(".Int", type, StringComparison.Ordinal) > 0 ? message[..type] + ": it must be a whole number"
            : message[..type];
    }

    private static void FlushWhatThereIs(Terminal terminal)
    {
        try
        {
            terminal.Flush();
        }
        catch (IOException)
        {
            // The failure that is being told came first; that the output is gone as well says nothing more.
        }
    }
}
