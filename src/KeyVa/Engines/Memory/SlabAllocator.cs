using System.Diagnostics;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Memory;

/// <summary>
/// The native memory of one engine. Small objects come from slabs of one size class each; an empty slab may be cut anew
/// for any class, and a region of empty slabs goes back to the system. Larger objects come from the system one by one.
/// </summary>
/// <remarks>
/// <para>Thread-safety: allocating and freeing belong to the engine's writer. <see cref="Bytes"/> may be read anywhere.</para>
/// <para>Invariants.
/// 1. A slab stands in its class's list if and only if it has room for one more object.
/// 2. An empty slab is in the list of free slabs, for any class to take. An empty region goes back to the system if as
///    many free slabs again are left, so that an engine at the edge of a region does not take and return it in turns.
/// 3. Objects of classes that are multiples of 64 bytes start on a cache line.
/// </para>
/// <para>With <c>guard</c> (tests) every object has a canary behind it and is filled when freed; both are checked, so a
/// write beyond an object or after its release is noticed.</para>
/// </remarks>
internal sealed unsafe partial class SlabAllocator : IDisposable
{
    private const int SlabBytes = 64 << 10;
    private const int RegionBytes = 2 << 20;
    private const int SlabsPerRegion = RegionBytes / SlabBytes;
    private const int LargeHeaderBytes = 64;
    private const int CanaryBytes = 8;
    private const ulong Canary = 0xC0FFEE_5EED_CA9A11;
    private const byte Poison = 0xDD;

    private readonly bool _guard;
    private readonly nint[] _withRoom = new nint[SizeClasses.Bytes.Length];
    private readonly List<nint> _regions = [];
    private readonly List<int> _freeInRegion = [];
    private Slab* _freeSlabs;
    private int _freeSlabCount;
    private LargeBlock* _large;
    private long _bytes;

    public SlabAllocator(bool guard = false) => _guard = guard;

    ~SlabAllocator() => FreeAll();

    /// <summary>Bytes taken from the system.</summary>
    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>Memory of unspecified content, 16-byte aligned.</summary>
    public void* Allocate(int bytes)
    {
        if (!_guard)
        {
            return bytes <= SizeClasses.Largest ? TakeSmall(bytes) : TakeLarge(bytes);
        }

        int guarded = bytes + CanaryBytes;
        byte* block = (byte*)(guarded <= SizeClasses.Largest ? TakeSmall(guarded) : TakeLarge(guarded));
        *(ulong*)(block + bytes) = Canary;
        return block;
    }

    /// <summary>Gives back what <see cref="Allocate"/> returned for the same size.</summary>
    public void Free(void* block, int bytes)
    {
        if (_guard)
        {
            if (*(ulong*)((byte*)block + bytes) != Canary)
            {
                throw new UnreachableException($"something was written behind an object of {bytes} bytes, or its size is wrong");
            }

            bytes += CanaryBytes;
            new Span<byte>(block, bytes).Fill(Poison);
        }

        if (bytes <= SizeClasses.Largest)
        {
            GiveSmall((byte*)block, SizeClasses.Of(bytes));
        }
        else
        {
            GiveLarge(block, bytes);
        }
    }

    public void Dispose()
    {
        FreeAll();
        GC.SuppressFinalize(this);
    }

    private void* TakeSmall(int bytes)
    {
        int sizeClass = SizeClasses.Of(bytes);
        Slab* slab = (Slab*)_withRoom[sizeClass];
        if (slab is null)
        {
            slab = TakeSlab(sizeClass);
        }

        int size = SizeClasses.Bytes[sizeClass];
        byte* block = (byte*)slab->Freed;
        if (block is not null)
        {
            slab->Freed = *(nint*)block;
            if (_guard)
            {
                CheckPoison(block, bytes);
            }
        }
        else
        {
            block = (byte*)slab + slab->Fresh;
            slab->Fresh += size;
        }

        slab->Live++;
        if (slab->Freed == 0 && slab->Fresh + size > SlabBytes)
        {
            Unlink(slab, ref _withRoom[sizeClass]);
        }

        return block;
    }

    private void GiveSmall(byte* block, int sizeClass)
    {
        Slab* slab = (Slab*)((nint)block & ~(nint)(SlabBytes - 1));
        Debug.Assert(slab->Class == sizeClass && slab->Live > 0, "an object is freed into a slab of its own class");
        bool full = slab->Freed == 0 && slab->Fresh + SizeClasses.Bytes[sizeClass] > SlabBytes;
        *(nint*)block = slab->Freed;
        slab->Freed = (nint)block;
        slab->Live--;
        if (full)
        {
            Link(slab, ref _withRoom[sizeClass]);
        }

        if (slab->Live == 0)
        {
            Unlink(slab, ref _withRoom[sizeClass]);
            GiveSlab(slab);
        }
    }

    private Slab* TakeSlab(int sizeClass)
    {
        if (_freeSlabs is null)
        {
            TakeRegion();
        }

        Slab* slab = _freeSlabs;
        UnlinkFree(slab);
        _freeSlabCount--;
        _freeInRegion[slab->Region]--;
        slab->Class = sizeClass;
        slab->Live = 0;
        slab->Freed = 0;
        slab->Fresh = Slab.HeaderBytes;
        Link(slab, ref _withRoom[sizeClass]);
        return slab;
    }

    private void GiveSlab(Slab* slab)
    {
        slab->Class = -1;
        LinkFree(slab);
        _freeSlabCount++;
        if (++_freeInRegion[slab->Region] == SlabsPerRegion && _freeSlabCount >= 2 * SlabsPerRegion)
        {
            GiveRegion(slab->Region);
        }
    }

    private void TakeRegion()
    {
        byte* region = (byte*)NativeMemory.AlignedAlloc(RegionBytes, RegionBytes);
        int number = _regions.IndexOf(0);
        if (number < 0)
        {
            number = _regions.Count;
            _regions.Add(0);
            _freeInRegion.Add(0);
        }

        _regions[number] = (nint)region;
        _freeInRegion[number] = SlabsPerRegion;
        _freeSlabCount += SlabsPerRegion;

        // Random reads over gigabytes spend much of their time in the page tables, so large pages are asked for (they
        // are not needed, hence no check). Not for the first region: a small partition should cost what it holds.
        if (number > 0 && OperatingSystem.IsLinux())
        {
            _ = Madvise(region, RegionBytes, MadviseHugePage);
        }

        Volatile.Write(ref _bytes, _bytes + RegionBytes);
        for (int i = SlabsPerRegion - 1; i >= 0; i--)
        {
            Slab* slab = (Slab*)(region + (i * SlabBytes));
            slab->Region = number;
            slab->Class = -1;
            LinkFree(slab);
        }
    }

    private void GiveRegion(int number)
    {
        byte* region = (byte*)_regions[number];
        for (int i = 0; i < SlabsPerRegion; i++)
        {
            UnlinkFree((Slab*)(region + (i * SlabBytes)));
        }

        NativeMemory.AlignedFree(region);
        _freeSlabCount -= SlabsPerRegion;
        _regions[number] = 0;
        _freeInRegion[number] = 0;
        Volatile.Write(ref _bytes, _bytes - RegionBytes);
    }

    private void* TakeLarge(int bytes)
    {
        LargeBlock* block = (LargeBlock*)NativeMemory.AlignedAlloc((nuint)(bytes + LargeHeaderBytes), LargeHeaderBytes);
        block->Previous = 0;
        block->Next = (nint)_large;
        if (_large is not null)
        {
            _large->Previous = (nint)block;
        }

        _large = block;
        Volatile.Write(ref _bytes, _bytes + bytes + LargeHeaderBytes);
        return (byte*)block + LargeHeaderBytes;
    }

    private void GiveLarge(void* memory, int bytes)
    {
        LargeBlock* block = (LargeBlock*)((byte*)memory - LargeHeaderBytes);
        LargeBlock* previous = (LargeBlock*)block->Previous;
        LargeBlock* next = (LargeBlock*)block->Next;
        if (previous is null)
        {
            _large = next;
        }
        else
        {
            previous->Next = (nint)next;
        }

        if (next is not null)
        {
            next->Previous = (nint)previous;
        }

        Volatile.Write(ref _bytes, _bytes - bytes - LargeHeaderBytes);
        NativeMemory.AlignedFree(block);
    }

    private void LinkFree(Slab* slab)
    {
        nint head = (nint)_freeSlabs;
        Link(slab, ref head);
        _freeSlabs = (Slab*)head;
    }

    private void UnlinkFree(Slab* slab)
    {
        nint head = (nint)_freeSlabs;
        Unlink(slab, ref head);
        _freeSlabs = (Slab*)head;
    }

    private static void Link(Slab* slab, ref nint head)
    {
        slab->Previous = 0;
        slab->Next = head;
        if (head != 0)
        {
            ((Slab*)head)->Previous = (nint)slab;
        }

        head = (nint)slab;
    }

    private static void Unlink(Slab* slab, ref nint head)
    {
        if (slab->Previous == 0)
        {
            head = slab->Next;
        }
        else
        {
            ((Slab*)slab->Previous)->Next = slab->Next;
        }

        if (slab->Next != 0)
        {
            ((Slab*)slab->Next)->Previous = slab->Previous;
        }

        slab->Next = 0;
        slab->Previous = 0;
    }

    /// <summary>The first word links free objects, and what was freed here may have been as short as its class allows.</summary>
    private static void CheckPoison(byte* block, int bytes)
    {
        int sizeClass = SizeClasses.Of(bytes);
        int filled = sizeClass == 0 ? sizeof(nint) : SizeClasses.Bytes[sizeClass - 1] + 1;
        if (new ReadOnlySpan<byte>(block + sizeof(nint), filled - sizeof(nint)).ContainsAnyExcept(Poison))
        {
            throw new UnreachableException($"an object of {bytes} bytes was written to after it was freed");
        }
    }

    private void FreeAll()
    {
        foreach (nint region in _regions)
        {
            NativeMemory.AlignedFree((void*)region);
        }

        _regions.Clear();
        while (_large is not null)
        {
            LargeBlock* next = (LargeBlock*)_large->Next;
            NativeMemory.AlignedFree(_large);
            _large = next;
        }

        Array.Clear(_withRoom);
        _freeSlabs = null;
        _freeSlabCount = 0;
        Volatile.Write(ref _bytes, 0);
    }

    private const int MadviseHugePage = 14;

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Madvise(void* address, nuint length, int advice);

    /// <summary>Stands at the beginning of its 64 KiB, which are aligned to their size.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Slab
    {
        public const int HeaderBytes = 64;

        public nint Next;
        public nint Previous;

        /// <summary>Freed objects, linked through their first words.</summary>
        public nint Freed;

        /// <summary>Where the part that was never used begins.</summary>
        public int Fresh;
        public int Live;
        public int Class;
        public int Region;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct LargeBlock
    {
        public nint Next;
        public nint Previous;
    }
}
