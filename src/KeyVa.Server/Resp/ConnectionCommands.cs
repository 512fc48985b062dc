using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>Commands about the connection itself. Stateless.</summary>
internal static class ConnectionCommands
{
    public static CommandInfo[] All { get; } =
    [
        new() { Name = "ping", Arity = -1, Flags = CommandFlags.Fast | CommandFlags.WhileSubscribed, Session = Ping },
        new() { Name = "echo", Arity = 2, Flags = CommandFlags.Fast, Session = static (session, command) => session.Output.Bulk(command[1]) },
        new() { Name = "hello", Arity = -1, Flags = CommandFlags.Fast, Session = Hello },
        new() { Name = "auth", Arity = -2, Flags = CommandFlags.Fast, Session = Authenticate },
        new() { Name = "select", Arity = 2, Flags = CommandFlags.Fast, Session = Select },
        new() { Name = "quit", Arity = -1, Flags = CommandFlags.Fast | CommandFlags.WhileSubscribed | CommandFlags.NotQueued, Session = Quit },
        new() { Name = "reset", Arity = 1, Flags = CommandFlags.Fast | CommandFlags.WhileSubscribed | CommandFlags.NotQueued, Session = Reset },
        ClientCommands.Client,
    ];

    /// <summary>What an administrator without users answers; identity comes to stand here.</summary>
    private static bool IsDefaultUser(ReadOnlySpan<byte> user) => user.SequenceEqual("default"u8);

    private static void Ping(RespSession session, RespCommand command)
    {
        RespOutput output = session.Output;
        if (command.Count > 2)
        {
            output.Error("ERR wrong number of arguments for 'ping' command");
        }
        else if (session.Subscriptions.Restrict(output))
        {
            output.Array(2);
            output.Bulk("pong"u8);
            output.Bulk(command.Count == 2 ? command[1] : default);
        }
        else if (command.Count == 2)
        {
            output.Bulk(command[1]);
        }
        else
        {
            output.Simple("PONG"u8);
        }
    }

    private static void Hello(RespSession session, RespCommand command)
    {
        RespOutput output = session.Output;
        long version = output.Version;
        if (command.Count > 1)
        {
            if (!RespNumber.TryRead(command[1], out version))
            {
                output.Error("ERR Protocol version is not an integer or out of range");
                return;
            }

            if (version is not (2 or 3))
            {
                output.Error("NOPROTO unsupported protocol version");
                return;
            }
        }

        int name = 0;
        for (int i = 2; i < command.Count; i++)
        {
            if (Ascii.EqualsIgnoreCase(command[i], "auth"u8) && i + 2 < command.Count)
            {
                if (!IsDefaultUser(command[i + 1]))
                {
                    output.Error("WRONGPASS invalid username-password pair or user is disabled.");
                    return;
                }

                i += 2;
            }
            else if (Ascii.EqualsIgnoreCase(command[i], "setname"u8) && i + 1 < command.Count)
            {
                name = ++i;
            }
            else
            {
                output.Error($"ERR Syntax error in HELLO option '{Encoding.Latin1.GetString(command[i])}'");
                return;
            }
        }

        if (name > 0 && !ClientCommands.TrySetName(session, command[name]))
        {
            return;
        }

        output.Version = (int)version;
        Introduce(session, version);
    }

    private static void Introduce(RespSession session, long version)
    {
        RespOutput output = session.Output;
        output.Map(7);
        output.Bulk("server"u8);
        output.Bulk("redis"u8);
        output.Bulk("version"u8);
        output.Bulk(RespDoor.RedisVersion);
        output.Bulk("proto"u8);
        output.Integer(version);
        output.Bulk("id"u8);
        output.Integer(session.Id);
        output.Bulk("mode"u8);
        output.Bulk("standalone"u8);
        output.Bulk("role"u8);
        output.Bulk("master"u8);
        output.Bulk("modules"u8);
        output.Array(0);
    }

    private static void Authenticate(RespSession session, RespCommand command)
    {
        if (command.Count > 3)
        {
            session.Output.Error(RespErrors.Syntax);
        }
        else if (command.Count == 2)
        {
            session.Output.Error("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?");
        }
        else if (IsDefaultUser(command[1]))
        {
            session.Output.Ok();
        }
        else
        {
            session.Output.Error("WRONGPASS invalid username-password pair or user is disabled.");
        }
    }

    private static void Select(RespSession session, RespCommand command)
    {
        if (RespErrors.OfDatabase(command[1], out long database) is { } error)
        {
            session.Output.Error(error);
        }
        else if (database != 0)
        {
            session.Output.Error(RespErrors.OtherDatabase);
        }
        else
        {
            session.Output.Ok();
        }
    }

    private static void Quit(RespSession session, RespCommand command)
    {
        session.Output.Ok();
        session.IsClosing = true;
    }

    private static void Reset(RespSession session, RespCommand command)
    {
        session.Reset();
        session.Output.Simple("RESET"u8);
    }
}
