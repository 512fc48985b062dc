using System.Diagnostics;

namespace KeyVa.Cli.Transfer;

/// <summary>
/// A window over an input that is read once, from front to back. One thread.
/// 1. <see cref="Unread"/> are the bytes read from the stream and not yet taken.
/// 2. <see cref="Offset"/> is where they begin, counted from the beginning of the input.
/// 3. Memory of <see cref="Unread"/> stays as it is until the next <see cref="Fill"/>, also after <see cref="Take"/>.
/// It holds one record and a chunk, never more than <see cref="MaxRecordBytes"/> and a chunk.
/// </summary>
internal sealed class InputBuffer
{
    /// <summary>How much is read at once.</summary>
    public const int ChunkBytes = 1 << 20;

    /// <summary>The longest record taken: a value of 64 MiB, the most a server can be configured to, as base64 with room.</summary>
    public const int MaxRecordBytes = 128 << 20;

    private readonly Stream _stream;
    private byte[] _buffer = new byte[2 * ChunkBytes];
    private int _start;
    private int _end;

    public InputBuffer(Stream stream, long offset = 0)
    {
        _stream = stream;
        Offset = offset;
    }

    public long Offset { get; private set; }

    public ReadOnlyMemory<byte> Unread => _buffer.AsMemory(_start, _end - _start);

    public ReadOnlySpan<byte> UnreadSpan => _buffer.AsSpan(_start, _end - _start);

    /// <summary>Whether the unread bytes are already more than a record may have.</summary>
    public bool IsTooLong => _end - _start > MaxRecordBytes;

    /// <summary>Reads more behind the unread bytes; false at the end of the input.</summary>
    public bool Fill()
    {
        if (_buffer.Length - _end < ChunkBytes)
        {
            int unread = _end - _start;
            byte[] target = unread + ChunkBytes > _buffer.Length ? new byte[Math.Max(_buffer.Length * 2L, unread + ChunkBytes)] : _buffer;
            Buffer.BlockCopy(_buffer, _start, target, 0, unread);
            _buffer = target;
            _start = 0;
            _end = unread;
        }

        int read = _stream.Read(_buffer, _end, _buffer.Length - _end);
        _end += read;
        return read > 0;
    }

    /// <summary>Takes bytes off the front.</summary>
    public void Take(int count)
    {
        Debug.Assert((uint)count <= (uint)(_end - _start), "nobody takes more than there is");
        _start += count;
        Offset += count;
    }
}
