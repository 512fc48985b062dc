using System.Buffers;

namespace KeyVa.Merges;

/// <summary>
/// Where merge functions write: a run of bytes that is kept from one command to the next. One thread at a time.
/// </summary>
internal sealed class MergeResult : IBufferWriter<byte>
{
    /// <summary>The most that one command's functions may write; beyond it a function runs wild.</summary>
    public const int MaxBytes = 512 << 20;

    private const int KeptBytes = 1 << 16;
    private const int FirstBytes = 1 << 8;

    private byte[] _bytes = [];

    public int Length { get; private set; }

    public ReadOnlySpan<byte> Slice(int offset, int length) => _bytes.AsSpan(offset, length);

    public void Clear()
    {
        Length = 0;
        if (_bytes.Length > KeptBytes)
        {
            _bytes = [];
        }
    }

    public void Truncate(int length) => Length = length;

    /// <summary>What stands from <paramref name="start"/> to the end takes the place of what stands from <paramref name="offset"/> on.</summary>
    public void MoveDown(int start, int offset)
    {
        int length = Length - start;
        _bytes.AsSpan(start, length).CopyTo(_bytes.AsSpan(offset));
        Length = offset + length;
    }

    public void Advance(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, _bytes.Length - Length);
        Length += count;
    }

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _bytes.AsMemory(Length);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _bytes.AsSpan(Length);
    }

    private void Reserve(int sizeHint)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(sizeHint);
        long needed = (long)Length + Math.Max(1, sizeHint);
        if (needed <= _bytes.Length)
        {
            return;
        }

        if (needed > MaxBytes)
        {
            throw new StoreException($"it wrote more than {MaxBytes} bytes");
        }

        Array.Resize(ref _bytes, (int)Math.Min(MaxBytes, Math.Max(FirstBytes, Math.Max(needed, (long)_bytes.Length * 2))));
    }
}
