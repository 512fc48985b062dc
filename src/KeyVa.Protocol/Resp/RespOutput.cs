using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Text;

namespace KeyVa.Protocol.Resp;

/// <summary>
/// The replies of one connection, in the protocol version that it speaks: RESP2, or RESP3 once asked for. Its memory is rented while there is
/// something in it. One thread at a time.
/// </summary>
/// <remarks>
/// What does not fit into <see cref="Most"/> is dropped, and <see cref="IsOverflown"/> says so: the connection cannot go on then.
/// </remarks>
internal sealed class RespOutput : IDisposable
{
    /// <summary>The most bytes that wait for a client.</summary>
    public const int MaxBytes = 512 << 20;

    private const int FirstBytes = 16 << 10;

    private byte[]? _buffer;
    private int _sent;

    /// <summary>Bytes written since the output was last empty; a place to go back to with <see cref="Truncate"/>.</summary>
    public int Length { get; private set; }

    /// <summary>Bytes that are kept at most.</summary>
    public int Most { get; init; } = MaxBytes;

    /// <summary>The version of the protocol: 2 or 3.</summary>
    public int Version { get; set; } = 2;

    public bool IsOverflown { get; private set; }

    public bool IsEmpty => Length == _sent;

    /// <summary>What is to be sent.</summary>
    public ReadOnlySpan<byte> Unsent => _buffer is null ? default : _buffer.AsSpan(_sent, Length - _sent);

    /// <summary>What was written from a place on.</summary>
    public ReadOnlySpan<byte> WrittenFrom(int place) => _buffer is null ? default : _buffer.AsSpan(place, Length - place);

    /// <summary>The first bytes of <see cref="Unsent"/> are sent.</summary>
    public void Sent(int bytes)
    {
        _sent += bytes;
        if (_sent == Length)
        {
            Clear();
        }
    }

    /// <summary>Takes back what was written behind a place.</summary>
    public void Truncate(int length) => Length = length;

    /// <summary>Forgets everything and gives the memory back.</summary>
    public void Clear()
    {
        Length = 0;
        _sent = 0;
        if (_buffer is { } buffer)
        {
            _buffer = null;
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    public void Dispose() => Clear();

    public void Raw(ReadOnlySpan<byte> bytes)
    {
        if (TryReserve(bytes.Length, out Span<byte> room))
        {
            bytes.CopyTo(room);
            Length += bytes.Length;
        }
    }

    public void Ok() => Raw("+OK\r\n"u8);

    public void Simple(ReadOnlySpan<byte> text) => Line((byte)'+', text);

    /// <summary>An error: its code and its text, in one line.</summary>
    public void Error(ReadOnlySpan<byte> text)
    {
        int place = Length;
        Line((byte)'-', text);
        if (text.IndexOfAny((byte)'\r', (byte)'\n') >= 0 && !IsOverflown)
        {
            Span<byte> written = _buffer.AsSpan(place + 1, text.Length);
            written.Replace((byte)'\r', (byte)' ');
            written.Replace((byte)'\n', (byte)' ');
        }
    }

    public void Error(string text) => Error(Encoding.UTF8.GetBytes(text));

    public void Integer(long number) => Number((byte)':', number);

    public void Bulk(ReadOnlySpan<byte> bytes)
    {
        if (!TryReserve(bytes.Length + RespNumber.MaxDigits + 5, out Span<byte> room))
        {
            return;
        }

        int at = Head(room, (byte)'$', bytes.Length);
        bytes.CopyTo(room[at..]);
        at += bytes.Length;
        room[at++] = (byte)'\r';
        room[at++] = (byte)'\n';
        Length += at;
    }

    public void Bulk(string text) => Bulk(Encoding.UTF8.GetBytes(text));

    /// <summary>A number as a bulk string.</summary>
    public void BulkNumber(long number)
    {
        Span<byte> text = stackalloc byte[RespNumber.MaxDigits];
        Utf8Formatter.TryFormat(number, text, out int length);
        Bulk(text[..length]);
    }

    /// <summary>Text for people, which RESP3 marks as such.</summary>
    public void Verbatim(string text)
    {
        if (Version < 3)
        {
            Bulk(text);
            return;
        }

        byte[] bytes = Encoding.UTF8.GetBytes(text);
        Number((byte)'=', bytes.Length + 4);
        Raw("txt:"u8);
        Raw(bytes);
        Raw("\r\n"u8);
    }

    /// <summary>Nothing, in the place of a bulk string.</summary>
    public void Null() => Raw(Version < 3 ? "$-1\r\n"u8 : "_\r\n"u8);

    /// <summary>Nothing, in the place of an array.</summary>
    public void NullArray() => Raw(Version < 3 ? "*-1\r\n"u8 : "_\r\n"u8);

    public void Array(long count) => Number((byte)'*', count);

    /// <summary>So many pairs follow.</summary>
    public void Map(long pairs) => Number(Version < 3 ? (byte)'*' : (byte)'%', Version < 3 ? pairs * 2 : pairs);

    public void Set(long count) => Number(Version < 3 ? (byte)'*' : (byte)'~', count);

    /// <summary>A message that is no answer.</summary>
    public void Push(long count) => Number(Version < 3 ? (byte)'*' : (byte)'>', count);

    public void Double(double number)
    {
        string text = number.ToString("R", CultureInfo.InvariantCulture);
        if (Version < 3)
        {
            Bulk(text);
        }
        else
        {
            Line((byte)',', Encoding.ASCII.GetBytes(text));
        }
    }

    private void Line(byte kind, ReadOnlySpan<byte> text)
    {
        if (TryReserve(text.Length + 3, out Span<byte> room))
        {
            room[0] = kind;
            text.CopyTo(room[1..]);
            room[text.Length + 1] = (byte)'\r';
            room[text.Length + 2] = (byte)'\n';
            Length += text.Length + 3;
        }
    }

    private void Number(byte kind, long number)
    {
        if (TryReserve(RespNumber.MaxDigits + 3, out Span<byte> room))
        {
            Length += Head(room, kind, number);
        }
    }

    private static int Head(Span<byte> room, byte kind, long number)
    {
        room[0] = kind;
        int digits;
        if ((ulong)number < 10)
        {
            room[1] = (byte)('0' + number);
            digits = 1;
        }
        else
        {
            Utf8Formatter.TryFormat(number, room[1..], out digits);
        }

        room[digits + 1] = (byte)'\r';
        room[digits + 2] = (byte)'\n';
        return digits + 3;
    }

    private bool TryReserve(int bytes, out Span<byte> room)
    {
        if (_buffer is null || _buffer.Length - Length < bytes)
        {
            if (!TryGrow(bytes))
            {
                room = default;
                return false;
            }
        }

        room = _buffer.AsSpan(Length);
        return true;
    }

    private bool TryGrow(int bytes)
    {
        long needed = (long)Length + bytes;
        if (IsOverflown || needed > Most)
        {
            IsOverflown = true;
            return false;
        }

        int size = (int)Math.Max(needed, Math.Min(Most, Math.Max(FirstBytes, (long)Length * 2)));
        byte[] larger = ArrayPool<byte>.Shared.Rent(size);
        if (_buffer is { } buffer)
        {
            buffer.AsSpan(0, Length).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(buffer);
        }

        _buffer = larger;
        return true;
    }
}
