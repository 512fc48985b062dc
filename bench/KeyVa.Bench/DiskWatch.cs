using System.Diagnostics;
using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace KeyVa.Bench;

/// <summary>
/// Watches the disk from outside the process that is measured: every 20 ms the kernel's counters (/proc/diskstats of all
/// whole disks, /proc/pressure/io), and every 250 ms a probe: 4 KiB written over a preallocated file and synced, which changes
/// no metadata. Two threads of its own fill the lists; they are read after Dispose.
/// </summary>
internal sealed class DiskWatch : IDisposable
{
    private const int SampleMilliseconds = 20;
    private const int ProbeMilliseconds = 250;
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
            StalledShare: seconds <= 0 ? 0 : (after.PressureMicroseconds - before.PressureMicroseconds) / (seconds * 1e6),
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

    /// <summary>What the disk did meanwhile; shares are of the time.</summary>
    internal sealed record Finding(double SlowestProbeMilliseconds, double BusyShare, double WrittenMegabytesPerSecond, double StalledShare, bool Explained);

    private readonly record struct Counters(long At, long BusyMilliseconds, long SectorsWritten, long PressureMicroseconds)
    {
        public static Counters Read()
        {
            long busy = 0, sectors = 0, pressure = 0;
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

            const string file = "/proc/pressure/io", total = "total=";
            if (File.Exists(file))
            {
                string some = File.ReadLines(file).First();
                pressure = long.Parse(some.AsSpan(some.IndexOf(total, StringComparison.Ordinal) + total.Length), CultureInfo.InvariantCulture);
            }

            return new Counters(Stopwatch.GetTimestamp(), busy, sectors, pressure);
        }
    }
}
