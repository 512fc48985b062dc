using System.Globalization;

namespace KeyVa.Bench;

/// <summary>What the GC heap has to do with gets, puts and iterator steps, and whether a long fill ever collects its oldest generation.</summary>
internal sealed class AllocationBench(BenchOptions options)
{
    /// <summary>Steady state: what is allocated once per memtable, file, scan or thread is spread over its operations.</summary>
    private const double MaxBytesPerOperation = 0.1;

    private const string ColdRead = "readrandom cold";
    private const string Fill = "fillrandom";

    private static readonly Phase Single = new("allocation", Sync: false,
    [
        new(Fill, Work.PutShuffled, "empty store, every record once in one shuffled order, 1 thread; put") { Settled = false },
        new(ColdRead, Work.GetRandom, "after fillrandom, a flush and compactions, with an empty block cache; no limit") { MaxOperations = 1_000_000 },
        new("readrandom", Work.GetRandom, "the same again; get") { MaxOperations = 1_000_000 },
        new("readmissing", Work.GetMissing, "no key is there; get") { MaxOperations = 1_000_000 },
        new("readseq", Work.ScanForward, "three passes; one step of an iterator") { Share = (Workload.ScanPasses, 1) },
        new("readreverse", Work.ScanReverse, "three passes; one step of an iterator") { Share = (Workload.ScanPasses, 1) },
        new("overwrite", Work.PutRandom, "keys drawn at random, all are there; put") { MaxOperations = 2_000_000 },
    ]);

    private static readonly string[] DefaultTargets = ["keyva-lsm"];

    /// <summary>The measured section, and whether KeyVa kept to the limits.</summary>
    public (Section Section, bool Passed) Run()
    {
        BenchOptions single = options with { Records = options.AllocationRecords, Threads = [1], Rounds = 1, LatencyEvery = 0 };
        Section section = new("Allocation and collections", askedRatio: 0);
        section.Conditions.Add(("data", Profile.Sizes(single)));
        new EngineBench(single).Run(section, Phase.Select([Single], options.Workloads), options.Targets ?? DefaultTargets);
        Table table = new("On the GC heap", ["workload", "target", "operations", "bytes/op, caller", "bytes/op, process", "gen 2 collections", "kept"]);
        bool passed = true;
        foreach (Cell cell in section.Cells)
        {
            Sample sample = cell.Median;
            bool limited = cell.Target.StartsWith("keyva", StringComparison.Ordinal) && cell.Workload != ColdRead;
            bool kept = sample.CallerBytes <= MaxBytesPerOperation && (cell.Workload != Fill || sample.Gen2Collections == 0);
            passed &= kept || !limited;
            table.Add(
                cell.Workload, cell.Target, sample.Operations, Exact(sample.CallerBytes), Exact(sample.ProcessBytes), (long)sample.Gen2Collections,
                limited ? (kept ? "yes" : "NO") : null);
        }

        section.Tables.Add(table);
        section.Note(string.Create(CultureInfo.InvariantCulture, $"asked for: 0 bytes per operation (up to {MaxBytesPerOperation} is what happens once per memtable, file or scan), no gen 2 collection during {Fill}"));
        return (section, passed);
    }

    private static string Exact(double bytes) => bytes.ToString("0.0000", CultureInfo.InvariantCulture);
}
