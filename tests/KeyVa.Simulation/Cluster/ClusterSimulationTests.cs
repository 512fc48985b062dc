using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Simulation.Cluster;

public sealed class ClusterSimulationTests(ITestOutputHelper output)
{
    private const int UsualSeeds = 200;
    private const int RepeatedSeeds = 20;

    /// <summary>200 seeds, or as many as KEYVA_CLUSTER_SEEDS asks for; KEYVA_SEED begins at another seed, by itself with that one alone.</summary>
    [Fact]
    public void NoSeedBreaksACluster()
    {
        (int first, int count) = Range();
        var failures = new System.Collections.Concurrent.ConcurrentQueue<string>();
        long events = 0, elections = 0, entries = 0, answered = 0, restarts = 0, changes = 0, snapshots = 0;
        int done = 0;
        long[] faults = new long[Enum.GetValues<Fault>().Length];
        long full = 0, replaced = 0, stopped = 0, unopened = 0;
        Parallel.For(first, first + count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, (seed, loop) =>
        {
            var simulation = new ClusterSimulation(seed);
            try
            {
                simulation.Run();
                Interlocked.Increment(ref done);
                Interlocked.Add(ref events, simulation.Events.Steps);
                Interlocked.Add(ref elections, simulation.Checker.Elections);
                Interlocked.Add(ref entries, simulation.Checker.Entries);
                Interlocked.Add(ref answered, simulation.Answered);
                Interlocked.Add(ref restarts, simulation.Restarts);
                Interlocked.Add(ref changes, simulation.Operator.Changes);
                Interlocked.Add(ref snapshots, simulation.Snapshots);
                Interlocked.Add(ref stopped, simulation.Stopped);
                Interlocked.Add(ref unopened, simulation.Unopened);
                Interlocked.Add(ref full, simulation.FullRecords);
                Interlocked.Add(ref replaced, simulation.Operator.Replacements);
                for (int i = 0; i < faults.Length; i++)
                {
                    Interlocked.Add(ref faults[i], simulation.Nemesis.Counts[i]);
                }
            }
            catch (Exception failure)
            {
                failures.Enqueue($"KEYVA_SEED={seed}, at {simulation.Events.Now}, event {simulation.Events.Steps}: {failure}\n{simulation.Describe()}");
                loop.Stop();
            }
        });
        output.WriteLine($"{done} seeds from {first}: {events} events, {restarts} restarts, {elections} elections, {entries} entries, {answered} answers, {changes} changes of members, {snapshots} snapshots, {replaced} nodes replaced, {full} records without room, {stopped} replicas stopped, {unopened} stores not opened");
        output.WriteLine(string.Join(", ", Enum.GetValues<Fault>().Select(fault => $"{fault} {faults[(int)fault]}")));
        Assert.True(failures.IsEmpty, string.Join("\n\n", failures.Take(3)));
        Assert.Equal(count, done);
        if (count >= UsualSeeds)
        {
            Assert.True(elections >= 2L * count && entries >= 20L * count && answered >= 20L * count && restarts >= count, "the runs are too quiet");
        }
    }

    /// <summary>A failing seed is of use only if it fails again: two runs of one are the same, to the last message, record and answer.</summary>
    [Fact]
    public void ASeedIsTheSameRun() => Parallel.For(0, RepeatedSeeds, seed =>
    {
        ClusterSimulation one = new(seed);
        ClusterSimulation other = new(seed);
        (one.Trace.Kept, other.Trace.Kept) = ([], []);
        one.Run();
        other.Run();
        Assert.True(one.Trace.Length > 200, "hardly anything is noted");
        int parted = one.Trace.Kept.Zip(other.Trace.Kept).TakeWhile(static pair => pair.First == pair.Second).Count();
        Assert.True(parted == one.Trace.Kept.Count, $"seed {seed}: two runs part at event {parted} of {one.Trace.Length}, behind {string.Join(' ', one.Trace.Kept.Skip(parted - 5).Take(6))}; {one.Describe()}");
        Assert.Equal((one.Events.Steps, one.Trace.Length, one.Trace.Hash), (other.Events.Steps, other.Trace.Length, other.Trace.Hash));
        Assert.Equal(one.History.ToString(), other.History.ToString());
    });

    private static (int First, int Count) Range()
    {
        string? first = Environment.GetEnvironmentVariable("KEYVA_SEED");
        string? count = Environment.GetEnvironmentVariable("KEYVA_CLUSTER_SEEDS");
        int seeds = string.IsNullOrEmpty(count) ? string.IsNullOrEmpty(first) ? UsualSeeds : 1 : int.Parse(count, CultureInfo.InvariantCulture);
        return (string.IsNullOrEmpty(first) ? 0 : int.Parse(first, CultureInfo.InvariantCulture), seeds);
    }
}
