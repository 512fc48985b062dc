using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Io;

/// <summary>
/// A growable run of bytes outside the GC heap, for encoding what goes to disk. One thread at a time. It keeps its
/// memory when cleared, so in steady state it allocates nothing.
/// </summary>
internal sealed unsafe class NativeBuffer : IDisposable
{
    private byte* _data;
    private int _capacity;
    private int _length;

    public NativeBuffer(int capacity = 4096)
    {
        _capacity = Math.Max(64, capacity);
        _data = (byte*)NativeMemory.Alloc((nuint)_capacity);
    }

    ~NativeBuffer() => Free();

    public int Length => _length;

    public int Capacity => _capacity;

    public nint Address => (nint)_data;

    public ReadOnlySpan<byte> Written => new(_data, _length);

    /// <summary>Bytes already written, open for change in place (lengths and checksums that are known only at the end).</summary>
    public Span<byte> Slice(int offset, int length)
    {
        Debug.Assert((uint)offset + (uint)length <= (uint)_length, "a slice beyond the written bytes");
        return new Span<byte>(_data + offset, length);
    }

    public void Clear() => _length = 0;

    /// <summary>Clears, and gives memory back to the system if more than <paramref name="keep"/> bytes are held.</summary>
    public void Clear(int keep)
    {
        _length = 0;
        if (_capacity > keep)
        {
            _data = (byte*)NativeMemory.Realloc(_data, (nuint)keep);
            _capacity = keep;
        }
    }

    public void Truncate(int length)
    {
        Debug.Assert((uint)length <= (uint)_length, "truncate grows nothing");
        _length = length;
    }

    /// <summary>Appends <paramref name="count"/> bytes of unspecified content and returns them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Span<byte> Append(int count)
    {
        int length = _length;
        if ((uint)count > (uint)(_capacity - length))
        {
            Grow(count);
        }

        _length = length + count;
        return new Span<byte>(_data + length, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Append(ReadOnlySpan<byte> bytes) => bytes.CopyTo(Append(bytes.Length));

    public void AppendByte(byte value) => Append(1)[0] = value;

    public void AppendUInt32(uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Append(4), value);

    public void AppendInt64(long value) => BinaryPrimitives.WriteInt64LittleEndian(Append(8), value);

    /// <summary>Appends an unsigned integer as base-128 varint, least significant group first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void AppendVarint(ulong value)
    {
        Span<byte> room = Append(Varint.MaxLength);
        _length -= Varint.MaxLength - Varint.Write(room, value);
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        NativeMemory.Free(_data);
        _data = null;
        _capacity = 0;
        _length = 0;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Grow(int count)
    {
        ObjectDisposedException.ThrowIf(_data is null, this);
        long needed = (long)_length + count;
        long grown = Math.Max(needed, Math.Min((long)_capacity * 2, (long)_capacity + (64 << 20)));
        if (grown > Array.MaxLength)
        {
            throw new InvalidOperationException($"a buffer cannot hold {needed} bytes");
        }

        _data = (byte*)NativeMemory.Realloc(_data, (nuint)grown);
        _capacity = (int)grown;
    }
}
