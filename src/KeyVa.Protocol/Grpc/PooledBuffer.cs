using System.Buffers;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// A growing byte buffer over pooled arrays that is both a writer for messages and a stream for compressors. It never
/// grows past its bound. Used by one thread; the memory is invalid after <see cref="Stream.Dispose()"/>.
/// </summary>
/// <param name="initialBytes">Capacity to begin with.</param>
/// <param name="maxBytes">Bound; more makes <see cref="IsFull"/> true and drops what is written.</param>
internal sealed class PooledBuffer(int initialBytes, int maxBytes) : Stream, IBufferWriter<byte>
{
    private byte[] _array = ArrayPool<byte>.Shared.Rent(Math.Max(initialBytes, 16));
    private int _written;

    /// <summary>Whether something did not fit.</summary>
    public bool IsFull { get; private set; }

    public ReadOnlyMemory<byte> WrittenMemory => _array.AsMemory(0, _written);

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => _written;

    public override long Position
    {
        get => _written;
        set => throw new NotSupportedException();
    }

    public void Advance(int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)(_array.Length - _written));
        _written += count;
    }

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _array.AsMemory(_written);
    }

    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        if (IsFull || buffer.Length > maxBytes - _written)
        {
            IsFull = true;
            return;
        }
        Reserve(buffer.Length);
        buffer.CopyTo(_array.AsSpan(_written));
        _written += buffer.Length;
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush() { }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        byte[] array = Interlocked.Exchange(ref _array, []);
        if (array.Length > 0)
            ArrayPool<byte>.Shared.Return(array);
        _written = 0;
        base.Dispose(disposing);
    }

    private void Reserve(int count)
    {
        if (_array.Length - _written >= count)
            return;
        long wanted = Math.Max((long)_written + count, Math.Min(2L * _array.Length, maxBytes));
        byte[] grown = ArrayPool<byte>.Shared.Rent(checked((int)wanted));
        _array.AsSpan(0, _written).CopyTo(grown);
        ArrayPool<byte>.Shared.Return(_array);
        _array = grown;
    }
}
