using System.Diagnostics;
using System.Globalization;
using KeyVa.Bench.Front;
using KeyVa.Bench.Targets;
using Microsoft.Win32.SafeHandles;

namespace KeyVa.Bench;

/// <summary>What the stores cost as they grow, how long a clean one takes to open, and how fast a journal is replayed.</summary>
internal sealed class GrowBench(BenchOptions options)
{
    /// <summary>Role of the child that fills a store until it is killed; its first argument.</summary>
    public const string FillRole = "fill-until-killed";

    /// <summary>Reads at each size; more would say no more.</summary>
    private const long MaxReads = 2_000_000;

    /// <summary>A memtable so large that nothing is flushed and the journal alone holds the data.</summary>
    private const long ReplayMemtableBytes = 4L << 30;

    private const int OpenValueBytes = 4096;
    private const int ReadBytes = 1 << 20;

    private static readonly string[] ReplayTargets = ["keyva-lsm", "keyva-memory", "rocksdb"];

    public Section Grow()
    {
        Section section = new("Cost as it grows", askedRatio: 0);
        section.Conditions.Add(("fillrandom N", "empty store, N records in one shuffled order, 1 thread, one run"));
        section.Conditions.Add(("readrandom N", string.Create(
            CultureInfo.InvariantCulture,
            $"after it, a flush and compactions, and as many reads as warm-up; at most {MaxReads:N0} reads of random keys, all are there; the block cache is 1/{options.CacheShare} of the keys and values at every size")));
        IReadOnlyList<string> names = options.Targets ?? EngineBench.Embedded;
        Table table = new("Read cost by size", ["records", "target", "cache MiB", "fillrandom ops/s", "readrandom ops/s", "µs per read", "to the smallest"]);
        foreach (long records in options.GrowRecords)
        {
            BenchOptions sized = options with { Records = records, BlockCacheBytes = CacheBytes(records) };
            Measurement measurement = new(sized);
            foreach (string name in names)
            {
                Target target = EngineBench.Create(name, sized);
                section.Note($"{Size(records)} records, {name}: {target.Settings}.");
                (Sample fill, Sample read) = RunSize(section, target, measurement, records);
                double first = section.Cells.First(cell => cell.Target == name && cell.Workload.StartsWith("readrandom", StringComparison.Ordinal)).Median.PerSecond;
                table.Add(records, name, sized.BlockCacheBytes >> 20, (long)fill.PerSecond, (long)read.PerSecond, 1e6 / read.PerSecond, first / read.PerSecond);
            }
        }

        section.Tables.Add(table);
        return section;
    }

    public Section OpenClean()
    {
        Section section = new("Opening a clean store", askedRatio: 0);
        BenchOptions sized = options with { ValueBytes = OpenValueBytes, Records = Math.Max(1000, options.OpenBytes / (options.KeyBytes + OpenValueBytes)) };
        section.Conditions.Add(("open", string.Create(
            CultureInfo.InvariantCulture,
            $"{sized.Records:N0} records of {OpenValueBytes} bytes written in key order, settled and closed; time until open returns and until the first get is answered; cold: its files dropped from the page cache, warm: opened again right after")));
        Table table = new("Open", ["target", "on disk MiB", "cold open s", "and first get s", "warm open s"]);
        Measurement measurement = new(sized);
        foreach (string name in options.Targets ?? EngineBench.Embedded)
        {
            Target target = EngineBench.Create(name, sized);
            section.Targets.Add((name, target.Settings));
            using DataFolder folder = new(sized.Data, name);
            target.Open(folder.Path, options.Durability);
            section.Add("fillseq", threads: 1, name, measurement.Run(target, new Workload("fillseq", Work.PutSequential, ""), threads: 1, round: 0));
            Measurement.Settle(target);
            target.Close();
            folder.DropFromPageCache();
            (double cold, double get) = TimeOpen(target, folder, measurement);
            (double warm, _) = TimeOpen(target, folder, measurement);
            table.Add(name, folder.AllocatedBytes() >> 20, cold, cold + get, warm);
        }

        section.Tables.Add(table);
        return section;
    }

    public Section Replay()
    {
        Section section = new("Start after a crash with a full journal", askedRatio: 0);
        section.Conditions.Add(("replay", string.Create(
            CultureInfo.InvariantCulture,
            $"a process writes {options.RestartRecords:N0} records and goes on overwriting them until SIGKILL; memtables of {ReplayMemtableBytes >> 20} MiB, so that the journal alone holds the data; then all files are read once in pieces of 1 MiB, and the store is opened; cold: both with the files dropped from the page cache, warm: both with the files in it (a copy of the folder); afterwards 100,000 records read at random must be there; one run")));
        BenchOptions sized = options with { Records = options.RestartRecords, MemtableBytes = ReplayMemtableBytes };
        Measurement measurement = new(sized);
        Table table = new("Replay", ["target", "files MiB", "read cold s", "open cold s", "read : open, cold", "read warm s", "open warm s", "read : open, warm"]);
        foreach (string name in options.Targets ?? ReplayTargets)
        {
            section.Targets.Add((name, Durable(name, sized).Settings));
            ReplayOnce(table, name, sized, measurement);
        }

        section.Tables.Add(table);
        return section;
    }

    /// <summary>The child: fills, says so, and overwrites until it is killed.</summary>
    public static void FillUntilKilled(ReadOnlySpan<string> arguments)
    {
        BenchOptions sized = BenchOptions.Parse(["growth", .. arguments[2..]]);
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

    private static (Sample Fill, Sample Read) RunSize(Section section, Target target, Measurement measurement, long records)
    {
        using DataFolder folder = new(measurement.DataRoot, target.Name);
        target.Open(folder.Path, Durability.Os);
        try
        {
            Workload fill = new($"fillrandom {Size(records)}", Work.PutShuffled, "");
            Sample filled = measurement.Run(target, fill, threads: 1, round: 0);
            section.Add(fill.Name, threads: 1, target.Name, filled);
            Measurement.Settle(target);
            Workload read = new($"readrandom {Size(records)}", Work.GetRandom, "") { MaxOperations = MaxReads };
            measurement.Run(target, read, threads: 1, round: 1);
            Sample sample = measurement.Run(target, read, threads: 1, round: 0);
            section.Add(read.Name, threads: 1, target.Name, sample);
            return (filled, sample);
        }
        finally
        {
            target.Close();
        }
    }

    private static (double Open, double FirstGet) TimeOpen(Target target, DataFolder folder, Measurement measurement)
    {
        long begun = Stopwatch.GetTimestamp();
        target.Open(folder.Path, Durability.Os);
        double open = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        try
        {
            Sample get = measurement.Run(target, new Workload("first get", Work.GetRandom, "") { MaxOperations = 1 }, threads: 1, round: 0);
            return (open, get.Seconds);
        }
        finally
        {
            target.Close();
        }
    }

    private static void ReplayOnce(Table table, string name, BenchOptions sized, Measurement measurement)
    {
        using DataFolder cold = new(sized.Data, name);
        using DataFolder warm = new(sized.Data, name + "-warm");
        string[] sizes =
        [
            "--records", Text(sized.Records), "--key-bytes", Text(sized.KeyBytes), "--value-bytes", Text(sized.ValueBytes),
            "--seed", Text((long)sized.Seed), "--memtable-bytes", Text(sized.MemtableBytes),
        ];
        using (ServerProcess child = ServerProcess.Start([FillRole, name, cold.Path, .. sizes]))
        {
            child.Kill();
        }

        long bytes = cold.Bytes();
        cold.CopyTo(warm);
        cold.DropFromPageCache();
        double readCold = TimeRead(cold);
        cold.DropFromPageCache();
        double openCold = TimeReplay(name, sized, measurement, cold);
        TimeRead(warm);
        double readWarm = TimeRead(warm);
        double openWarm = TimeReplay(name, sized, measurement, warm);
        table.Add(name, bytes >> 20, readCold, openCold, readCold / openCold, readWarm, openWarm, readWarm / openWarm);
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {bytes >> 20} MiB read in {readCold:0.00} s and opened in {openCold:0.00} s cold, {readWarm:0.00} and {openWarm:0.00} s warm"));
    }

    private static double TimeReplay(string name, BenchOptions sized, Measurement measurement, DataFolder folder)
    {
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

        return seconds;
    }

    /// <summary>Reads every file from start to end, as cat does, and throws the bytes away.</summary>
    private static double TimeRead(DataFolder folder)
    {
        byte[] buffer = new byte[ReadBytes];
        long begun = Stopwatch.GetTimestamp();
        foreach (string path in folder.Files())
        {
            using SafeFileHandle file = File.OpenHandle(path, options: FileOptions.SequentialScan);
            long at = 0;
            while (RandomAccess.Read(file, buffer, at) is > 0 and var read)
            {
                at += read;
            }
        }

        return Stopwatch.GetElapsedTime(begun).TotalSeconds;
    }

    /// <summary>As the other benchmarks open it, but for the memory engine, which has a journal here.</summary>
    private static Target Durable(string name, BenchOptions options) =>
        name == "keyva-memory" ? new KeyVaTarget(options, EngineKind.Memory, isVolatile: false) : EngineBench.Create(name, options);

    private long CacheBytes(long records) => Math.Max(1 << 20, records * (options.KeyBytes + options.ValueBytes) / options.CacheShare);

    private static string Size(long records) => records.ToString("N0", CultureInfo.InvariantCulture);

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
