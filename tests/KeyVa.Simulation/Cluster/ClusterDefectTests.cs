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
    [InlineData(nameof(DriverDefects.AcknowledgesUnwritten), 1, "what was acknowledged is durable")]
    [InlineData(nameof(DriverDefects.AcknowledgesUnwritten), 44, "leader completeness")]
    [InlineData(nameof(DriverDefects.ForgetsState), 1, "terms rise")]
    [InlineData(nameof(DriverDefects.ForgetsState), 26, "election safety")]
    [InlineData(nameof(DriverDefects.RepeatsAnEntry), 22, "agreement")]
    [InlineData(nameof(DriverDefects.ReadsLocally), 0, "linearizability")]
    [InlineData(nameof(DriverDefects.RetriesWhatMayBeDone), 0, "exactly once")]
    [InlineData(nameof(DriverDefects.LeadsUnprepared), 18, "linearizability")]
    [InlineData(nameof(DriverDefects.KeepsSuperseded), 1, "log matching")]
    [InlineData(nameof(DriverDefects.KeepsSuperseded), 1, "state machine safety")]
    [InlineData(nameof(DriverDefects.TakesForwardsTwice), 12, "exactly once")]
    [InlineData(nameof(DriverDefects.SkipsAnEntry), 0, "agreement")]
    [InlineData(nameof(DriverDefects.InstallsUnsynced), 0, "damage in")]
    [InlineData(nameof(DriverDefects.InstallsWithoutMembership), 0, "a membership belongs to its index")]
    [InlineData(nameof(DriverDefects.StandsOnNewestMembership), 0, "a membership belongs to its index")]
    [InlineData(nameof(DriverDefects.ReleasesUnflushed), 0, "damage in")]
    [InlineData(nameof(DriverDefects.TakesFullForWritten), 202, "the journal holds entries")]
    [InlineData(nameof(DriverDefects.TakesFailedForWritten), 52, "terms rise")]
    [InlineData(nameof(DriverDefects.PassesOverDamage), 371, "agreement")]
    [InlineData(nameof(DriverDefects.IgnoresLostNodes), 3, "silence")]
    [InlineData(nameof(DriverDefects.FinishesUndecided), 47, "commits are seen whole")]
    [InlineData(nameof(DriverDefects.DropsWithoutDecision), 3, "snapshots see all or nothing")]
    [InlineData(nameof(DriverDefects.InstallsWithoutPrepared), 247, "commits are seen whole")]
    [InlineData(nameof(DriverDefects.ForgetsPreparedWhenElected), 27, "liveness")]
    [InlineData(nameof(DriverDefects.InstallsWithoutSettings), 9, "agreement")]
    public void OfTheDriverIsFound(string defect, int first, string property) => Find(defect, first, property, RaftDefects.None, Enum.Parse<DriverDefects>(defect));

    [Theory]
    [InlineData(nameof(RaftDefects.ForgetsVote), 180, "one vote in a term")]
    [InlineData(nameof(RaftDefects.SnapshotWithoutMembership), 0, "a membership belongs to its index")]
    [InlineData(nameof(RaftDefects.ReadsWithoutQuorum), 375, "linearizability")]
    [InlineData(nameof(RaftDefects.AcknowledgesUnpersisted), 1, "what was acknowledged is durable")]
    [InlineData(nameof(RaftDefects.TakesBackUncommitted), 0, "leader append-only")]
    public void OfTheCoreIsFound(string defect, int first, string property) => Find(defect, first, property, Enum.Parse<RaftDefects>(defect), DriverDefects.None);

    /// <summary>Of leases: among the seeds that have some.</summary>
    [Theory]
    [InlineData(nameof(RaftDefects.LeaseOutlivesTransfer), "", 1885)]
    public void OfLeasesIsFound(string raft, string driver, int first) =>
        Find(raft + driver, first, "linearizability", Named<RaftDefects>(raft), Named<DriverDefects>(driver), [.. Enumerable.Range(0, 8 * MostSeeds).Where(ClusterPlan.HasLeases).Take(MostSeeds)]);

    private static T Named<T>(string name)
        where T : struct, Enum => name.Length == 0 ? default : Enum.Parse<T>(name);

    /// <summary>With a defect, the checker of every step looks at that property alone: what else is amiss is found, or not, by the end of the run.</summary>
    private void Find(string defect, int first, string property, RaftDefects raft, DriverDefects driver, int[]? among = null)
    {
        among ??= [.. Enumerable.Range(0, MostSeeds)];
        first = int.TryParse(Environment.GetEnvironmentVariable("KEYVA_DEFECTS_FROM"), out int asked) ? asked : first;
        long begin = Stopwatch.GetTimestamp();
        int begun = Math.Max(0, Array.FindIndex(among, seed => seed >= first));
        for (int i = 0; i < MostSeeds; i++)
        {
            int seed = among[(begun + i) % MostSeeds];
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
