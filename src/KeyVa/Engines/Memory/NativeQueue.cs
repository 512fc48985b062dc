using System.Diagnostics;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Memory;

/// <summary>A piece of memory that waits, and the number that says until when (a version) or how long it is (bytes).</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct Waiting(nint block, long number)
{
    public readonly nint Block = block;
    public readonly long Number = number;
}

/// <summary>
/// First in, first out, in chunks of native memory; one chunk is kept, so in steady state nothing is allocated. Writer only.
/// </summary>
/// <remarks><code>chunk: | next (8) | unused (8) | 4094 × (block, number) |</code></remarks>
internal sealed unsafe class NativeQueue(SlabAllocator memory)
{
    private const int ChunkBytes = 64 << 10;
    private const int PerChunk = (ChunkBytes / 16) - 1;

    private byte* _first;
    private byte* _last;
    private byte* _spare;
    private int _firstAt;
    private int _lastAt = PerChunk;

    /// <summary>How many were put in since the beginning.</summary>
    public long Entered { get; private set; }

    /// <summary>How many were taken out since the beginning.</summary>
    public long Left { get; private set; }

    public bool IsEmpty => Entered == Left;

    public void Enqueue(nint block, long number)
    {
        if (_lastAt == PerChunk)
        {
            AddChunk();
        }

        At(_last, _lastAt++) = new Waiting(block, number);
        Entered++;
    }

    public ref readonly Waiting Peek()
    {
        Debug.Assert(!IsEmpty, "nothing waits");
        if (_firstAt == PerChunk)
        {
            DropChunk();
        }

        return ref At(_first, _firstAt);
    }

    public Waiting Dequeue()
    {
        Waiting entry = Peek();
        _firstAt++;
        Left++;
        return entry;
    }

    private static ref Waiting At(byte* chunk, int index) => ref ((Waiting*)chunk)[index + 1];

    private void AddChunk()
    {
        byte* chunk = _spare;
        _spare = null;
        if (chunk is null)
        {
            chunk = (byte*)memory.Allocate(ChunkBytes);
        }

        *(byte**)chunk = null;
        if (_last is null)
        {
            _first = chunk;
        }
        else
        {
            *(byte**)_last = chunk;
        }

        _last = chunk;
        _lastAt = 0;
    }

    private void DropChunk()
    {
        byte* chunk = _first;
        _first = *(byte**)chunk;
        _firstAt = 0;
        if (_spare is null)
        {
            _spare = chunk;
        }
        else
        {
            memory.Free(chunk, ChunkBytes);
        }
    }
}
