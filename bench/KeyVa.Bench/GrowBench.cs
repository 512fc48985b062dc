using System.Diagnostics;
using System.Globalization;
using KeyVa.Bench.Front;
using KeyVa.Bench.Targets;

namespace KeyVa.Bench;

/// <summary>What the stores cost as they grow, and how long one takes to start after a crash with a full journal.</summary>
internal sealed class GrowBench(BenchOptions options)
{
    /// <summary>Role of the child that fills a store until it is killed; its first argument.</summary>
    public const string FillRole = "fill-until-killed";

    /// <summary>Reads at each size; more would say no more.</summary>
    private const long MaxReads = 2_000_000;

    /// <summary>A memtable so large that nothing is flushed and the journal alone holds the data.</summary>
    private const long RestartMemtableBytes = 2L << 30;

    private static readonly string[] RestartTargets = ["keyva-lsm", "keyva-memory", "rocksdb"];

    public Section Grow()
    {
        Section section = new("Cost as it grows", askedRatio: 0);
        section.Conditions.Add(("fillrandom N", "empty store, N records in one shuffled order, 1 thread, one run"));
        section.Conditions.Add(("readrandom N", $"after it, a flush and compactions; at most {MaxReads} reads of random keys, all are there; the block cache stays the same"));
        IReadOnlyList<string> names = options.Targets ?? EngineBench.EngineTargets;
        section.Targets.AddRange(names.Select(name => EngineBench.Create(name, options)).Select(target => (target.Name, target.Settings)));
        foreach (long records in options.GrowRecords)
        {
            BenchOptions sized = options with { Records = records };
            Measurement measurement = new(sized);
            foreach (string name in names)
            {
                RunSize(section, EngineBench.Create(name, sized), measurement, records);
            }
        }

        foreach (Cell cell in section.Cells.Where(cell => !cell.Workload.EndsWith(Size(options.GrowRecords[0]), StringComparison.Ordinal)))
        {
            string kind = cell.Workload.Split(' ')[0];
            Cell first = section.Cells.First(other => other.Target == cell.Target && other.Workload.StartsWith(kind, StringComparison.Ordinal));
            section.Note(string.Create(CultureInfo.InvariantCulture, $"{cell.Target} {cell.Workload}: {cell.Median.PerSecond / first.Median.PerSecond:0.00} of its rate at {Size(options.GrowRecords[0])} records"));
        }

        return section;
    }

    public Section Restart()
    {
        Section section = new("Start after a crash with a full journal", askedRatio: 0);
        section.Conditions.Add(("restart", $"a process writes {options.RestartRecords:N0} records and goes on overwriting them until SIGKILL, once per target; memtables of {RestartMemtableBytes >> 20} MiB, so that the journal alone holds the data; then the time to open, journal in the page cache; ops/s are records of the data set per second of opening; afterwards every record read at random must be there"));
        BenchOptions sized = options with { Records = options.RestartRecords, MemtableBytes = RestartMemtableBytes };
        Measurement measurement = new(sized);
        foreach (string name in options.Targets ?? RestartTargets)
        {
            section.Targets.Add((name, Durable(name, sized).Settings));
            RestartOnce(section, name, sized, measurement);
        }

        return section;
    }

    /// <summary>The child: fills, says so, and overwrites until it is killed.</summary>
    public static void FillUntilKilled(ReadOnlySpan<string> arguments)
    {
        BenchOptions sized = BenchOptions.Parse(["grow", .. arguments[2..]]);
        Target target = Durable(arguments[0], sized);
        target.Open(arguments[1], Durability.Os);
        Measurement measurement = new(sized);
        measurement.Run(target, new Workload("fill", Work.PutShuffled, ""), threads: 1, round: 0);
        Console.Out.WriteLine(ServerProcess.Ready);
        while (true)
        {
            measurement.Run(target, new Workload("overwrite", Work.PutRandom, "") { MaxOperations = 100_000 }, threads: 1, round: 0);
        }
    }

    private void RunSize(Section section, Target target, Measurement measurement, long records)
    {
        using DataFolder folder = new(options.Data, target.Name);
        target.Open(folder.Path, options.Durability);
        try
        {
            Workload fill = new($"fillrandom {Size(records)}", Work.PutShuffled, "");
            section.Add(fill.Name, threads: 1, target.Name, measurement.Run(target, fill, threads: 1, round: 0));
            Measurement.Settle(target);
            Workload read = new($"readrandom {Size(records)}", Work.GetRandom, "") { MaxOperations = MaxReads };
            section.Add(read.Name, threads: 1, target.Name, measurement.Run(target, read, threads: 1, round: 0));
        }
        finally
        {
            target.Close();
        }
    }

    private static void RestartOnce(Section section, string name, BenchOptions sized, Measurement measurement)
    {
        using DataFolder folder = new(sized.Data, name);
        string[] sizes =
        [
            "--records", Text(sized.Records), "--key-bytes", Text(sized.KeyBytes), "--value-bytes", Text(sized.ValueBytes),
            "--seed", Text((long)sized.Seed), "--memtable-bytes", Text(sized.MemtableBytes),
        ];
        using (ServerProcess child = ServerProcess.Start([FillRole, name, folder.Path, .. sizes]))
        {
            child.Kill();
        }

        long bytes = folder.Bytes();
        Target target = Durable(name, sized);
        long begun = Stopwatch.GetTimestamp();
        target.Open(folder.Path, Durability.Os);
        double seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        try
        {
            measurement.Run(target, new Workload("check", Work.GetRandom, "") { MaxOperations = 100_000 }, threads: 1, round: 0);
        }
        finally
        {
            target.Close();
        }

        section.Add("restart", threads: 1, name, new Sample { Operations = sized.Records, Seconds = seconds });
        section.Note(string.Create(CultureInfo.InvariantCulture, $"{name}: {bytes >> 20} MiB on disk at the kill, opened in {seconds:0.00} s"));
    }

    /// <summary>As the other benchmarks open it, but for the memory engine, which has a journal here.</summary>
    private static Target Durable(string name, BenchOptions options) =>
        name == "keyva-memory" ? new KeyVaTarget(options, EngineKind.Memory, isVolatile: false) : EngineBench.Create(name, options);

    private static string Size(long records) => records.ToString("N0", CultureInfo.InvariantCulture);

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
