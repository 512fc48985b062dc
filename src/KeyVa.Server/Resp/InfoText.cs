using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace KeyVa.Server.Resp;

/// <summary>What INFO says, in the sections and with the names that programs for Redis look for. Stateless.</summary>
internal static class InfoText
{
    private static readonly (string Name, Action<StringBuilder, RespDoor> Write)[] Sections =
    [
        ("Server", Server), ("Clients", Clients), ("Memory", Memory), ("Persistence", Persistence), ("Stats", Stats), ("Replication", Replication), ("CPU", Cpu),
        ("Keyspace", Keyspace),
    ];

    /// <summary>The sections that are asked for, all if none is.</summary>
    public static string Of(RespDoor door, List<string> asked)
    {
        bool all = asked.Count == 0 || asked.Exists(static one => one.ToUpperInvariant() is "ALL" or "DEFAULT" or "EVERYTHING");
        StringBuilder text = new();
        foreach ((string name, Action<StringBuilder, RespDoor> write) in Sections)
        {
            if (all || asked.Exists(one => one.Equals(name, StringComparison.OrdinalIgnoreCase)))
            {
                text.Append(text.Length > 0 ? "\r\n" : "").Append("# ").Append(name).Append("\r\n");
                write(text, door);
            }
        }

        return text.ToString();
    }

    private static void Server(StringBuilder text, RespDoor door)
    {
        Line(text, "redis_version", RespDoor.RedisVersion);
        Line(text, "keyva_version", typeof(InfoText).Assembly.GetName().Version!.ToString(3));
        Line(text, "redis_mode", "standalone");
        Line(text, "arch_bits", "64");
        Line(text, "process_id", Environment.ProcessId);
        Line(text, "tcp_port", door.Port);
        Line(text, "uptime_in_seconds", (long)door.Uptime.TotalSeconds);
        Line(text, "uptime_in_days", (long)door.Uptime.TotalDays);
    }

    private static void Clients(StringBuilder text, RespDoor door)
    {
        Line(text, "connected_clients", door.Connections);
        Line(text, "maxclients", door.MaxClients);
        Line(text, "blocked_clients", 0);
    }

    private static void Memory(StringBuilder text, RespDoor door)
    {
        using Process process = Process.GetCurrentProcess();
        StoreStatistics figures = door.Store.GetStatistics();
        Line(text, "used_memory", figures.MemoryBytes + GC.GetTotalMemory(forceFullCollection: false));
        Line(text, "used_memory_rss", process.WorkingSet64);
        Line(text, "maxmemory", 0);
        Line(text, "maxmemory_policy", "noeviction");
    }

    private static void Persistence(StringBuilder text, RespDoor door)
    {
        Line(text, "loading", 0);
        Line(text, "aof_enabled", door.IsVolatile ? 0 : 1);
    }

    private static void Stats(StringBuilder text, RespDoor door)
    {
        StoreStatistics figures = door.Store.GetStatistics();
        Line(text, "total_connections_received", door.TotalConnections);
        Line(text, "keyspace_hits", figures.GetsFound);
        Line(text, "keyspace_misses", figures.Gets - figures.GetsFound);
        Line(text, "pubsub_patterns", door.Hub.Patterns);
    }

    private static void Replication(StringBuilder text, RespDoor door)
    {
        Line(text, "role", "master");
        Line(text, "connected_slaves", 0);
    }

    private static void Cpu(StringBuilder text, RespDoor door)
    {
        using Process process = Process.GetCurrentProcess();
        Line(text, "used_cpu_sys", process.PrivilegedProcessorTime.TotalSeconds.ToString("F6", CultureInfo.InvariantCulture));
        Line(text, "used_cpu_user", process.UserProcessorTime.TotalSeconds.ToString("F6", CultureInfo.InvariantCulture));
    }

    private static void Keyspace(StringBuilder text, RespDoor door)
    {
        long keys = door.Store.GetStatistics().Keys;
        if (keys > 0)
        {
            Line(text, "db0", $"keys={keys}");
        }
    }

    private static void Line(StringBuilder text, string name, object value) =>
        text.Append(CultureInfo.InvariantCulture, $"{name}:{value}\r\n");
}
