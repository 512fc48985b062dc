using System.Globalization;

namespace KeyVa.Bench;

/// <summary>
/// Whether a single caller pays for threads and garbage it has no use for: with durability os its puts should not wait
/// for another thread, and neither gets nor puts should allocate.
/// </summary>
internal sealed class SwitchesBench(BenchOptions options)
{
    private const double MaxSwitchesPerPut = 0.001;

    /// <summary>What a loop may allocate once (its session, for example), spread over its operations.</summary>
    private const double MaxBytesPerOperation = 0.01;

    private const long MaxRecords = 1_000_000;

    /// <summary>The measured section, and whether KeyVa kept to the limits.</summary>
    public (Section Section, bool Passed) Run()
    {
        BenchOptions single = options with
        {
            Records = Math.Min(options.Records, MaxRecords),
            Threads = [1],
            Rounds = 1,
            Durability = Durability.Os,
            Workloads = ["fillrandom", "readrandom", "overwrite"],
        };
        Section section = new EngineBench(single).Engine("No hop and no garbage for a single caller");
        bool passed = true;
        foreach (Cell cell in section.Cells.Where(cell => cell.Target.StartsWith("keyva", StringComparison.Ordinal)))
        {
            bool isPut = cell.Workload != "readrandom";
            bool kept = cell.Median.CallerBytes <= MaxBytesPerOperation && (!isPut || cell.Median.Switches < MaxSwitchesPerPut);
            passed &= kept;
            section.Note(string.Create(
                CultureInfo.InvariantCulture,
                $"{(kept ? "kept" : "BROKEN")}: {cell.Target} {cell.Workload}, {cell.Median.Switches:0.000000} switches and {cell.Median.CallerBytes:0.000} bytes per operation (limits: {MaxSwitchesPerPut} for puts, {MaxBytesPerOperation} bytes)"));
        }

        return (section, passed);
    }
}
