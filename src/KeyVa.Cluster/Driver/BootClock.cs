using System.Runtime.InteropServices;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// The machine's CLOCK_BOOTTIME: never falls, is slewed but not set, and goes on while the machine sleeps, which the runtime's own clocks (CLOCK_MONOTONIC) do not. So a leader that slept finds its
/// lease over, and elections count the time that really passed. Thread-safe; a call is a read of shared memory, without the kernel.
/// </summary>
internal static partial class BootClock
{
    private const int BootTime = 7;
    private const long MillisecondsPerSecond = 1000;
    private const long NanosecondsPerMillisecond = 1_000_000;
    private const string SystemLibrary = "libc";

    /// <summary>Milliseconds since the machine's start, asleep or not.</summary>
    public static long Milliseconds => Read(BootTime, out TimeSpec time) == 0
        ? (time.Seconds * MillisecondsPerSecond) + (time.Nanoseconds / NanosecondsPerMillisecond)
        : throw new StoreException("the system has no clock that goes on while the machine sleeps (CLOCK_BOOTTIME); replication needs Linux 2.6.39 or newer");

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    [LibraryImport(SystemLibrary, EntryPoint = "clock_gettime")]
    [SuppressGCTransition]
    private static partial int Read(int clock, out TimeSpec time);
}
