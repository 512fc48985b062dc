using System.Buffers.Text;

namespace KeyVa.Protocol.Resp;

/// <summary>How an attempt to read a command ended.</summary>
internal enum RespRead
{
    /// <summary><see cref="RespReader.Command"/> holds one; it may be empty, which asks for nothing and gets no answer.</summary>
    Complete,

    /// <summary>More bytes must come first.</summary>
    Incomplete,

    /// <summary>What came is no command; nothing behind it can be read.</summary>
    Broken,
}

/// <summary>
/// Reads the commands of a client (the request side of RESP: arrays of bulk strings, or a line of words). It goes on where it stopped when more
/// bytes have come, so that a command that comes byte by byte is read once. One thread at a time; bounded by <see cref="RespLimits"/>; allocates
/// nothing for commands of usual size.
/// </summary>
/// <remarks>
/// Between two calls the caller may move the bytes of an unfinished command, but its first byte stays first. What is refused, and in which words, is
/// as in Redis (networking.c: processInlineBuffer, processMultibulkBuffer), since clients show them to people.
/// </remarks>
internal sealed class RespReader(RespLimits limits)
{
    private const int NotBegun = -1;

    private RespLimits _limits = limits;
    private byte[] _words = [];

    // Of the command that is being read: how far, how many arguments are still to come, how long the next one is.
    private int _position;
    private int _missing = NotBegun;
    private int _bulk = NotBegun;

    /// <summary>What it takes from now on, of the command that is being read too.</summary>
    public RespLimits Limits
    {
        get => _limits;
        set => _limits = value;
    }

    /// <summary>The command that was read; valid until the next call.</summary>
    public RespCommand Command { get; } = new();

    /// <summary>After <see cref="RespRead.Complete"/>: the arguments stand in memory of the reader's own, until the next call.</summary>
    public bool IsInline { get; private set; }

    /// <summary>After <see cref="RespRead.Complete"/>: how many bytes it had on the wire.</summary>
    public int Consumed { get; private set; }

    /// <summary>After <see cref="RespRead.Broken"/>, which it stays: what to answer, as an error without its code.</summary>
    public string Error { get; private set; } = "";

    /// <summary>Reads the command that begins at <paramref name="start"/>.</summary>
    public RespRead Read(byte[] buffer, int start, int end)
    {
        ReadOnlySpan<byte> bytes = buffer.AsSpan(start, end - start);
        if (Error.Length > 0)
        {
            return RespRead.Broken;
        }

        if (bytes.IsEmpty)
        {
            return RespRead.Incomplete;
        }

        IsInline = bytes[0] != (byte)'*';
        if (IsInline)
        {
            return ReadWords(bytes);
        }

        RespRead read = ReadArray(bytes);
        if (read == RespRead.Complete)
        {
            Command.Bind(buffer, start);
            Reset();
        }

        return read;
    }

    /// <summary>Forgets what it has read of a command: the next call begins with one that it has read before.</summary>
    public void Restart()
    {
        Error = "";
        Reset();
    }

    private RespRead ReadArray(ReadOnlySpan<byte> bytes)
    {
        if (_missing == NotBegun)
        {
            RespRead begun = ReadCount(bytes);
            if (begun != RespRead.Complete || _missing == 0)
            {
                return begun;
            }
        }

        while (_missing > 0)
        {
            if (_bulk == NotBegun)
            {
                RespRead line = ReadBulkLength(bytes);
                if (line != RespRead.Complete)
                {
                    return line;
                }
            }

            // The two bytes behind a bulk string are passed over whatever they are, as Redis does.
            int behind = _position + _bulk + 2;
            if (bytes.Length < behind)
            {
                return RespRead.Incomplete;
            }

            Command.Add(_position, _bulk);
            _position = behind;
            _bulk = NotBegun;
            _missing--;
        }

        Consumed = _position;
        return RespRead.Complete;
    }

    private RespRead ReadCount(ReadOnlySpan<byte> bytes)
    {
        Command.Clear();
        RespRead line = ReadNumber(bytes, 0, "too big mbulk count string", out long count, out bool isNumber);
        if (line != RespRead.Complete)
        {
            return line;
        }

        if (!isNumber || count > _limits.MaxArguments)
        {
            return Broken(isNumber && _limits.IsOfStrangers ? "unauthenticated multibulk length" : "invalid multibulk length");
        }

        _missing = (int)Math.Max(count, 0);
        Consumed = _position;
        return RespRead.Complete;
    }

    private RespRead ReadBulkLength(ReadOnlySpan<byte> bytes)
    {
        int begin = _position;
        RespRead line = ReadNumber(bytes, begin, "too big bulk count string", out long length, out bool isNumber);
        if (line != RespRead.Complete)
        {
            return line;
        }

        if (bytes[begin] != (byte)'$')
        {
            return Broken($"expected '$', got '{Shown(bytes[begin])}'");
        }

        if (!isNumber || length < 0 || length > _limits.MaxBulkBytes)
        {
            return Broken(isNumber && length >= 0 && _limits.IsOfStrangers ? "unauthenticated bulk length" : "invalid bulk length");
        }

        if (_position + length + 2 > _limits.MaxCommandBytes)
        {
            return Broken($"the command is longer than {_limits.MaxCommandBytes} bytes");
        }

        _bulk = (int)length;
        return RespRead.Complete;
    }

    /// <summary>Reads a line of one byte that says of what, and a number; moves behind it.</summary>
    private RespRead ReadNumber(ReadOnlySpan<byte> bytes, int begin, string tooLong, out long number, out bool isNumber)
    {
        number = 0;
        isNumber = false;

        // Most lines are a byte and one to three digits.
        int end = begin + 1;
        while (end < bytes.Length && end < begin + 5 && (uint)(bytes[end] - '0') <= 9)
        {
            number = (number * 10) + (bytes[end] - '0');
            end++;
        }

        if (end + 1 < bytes.Length && bytes[end] == (byte)'\r' && end > begin + 1 && (bytes[begin + 1] != (byte)'0' || end == begin + 2))
        {
            isNumber = true;
            _position = end + 2;
            return RespRead.Complete;
        }

        ReadOnlySpan<byte> rest = bytes[begin..];
        int length = rest.IndexOf((byte)'\r');
        if (length < 0)
        {
            return rest.Length > RespLimits.MaxLineBytes ? Broken(tooLong) : RespRead.Incomplete;
        }

        if (length + 1 >= rest.Length)
        {
            return RespRead.Incomplete;
        }

        isNumber = length > 0 && RespNumber.TryRead(rest[1..length], out number);
        _position = begin + length + 2;
        return RespRead.Complete;
    }

    private RespRead ReadWords(ReadOnlySpan<byte> bytes)
    {
        int length = bytes.IndexOf((byte)'\n');
        if (length < 0)
        {
            return bytes.Length > RespLimits.MaxLineBytes ? Broken("too big inline request") : RespRead.Incomplete;
        }

        Consumed = length + 1;
        ReadOnlySpan<byte> line = bytes[..length];
        if (!line.IsEmpty && line[^1] == (byte)'\r')
        {
            line = line[..^1];
        }

        Command.Clear();
        if (_words.Length < line.Length)
        {
            _words = new byte[Math.Max(line.Length, 256)];
        }

        if (!RespWords.TrySplit(line, _words, Command))
        {
            return Broken("unbalanced quotes in request");
        }

        Command.Bind(_words, 0);
        Reset();
        return RespRead.Complete;
    }

    private RespRead Broken(string error)
    {
        Error = "Protocol error: " + error;
        return RespRead.Broken;
    }

    private void Reset()
    {
        _position = 0;
        _missing = NotBegun;
        _bulk = NotBegun;
    }

    // The answer is one line.
    private static char Shown(byte one) => one is (byte)'\r' or (byte)'\n' ? ' ' : (char)one;
}

/// <summary>Whole numbers as Redis reads them (util.c, string2ll). Stateless.</summary>
internal static class RespNumber
{
    /// <summary>The longest text of a number of 64 bits.</summary>
    public const int MaxDigits = 20;

    /// <summary>Decimal, without plus, leading zeros, spaces or minus zero.</summary>
    public static bool TryRead(ReadOnlySpan<byte> text, out long number)
    {
        number = 0;
        if (text.Length is 0 or > MaxDigits)
        {
            return false;
        }

        int first = text[0] == (byte)'-' ? 1 : 0;
        if (first == text.Length || (text[first] == (byte)'0' ? text.Length != 1 : (uint)(text[first] - '1') > 8))
        {
            return false;
        }

        return Utf8Parser.TryParse(text, out number, out int consumed) && consumed == text.Length;
    }
}
