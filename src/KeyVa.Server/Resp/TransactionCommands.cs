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
        new() { Name = "wait", Arity = 3, Session = Wait },
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

    /// <summary>The replicas that have acknowledged: there are none, and none will come while the client waits.</summary>
    private static void Wait(RespSession session, RespCommand command)
    {
        if (!RespNumber.TryRead(command[1], out _))
        {
            session.Output.Error(RespErrors.NoInteger);
        }
        else if (!RespNumber.TryRead(command[2], out long timeout))
        {
            session.Output.Error("ERR timeout is not an integer or out of range");
        }
        else if (timeout < 0)
        {
            session.Output.Error("ERR timeout is negative");
        }
        else
        {
            session.Output.Integer(0);
        }
    }
}
