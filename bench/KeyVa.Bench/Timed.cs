using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace KeyVa.Bench;

/// <summary>Times every Nth operation of one loop; the clock is not read for the others. One thread.</summary>
internal struct Timed(Loop loop)
{
    private readonly Histogram _latency = loop.Latency;
    private readonly int _every = loop.LatencyEvery;
    private int _left = loop.LatencyEvery;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long Begin() => --_left == 0 ? Stopwatch.GetTimestamp() : 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void End(long begun)
    {
        if (begun != 0)
        {
            _latency.Add(Stopwatch.GetTimestamp() - begun);
            _left = _every;
        }
    }
}
