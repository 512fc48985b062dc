using System.Diagnostics;
using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace KeyVa.Bench;

/// <summary>
/// Watches the disk from outside the process that is measured: every 20 ms the kernel's counters (/proc/diskstats of all
/// whole disks, /proc/pressure), and every 100 ms a probe: 4 KiB written over a preallocated file and synced, which changes
/// no metadata. Two threads of its own fill the lists; they are read after Dispose.
/// </summary>
internal sealed class DiskWatch : IDisposable
{
    private const int SampleMilliseconds = 20;
    private const int ProbeMilliseconds = 100;
    private const int ProbeBytes = 4096;

    private readonly List<Counters> _counters = [];
    private readonly List<Pause> _probes = [];
    private readonly ManualResetEventSlim _stop = new();
    private readonly Thread[] _threads;
    private readonly string _probeFile;

    public DiskWatch(string folder)
    {
        Directory.CreateDirectory(folder);
        _probeFile = Path.Combine(folder, "disk-probe");
        _threads = [new Thread(Sample), new Thread(Probe)];
        Array.ForEach(_threads, thread => thread.Start());
    }

    public void Dispose()
    {
        _stop.Set();
        Array.ForEach(_threads, thread => thread.Join());
        _stop.Dispose();
        File.Delete(_probeFile);
    }

    /// <summary>What the disk did in a pause. It explains the pause if a probe in it took at least half as long.</summary>
    public Finding During(Pause pause)
    {
        Counters before = _counters.LastOrDefault(counters => counters.At <= pause.From, _counters[0]);
        Counters after = _counters.FirstOrDefault(counters => counters.At >= pause.To, _counters[^1]);
        double seconds = (after.At - before.At) / (double)Stopwatch.Frequency;
        double slowest = _probes
            .Where(probe => probe.From < pause.To && probe.To > pause.From)
            .Select(probe => probe.Milliseconds)
            .DefaultIfEmpty(0)
            .Max();
        return new Finding(
            SlowestProbeMilliseconds: slowest,
            BusyShare: seconds <= 0 ? 0 : (after.BusyMilliseconds - before.BusyMilliseconds) / (seconds * 1000),
            WrittenMegabytesPerSecond: seconds <= 0 ? 0 : (after.SectorsWritten - before.SectorsWritten) * 512 / seconds / 1e6,
            DiskPressure: seconds <= 0 ? 0 : (after.DiskPressure - before.DiskPressure) / (seconds * 1e6),
            ProcessorPressure: seconds <= 0 ? 0 : (after.ProcessorPressure - before.ProcessorPressure) / (seconds * 1e6),
            Explained: slowest >= pause.Milliseconds / 2);
    }

    private void Sample()
    {
        do
        {
            _counters.Add(Counters.Read());
        }
        while (!_stop.Wait(SampleMilliseconds));
    }

    private void Probe()
    {
        byte[] block = new byte[ProbeBytes];
        Random.Shared.NextBytes(block);
        using SafeFileHandle file = File.OpenHandle(_probeFile, FileMode.Create, FileAccess.Write, FileShare.None, FileOptions.None, ProbeBytes);
        RandomAccess.Write(file, block, 0);
        RandomAccess.FlushToDisk(file);
        do
        {
            long from = Stopwatch.GetTimestamp();
            RandomAccess.Write(file, block, 0);
            Native.SyncData(file);
            _probes.Add(new Pause(from, Stopwatch.GetTimestamp()));
        }
        while (!_stop.Wait(ProbeMilliseconds));
    }

    /// <summary>What the disk did meanwhile; busy and pressure are shares of the time.</summary>
    internal sealed record Finding(
        double SlowestProbeMilliseconds, double BusyShare, double WrittenMegabytesPerSecond, double DiskPressure, double ProcessorPressure, bool Explained);

    private readonly record struct Counters(long At, long BusyMilliseconds, long SectorsWritten, long DiskPressure, long ProcessorPressure)
    {
        public static Counters Read()
        {
            long busy = 0, sectors = 0;
            foreach (string line in File.ReadLines("/proc/diskstats"))
            {
                // major minor name reads merged sectors ms writes merged sectors ms inflight busy-ms ...
                string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (Directory.Exists("/sys/block/" + fields[2]) && !fields[2].StartsWith("loop", StringComparison.Ordinal))
                {
                    sectors += long.Parse(fields[9], CultureInfo.InvariantCulture);
                    busy += long.Parse(fields[12], CultureInfo.InvariantCulture);
                }
            }

            return new Counters(Stopwatch.GetTimestamp(), busy, sectors, Pressure("io"), Pressure("cpu"));
        }

        /// <summary>Microseconds in which at least one process waited for it; 0 where the kernel does not count them.</summary>
        private static long Pressure(string what)
        {
            string file = "/proc/pressure/" + what;
            const string total = "total=";
            if (!File.Exists(file))
            {
                return 0;
            }

            string some = File.ReadLines(file).First();
            return long.Parse(some.AsSpan(some.IndexOf(total, StringComparison.Ordinal) + total.Length), CultureInfo.InvariantCulture);
        }
    }
}
