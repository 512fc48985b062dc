using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace KeyVa.Bench.Front;

/// <summary>
/// redis-benchmark against KeyVa's Redis protocol and against redis-server, in turns: 50 clients, values of 100 bytes, a million random keys. The
/// memory engine without a journal beside a Redis without persistence, and each with a sync every second.
/// </summary>
internal sealed partial class RespBench(BenchOptions options)
{
    /// <summary>The role of a child process: its name is its first argument.</summary>
    public const string KeyVaRole = "serve-resp";

    private const int Keys = 1_000_000;
    private const int Clients = 50;
    private const int Warmup = -1;

    private static readonly (int Depth, int Requests)[] Pipelines = [(1, 150_000), (16, 1_000_000), (64, 1_500_000)];

    private readonly string[] _targets = options.Targets is null ? [KeyVaMemory, Redis] : [.. options.Targets];

    private const string KeyVaMemory = "keyva-resp";
    private const string Redis = "redis";
    private const string KeyVaInterval = "keyva-resp-interval";
    private const string RedisEverySecond = "redis-everysec";

    public Section Run()
    {
        Section section = new("Redis protocol", askedRatio: 1.0);
        foreach (string target in _targets)
        {
            section.Targets.Add((target, target switch
            {
                KeyVaMemory => "KeyVa's memory engine, volatile, one loop",
                Redis => "redis-server, no persistence",
                KeyVaInterval => "KeyVa's memory engine, journal, durability interval, a sync every second",
                RedisEverySecond => "redis-server --appendonly yes --appendfsync everysec",
                _ => throw new UsageException($"no Redis server is called '{target}'"),
            }));
        }

        section.Conditions.Add(("set, get", $"redis-benchmark -c {Clients} -d 100 -r {Keys}, p1, p16 and p64: so many requests in a pipeline; one thread of its own"));
        section.Note("Server and load generator share the machine's processors. One unmeasured round comes before the first. Asked for: 1.0 at p1, 1.5 at p16, 2.0 at p64.");
        using DataFolder folder = new(options.Data, "resp");
        List<(string Target, int Port, IDisposable Server)> servers = [.. _targets.Select(target => Start(target, folder.Path))];
        try
        {
            for (int round = Warmup; round < options.Rounds; round++)
            {
                foreach ((int depth, int requests) in Pipelines)
                {
                    foreach (string test in (string[])["set", "get"])
                    {
                        foreach ((string target, int port, _) in servers)
                        {
                            Sample sample = Load(port, test, depth, requests);
                            if (round != Warmup)
                            {
                                section.Add($"{test} p{depth}", threads: 1, target, sample);
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

        return section;
    }

    private static (string Target, int Port, IDisposable Server) Start(string target, string folder)
    {
        int port = ServerProcess.FreePort();
        string place = Path.Combine(folder, target);
        Directory.CreateDirectory(place);
        return target is KeyVaMemory or KeyVaInterval
            ? (target, port, ServerProcess.Start(KeyVaRole, place, Text(port), target == KeyVaMemory ? "volatile" : "interval"))
            : (target, port, new RedisProcess(port, place, target == RedisEverySecond));
    }

    private static Sample Load(int port, string test, int depth, int requests)
    {
        string output = Execute("redis-benchmark",
            ["-p", Text(port), "-c", Text(Clients), "-n", Text(requests), "-P", Text(depth), "-d", "100", "-r", Text(Keys), "-t", test, "--csv"]);
        Match line = Line().Match(output);
        if (!line.Success)
        {
            throw new InvalidOperationException("redis-benchmark printed no figures:\n" + output);
        }

        double rate = Number(line, "rate");
        return new Sample { Operations = requests, Seconds = requests / rate, P50 = Number(line, "p50") * 1000, P99 = Number(line, "p99") * 1000 };
    }

    private static string Execute(string program, string[] arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            _ = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return output;
        }
        catch (Win32Exception e)
        {
            throw new InvalidOperationException($"{program} is not installed; run bench/install.sh", e);
        }
    }

    private static double Number(Match match, string group) => double.Parse(match.Groups[group].ValueSpan, CultureInfo.InvariantCulture);

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
    [GeneratedRegex("""^"(SET|GET)","(?<rate>[0-9.]+)","[0-9.]+","[0-9.]+","(?<p50>[0-9.]+)","[0-9.]+","(?<p99>[0-9.]+)",""", RegexOptions.Multiline)]
    private static partial Regex Line();

    private sealed class RedisProcess : IDisposable
    {
        private readonly Process _process;

        public RedisProcess(int port, string folder, bool appends)
        {
            ProcessStartInfo start = new("redis-server",
                ["--port", Text(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", appends ? "yes" : "no", "--appendfsync", "everysec"])
            {
                RedirectStandardOutput = true,
            };
            try
            {
                _process = Process.Start(start)!;
            }
            catch (Win32Exception e)
            {
                throw new InvalidOperationException("redis-server is not installed; run bench/install.sh", e);
            }

            for (string? line = ""; line is not null && !line.Contains("Ready to accept connections", StringComparison.Ordinal);)
            {
                line = _process.StandardOutput.ReadLine();
            }

            _ = _process.StandardOutput.ReadToEndAsync();
        }

        public void Dispose()
        {
            _process.Kill();
            _process.WaitForExit();
            _process.Dispose();
        }
    }
}
