using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Simulation.Raft;

public sealed class RaftSimulationTests(ITestOutputHelper output)
{
    private const int UsualSeeds = 1000;

    /// <summary>1,000 seeds, or as many as KEYVA_RAFT_SEEDS asks for; KEYVA_SEED begins at another seed, by itself with that one alone.</summary>
    [Fact]
    public void NoSeedBreaksRaft()
    {
        (int first, int count) = Range();
        var failures = new System.Collections.Concurrent.ConcurrentQueue<string>();
        long commits = 0, elections = 0, answered = 0, events = 0, snapshots = 0, changes = 0, silences = 0;
        int done = 0;
        Parallel.For(first, first + count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, (seed, loop) =>
        {
            var simulation = new RaftSimulation(seed);
            try
            {
                simulation.Run();
                Interlocked.Increment(ref done);
                Interlocked.Add(ref commits, simulation.Checker.Commits);
                Interlocked.Add(ref elections, simulation.Checker.Elections);
                Interlocked.Add(ref answered, simulation.Answered);
                Interlocked.Add(ref snapshots, simulation.Checker.Snapshots);
                Interlocked.Add(ref changes, simulation.Checker.Changes);
                Interlocked.Add(ref silences, simulation.Nemesis.Silences);
                Interlocked.Add(ref events, simulation.Events.Steps);
            }
            catch (Exception failure)
            {
                failures.Enqueue($"KEYVA_SEED={seed}, at {simulation.Events.Now}, event {simulation.Events.Steps}: {failure}");
                loop.Stop();
            }
        });
        output.WriteLine($"{done} seeds from {first}: {events} events, {elections} elections, {commits} commits, {answered} answers, {snapshots} snapshots, {changes} memberships, {silences} silences");
        Assert.True(failures.IsEmpty, string.Join("\n\n", failures.Take(3)));
        Assert.Equal(count, done);

        // A run in which nothing happens finds nothing; a few seeds may be quiet.
        if (count >= UsualSeeds)
        {
            Assert.True(elections >= 2L * count && commits >= 20L * count && answered >= 20L * count, "the runs are too quiet");
            Assert.True(snapshots >= count / 2 && changes >= count && silences >= count / 10, "some things hardly ever happen");
        }
    }

    /// <summary>A failing seed is of use only if it fails again: two runs of one are the same, to the last event and answer.</summary>
    [Fact]
    public void ASeedIsTheSameRun()
    {
        for (int seed = 0; seed < 10; seed++)
        {
            RaftSimulation one = new(seed);
            RaftSimulation other = new(seed);
            one.Run();
            other.Run();
            Assert.Equal(one.Events.Steps, other.Events.Steps);
            Assert.Equal(one.History.ToString(), other.History.ToString());
        }
    }

    private static (int First, int Count) Range()
    {
        string? first = Environment.GetEnvironmentVariable("KEYVA_SEED");
        string? count = Environment.GetEnvironmentVariable("KEYVA_RAFT_SEEDS");
        int seeds = string.IsNullOrEmpty(count) ? string.IsNullOrEmpty(first) ? UsualSeeds : 1 : int.Parse(count, CultureInfo.InvariantCulture);
        return (string.IsNullOrEmpty(first) ? 0 : int.Parse(first, CultureInfo.InvariantCulture), seeds);
    }
}
