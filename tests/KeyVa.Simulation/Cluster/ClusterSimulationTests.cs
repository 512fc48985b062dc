using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Simulation.Cluster;

public sealed class ClusterSimulationTests(ITestOutputHelper output)
{
    private const int UsualSeeds = 2000;
    private const int RepeatedSeeds = 20;
    private const int MostFailures = 3;

    /// <summary>KEYVA_BAD_DISKS=1: in every run every other fault is a flipped bit.</summary>
    private static bool HasBadDisks => Environment.GetEnvironmentVariable("KEYVA_BAD_DISKS") == "1";

    /// <summary>2,000 seeds, or as many as KEYVA_CLUSTER_SEEDS asks for; KEYVA_SEED begins at another seed, by itself with that one alone.</summary>
    [Fact]
    public void NoSeedBreaksACluster()
    {
        (int first, int count) = Range();
        var failures = new System.Collections.Concurrent.ConcurrentQueue<string>();
        long events = 0, elections = 0, entries = 0, answered = 0, restarts = 0, changes = 0, snapshots = 0, silences = 0, leased = 0;
        int done = 0;
        long[] faults = new long[Enum.GetValues<Fault>().Length];
        long commits = 0, snapshotReads = 0, settings = 0;
        long full = 0, replaced = 0, stopped = 0, unopened = 0;
        Parallel.For(first, first + count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, (seed, loop) =>
        {
            var simulation = new ClusterSimulation(seed, damages: HasBadDisks);
            try
            {
                simulation.Run();
                Interlocked.Increment(ref done);
                Interlocked.Add(ref events, simulation.Events.Steps);
                Interlocked.Add(ref elections, simulation.Checkers.Values.Sum(static checker => checker.Elections));
                Interlocked.Add(ref entries, simulation.Checkers.Values.Sum(static checker => checker.Entries));
                Interlocked.Add(ref commits, simulation.Commits);
                Interlocked.Add(ref snapshotReads, simulation.SnapshotReads);
                Interlocked.Add(ref settings, simulation.SettingChanges);
                Interlocked.Add(ref answered, simulation.Answered);
                Interlocked.Add(ref restarts, simulation.Restarts);
                Interlocked.Add(ref changes, simulation.Operator.Changes);
                Interlocked.Add(ref snapshots, simulation.Snapshots);
                Interlocked.Add(ref silences, simulation.Silences);
                Interlocked.Add(ref leased, simulation.LeasedReads);
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
                if (failures.Count >= MostFailures)
                {
                    loop.Stop();
                }
            }
        });
        output.WriteLine($"{done} seeds from {first}: {events} events, {restarts} restarts, {elections} elections, {entries} entries, {answered} answers, {commits} commits over partitions, {snapshotReads} reads of several, {settings} settings, {changes} changes of members, {snapshots} snapshots, {silences} messages before silences, {leased} reads at a leader with a lease, {replaced} nodes replaced, {full} records without room, {stopped} replicas stopped, {unopened} stores not opened");
        output.WriteLine(string.Join(", ", Enum.GetValues<Fault>().Select(fault => $"{fault} {faults[(int)fault]}")));
        Assert.True(failures.IsEmpty, string.Join("\n\n", failures));
        Assert.Equal(count, done);
        if (count >= UsualSeeds)
        {
            Assert.True(elections >= 2L * count && entries >= 20L * count && answered >= 20L * count && restarts >= count && commits >= count && snapshotReads >= count && settings >= count && silences >= 2L * count && leased >= count, "the runs are too quiet");
        }
    }

    /// <summary>A failing seed is of use only if it fails again: two runs of one are the same, to the last message, record and answer.</summary>
    [Fact]
    public void ASeedIsTheSameRun() => Parallel.For(0, RepeatedSeeds, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, seed =>
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
