using System.Globalization;
using System.Text;
using KeyVa.Protocol.Resp;
using Microsoft.Extensions.Logging;

namespace KeyVa.Server.Resp;

/// <summary>
/// CONFIG: what clients ask a Redis for, answered from KeyVa's settings; those that a running server can change are changed, until it stops. Stateless.
/// </summary>
internal static class ConfigCommands
{
    private const string Events = "notify-keyspace-events";
    private const string SlowerThan = "slowlog-log-slower-than";
    private const string SlowEntries = "slowlog-max-len";

    public static CommandInfo Config { get; } = new()
    {
        Name = "config",
        Arity = -2,
        Flags = CommandFlags.Admin,
        Subcommands =
        [
            new() { Name = "config|get", Arity = -3, Flags = CommandFlags.Admin, Session = Get },
            new() { Name = "config|set", Arity = -4, Flags = CommandFlags.Admin, Session = Set },
            new() { Name = "config|resetstat", Arity = 2, Flags = CommandFlags.Admin, Session = static (session, _) => session.Output.Ok() },
            new() { Name = "config|rewrite", Arity = 2, Flags = CommandFlags.Admin, Session = static (session, _) => session.Output.Error("ERR The server is running without a config file") },
        ],
    };

    private static (string Name, string Value)[] Values(RespDoor door)
    {
        StoreOptions store = door.Store.Options;
        return
        [
            ("appendfsync", store.Durability switch { Durability.Always => "always", Durability.Interval => "everysec", _ => "no" }),
            ("appendonly", door.IsVolatile ? "no" : "yes"),
            ("databases", "1"),
            ("loglevel", LevelOf(door.Configuration.Options.LogLevel)),
            ("maxclients", Number(door.MaxClients)),
            ("maxmemory", "0"),
            ("maxmemory-policy", "noeviction"),
            (Events, door.Events.Flags),
            ("port", Number(door.Port)),
            ("proto-max-bulk-len", Number(door.Limits.MaxBulkBytes)),
            ("save", ""),
            (SlowerThan, Number(door.Configuration.Options.Telemetry.SlowLog.Microseconds)),
            (SlowEntries, Number(door.SlowLog.MaxEntries)),
            ("timeout", Number((long)door.IdleTimeout.TotalSeconds)),
        ];
    }

    private static void Get(RespSession session, RespCommand command)
    {
        List<(string Name, string Value)> found = [];
        foreach ((string name, string value) in Values(session.Door))
        {
            for (int i = 2; i < command.Count; i++)
            {
                byte[] pattern = Encoding.ASCII.GetBytes(Encoding.Latin1.GetString(command[i]).ToLowerInvariant());
                if (RespPattern.Matches(pattern, Encoding.ASCII.GetBytes(name)))
                {
                    found.Add((name, value));
                    break;
                }
            }
        }

        session.Output.Map(found.Count);
        foreach ((string name, string value) in found)
        {
            session.Output.Bulk(name);
            session.Output.Bulk(value);
        }
    }

    private static void Set(RespSession session, RespCommand command)
    {
        if ((command.Count & 1) != 0)
        {
            session.Output.Error("ERR wrong number of arguments for 'config|set' command");
            return;
        }

        for (int i = 2; i < command.Count; i += 2)
        {
            string name = Encoding.Latin1.GetString(command[i]).ToLowerInvariant();
            string? error = TrySet(session.Door, name, Encoding.Latin1.GetString(command[i + 1]));
            if (error is not null)
            {
                session.Output.Error(error);
                return;
            }
        }

        session.Output.Ok();
    }

    /// <summary>Null: done; otherwise the error.</summary>
    private static string? TrySet(RespDoor door, string name, string value)
    {
        switch (name)
        {
            case Events:
                return door.Events.TrySet(value) ? null : Failed(name, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
            case SlowerThan:
                return long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long threshold) && threshold >= -1
                    ? Change(door, name, "slow-log", SlowThresholds.Of(threshold).Text)
                    : Failed(name, "argument couldn't be parsed into an integer");
            case SlowEntries:
                return Change(door, name, "slow-log-length", value);
            case "maxclients":
                return Change(door, name, "resp-max-clients", value);
            case "timeout":
                return Change(door, name, "resp-idle-timeout", value + "s");
            case "loglevel":
                return Change(door, name, "log-level", value switch { "verbose" => "debug", "notice" => "information", _ => value });
            default:
                return Values(door).Any(one => one.Name == name)
                    ? Failed(name, "can't set immutable config")
                    : $"ERR Unknown option or number of arguments for CONFIG SET - '{name}'";
        }
    }

    /// <summary>Changes the setting that an option of Redis stands for; null: done, otherwise the error.</summary>
    private static string? Change(RespDoor door, string option, string setting, string value)
    {
        SettingChange change = door.Configuration.Change(setting, value);
        return change.Status == Status.Ok ? null : Failed(option, change.Detail);
    }

    private static string LevelOf(LogLevel level) => level switch
    {
        LogLevel.Trace or LogLevel.Debug => "debug",
        LogLevel.Information => "notice",
        _ => "warning",
    };

    private static string Failed(string name, string reason) => $"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}";

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
