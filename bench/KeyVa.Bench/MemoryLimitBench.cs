using System.Globalization;

namespace KeyVa.Bench;

/// <summary>Whether a fill of several gigabytes succeeds in a process that may take little memory.</summary>
internal sealed class MemoryLimitBench(BenchOptions options)
{
    private static readonly string[] DefaultTargets = ["keyva-lsm", "rocksdb"];

    /// <summary>The section, and whether every KeyVa run succeeded.</summary>
    public (Section Section, bool Passed) Run()
    {
        // A quarter for the cache and a sixteenth for each of at most five memtables leave room for the runtime and the files.
        BenchOptions limited = options with
        {
            BlockCacheBytes = options.CacheBytesGiven ?? options.LimitBytes / 4,
            MemtableBytes = options.MemtableBytesGiven ?? options.LimitBytes / 16,
        };
        long records = options.LimitFillBytes / (options.KeyBytes + options.ValueBytes);
        Section section = new("A fill within a memory limit", askedRatio: 0);
        section.Conditions.Add(("fill", string.Create(
            CultureInfo.InvariantCulture,
            $"{records:N0} new records ({options.LimitFillBytes >> 20} MiB of keys and values) in random key order, then a flush, compactions, and 100,000 of them read; the whole process, runtime and page cache included, limited to {options.LimitBytes >> 20} MiB")));
        Table table = new("Memory limit", ["target", "threads", "succeeded", "ops/s", "p99.99 µs", "longest put ms", "peak of the group MiB", "resident at the end MiB", "oom kills"]);
        bool passed = true;
        foreach (string name in options.Targets ?? DefaultTargets)
        {
            section.Targets.Add((name, EngineBench.Create(name, limited).Settings));
            using ControlGroup? group = ControlGroup.TryCreate(name, options.LimitBytes, out string why);
            if (group is null)
            {
                section.Note($"not measured: this machine does not let us limit memory ({why})");
                return (section, false);
            }

            section.Note($"limit set with {group.Kind}");
            RunAnswer? answer = null;
            int exit = ChildRun.Execute(new RunRequest { Options = limited, Target = name, Count = records }, given => answer = given, group);
            bool succeeded = exit == 0 && answer is not null;
            passed &= succeeded || !name.StartsWith("keyva", StringComparison.Ordinal);
            if (!succeeded)
            {
                section.Note($"{name} ended with exit code {exit}");
            }

            table.Add(
                name, 1L, succeeded ? "yes" : "NO", answer is null ? null : (long)answer.Sample.PerSecond, answer?.Latency[3],
                answer?.Latency[4] / 1000, group.PeakBytes >> 20, answer?.Sample.Fill?.ResidentBytes >> 20, group.Kills);
        }

        section.Tables.Add(table);
        return (section, passed);
    }
}
