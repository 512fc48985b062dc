using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using KeyVa.Server;
using Microsoft.Extensions.Logging;

namespace KeyVa.Bench.Front;

/// <summary>
/// What it costs to know who asks and to count how often: the processor time of a server per request, once open to all, once with a user, its password with each
/// request, and limits of requests and bytes that are never reached. Gets from the memory engine, the cheapest requests there are, so that the share is the largest.
/// </summary>
internal sealed class GateBench(BenchOptions options)
{
    /// <summary>The role of a child process: its name is its first argument.</summary>
    public const string Role = "serve-gate";

    private const string User = "admin";
    private const string Password = "the bench's own";
    private const double MaxRatio = 1.03;
    private const long NeverReached = 100_000_000;
    private const int Warmup = -1;
    private const int Clients = 50;

    private static readonly string Authorization = "Basic " + Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"{User}:{Password}"));
    private static readonly string[] Modes = ["open", "secured"];
    private static readonly string[] Loads = ["rest get", "grpc get", "resp get p1", "resp get p64"];

    public (Section Section, bool Passed) Run()
    {
        Section section = new("The cost of the gate", askedRatio: 0);
        section.Targets.Add((Modes[0], "no users, no limits"));
        section.Targets.Add((Modes[1], "a user with a password, limits of requests and bytes of the user, its address and all, never reached"));
        section.Conditions.Add(("rest, grpc, resp get", "one random key of a thousand; memory engine, volatile; wrk, one HTTP/2 connection, redis-benchmark"));
        section.Note("Processor time of the server's process (user and system) from /proc/PID/stat, per request. Rounds take turns; medians.");
        using DataFolder folder = new(options.Data, "gate");
        Gate[] gates = [.. Modes.Select(mode => new Gate(mode, folder.Path))];
        Dictionary<(string Load, string Mode), List<double>> figures = [];
        try
        {
            for (int round = Warmup; round < Math.Max(options.Rounds, 3); round++)
            {
                foreach (string load in Loads)
                {
                    // Each is first in every other round.
                    foreach (Gate gate in round % 2 == 0 ? gates : gates.Reverse())
                    {
                        double microseconds = gate.Measure(load, folder.Path, options.FrontSeconds, options.Connections);
                        if (round != Warmup)
                        {
                            if (!figures.TryGetValue((load, gate.Mode), out List<double>? all))
                            {
                                figures[(load, gate.Mode)] = all = [];
                            }

                            all.Add(microseconds);
                        }
                    }
                }
            }
        }
        finally
        {
            Array.ForEach(gates, static gate => gate.Dispose());
        }

        bool passed = true;
        foreach (string load in Loads)
        {
            double open = Median(figures[(load, Modes[0])]);
            double secured = Median(figures[(load, Modes[1])]);
            bool kept = secured <= open * MaxRatio;
            passed &= kept;
            section.Note(string.Create(
                CultureInfo.InvariantCulture,
                $"{(kept ? "kept" : "BROKEN")}: {load}, {open:0.000} µs open, {secured:0.000} µs secured: {(secured / open * 100) - 100:+0.0;-0.0} % (limit: +3 %)"));
        }

        return (section, passed);
    }

    /// <summary>The child: fills its store, then serves.</summary>
    public static async Task ServeAsync(string directory, int rest, int grpc, int resp, string mode)
    {
        bool isSecured = mode == Modes[1];
        PlaneLimits limits = isSecured
            ? new PlaneLimits
            {
                UserRequests = NeverReached,
                AddressRequests = NeverReached,
                TotalRequests = NeverReached,
                UserBytes = NeverReached * 1000,
                AddressBytes = NeverReached * 1000,
                TotalBytes = NeverReached * 1000,
            }
            : new PlaneLimits();
        string password = Path.Combine(Path.GetDirectoryName(directory)!, "password");
        await File.WriteAllTextAsync(password, Password);
        await using KeyVaServer server = await KeyVaServer.StartAsync(new ServerOptions
        {
            Data = directory,
            Store = new StoreOptions { Engine = EngineKind.Memory, Volatile = true },
            RestListen = new IPEndPoint(IPAddress.Loopback, rest),
            GrpcListen = new IPEndPoint(IPAddress.Loopback, grpc),
            ControlListen = new IPEndPoint(IPAddress.Loopback, 0),
            RespListen = new IPEndPoint(IPAddress.Loopback, resp),
            DataLimits = limits,
            AdminPasswordFile = isSecured ? password : "",
            LogLevel = LogLevel.Warning,
        });
        for (int i = 0; i < FrontRecords.Count; i++)
        {
            server.Store.Upsert(FrontRecords.Key(i), FrontRecords.Value);
        }

        await ServerProcess.ServeUntilInputEndsAsync();
    }

    private static double Median(List<double> all)
    {
        double[] sorted = [.. all.Order()];
        return sorted[sorted.Length / 2];
    }

    private sealed class Gate : IDisposable
    {
        private readonly ServerProcess _server;
        private readonly int[] _ports = [ServerProcess.FreePort(), ServerProcess.FreePort(), ServerProcess.FreePort()];

        public Gate(string mode, string folder)
        {
            Mode = mode;
            _server = ServerProcess.Start([Role, Path.Combine(folder, mode), .. _ports.Select(static port => port.ToString(CultureInfo.InvariantCulture)), mode]);
        }

        public string Mode { get; }

        private bool IsSecured => Mode == Modes[1];

        /// <summary>Microseconds of the server's processor time per request.</summary>
        public double Measure(string load, string folder, double seconds, int connections)
        {
            string? authorization = IsSecured ? Authorization : null;
            double before = ProcessorSeconds();
            long requests = load switch
            {
                "rest get" => Wrk.Run(folder, _ports[0], connections, seconds, authorization).Operations,
                "grpc get" => GrpcLoad.RunAsync(_ports[1], connections, seconds, authorization).GetAwaiter().GetResult().Operations,
                "resp get p1" => Redis(1, 300_000),
                _ => Redis(64, 4_000_000),
            };
            return (ProcessorSeconds() - before) * 1e6 / requests;
        }

        public void Dispose() => _server.Dispose();

        private int Redis(int depth, int requests)
        {
            string[] arguments = ["-p", $"{_ports[2]}", "-c", $"{Clients}", "-n", $"{requests}", "-P", $"{depth}", "--csv", .. IsSecured ? new[] { "--user", User, "-a", Password } : Array.Empty<string>(), "GET", FrontRecords.KeyText(7)];
            try
            {
                using Process process = Process.Start(new ProcessStartInfo("redis-benchmark", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
                _ = process.StandardError.ReadToEndAsync();
                string output = process.StandardOutput.ReadToEnd();
                process.WaitForExit();
                return output.Contains("rps", StringComparison.Ordinal) ? requests : throw new InvalidOperationException("redis-benchmark printed no figures:\n" + output);
            }
            catch (Win32Exception e)
            {
                throw new InvalidOperationException("redis-benchmark is not installed; run bench/install.sh", e);
            }
        }

        /// <summary>User and system time: fields 14 and 15 of /proc/PID/stat, in hundredths of a second, counted behind the name, which may hold anything.</summary>
        private double ProcessorSeconds()
        {
            string stat = File.ReadAllText($"/proc/{_server.Id}/stat");
            string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)) / 100.0;
        }
    }
}
