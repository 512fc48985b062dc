using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace KeyVa.Bench;

/// <summary>
/// RocksDB's own benchmark, native code from end to end, with the same settings: what the C API and the call from .NET
/// cost the rocksdb target can be read from the difference.
/// </summary>
internal sealed partial class DbBench(BenchOptions options)
{
    private const string Name = "db_bench";

    public void Run(Section section)
    {
        section.Targets.Add((Name, "Debian's native db_bench with the settings of rocksdb; opened again between filling and reading; its fillrandom with 2 threads draws keys with replacement"));
        foreach (int threads in options.Threads)
        {
            for (int round = 0; round < options.Rounds; round++)
            {
                RunRound(section, threads);
            }
        }
    }

    private void RunRound(Section section, int threads)
    {
        long each = options.Records / threads;
        using DataFolder folder = new(options.Data, Name);
        Add(section, threads, Execute(folder.Path, "fillseq", threads, each, existing: false));
        if (threads > 1)
        {
            Add(section, threads, Execute(folder.Path, "fillrandom", threads, each, existing: false));
        }

        // Every record once, as in our own fillrandom; db_bench does this with one thread only.
        string filled = Execute(folder.Path, "filluniquerandom,waitforcompaction", threads: 1, options.Records, existing: false);
        if (threads == 1)
        {
            Add(section, threads, filled.Replace("filluniquerandom", "fillrandom", StringComparison.Ordinal));
        }

        Add(section, threads, Execute(folder.Path, "readrandom,readmissing,readseq,readreverse", threads, each, existing: true));
        Add(section, threads, Execute(folder.Path, "seekrandom", threads, each / 5, existing: true));
        Add(section, threads, Execute(folder.Path, "overwrite", threads, each, existing: true));
    }

    private string Execute(string folder, string benchmarks, int threads, long operations, bool existing)
    {
        ProcessStartInfo start = new(Name) { RedirectStandardOutput = true, RedirectStandardError = true };
        string[] arguments =
        [
            $"--db={folder}", $"--benchmarks={benchmarks}", $"--use_existing_db={(existing ? 1 : 0)}", $"--num={options.Records}",
            $"--reads={operations}", $"--writes={operations}", $"--threads={threads}", $"--key_size={options.KeyBytes}",
            $"--value_size={options.ValueBytes}", "--compression_ratio=0.5", $"--cache_size={options.BlockCacheBytes}",
            "--bloom_bits=10", "--whole_key_filtering=true", "--block_size=4096", $"--write_buffer_size={options.MemtableBytes}",
            "--max_write_buffer_number=5", "--max_background_jobs=2", "--max_bytes_for_level_base=268435456",
            "--target_file_size_base=67108864", $"--compression_type={(options.Compression == Compression.Lz4 ? "lz4" : "none")}",
            "--disable_wal=0", $"--sync={(options.Durability == Durability.Always ? 1 : 0)}", $"--seek_nexts={Workload.SeekRecords}",
            "--level0_file_num_compaction_trigger=4", "--level0_slowdown_writes_trigger=20", "--level0_stop_writes_trigger=36",
            "--open_files=-1", "--statistics=0",
        ];
        Array.ForEach(arguments, start.ArgumentList.Add);
        using Process process = Process.Start(start) ?? throw new InvalidOperationException("db_bench did not start");
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output
            : throw new InvalidOperationException($"db_bench {benchmarks} ended with {process.ExitCode}: {errors.GetAwaiter().GetResult()}");
    }

    private static void Add(Section section, int threads, string output)
    {
        foreach (Match match in ResultLine().Matches(output))
        {
            double rate = double.Parse(match.Groups["rate"].ValueSpan, CultureInfo.InvariantCulture);
            section.Add(match.Groups["name"].Value, threads, Name, new Sample { Operations = (long)rate, Seconds = 1 });
        }
    }

    // fillrandom   :       3.456 micros/op 289351 ops/sec 6.9 seconds 2000000 operations;   32.0 MB/s
    [GeneratedRegex(@"^(?<name>[a-z]+)\s*:\s+[0-9.]+ micros/op (?<rate>[0-9.]+) ops/sec", RegexOptions.Multiline)]
    private static partial Regex ResultLine();
}
