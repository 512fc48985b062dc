using System.Runtime.InteropServices;

namespace KeyVa.Watches;

/// <summary>
/// A piece of native memory with changes one behind the other, part of a partition's <see cref="ChangeLog"/>.
/// </summary>
/// <remarks>
/// Thread-safety: the partition's writer appends; whoever has it pinned reads up to <see cref="Length"/>, which is published
/// behind the bytes. Links and pins belong to <see cref="ChangeMemory"/>, under its lock.
/// </remarks>
internal sealed unsafe class ChangeChunk
{
    private byte* _data;
    private int _length;

    /// <param name="capacity">Bytes.</param>
    /// <param name="memory">As many that an earlier chunk gave up; 0: new ones.</param>
    public ChangeChunk(int capacity, nint memory = 0)
    {
        Capacity = capacity;
        _data = memory != 0 ? (byte*)memory : (byte*)NativeMemory.Alloc((nuint)capacity);
    }

    /// <summary>For what nobody took: a store that was never closed.</summary>
    ~ChangeChunk() => NativeMemory.Free(_data);

    public int Capacity { get; }

    public byte* Data => _data;

    /// <summary>Bytes that may be read.</summary>
    public int Length => Volatile.Read(ref _length);

    /// <summary>Versions of the first and the last change; the writer's, others read them once the chunk is not the last one.</summary>
    public long FirstVersion;
    public long LastVersion;

    // Under the lock of the memory it came from.
    internal ChangeChunk? Next;
    internal int Pins;
    internal bool IsEvicted;

    /// <summary>Whether its log goes on in another: look at the length again then, it is final.</summary>
    public bool IsSealed => Volatile.Read(ref Next) is not null;

    /// <summary>Writer: so many bytes more may be read.</summary>
    public void Publish(int bytes) => Volatile.Write(ref _length, _length + bytes);

    /// <summary>Gives up its memory, which is the caller's from here on.</summary>
    public nint Take()
    {
        nint memory = (nint)_data;
        _data = null;
        return memory;
    }
}
