using System.Diagnostics;

namespace KeyVa.Transactions;

/// <summary>
/// Bytes of keys and values that a transaction keeps, one behind the other in chunks that never move. One thread at a time.
/// </summary>
/// <remarks>
/// Managed memory, so that a lease of a buffered value that somebody keeps too long reads wrong bytes at worst, never ones that
/// are not there. The first chunk is kept when the arena is cleared.
/// </remarks>
internal sealed class ByteArena
{
    private const int FirstChunkBytes = 4 << 10;
    private const int LargestChunkBytes = 1 << 20;

    private byte[][] _chunks = [new byte[FirstChunkBytes]];
    private int _last;
    private int _used;

    /// <summary>Where it ends; <see cref="Truncate"/> takes it back there.</summary>
    public long End => Address(_last, _used);

    /// <summary>Copies bytes to the end and returns their address.</summary>
    public long Append(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > _chunks[_last].Length - _used)
        {
            Grow(bytes.Length);
        }

        long address = Address(_last, _used);
        bytes.CopyTo(_chunks[_last].AsSpan(_used));
        _used += bytes.Length;
        return address;
    }

    public ReadOnlySpan<byte> At(long address, int length) => _chunks[(int)(address >> 32)].AsSpan((int)address, length);

    /// <summary>As <see cref="At"/>, for who keeps it.</summary>
    public ReadOnlyMemory<byte> MemoryAt(long address, int length) => _chunks[(int)(address >> 32)].AsMemory((int)address, length);

    /// <summary>Forgets everything from <paramref name="end"/> on.</summary>
    public void Truncate(long end)
    {
        Debug.Assert(end <= End, "an end that was one");
        int last = (int)(end >> 32);
        Array.Clear(_chunks, last + 1, _last - last);
        _last = last;
        _used = (int)end;
    }

    public void Clear() => Truncate(0);

    private static long Address(int chunk, int offset) => ((long)chunk << 32) | (uint)offset;

    private void Grow(int bytes)
    {
        int size = Math.Max(bytes, (int)Math.Min(LargestChunkBytes, (long)_chunks[_last].Length * 2));
        _last++;
        if (_last == _chunks.Length)
        {
            Array.Resize(ref _chunks, _last * 2);
        }

        _chunks[_last] = GC.AllocateUninitializedArray<byte>(size);
        _used = 0;
    }
}
