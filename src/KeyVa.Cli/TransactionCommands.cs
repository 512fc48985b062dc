using System.CommandLine;
using System.Globalization;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary>
/// <c>begin</c>, <c>commit</c>, <c>rollback</c>, <c>savepoint</c> and <c>rollback-to</c>, which the shell has: a transaction lasts over
/// several commands of one session. Stateless.
/// </summary>
internal static class TransactionCommands
{
    public static IEnumerable<Command> Create(Session session)
    {
        Command[] commands = [CreateBegin(session), CreateCommit(session), CreateRollback(session), CreateSavepoint(session), CreateRollbackTo(session)];
        foreach (Command command in commands)
        {
            command.Hidden = !session.InShell;
        }

        return commands;
    }

    /// <summary>Tells how a refusal ended the shell's transaction, if it did, and forgets it then.</summary>
    public static async ValueTask<string?> ForgetIfOverAsync(Session session, Status status)
    {
        if (session.Transaction is not { } transaction || status is not (Status.Expired or Status.Deadlock or Status.Conflict))
        {
            return null;
        }

        session.Transaction = null;
        await transaction.DisposeAsync();
        return "the transaction is over, nothing of it has happened; 'begin' starts another one";
    }

    private static Command CreateBegin(Session session)
    {
        Option<bool> readOnly = new("--read-only") { Description = "Only read, at one snapshot" };
        Option<string> isolation = GlobalOptions.Choice(
            "--isolation", "What it may see of others", "serializable", "repeatable-read", "read-committed", "read-uncommitted");
        Option<bool> pessimistic = new("--pessimistic") { Description = "Lock what is written (and, serializable, read), instead of looking for conflicts at the commit" };
        Option<string?> timeLimit = new("--time-limit") { Description = "Roll back after a time, such as 30s or 5m [default: 1m]", HelpName = "TIME" };
        Option<string?> lockTimeout = new("--lock-timeout") { Description = "The longest wait for a lock [default: the server's]", HelpName = "TIME" };
        Option<string?> name = new("--name") { Description = "What errors call it", HelpName = "NAME" };
        return CommandTree.Command(
            session,
            "begin",
            "Begin a transaction: get, mget, set, mset, del, incr, merge and scan run inside it until commit or rollback",
            [readOnly, isolation, pessimistic, timeLimit, lockTimeout, name],
            async invocation =>
            {
                if (!session.InShell)
                {
                    throw CommandException.Usage("a transaction of several commands needs the shell: 'keyva shell'. One of one command: 'keyva txn'");
                }

                if (session.Transaction is { Transaction: RemoteTransaction running })
                {
                    throw CommandException.Usage($"transaction {running.Number} is under way; 'commit' or 'rollback' ends it");
                }

                TransactionOptions options = new()
                {
                    ReadOnly = invocation.Get(readOnly),
                    Isolation = Level(invocation.Get(isolation)!),
                    Concurrency = invocation.Get(pessimistic) ? Concurrency.Pessimistic : Concurrency.Optimistic,
                    LockTimeout = invocation.Get(lockTimeout) is { } wait ? TimeText.Parse(wait, "--lock-timeout") : null,
                    Name = invocation.Get(name),
                };
                options = invocation.Get(timeLimit) is { } limit ? options with { TimeLimit = TimeText.Parse(limit, "--time-limit") } : options;
                RemoteTransaction begun = (RemoteTransaction)await invocation.Store.BeginAsync(options, invocation.Cancellation);
                session.Transaction = new TransactionStore(begun);
                Say(invocation, string.Create(CultureInfo.InvariantCulture, $"transaction {begun.Number}"), json =>
                {
                    json.WriteString("id"u8, begun.Id);
                    json.WriteNumber("number"u8, begun.Number);
                });
                return ExitCode.Done;
            });
    }

    private static Command CreateCommit(Session session) => CommandTree.Command(
        session,
        "commit",
        "Make everything written in the transaction happen, or nothing",
        [],
        async invocation =>
        {
            TransactionStore running = Running(session);
            session.Transaction = null;
            CommitResult result = await running.Transaction.CommitAsync(invocation.Cancellation);
            if (!result.IsOk)
            {
                CommandException refused = CommandException.Refused(result.Status, result.Detail);
                throw new CommandException(refused.Code, $"{Word(result.Status)}: {refused.Message}; nothing of the transaction has happened");
            }

            Say(invocation, result.Version == 0 ? "committed, nothing was written" : $"committed, version {result.Version}", json => json.WriteNumber("version"u8, result.Version));
            return ExitCode.Done;
        });

    private static Command CreateRollback(Session session) => CommandTree.Command(
        session,
        "rollback",
        "End the transaction; nothing of it happens",
        [],
        async invocation =>
        {
            TransactionStore running = Running(session);
            session.Transaction = null;
            await running.Transaction.RollbackAsync(invocation.Cancellation);
            Say(invocation, "rolled back", static _ => { });
            return ExitCode.Done;
        });

    private static Command CreateSavepoint(Session session) => CommandTree.Command(
        session,
        "savepoint",
        "Mark a point of the transaction, for rollback-to",
        [],
        async invocation =>
        {
            Savepoint set = await Running(session).Transaction.SetSavepointAsync(invocation.Cancellation);
            Say(invocation, string.Create(CultureInfo.InvariantCulture, $"savepoint {set.Number}"), json => json.WriteNumber("savepoint"u8, set.Number));
            return ExitCode.Done;
        });

    private static Command CreateRollbackTo(Session session)
    {
        Argument<int> number = new("N") { Description = "The savepoint; 0 is the beginning" };
        return CommandTree.Command(
            session,
            "rollback-to",
            "Take back what was written since a savepoint",
            [number],
            async invocation =>
            {
                int to = invocation.Get(number);
                try
                {
                    await Running(session).Transaction.RollbackToAsync(Savepoint.FromNumber(Math.Max(0, to)), invocation.Cancellation);
                }
                catch (ArgumentException)
                {
                    throw CommandException.Usage($"the transaction has no savepoint {to}; they count from 1, and 0 is its beginning");
                }

                Say(invocation, to == 0 ? "back at the beginning" : $"back at savepoint {to}", json => json.WriteNumber("savepoint"u8, to));
                return ExitCode.Done;
            });
    }

    private static TransactionStore Running(Session session) =>
        session.Transaction ?? throw CommandException.Usage("no transaction is under way; 'begin' in the shell starts one");

    private static IsolationLevel Level(string word) => word switch
    {
        "repeatable-read" => IsolationLevel.RepeatableRead,
        "read-committed" => IsolationLevel.ReadCommitted,
        "read-uncommitted" => IsolationLevel.ReadUncommitted,
        _ => IsolationLevel.Serializable,
    };

    private static string Word(Status status) => status switch
    {
        Status.Conflict => "conflict",
        Status.Deadlock => "deadlock",
        Status.Expired => "expired",
        Status.LockTimeout => "no lock",
        _ => "refused",
    };

    private static void Say(Invocation invocation, string text, Action<System.Text.Json.Utf8JsonWriter> json)
    {
        if (invocation.Json)
        {
            invocation.WriteJson(json);
        }
        else
        {
            invocation.Terminal.Out.WriteLine(text);
        }
    }
}
