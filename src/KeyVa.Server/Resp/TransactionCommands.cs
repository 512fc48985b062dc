using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>Transactions, and waiting for replicas. Stateless.</summary>
internal static class TransactionCommands
{
    private const CommandFlags Flags = CommandFlags.Fast | CommandFlags.NotQueued;

    public static CommandInfo[] All { get; } =
    [
        new() { Name = "multi", Arity = 1, Flags = Flags, Session = static (session, _) => session.Transaction.Begin() },
        new() { Name = "exec", Arity = 1, Flags = Flags, Session = static (session, _) => session.Transaction.Execute() },
        new() { Name = "discard", Arity = 1, Flags = Flags, Session = Discard },
        new() { Name = "watch", Arity = -2, Flags = Flags, FirstKey = 1, LastKey = -1, Session = static (session, command) => session.Transaction.Watch(command) },
        new() { Name = "unwatch", Arity = 1, Flags = CommandFlags.Fast, Session = static (session, _) => session.Transaction.Unwatch() },
        new() { Name = "wait", Arity = 3, Session = WaitCommand.Run },
    ];

    private static void Discard(RespSession session, RespCommand command)
    {
        if (!session.Transaction.IsQueuing)
        {
            session.Output.Error("ERR DISCARD without MULTI");
            return;
        }

        session.Transaction.Discard();
        session.Output.Ok();
    }
}
