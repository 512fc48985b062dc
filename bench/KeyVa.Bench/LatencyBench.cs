using System.Globalization;

namespace KeyVa.Bench;

/// <summary>
/// Put latency of a sustained fill with new records in random order, and what the disk did when nobody completed a put. Each
/// target in a process of its own, one after the other; the disk is watched from this one, which a pause there does not stop.
/// </summary>
internal sealed class LatencyBench(BenchOptions options)
{
    /// <summary>A time without a completed put that must be explained.</summary>
    private const double AskedMilliseconds = 100;

    /// <summary>The longest pauses that are reported even if they are shorter.</summary>
    private const int AlwaysShown = 3;

    private static readonly string[] DefaultTargets = ["keyva-lsm", "rocksdb"];

    public Section Run()
    {
        Section section = new("Put latency of a sustained fill", askedRatio: 0);
        section.Conditions.Add(("sustained", string.Create(
            CultureInfo.InvariantCulture,
            $"empty store, new records in random key order for {options.LatencySeconds:0} s, {(options.PutRate == 0 ? "as fast as each target takes them" : $"{options.PutRate:N0} puts per second, latency counted from when a put was due")}; every put timed; keys of {options.KeyBytes} bytes, values of {options.ValueBytes} bytes")));
        section.Conditions.Add(("pause", "a time in which no thread completed a put; the disk explains it if a synced write of 4 KiB, tried every 100 ms from another process, was under way in it and took at least half as long"));
        Table latency = new("Put latency", ["target", "threads", "puts", "ops/s", "p50 µs", "p99 µs", "p99.9 µs", "p99.99 µs", "longest ms", "longest pause ms", "pauses > 5 ms", "gen 2"]);
        Table pauses = new("Longest pauses", ["target", "threads", "pause ms", "slowest probe ms", "disk busy", "MB/s written", "io pressure", "cpu pressure", "the disk explains it"]);
        IReadOnlyList<string> names = options.Targets ?? DefaultTargets;
        section.Targets.AddRange(names.Select(name => (name, EngineBench.Create(name, options).Settings)));
        foreach (int threads in options.Threads)
        {
            foreach (string name in names)
            {
                RunOne(section, latency, pauses, name, threads);
            }
        }

        section.Tables.Add(latency);
        section.Tables.Add(pauses);
        return section;
    }

    private void RunOne(Section section, Table latency, Table pauses, string name, int threads)
    {
        RunAnswer? answer = null;
        DiskWatch watch = new(options.Data);
        using (watch)
        {
            RunRequest request = new() { Options = options, Target = name, Threads = threads, Seconds = options.LatencySeconds };
            int exit = ChildRun.Execute(request, given => answer = given);
            if (exit != 0 || answer is null)
            {
                throw new InvalidOperationException($"the fill of {name} ended with exit code {exit}");
            }
        }

        section.Add(answer.Workload, threads, name, answer.Sample);
        latency.Add(
            name, (long)threads, answer.Sample.Operations, (long)answer.Sample.PerSecond, answer.Latency[0], answer.Latency[1], answer.Latency[2],
            answer.Latency[3], answer.Latency[4] / 1000, answer.Pauses.FirstOrDefault().Milliseconds, (long)answer.PauseCount, (long)answer.Sample.Gen2Collections);
        for (int i = 0; i < answer.Pauses.Length; i++)
        {
            Pause pause = answer.Pauses[i];
            if (i < AlwaysShown || pause.Milliseconds >= AskedMilliseconds)
            {
                DiskWatch.Finding disk = watch.During(pause);
                pauses.Add(
                    name, (long)threads, pause.Milliseconds, disk.SlowestProbeMilliseconds, disk.BusyShare, disk.WrittenMegabytesPerSecond,
                    disk.DiskPressure, disk.ProcessorPressure, disk.Explained ? "yes" : pause.Milliseconds >= AskedMilliseconds ? "NO" : "no");
            }
        }
    }
}
