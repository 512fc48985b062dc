using System.Text;
using KeyVa.Protocol.Resp;
using KeyVa.Server.Identity;

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
        AclCommands.Acl,
    ];

    /// <summary>What a Redis has that has no other users.</summary>
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
        int credentials = 0;
        for (int i = 2; i < command.Count; i++)
        {
            if (Ascii.EqualsIgnoreCase(command[i], "auth"u8) && i + 2 < command.Count)
            {
                if (session.Door.Users.IsOpen && !IsDefaultUser(command[i + 1]))
                {
                    output.Error(RespErrors.WrongPassword);
                    return;
                }

                credentials = i + 1;
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

        if (session.Door.Users.IsOpen)
        {
            Greet(session, version, name > 0 ? command[name] : default, name > 0);
        }
        else if (credentials > 0)
        {
            byte[] called = name > 0 ? command[name].ToArray() : [];
            session.Identity.Prove(Text(command[credentials]), Text(command[credentials + 1]), () => Greet(session, version, called, name > 0));
        }
        else if (!session.Caller.IsKnown)
        {
            output.Error("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time");
        }
        else
        {
            Greet(session, version, name > 0 ? command[name] : default, name > 0);
        }
    }

    private static void Greet(RespSession session, long version, ReadOnlySpan<byte> name, bool isNamed)
    {
        if (!isNamed || ClientCommands.TrySetName(session, name))
        {
            session.Output.Version = (int)version;
            Introduce(session, version);
        }
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
        else if (!session.Door.Users.IsOpen)
        {
            // A token says by itself whose it is; a password alone is that of the user 'default', as with Redis.
            string secret = Text(command[command.Count - 1]);
            string name = command.Count == 3 ? Text(command[1]) : AccessToken.LooksLikeOne(secret) ? "" : "default";
            session.Identity.Prove(name, secret, session.Output.Ok);
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
            session.Output.Error(RespErrors.WrongPassword);
        }
    }

    private static string Text(ReadOnlySpan<byte> bytes) => Encoding.UTF8.GetString(bytes);

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
