using System.Diagnostics;
using System.Globalization;

namespace KeyVa.Bench.Front;

/// <summary>
/// What observing requests costs: processor time of the server per request with telemetry as it is by default (latencies, slow log, times of writes) against the same
/// server, in the same process, over the same connections, while it is switched off.
/// </summary>
internal sealed class TelemetryBench(BenchOptions options)
{
    private const string Off = "unobserved";
    private const string On = "observed";

    /// <summary>For each of the processes, so that all is said within three minutes.</summary>
    private static readonly TimeSpan Budget = TimeSpan.FromSeconds(150);

    /// <summary>The measured section, and whether the cost kept to its limit.</summary>
    public (Section Section, bool Passed) Run()
    {
        Section section = new("The cost of telemetry", askedRatio: 0);
        section.Targets.Add((Off, "the same process while it observes nothing, which no setting can do"));
        section.Targets.Add((On, "latencies, slow log and times of writes as by default"));
        section.Conditions.Add(("REST, gRPC", string.Create(CultureInfo.InvariantCulture, $"{options.Connections} connections, or requests under way over one; memory engine, volatile; keys in turns of {FrontRecords.Asked}")));
        section.Conditions.Add(("RESP", "50 connections; a wave of one pipeline for each, then the answers, then the next"));
        using DataFolder folder = new(options.Data, "telemetry");
        PairedSlices slices = new(Off, On, options.Seed);
        for (int process = 0; process < options.Rounds; process++)
        {
            long begun = Stopwatch.GetTimestamp();
            using FrontServers servers = new(Path.Combine(folder.Path, process.ToString(CultureInfo.InvariantCulture)), FrontServers.Open);
            IReadOnlyList<(string Name, ISliceLoad Load)> loads = servers.Loads(FrontServers.Open, options.Connections);
            slices.Measure(
                servers.Id,
                [.. loads.Select(static load => (load.Name, load.Load, load.Load))],
                () => Stopwatch.GetElapsedTime(begun) > Budget / options.Rounds,
                servers.SetObserved);
            foreach ((_, ISliceLoad load) in loads)
            {
                load.Dispose();
            }
        }

        return (section, slices.Report(section));
    }
}
