using System.Diagnostics;
using KeyVa.Cluster.Driver;
using KeyVa.Raft;
using KeyVa.Simulation.Raft;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Simulation.Cluster;

/// <summary>
/// The simulation of whole nodes finds what it is there for: driver or core are broken on purpose, in one place, and within 1,000 seeds the property
/// fails that is to find it. The seed passes without the defect. The search begins at the seed that found it last, so that it takes no time;
/// KEYVA_DEFECTS_FROM=0 looks for the first again. docs/testing.md lists them.
/// </summary>
public sealed class ClusterDefectTests(ITestOutputHelper output)
{
    private const int MostSeeds = 1000;

    [Theory]
    [InlineData(nameof(DriverDefects.AcknowledgesUnwritten), 0, "what was acknowledged is durable")]
    [InlineData(nameof(DriverDefects.AcknowledgesUnwritten), 0, "leader completeness")]
    [InlineData(nameof(DriverDefects.ForgetsState), 0, "terms rise")]
    [InlineData(nameof(DriverDefects.RepeatsAnEntry), 0, "agreement")]
    [InlineData(nameof(DriverDefects.ReadsLocally), 0, "linearizability")]
    [InlineData(nameof(DriverDefects.RetriesWhatMayBeDone), 0, "exactly once")]
    [InlineData(nameof(DriverDefects.LeadsUnprepared), 0, "linearizability")]
    [InlineData(nameof(DriverDefects.KeepsSuperseded), 0, "log matching")]
    [InlineData(nameof(DriverDefects.KeepsSuperseded), 0, "state machine safety")]
    [InlineData(nameof(DriverDefects.TakesForwardsTwice), 0, "exactly once")]
    [InlineData(nameof(DriverDefects.SkipsAnEntry), 0, "agreement")]
    [InlineData(nameof(DriverDefects.InstallsUnsynced), 0, "damage in")]
    [InlineData(nameof(DriverDefects.InstallsWithoutMembership), 0, "a membership belongs to its index")]
    [InlineData(nameof(DriverDefects.StandsOnNewestMembership), 0, "a membership belongs to its index")]
    [InlineData(nameof(DriverDefects.ReleasesUnflushed), 0, "damage in")]
    [InlineData(nameof(DriverDefects.TakesFullForWritten), 0, "what was acknowledged is durable")]
    [InlineData(nameof(DriverDefects.TakesFailedForWritten), 0, "terms rise")]
    [InlineData(nameof(DriverDefects.PassesOverDamage), 0, "agreement")]
    public void OfTheDriverIsFound(string defect, int first, string property) => Find(defect, first, property, RaftDefects.None, Enum.Parse<DriverDefects>(defect));

    [Theory]
    [InlineData(nameof(RaftDefects.ForgetsVote), 0, "one vote in a term")]
    [InlineData(nameof(RaftDefects.ForgetsVote), 0, "election safety")]
    [InlineData(nameof(RaftDefects.CommitsOldTerms), 0, "leader completeness")]
    [InlineData(nameof(RaftDefects.SnapshotWithoutMembership), 0, "a membership belongs to its index")]
    [InlineData(nameof(RaftDefects.ReadsWithoutQuorum), 0, "linearizability")]
    [InlineData(nameof(RaftDefects.AcknowledgesUnpersisted), 0, "what was acknowledged is durable")]
    public void OfTheCoreIsFound(string defect, int first, string property) => Find(defect, first, property, Enum.Parse<RaftDefects>(defect), DriverDefects.None);

    /// <summary>With a defect, the checker of every step looks at that property alone: what else is amiss is found, or not, by the end of the run.</summary>
    private void Find(string defect, int first, string property, RaftDefects raft, DriverDefects driver)
    {
        first = int.TryParse(Environment.GetEnvironmentVariable("KEYVA_DEFECTS_FROM"), out int asked) ? asked : first;
        long begin = Stopwatch.GetTimestamp();
        for (int i = 0; i < MostSeeds; i++)
        {
            int seed = (first + i) % MostSeeds;
            if (Failure(seed, raft, driver, property) is { } found && found.StartsWith(property, StringComparison.Ordinal) && Failure(seed, RaftDefects.None, DriverDefects.None, null) is null)
            {
                output.WriteLine($"{defect}: seed {seed}, after {i + 1} seeds and {Stopwatch.GetElapsedTime(begin).TotalSeconds:F1} s: {found}");
                return;
            }
        }

        Assert.Fail($"{defect} was not found in {MostSeeds} seeds");
    }

    private static string? Failure(int seed, RaftDefects raft, DriverDefects driver, string? property)
    {
        ClusterSimulation simulation = new(seed, raft, driver, property);
        try
        {
            simulation.Run();
            return null;
        }
        catch (Exception failure) when (failure is SafetyViolationException or UnreachableException or StoreException)
        {
            return failure.Message;
        }
    }
}
