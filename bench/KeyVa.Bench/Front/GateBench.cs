using System.Diagnostics;
using System.Globalization;

namespace KeyVa.Bench.Front;

/// <summary>
/// What it costs to know who asks and to count how often: the processor time of a server per request, once open to all, once with a user, its password with each
/// request, and limits of requests and bytes that are never reached. Requests to the memory engine, the cheapest there are, so that the share is the largest.
/// </summary>
internal sealed class GateBench(BenchOptions options)
{
    /// <summary>For each of the processes, so that all is said within three minutes.</summary>
    private static readonly TimeSpan Budget = TimeSpan.FromSeconds(150);

    public (Section Section, bool Passed) Run()
    {
        Section section = new("The cost of the gate", askedRatio: 0);
        section.Targets.Add((FrontServers.Open, "no users, no limits"));
        section.Targets.Add((FrontServers.Secured, "a user with a password, limits of requests and bytes of the user, its address and all, never reached; in the same process"));
        section.Conditions.Add(("REST, gRPC", string.Create(CultureInfo.InvariantCulture, $"{options.Connections} connections, or requests under way over one; memory engine, volatile; keys in turns of {FrontRecords.Asked}")));
        section.Conditions.Add(("RESP", "50 connections; a wave of one pipeline for each, then the answers, then the next"));
        using DataFolder folder = new(options.Data, "gate");
        PairedSlices slices = new(FrontServers.Open, FrontServers.Secured, options.Seed);
        for (int process = 0; process < options.Rounds; process++)
        {
            // Each is started first in every other process.
            string[] modes = process % 2 == 0 ? [FrontServers.Open, FrontServers.Secured] : [FrontServers.Secured, FrontServers.Open];
            long begun = Stopwatch.GetTimestamp();
            using FrontServers servers = new(Path.Combine(folder.Path, process.ToString(CultureInfo.InvariantCulture)), modes);
            IReadOnlyList<(string Name, ISliceLoad Load)> open = servers.Loads(FrontServers.Open, options.Connections);
            IReadOnlyList<(string Name, ISliceLoad Load)> secured = servers.Loads(FrontServers.Secured, options.Connections);
            slices.Measure(
                servers.Id,
                [.. open.Zip(secured, static (one, other) => (one.Name, one.Load, other.Load))],
                () => Stopwatch.GetElapsedTime(begun) > Budget / options.Rounds,
                static _ => { });
            foreach ((_, ISliceLoad load) in open.Concat(secured))
            {
                load.Dispose();
            }
        }

        return (section, slices.Report(section));
    }
}
