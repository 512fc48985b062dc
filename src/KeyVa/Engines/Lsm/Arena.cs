using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Native memory handed out in rising order and given back all at once. One thread allocates; what it handed out may be
/// read by any thread. Chunks never move.
/// </summary>
internal sealed unsafe class Arena : IDisposable
{
    /// <summary>Chunks double from the first size to the last, so that an idle partition holds little.</summary>
    private const int FirstChunkBytes = 64 << 10;
    private const int LastChunkBytes = 1 << 20;

    // Writer-owned.
    private readonly List<nint> _chunks = [];
    private byte* _next;
    private byte* _end;
    private int _chunkBytes = FirstChunkBytes / 2;
    private long _allocated;

    ~Arena() => Free();

    /// <summary>Bytes taken from the system. Any thread.</summary>
    public long AllocatedBytes => Volatile.Read(ref _allocated);

    /// <summary>Bytes handed out, and what was lost at the ends of chunks. Writer only.</summary>
    public long UsedBytes => _allocated - (_end - _next);

    /// <summary>Bytes of unspecified content, aligned to eight.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Allocate(long bytes)
    {
        Debug.Assert(bytes > 0, "nothing to allocate");
        long rounded = (bytes + 7) & ~7L;
        byte* start = _next;
        if (rounded <= _end - start)
        {
            _next = start + rounded;
            return start;
        }

        return AllocateChunk(rounded);
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private byte* AllocateChunk(long bytes)
    {
        // A large piece gets its own chunk, so that the rest of the present one is not lost.
        bool own = bytes > LastChunkBytes / 4;
        _chunkBytes = own ? _chunkBytes : Math.Min(LastChunkBytes, _chunkBytes * 2);
        long size = own ? bytes : Math.Max(bytes, _chunkBytes);
        byte* chunk = (byte*)NativeMemory.Alloc((nuint)size);
        _chunks.Add((nint)chunk);
        Volatile.Write(ref _allocated, _allocated + size);
        if (!own)
        {
            _next = chunk + bytes;
            _end = chunk + size;
        }

        return chunk;
    }

    private void Free()
    {
        foreach (nint chunk in _chunks)
        {
            NativeMemory.Free((void*)chunk);
        }

        _chunks.Clear();
        _next = null;
        _end = null;
    }
}
