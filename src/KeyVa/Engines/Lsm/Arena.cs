using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Native memory handed out in rising order and given back all at once. One thread allocates; what it handed out may be
/// read by any thread. Chunks never move. Whole chunks are charged to a budget.
/// </summary>
internal sealed unsafe class Arena(MemoryBudget? budget = null) : IDisposable
{
    /// <summary>Chunks double from the first size to the last, so that an idle partition holds little.</summary>
    public const int FirstChunkBytes = 64 << 10;
    private const int LastChunkBytes = ArenaChunks.Bytes;

    /// <summary>A piece from here on gets its own chunk, so that the rest of the present one is not lost.</summary>
    private const int OwnChunkBytes = 256 << 10;

    /// <summary>Smaller chunks come from malloc; these are mapped. A multiple of every page size.</summary>
    private const int MappedBytes = 256 << 10;
    private const int PageBytes = 64 << 10;

    // Writer-owned.
    private readonly List<Chunk> _chunks = [];
    private byte* _next;
    private byte* _end;
    private int _chunkBytes = FirstChunkBytes / 2;
    private long _allocated;

    // Guarded by the lock on the list of chunks.
    private MemoryKind _kind = MemoryKind.Active;
    private bool _disposed;

    ~Arena() => Free(toSpare: false);

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

    /// <summary>Counts as that kind of memory from here on; nothing if it does already, or is gone. Allocates no more.</summary>
    public void MoveTo(MemoryKind kind)
    {
        lock (_chunks)
        {
            if (!_disposed && kind > _kind)
            {
                budget?.Move(_kind, kind, _allocated);
                _kind = kind;
            }
        }
    }

    public void Dispose()
    {
        lock (_chunks)
        {
            if (!_disposed)
            {
                _disposed = true;
                budget?.Release(_kind, _allocated);
                Free(toSpare: true);
            }
        }

        GC.SuppressFinalize(this);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private byte* AllocateChunk(long bytes)
    {
        bool own = bytes > OwnChunkBytes;
        _chunkBytes = own ? _chunkBytes : Math.Min(LastChunkBytes, _chunkBytes * 2);
        long size = own ? (bytes + PageBytes - 1) & ~(PageBytes - 1L) : Math.Max(bytes, _chunkBytes);
        byte* chunk = TakeChunk(size);
        _chunks.Add(new Chunk((nint)chunk, size));
        Volatile.Write(ref _allocated, _allocated + size);
        if (!own)
        {
            _next = chunk + bytes;
            _end = chunk + size;
        }

        budget?.Charge(MemoryKind.Active, size);
        return chunk;
    }

    private byte* TakeChunk(long size)
    {
        if (size == LastChunkBytes)
        {
            return budget is null ? ArenaChunks.Map() : budget.Chunks.Take();
        }

        return size >= MappedBytes ? NativePages.Map((nuint)size, PageBytes) : (byte*)NativeMemory.Alloc((nuint)size);
    }

    private void Free(bool toSpare)
    {
        foreach (Chunk chunk in _chunks)
        {
            byte* start = (byte*)chunk.Start;
            if (chunk.Bytes == LastChunkBytes && toSpare && budget is not null)
            {
                budget.Chunks.Give(start);
            }
            else if (chunk.Bytes >= MappedBytes)
            {
                NativePages.Unmap(start, (nuint)chunk.Bytes);
            }
            else
            {
                NativeMemory.Free(start);
            }
        }

        _chunks.Clear();
        _next = null;
        _end = null;
    }

    private readonly record struct Chunk(nint Start, long Bytes);
}
