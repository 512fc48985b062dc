using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace KeyVa.Bench;

/// <summary>
/// RocksDB's own benchmark, native code from end to end, with the same settings: what RocksDB reaches without a call from
/// .NET and its C API. It runs a phase at a time, between the other targets. YCSB it does not have.
/// </summary>
internal sealed partial class DbBench(BenchOptions options)
{
    public const string Name = "db_bench";

    /// <summary>fillsync divides the number of its keys by this.</summary>
    private const int SyncDivisor = 1000;

    public static string Settings =>
        "Debian's native db_bench, every setting as rocksdb's (which db_bench has the same defaults for, or gets as arguments), values of compression_ratio 0.5; " +
        "opened again, with an empty block cache, between filling, reading and overwriting; what is read was filled by one thread (filluniquerandom), flushed and compacted as far as it wants; " +
        "fillrandom with 2 threads draws keys with replacement; its peak memory includes the shuffled keys (8 bytes each)";

    public void Run(Section section, Phase phase, int threads)
    {
        HashSet<string> wanted = [.. phase.Workloads.Select(workload => workload.Name)];
        if (phase.Name == "ycsb")
        {
            section.Note("db_bench has no YCSB workloads; their ratio is to the C API alone.");
            return;
        }

        using DataFolder folder = new(options.Data, Name);
        long each = options.Records / threads;
        switch (phase.Name)
        {
            case "fillseq":
                Add(section, threads, Execute(folder.Path, ["fillseq"], threads, each, existing: false));
                break;
            case "sync":
                Add(section, threads, Execute(folder.Path, ["fillsync"], threads, each, existing: false));
                break;
            case "random":
                Random(section, folder.Path, wanted, threads, each);
                break;
            default:
                throw new UnreachableException(phase.Name);
        }
    }

    private void Random(Section section, string folder, HashSet<string> wanted, int threads, long each)
    {
        if (threads > 1)
        {
            Add(section, threads, Execute(folder, ["fillrandom"], threads, each, existing: false));
        }

        // Every record once, as in our own fillrandom; db_bench does this with one thread only.
        Result filled = Execute(folder, ["filluniquerandom", "flush", "waitforcompaction"], threads: 1, options.Records, existing: false);
        if (threads == 1)
        {
            Add(section, threads, filled with { Output = filled.Output.Replace("filluniquerandom", "fillrandom", StringComparison.Ordinal) });
        }

        Part(["readrandom", "readmissing", "readseq", "readreverse"], each);
        Part(["seekrandom"], each / 5);
        Part(["readwhilewriting"], each);
        Part(["overwrite"], each, "flush", "waitforcompaction");
        Part(["deleterandom"], each);

        void Part(string[] names, long operations, params string[] after)
        {
            string[] run = [.. names.Where(wanted.Contains)];
            if (run.Length > 0)
            {
                Add(section, threads, Execute(folder, [.. run, .. after], threads, operations, existing: true));
            }
        }
    }

    private Result Execute(string folder, string[] benchmarks, int threads, long operations, bool existing)
    {
        bool sync = benchmarks[0] == "fillsync";
        long written = options.WriteRate * (options.KeyBytes + options.ValueBytes);
        ProcessStartInfo start = new(Name) { RedirectStandardOutput = true, RedirectStandardError = true };
        string[] arguments =
        [
            $"--db={folder}", $"--benchmarks={string.Join(',', benchmarks)}", $"--use_existing_db={(existing ? 1 : 0)}",
            $"--num={(sync ? options.Records * SyncDivisor : options.Records)}", $"--reads={operations}", $"--writes={operations}",
            $"--deletes={operations}", $"--threads={threads}", $"--key_size={options.KeyBytes}",
            $"--value_size={options.ValueBytes}", "--compression_ratio=0.5", $"--cache_size={options.BlockCacheBytes}",
            "--bloom_bits=10", "--whole_key_filtering=true", "--block_size=4096", $"--write_buffer_size={options.MemtableBytes}",
            "--max_write_buffer_number=5", "--max_background_jobs=2", "--max_bytes_for_level_base=268435456",
            "--target_file_size_base=67108864", $"--compression_type={(options.Compression == Compression.Lz4 ? "lz4" : "none")}",
            "--disable_wal=0", $"--sync={(sync || options.Durability == Durability.Always ? 1 : 0)}", $"--seek_nexts={Workload.SeekRecords}",
            "--level0_file_num_compaction_trigger=4", "--level0_slowdown_writes_trigger=20", "--level0_stop_writes_trigger=36",
            "--open_files=-1", "--statistics=0",
            .. sync ? (string[])[$"--duration={Math.Max(1, (int)options.SyncSeconds)}", "--ops_between_duration_checks=10"] : [],
            .. benchmarks.Contains("readwhilewriting") ? (string[])[$"--benchmark_write_rate_limit={written}"] : [],
        ];
        Array.ForEach(arguments, start.ArgumentList.Add);
        using Process process = Process.Start(start) ?? throw new InvalidOperationException("db_bench did not start");
        Task<string> errors = process.StandardError.ReadToEndAsync();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        long peak = PeakUntilExit(process);
        return process.ExitCode == 0
            ? new Result(output.GetAwaiter().GetResult(), peak)
            : throw new InvalidOperationException($"db_bench {benchmarks[0]} ended with {process.ExitCode}: {errors.GetAwaiter().GetResult()}");
    }

    /// <summary>The most resident memory it was seen to have; 0 if it ended before the first look.</summary>
    private static long PeakUntilExit(Process process)
    {
        const int everyMilliseconds = 200;
        string id = process.Id.ToString(CultureInfo.InvariantCulture);
        long peak = 0;
        while (!process.WaitForExit(everyMilliseconds))
        {
            try
            {
                peak = Math.Max(peak, ProcessFigures.Of(id).PeakResidentBytes);
            }
            catch (IOException)
            {
                // It ended between the two calls, and its files in /proc with it.
            }
        }

        process.WaitForExit();
        return peak;
    }

    private void Add(Section section, int threads, Result result)
    {
        foreach (Match match in ResultLine().Matches(result.Output))
        {
            string name = match.Groups["name"].Value;
            if (match.Groups["found"].Success && name != "readmissing" && match.Groups["found"].Value != match.Groups["of"].Value)
            {
                throw new InvalidOperationException($"db_bench {name}: {match.Value}");
            }

            double rate = double.Parse(match.Groups["rate"].ValueSpan, CultureInfo.InvariantCulture);
            bool fill = name is "fillseq" or "fillrandom" or "overwrite";
            section.Add(name, threads, Name, new Sample
            {
                Operations = (long)rate,
                Seconds = 1,
                Fill = fill ? new FillFigures { PeakResidentBytes = result.PeakResidentBytes == 0 ? null : result.PeakResidentBytes } : null,
            });
        }
    }

    // fillrandom   :       3.456 micros/op 289351 ops/sec 6.9 seconds 2000000 operations;   32.0 MB/s (2 of 2 found)
    [GeneratedRegex(@"^(?<name>[a-z]+)\s*:\s+[0-9.]+ micros/op (?<rate>[0-9.]+) ops/sec[^\n(]*(\((?<found>[0-9]+) of (?<of>[0-9]+) found\))?", RegexOptions.Multiline)]
    private static partial Regex ResultLine();

    private sealed record Result(string Output, long PeakResidentBytes);
}
