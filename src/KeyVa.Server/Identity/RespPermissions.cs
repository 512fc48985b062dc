using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Identity;

/// <summary>The part of <see cref="PermissionTable"/> about the Redis protocol.</summary>
internal static class RespPermissions
{
    /// <summary>Arguments of a command in one line of the audit log.</summary>
    private const int MostShown = 16;

    public static Permission[] All { get; } =
    [
        // Ways in and out.
        .. Open("auth", "hello", "quit", "reset"),

        // About the connection itself, or about nothing of anybody's.
        .. Known(
            "ping", "echo", "select", "time", "wait", "multi", "exec", "discard", "unwatch", "unsubscribe", "punsubscribe",
            "client", "client|id", "client|getname", "client|setname", "client|info", "client|reply", "client|no-evict",
            "command", "command|count", "command|list", "command|info", "command|docs", "command|getkeys",
            "acl", "acl|whoami", "acl|cat", "acl|help", "config", "slowlog", "latency", "memory", "object", "pubsub"),

        // Keys. Whole ranges of them are cut down to what may be read.
        .. Data(
            Level.Read, "get", "strlen", "getrange", "substr", "mget", "lcs", "exists", "touch", "type", "ttl", "pttl", "expiretime", "pexpiretime", "watch",
            "object|encoding", "object|refcount", "object|idletime", "object|freq", "memory|usage", "keys", "scan", "dbsize", "randomkey"),
        .. Data(
            Level.Write, "set", "setnx", "setex", "psetex", "getset", "getdel", "getex", "mset", "msetnx", "append", "setrange", "incr", "decr", "incrby", "decrby",
            "incrbyfloat", "del", "unlink", "rename", "renamenx", "expire", "pexpire", "expireat", "pexpireat", "persist"),
        new() { Operation = Permission.NameOfResp("copy"), Plane = Plane.Data, Level = Level.Write, FirstKey = Level.Read },

        // It is of keys, and does more than most of what is of the server: noted and limited as that is.
        .. Everything(Level.Admin, "flushdb", "flushall"),

        // Channels are nobody's; those that tell of keys take more, see the channels of a session.
        .. Data(Level.Read, "subscribe", "psubscribe", "pubsub|channels", "pubsub|numsub", "pubsub|numpat", "info", "memory|doctor", "memory|stats"),
        .. Data(Level.Write, "publish"),

        // The server.
        .. Control(Level.Read, null, "client|list", "slowlog|get", "slowlog|len", "latency|latest", "latency|doctor", "latency|histogram"),
        .. Control(Level.Read, static command => Arguments("setting", command, 2), "config|get"),
        .. Control(Level.Read, static command => Arguments("event", command, 2), "latency|history"),
        .. Control(Level.Admin, null, "config|resetstat", "config|rewrite", "slowlog|reset", "acl|list", "acl|users"),
        .. Control(Level.Admin, static command => Arguments("client", command, 2), "client|kill"),

        // Names without the values between them.
        .. Control(Level.Admin, static command => Arguments("setting", command, 2, step: 2), "config|set"),
        .. Control(Level.Admin, static command => Arguments("event", command, 2), "latency|reset"),
        .. Control(Level.Admin, static command => Arguments("user", command, 2), "acl|getuser", "acl|deluser"),

        // Everybody may change its own password, and nobody anything else here. What stands behind the name holds passwords.
        .. Control(Level.None, static command => Arguments("user", command, 2, most: 1), "acl|setuser"),
    ];

    private static IEnumerable<Permission> Open(params string[] commands) =>
        commands.Select(static name => new Permission { Operation = Permission.NameOfResp(name), IsOpen = true });

    private static IEnumerable<Permission> Known(params string[] commands) =>
        commands.Select(static name => new Permission { Operation = Permission.NameOfResp(name) });

    private static IEnumerable<Permission> Data(Level level, params string[] commands) =>
        commands.Select(name => new Permission { Operation = Permission.NameOfResp(name), Plane = Plane.Data, Level = level });

    private static IEnumerable<Permission> Everything(Level level, params string[] commands) =>
        commands.Select(name => new Permission
        {
            Operation = Permission.NameOfResp(name),
            Plane = Plane.Data,
            Level = level,
            Extent = Extent.Everything,
            IsAudited = true,
            Target = static _ => "all keys",
        });

    private static IEnumerable<Permission> Control(Level level, Func<RespCommand, string>? target, params string[] commands) =>
        commands.Select(name => new Permission
        {
            Operation = Permission.NameOfResp(name),
            Plane = Plane.Control,
            Level = level,
            IsAudited = true,
            Target = target is null ? null : command => target((RespCommand)command),
        });

    /// <summary>Arguments of a command, as far as it has them, behind a word for what they are.</summary>
    private static string Arguments(string what, RespCommand command, int first, int step = 1, int most = MostShown)
    {
        StringBuilder text = new(what);
        int shown = 0;
        for (int i = first; i < command.Count && shown < most; i += step, shown++)
        {
            text.Append(' ').Append(GrpcObservation.Shown(command[i]));
        }

        return first + (shown * step) < command.Count && most == MostShown ? text.Append(" ...").ToString() : text.ToString();
    }
}
