using System.Runtime.InteropServices;

namespace KeyVa.Bench;

/// <summary>What the harness asks the operating system (Linux): counters of a thread, a flush of all dirty pages.</summary>
internal static unsafe partial class Native
{
    private const int RusageThread = 1;

    /// <summary>How often the calling thread gave up its processor to wait (getrusage, ru_nvcsw).</summary>
    public static long VoluntarySwitches()
    {
        Rusage usage;
        return getrusage(RusageThread, &usage) == 0
            ? usage.VoluntarySwitches
            : throw new InvalidOperationException($"getrusage failed: {Marshal.GetLastPInvokeError()}");
    }

    /// <summary>Writes all dirty pages to disk, so that no measurement pays for the one before it.</summary>
    public static void SyncDisks() => sync();

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getrusage(int who, Rusage* usage);

    [LibraryImport("libc")]
    private static partial void sync();

    // struct rusage of Linux on 64 bits: two timeval, then 14 longs of which ru_nvcsw is the thirteenth.
    [StructLayout(LayoutKind.Explicit, Size = 144)]
    private struct Rusage
    {
        [FieldOffset(32 + (12 * 8))]
        public long VoluntarySwitches;
    }
}
