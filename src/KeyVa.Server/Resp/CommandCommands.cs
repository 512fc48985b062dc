using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>COMMAND: what commands there are. Stateless.</summary>
internal static class CommandCommands
{
    public static CommandInfo Command { get; } = new()
    {
        Name = "command",
        Arity = -1,
        Session = List,
        Subcommands =
        [
            new() { Name = "command|count", Arity = 2, Session = static (session, _) => session.Output.Integer(CommandTable.All.Length) },
            new() { Name = "command|list", Arity = 2, Session = Names },
            new() { Name = "command|info", Arity = -2, Session = Info },
            new() { Name = "command|docs", Arity = -2, Session = Documents },
            new() { Name = "command|getkeys", Arity = -4, Session = Keys },
        ],
    };

    private static void List(RespSession session, RespCommand command)
    {
        session.Output.Array(CommandTable.All.Length);
        foreach (CommandInfo info in CommandTable.All)
        {
            Describe(session.Output, info);
        }
    }

    private static void Names(RespSession session, RespCommand command)
    {
        session.Output.Array(CommandTable.All.Length);
        foreach (CommandInfo info in CommandTable.All)
        {
            session.Output.Bulk(info.Name);
        }
    }

    private static void Info(RespSession session, RespCommand command)
    {
        if (command.Count == 2)
        {
            List(session, command);
            return;
        }

        session.Output.Array(command.Count - 2);
        for (int i = 2; i < command.Count; i++)
        {
            if (CommandTable.Find(command[i]) is { } info)
            {
                Describe(session.Output, info);
            }
            else
            {
                session.Output.NullArray();
            }
        }
    }

    /// <summary>What redis-cli asks for its hints.</summary>
    private static void Documents(RespSession session, RespCommand command)
    {
        List<CommandInfo> asked = [];
        for (int i = 2; i < command.Count; i++)
        {
            if (CommandTable.Find(command[i]) is { } info)
            {
                asked.Add(info);
            }
        }

        IReadOnlyList<CommandInfo> shown = command.Count == 2 ? CommandTable.All : asked;
        session.Output.Map(shown.Count);
        foreach (CommandInfo info in shown)
        {
            session.Output.Bulk(info.Name);
            session.Output.Map(1);
            session.Output.Bulk("group"u8);
            session.Output.Bulk(info.Data is null ? "server"u8 : "string"u8);
        }
    }

    private static void Keys(RespSession session, RespCommand command)
    {
        CommandInfo? info = CommandTable.Find(command[2]);
        int count = command.Count - 2;
        if (info is null || !info.TakesArguments(count))
        {
            session.Output.Error(info is null ? "ERR Invalid command specified" : "ERR Invalid number of arguments specified for command");
            return;
        }

        List<int> keys = [];
        int last = info.LastKeyOf(count);
        for (int i = info.FirstKey; i > 0 && i <= last; i += info.KeyStep)
        {
            keys.Add(i + 2);
        }

        if (keys.Count == 0)
        {
            session.Output.Error("ERR The command has no key arguments");
            return;
        }

        session.Output.Array(keys.Count);
        foreach (int key in keys)
        {
            session.Output.Bulk(command[key]);
        }
    }

    private static void Describe(RespOutput output, CommandInfo info)
    {
        output.Array(6);
        output.Bulk(info.Name);
        output.Integer(info.Arity);
        (CommandFlags Flag, string Name)[] flags =
        [
            (CommandFlags.Write, "write"), (CommandFlags.ReadOnly, "readonly"), (CommandFlags.Admin, "admin"), (CommandFlags.PubSub, "pubsub"),
            (CommandFlags.NoMulti, "no_multi"), (CommandFlags.Fast, "fast"),
        ];
        (CommandFlags Flag, string Name)[] set = [.. flags.Where(flag => info.Is(flag.Flag))];
        output.Set(set.Length);
        foreach ((_, string name) in set)
        {
            output.Simple(System.Text.Encoding.ASCII.GetBytes(name));
        }

        output.Integer(info.FirstKey);
        output.Integer(info.LastKey);
        output.Integer(info.FirstKey == 0 ? 0 : info.KeyStep);
    }
}
