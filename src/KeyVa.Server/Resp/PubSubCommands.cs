using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>Channels. Stateless.</summary>
internal static class PubSubCommands
{
    private const CommandFlags Flags = CommandFlags.PubSub | CommandFlags.WhileSubscribed | CommandFlags.NoMulti;

    public static CommandInfo[] All { get; } =
    [
        new() { Name = "subscribe", Arity = -2, Flags = Flags, Session = static (session, command) => session.Subscriptions.Add(command, isPattern: false) },
        new() { Name = "psubscribe", Arity = -2, Flags = Flags, Session = static (session, command) => session.Subscriptions.Add(command, isPattern: true) },
        new() { Name = "unsubscribe", Arity = -1, Flags = Flags, Session = static (session, command) => session.Subscriptions.Remove(command, isPattern: false) },
        new() { Name = "punsubscribe", Arity = -1, Flags = Flags, Session = static (session, command) => session.Subscriptions.Remove(command, isPattern: true) },
        new() { Name = "publish", Arity = 3, Flags = CommandFlags.PubSub | CommandFlags.Fast, Session = Publish },
        new()
        {
            Name = "pubsub", Arity = -2, Flags = CommandFlags.PubSub,
            Subcommands =
            [
                new() { Name = "pubsub|channels", Arity = -2, Flags = CommandFlags.PubSub, Session = Channels },
                new() { Name = "pubsub|numsub", Arity = -2, Flags = CommandFlags.PubSub, Session = Listeners },
                new() { Name = "pubsub|numpat", Arity = 2, Flags = CommandFlags.PubSub, Session = static (session, _) => session.Output.Integer(session.Door.Hub.Patterns) },
            ],
        },
    ];

    private static void Publish(RespSession session, RespCommand command)
    {
        if (command[1].Length > Subscriptions.MaxNameBytes)
        {
            session.Output.Error($"ERR a channel or pattern has at most {Subscriptions.MaxNameBytes} bytes");
            return;
        }

        session.Output.Integer(session.Door.Hub.Publish(command[1], command[2]));
    }

    private static void Channels(RespSession session, RespCommand command)
    {
        byte[][] channels = session.Door.Hub.Channels(command.Count > 2 ? command[2] : default);
        session.Output.Array(channels.Length);
        foreach (byte[] channel in channels)
        {
            session.Output.Bulk(channel);
        }
    }

    private static void Listeners(RespSession session, RespCommand command)
    {
        session.Output.Map(command.Count - 2);
        for (int i = 2; i < command.Count; i++)
        {
            session.Output.Bulk(command[i]);
            session.Output.Integer(session.Door.Hub.Listeners(command[i]));
        }
    }
}
