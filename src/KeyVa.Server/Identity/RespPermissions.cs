namespace KeyVa.Server.Identity;

/// <summary>The part of <see cref="PermissionTable"/> about the Redis protocol.</summary>
internal static class RespPermissions
{
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
        .. Everything(Level.Admin, "flushdb", "flushall"),

        // Channels are nobody's; those that tell of keys take more, see the channels of a session.
        .. Data(Level.Read, "subscribe", "psubscribe", "pubsub|channels", "pubsub|numsub", "pubsub|numpat", "info", "memory|doctor", "memory|stats"),
        .. Data(Level.Write, "publish"),

        // The server.
        .. Control(Level.Read, "client|list", "config|get", "slowlog|get", "slowlog|len", "latency|latest", "latency|history", "latency|doctor"),
        .. Control(
            Level.Admin, "client|kill", "config|set", "config|resetstat", "config|rewrite", "slowlog|reset", "latency|reset", "acl|list", "acl|users", "acl|getuser",
            "acl|setuser", "acl|deluser"),
    ];

    private static IEnumerable<Permission> Open(params string[] commands) =>
        commands.Select(static name => new Permission { Operation = Permission.NameOfResp(name), IsOpen = true });

    private static IEnumerable<Permission> Known(params string[] commands) =>
        commands.Select(static name => new Permission { Operation = Permission.NameOfResp(name) });

    private static IEnumerable<Permission> Data(Level level, params string[] commands) =>
        commands.Select(name => new Permission { Operation = Permission.NameOfResp(name), Plane = Plane.Data, Level = level });

    private static IEnumerable<Permission> Everything(Level level, params string[] commands) =>
        commands.Select(name => new Permission { Operation = Permission.NameOfResp(name), Plane = Plane.Data, Level = level, Extent = Extent.Everything });

    private static IEnumerable<Permission> Control(Level level, params string[] commands) =>
        commands.Select(name => new Permission { Operation = Permission.NameOfResp(name), Plane = Plane.Control, Level = level, IsAudited = true });
}
