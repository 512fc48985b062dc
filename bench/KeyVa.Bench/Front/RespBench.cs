using System.Globalization;

namespace KeyVa.Bench.Front;

/// <summary>
/// redis-benchmark against KeyVa's Redis protocol and against redis-server, in turns: 50 clients, values of 100 bytes, a million random keys. Each
/// durability beside its like, one pair of servers at a time.
/// </summary>
internal sealed class RespBench(BenchOptions options)
{
    /// <summary>The role of a child process: its name is its first argument.</summary>
    public const string KeyVaRole = "serve-resp";

    private const int Warmup = -1;

    // Requests of one run by pipeline: where each is synced, a run of so many takes about as long.
    private static readonly (int Depth, int Requests, int Synced)[] Pipelines = [(1, 150_000, 20_000), (16, 1_000_000, 150_000), (64, 1_500_000, 400_000)];

    private static readonly Target[] All =
    [
        new("keyva-resp", "volatile", "KeyVa's memory engine, volatile, one loop"),
        new("redis", null, "redis-server, no persistence"),
        new("keyva-resp-interval", "interval", "KeyVa's memory engine, journal, durability interval, a sync every second"),
        new("redis-everysec", "everysec", "redis-server --appendonly yes --appendfsync everysec"),
        new("keyva-resp-always", "always", "KeyVa's memory engine, journal, durability always"),
        new("redis-always", "always", "redis-server --appendonly yes --appendfsync always"),
        new("keyva-resp-lsm", "lsm", "KeyVa's lsm engine, durability interval, a sync every second"),
    ];

    /// <summary>Pairs that run side by side; whoever is not asked for is left out.</summary>
    private static readonly string[][] Groups = [["keyva-resp", "redis"], ["keyva-resp-interval", "redis-everysec"], ["keyva-resp-always", "redis-always"], ["keyva-resp-lsm"]];

    public Section Run()
    {
        Section section = new("Redis protocol", askedRatio: 1.0);
        Target[] asked = options.Targets is null ? All
            : [.. options.Targets.Select(static name => Array.Find(All, target => target.Name == name) ?? throw new UsageException($"no Redis server is called '{name}'"))];
        section.Targets.AddRange(asked.Select(static target => (target.Name, target.Settings)));
        section.Conditions.Add(("set, get", $"redis-benchmark -c {RedisBenchmark.Clients} -d 100 -r {RedisBenchmark.Keys}, p1, p16 and p64: so many requests in a pipeline; one thread of its own"));
        section.Note("Server and load generator share the machine's processors. One unmeasured round comes before the first. Asked for: 1.0 at p1, 1.5 at p16, 2.0 at p64.");
        using DataFolder folder = new(options.Data, "resp");
        foreach (string[] group in Groups)
        {
            Run(section, folder.Path, [.. asked.Where(target => group.Contains(target.Name))]);
        }

        return section;
    }

    private void Run(Section section, string folder, Target[] targets)
    {
        List<(Target Target, int Port, IDisposable Server)> servers = [];
        try
        {
            foreach (Target target in targets)
            {
                servers.Add(Start(target, folder));
            }

            for (int round = Warmup; round < options.Rounds; round++)
            {
                foreach ((int depth, int plain, int synced) in Pipelines)
                {
                    foreach (string test in (string[])["set", "get"])
                    {
                        foreach ((Target target, int port, _) in servers)
                        {
                            bool isSynced = target.Mode == "always" && test == "set";
                            Sample sample = RedisBenchmark.Run(port, test, depth, isSynced ? synced : plain);
                            if (round != Warmup)
                            {
                                section.Add($"{test} p{depth}", threads: 1, target.Name, sample);
                            }
                        }
                    }
                }
            }
        }
        finally
        {
            foreach ((_, _, IDisposable server) in servers)
            {
                server.Dispose();
            }
        }
    }

    private static (Target Target, int Port, IDisposable Server) Start(Target target, string folder)
    {
        int port = ServerProcess.FreePort();
        string place = Path.Combine(folder, target.Name);
        Directory.CreateDirectory(place);
        return target.Name.StartsWith("keyva", StringComparison.Ordinal)
            ? (target, port, ServerProcess.Start(KeyVaRole, place, port.ToString(CultureInfo.InvariantCulture), target.Mode!))
            : (target, port, new RedisProcess(port, place, target.Mode));
    }

    private sealed record Target(string Name, string? Mode, string Settings);
}
