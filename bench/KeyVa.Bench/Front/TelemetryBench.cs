using System.Globalization;

namespace KeyVa.Bench.Front;

/// <summary>
/// What observing requests costs: processor time of the server per request with telemetry as it is by default (latencies, slow log) against a server
/// in which it is switched off, under the same load, in turns.
/// </summary>
internal sealed class TelemetryBench(BenchOptions options)
{
    private const double MostRatio = 1.03;
    private const int Warmup = -1;
    private const string On = "observed";
    private const string Off = "unobserved";
    private static readonly (int Depth, int Requests)[] Pipelines = [(1, 300_000), (16, 2_000_000)];

    /// <summary>The measured section, and whether the cost kept to its limit.</summary>
    public (Section Section, bool Passed) Run()
    {
        Section section = new("Telemetry", askedRatio: 0);
        section.Targets.Add((On, "KeyVa's memory engine, volatile; latencies, slow log and times of writes as by default"));
        section.Targets.Add((Off, "the same without observing requests, which no setting can do"));
        section.Conditions.Add(("set, get", $"redis-benchmark -c {RedisBenchmark.Clients} -d 100 -r {RedisBenchmark.Keys}, p1 and p16"));
        Dictionary<(string Test, string Target), List<double>> costs = [];
        using DataFolder folder = new(options.Data, "telemetry");
        List<(string Target, int Port, ServerProcess Server)> servers = [];
        try
        {
            foreach ((string target, string mode) in (ReadOnlySpan<(string, string)>)[(On, "volatile"), (Off, RespRole.Unobserved)])
            {
                string place = Path.Combine(folder.Path, target);
                Directory.CreateDirectory(place);
                int port = ServerProcess.FreePort();
                servers.Add((target, port, ServerProcess.Start(RespBench.KeyVaRole, place, port.ToString(CultureInfo.InvariantCulture), mode)));
            }

            for (int round = Warmup; round < options.Rounds; round++)
            {
                Round(section, servers, costs, isMeasured: round != Warmup);
            }
        }
        finally
        {
            foreach ((_, _, ServerProcess server) in servers)
            {
                server.Dispose();
            }
        }

        return (section, Judge(section, costs));
    }

    private static void Round(
        Section section, List<(string Target, int Port, ServerProcess Server)> servers, Dictionary<(string Test, string Target), List<double>> costs, bool isMeasured)
    {
        foreach ((int depth, int requests) in Pipelines)
        {
            foreach (string test in (string[])["set", "get"])
            {
                foreach ((string target, int port, ServerProcess server) in servers)
                {
                    TimeSpan before = server.ProcessorTime;
                    Sample sample = RedisBenchmark.Run(port, test, depth, requests);
                    double cost = (server.ProcessorTime - before).TotalMicroseconds / requests;
                    if (isMeasured)
                    {
                        string name = $"{test} p{depth}";
                        section.Add(name, threads: 1, target, sample);
                        if (!costs.TryGetValue((name, target), out List<double>? list))
                        {
                            costs[(name, target)] = list = [];
                        }

                        list.Add(cost);
                    }
                }
            }
        }
    }

    private static bool Judge(Section section, Dictionary<(string Test, string Target), List<double>> costs)
    {
        bool passed = true;
        foreach (string test in costs.Keys.Select(static key => key.Test).Distinct())
        {
            double on = Median(costs[(test, On)]);
            double off = Median(costs[(test, Off)]);
            bool kept = on <= off * MostRatio;
            passed &= kept;
            section.Note(string.Create(
                CultureInfo.InvariantCulture,
                $"{(kept ? "kept" : "BROKEN")}: {test}, {on:0.000} µs of processor time a request with telemetry, {off:0.000} without: {(on / off) - 1:+0.0 %;-0.0 %} (limit: 3 %)"));
        }

        return passed;
    }

    private static double Median(List<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }
}
