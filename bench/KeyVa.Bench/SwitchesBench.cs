using System.Globalization;

namespace KeyVa.Bench;

/// <summary>
/// Whether a single caller pays for threads and garbage it has no use for: with durability os its puts should not wait
/// for another thread, and neither gets nor puts should allocate.
/// </summary>
internal sealed class SwitchesBench(BenchOptions options)
{
    private const double MaxSwitches = 0.001;

    /// <summary>Steady state: what is allocated once per memtable, file or thread is spread over its operations.</summary>
    private const double MaxBytesPerOperation = 0.1;

    private const long MaxRecords = 1_000_000;

    private const string ColdRead = "readrandom cold";

    private static readonly Phase Single = new("switches", Sync: false,
    [
        new("fillrandom", Work.PutShuffled, "empty store, every record once in one shuffled order, 1 thread") { Settled = false },
        new(ColdRead, Work.GetRandom, "after fillrandom, a flush and compactions, with an empty block cache; no limit"),
        new("readrandom", Work.GetRandom, "the same again, with a warm cache"),
        new("overwrite", Work.PutRandom, "keys drawn at random, all are there"),
    ]);

    /// <summary>The measured section, and whether KeyVa kept to the limits.</summary>
    public (Section Section, bool Passed) Run()
    {
        BenchOptions single = options with
        {
            Records = Math.Min(options.Records, MaxRecords),
            Threads = [1],
            Rounds = 1,
            Durability = Durability.Os,
        };
        Section section = new("No hop and no garbage for a single caller", askedRatio: 0);
        section.Conditions.Add(("data", Profile.Sizes(single)));
        new EngineBench(single).Run(section, Phase.Select([Single], options.Workloads), options.Targets ?? EngineBench.Embedded);
        bool passed = true;
        foreach (Cell cell in section.Cells.Where(cell => cell.Target.StartsWith("keyva", StringComparison.Ordinal) && cell.Workload != ColdRead))
        {
            bool kept = cell.Median.CallerBytes <= MaxBytesPerOperation && cell.Median.Switches < MaxSwitches;
            passed &= kept;
            section.Note(string.Create(
                CultureInfo.InvariantCulture,
                $"{(kept ? "kept" : "BROKEN")}: {cell.Target} {cell.Workload}, {cell.Median.Switches:0.000000} switches and {cell.Median.CallerBytes:0.000} bytes per operation (limits: {MaxSwitches} and {MaxBytesPerOperation})"));
        }

        return (section, passed);
    }
}
