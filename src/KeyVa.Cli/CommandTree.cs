using System.CommandLine;
using System.CommandLine.Help;

namespace KeyVa.Cli;

/// <summary>All commands of <c>keyva</c>. Stateless.</summary>
internal static class CommandTree
{
    /// <summary>
    /// The root. Not a RootCommand: that would be called after the assembly, and the help would speak of KeyVa.Cli.
    /// </summary>
    public static Command Create(Session session)
    {
        Command root = new(
            "keyva",
            "KeyVa, a key-value store: the server and the commands to work with it.\n\n"
            + "Begin with 'keyva serve' in one terminal and 'keyva set greeting hello' and 'keyva get greeting' in another.\n\n"
            + "Exit codes: 0 done, 1 key not found, 2 usage, 3 server not reachable, 4 refused (condition, limit, BadNode), 5 damage found.");
        GlobalOptions options = session.Options;
        root.Options.Add(new HelpOption());
        root.Options.Add(new VersionOption());
        foreach (Option<string?> option in options.OfConnection)
        {
            root.Options.Add(option);
        }

        root.Options.Add(options.Profile);
        root.Options.Add(options.Json);
        root.Options.Add(options.NoForward);
        root.Options.Add(options.KeyEncoding);
        Command[] commands =
        [
            ServeCommand.Create(session),
            ReadCommands.CreateGet(session),
            ReadCommands.CreateMultiGet(session),
            WriteCommands.CreateSet(session),
            WriteCommands.CreateMultiSet(session),
            WriteCommands.CreateDelete(session),
            MergeCommands.CreateIncrement(session),
            MergeCommands.CreateMerge(session),
            ScanCommand.Create(session),
            IndexCommands.Create(session),
            PastCommands.CreateHistory(session),
            PastCommands.CreateRollBack(session),
            WatchCommand.Create(session),
            TransactCommand.Create(session),
            .. TransactionCommands.Create(session),
            ImportCommand.Create(session),
            ExportCommand.Create(session),
            MetricsCommand.Create(session),
            HealthCommand.Create(session),
            TopCommand.Create(session),
            SlowLogCommand.Create(session),
            ConfigCommands.Create(session),
            AdminCommands.Create(session),
            ProfileCommands.Create(session),
            VerifyCommand.Create(session),
            RepairCommand.Create(session),
            KeygenCommand.Create(session),
            ShellCommand.Create(session),
            VersionCommand.Create(session),
        ];
        foreach (Command command in commands)
        {
            root.Subcommands.Add(command);
        }

        return root;
    }

    /// <summary>A command whose work is done by a function that returns the exit code.</summary>
    public static Command Command(
        Session session, string name, string description, IEnumerable<Symbol> symbols, Func<Invocation, Task<int>> run)
    {
        Command command = new(name, description);
        foreach (Symbol symbol in symbols)
        {
            if (symbol is Argument argument)
            {
                command.Arguments.Add(argument);
            }
            else
            {
                command.Options.Add((Option)symbol);
            }
        }

        command.SetAction((result, cancellation) => run(new Invocation(session, result, cancellation)));
        return command;
    }
}
