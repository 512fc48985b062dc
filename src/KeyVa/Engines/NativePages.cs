using System.Runtime.InteropServices;

namespace KeyVa.Engines;

/// <summary>
/// Memory taken from the system in whole pages, so that giving it back really lowers what the process holds. What comes
/// from malloc may stay resident after it is freed: the C library keeps it for later; <see cref="TrimHeap"/> asks for it.
/// </summary>
internal static unsafe partial class NativePages
{
    private const int ReadWrite = 3;
    private const int PrivateAnonymous = 0x22;
    private const int HugePages = 14;
    private const int PopulateForWriting = 23;

    // Numbers of mallopt's settings.
    private const int TrimThreshold = -1;
    private const int MapThreshold = -3;
    private const string Library = "libc";

    // A glibc function; other C libraries give pages back by themselves or have no such call.
    private static readonly delegate* unmanaged<nuint, int> MallocTrim = FindTrim();

    /// <summary>Zeroed memory, aligned to <paramref name="alignment"/> (a power of two, at least a page); bytes are whole pages.</summary>
    /// <exception cref="InsufficientMemoryException">The system has none, or a limit is reached.</exception>
    public static byte* Map(nuint bytes, nuint alignment)
    {
        // The kernel aligns to pages: what stands over on both sides goes back at once.
        nuint whole = bytes + alignment;
        byte* start = (byte*)MapPages(0, whole, ReadWrite, PrivateAnonymous, -1, 0);
        if ((nint)start == -1)
        {
            throw new InsufficientMemoryException($"the system gave no {bytes} bytes of memory (errno {Marshal.GetLastPInvokeError()})");
        }

        byte* aligned = (byte*)(((nuint)start + alignment - 1) & ~(alignment - 1));
        Unmap(start, (nuint)(aligned - start));
        Unmap(aligned + bytes, (nuint)(start + whole - (aligned + bytes)));
        return aligned;
    }

    public static void Unmap(byte* start, nuint bytes)
    {
        if (bytes > 0 && UnmapPages((nint)start, bytes) != 0)
        {
            throw new InvalidOperationException($"munmap failed with errno {Marshal.GetLastPInvokeError()}: these pages were not ours");
        }
    }

    /// <summary>Says that the pages will all be used, at random: the kernel may back them by large pages. A hint; its failure means no.</summary>
    public static bool PreferHugePages(byte* start, nuint bytes) => Advise((nint)start, bytes, HugePages) == 0;

    /// <summary>
    /// Gives back the whole pages that are free inside malloc's heaps. Milliseconds, during which allocations of other
    /// threads may wait: for background threads, after much was freed. False where the C library has no such call.
    /// </summary>
    public static bool TrimHeap() => MallocTrim != null && MallocTrim(0) >= 0;

    /// <summary>
    /// Has malloc keep free memory for the next allocations, up to <paramref name="free"/> bytes at the end of each of its heaps, also of blocks that are as large as
    /// <paramref name="largest"/>: for whoever allocates and frees such all the time, as they would be given back each time, and each of their pages cost a fault again. For
    /// the whole process. False where the C library has no such call.
    /// </summary>
    public static bool RetainHeap(int largest, int free) =>
        NativeLibrary.TryGetExport(NativeLibrary.GetMainProgramHandle(), "mallopt", out nint address)
        && ((delegate* unmanaged<int, int, int>)address)(MapThreshold, largest) == 1
        && ((delegate* unmanaged<int, int, int>)address)(TrimThreshold, free) == 1;

    /// <summary>Has the system give the pages of memory that will be written right away, all at once: cheaper than a fault for each. A hint; false where the kernel (before 5.14) does not know it.</summary>
    public static bool Populate(Span<byte> memory)
    {
        fixed (byte* start = memory)
        {
            // The pages at the ends may be others' too: what they hold stays as it is.
            nint from = (nint)start & ~((nint)Environment.SystemPageSize - 1);
            return Advise(from, (nuint)((nint)start + memory.Length - from), PopulateForWriting) == 0;
        }
    }

    private static delegate* unmanaged<nuint, int> FindTrim() =>
        NativeLibrary.TryGetExport(NativeLibrary.GetMainProgramHandle(), "malloc_trim", out nint address)
            ? (delegate* unmanaged<nuint, int>)address
            : null;

    [LibraryImport(Library, EntryPoint = "mmap", SetLastError = true)]
    private static partial nint MapPages(nint address, nuint length, int protection, int flags, int file, long offset);

    [LibraryImport(Library, EntryPoint = "munmap", SetLastError = true)]
    private static partial int UnmapPages(nint address, nuint length);

    [LibraryImport(Library, EntryPoint = "madvise")]
    private static partial int Advise(nint address, nuint length, int advice);
}
