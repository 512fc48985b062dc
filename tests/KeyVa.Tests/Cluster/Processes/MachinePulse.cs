using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Win32.SafeHandles;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>
/// Tells how long the machine itself stood still: a thread that does next to nothing but to sync a page again and again. Where that takes long, nobody else who waits for this disk or a processor
/// gets on, and it says nothing of a cluster. One thread begins and ends it; any may ask.
/// </summary>
internal sealed class MachinePulse : IDisposable
{
    /// <summary>What a beat may take while others use the disk and the processors as well.</summary>
    private static readonly TimeSpan Usual = TimeSpan.FromMilliseconds(250);

    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(20);

    private readonly string _path = Path.GetTempFileName();
    private readonly ConcurrentQueue<(long Begun, long Ended)> _slow = new();
    private readonly ManualResetEventSlim _stop = new();
    private readonly Thread _thread;

    public MachinePulse()
    {
        _thread = new Thread(Beat);
        _thread.Start();
    }

    /// <summary>How much longer than usual the beats between two timestamps took, together.</summary>
    public TimeSpan Lost(long from, long to)
    {
        TimeSpan lost = TimeSpan.Zero;
        foreach ((long begun, long ended) in _slow)
        {
            TimeSpan within = Stopwatch.GetElapsedTime(Math.Max(begun, from), Math.Min(ended, to)) - Usual;
            lost += within > TimeSpan.Zero ? within : TimeSpan.Zero;
        }

        return lost;
    }

    public void Dispose()
    {
        _stop.Set();
        _thread.Join();
        _stop.Dispose();
        File.Delete(_path);
    }

    private void Beat()
    {
        using SafeFileHandle file = File.OpenHandle(_path, FileMode.Create, FileAccess.Write);
        byte[] page = new byte[4096];
        bool isOver = false;
        while (!isOver)
        {
            long begun = Stopwatch.GetTimestamp();
            RandomAccess.Write(file, page, 0);
            RandomAccess.FlushToDisk(file);
            isOver = _stop.Wait(Interval);
            long ended = Stopwatch.GetTimestamp();
            if (Stopwatch.GetElapsedTime(begun, ended) > Usual)
            {
                _slow.Enqueue((begun, ended));
            }
        }
    }
}
