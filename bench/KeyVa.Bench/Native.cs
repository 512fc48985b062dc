using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace KeyVa.Bench;

/// <summary>What the harness asks the operating system (Linux): counters of a thread, a flush of all dirty pages.</summary>
internal static unsafe partial class Native
{
    private const int RusageThread = 1;
    private const int NoEntry = 2;

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

    /// <summary>Bytes of disk a file takes (statx, stx_blocks); 0 if it is gone meanwhile.</summary>
    public static long AllocatedBytes(string path)
    {
        const int currentFolder = -100, blocks = 0x400, blockBytes = 512;
        Statx found;
        return statx(currentFolder, path, 0, blocks, &found) == 0
            ? (long)found.Blocks * blockBytes
            : Marshal.GetLastPInvokeError() == NoEntry ? 0 : throw new IOException($"statx of {path} failed: {Marshal.GetLastPInvokeError()}");
    }

    /// <summary>Drops a file's clean pages from the page cache; dirty ones stay, so sync first.</summary>
    public static void DropFromPageCache(string path)
    {
        const int dontNeed = 4;
        using SafeFileHandle handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        int error = posix_fadvise(handle, 0, 0, dontNeed);
        if (error != 0)
        {
            throw new IOException($"posix_fadvise of {path} failed: {error}");
        }
    }

    /// <summary>Waits until the file's data is on disk.</summary>
    public static void SyncData(SafeFileHandle file)
    {
        if (fdatasync(file) != 0)
        {
            throw new IOException($"fdatasync failed: {Marshal.GetLastPInvokeError()}");
        }
    }

    /// <summary>Processor time that a process has used so far (clock_gettime of its clock, CPUCLOCK_SCHED), to the nanosecond.</summary>
    public static TimeSpan ProcessorTime(int process)
    {
        const int schedulerClock = 2;
        Timespec time;
        return clock_gettime((~process << 3) | schedulerClock, &time) == 0
            ? TimeSpan.FromSeconds(time.Seconds) + TimeSpan.FromTicks(time.Nanoseconds / TimeSpan.NanosecondsPerTick)
            : throw new InvalidOperationException($"clock_gettime of process {process} failed: {Marshal.GetLastPInvokeError()}");
    }

    /// <summary>Sends a signal to a process.</summary>
    public static void Signal(int process, int signal)
    {
        if (kill(process, signal) != 0)
        {
            throw new InvalidOperationException($"signal {signal} to process {process} failed: {Marshal.GetLastPInvokeError()}");
        }
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int clock_gettime(int clock, Timespec* time);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int process, int signal);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getrusage(int who, Rusage* usage);

    [LibraryImport("libc")]
    private static partial void sync();

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statx(int folder, string path, int flags, uint mask, Statx* found);

    [LibraryImport("libc")]
    private static partial int posix_fadvise(SafeFileHandle file, long offset, long length, int advice);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fdatasync(SafeFileHandle file);

    private struct Timespec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    // struct rusage of Linux on 64 bits: two timeval, then 14 longs of which ru_nvcsw is the thirteenth.
    [StructLayout(LayoutKind.Explicit, Size = 144)]
    private struct Rusage
    {
        [FieldOffset(32 + (12 * 8))]
        public long VoluntarySwitches;
    }

    // struct statx: stx_blocks, in units of 512 bytes, is at 48; 256 bytes in all.
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Statx
    {
        [FieldOffset(48)]
        public ulong Blocks;
    }
}
