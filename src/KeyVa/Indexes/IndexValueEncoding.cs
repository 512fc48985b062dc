using KeyVa.Io;

namespace KeyVa.Indexes;

/// <summary>
/// Encodes values so that the order of the bytes is the order of the values, and so that no value is the beginning of another:
/// tuples are values one behind the other. The layout (docs/format.md, Indexes):
/// <code>
///   null      10
///   false     20, true 21
///   number    30 negative, 31 zero, 32 positive; then (not for zero) the number as 0.d1d2d3... x 10^e:
///             2 bytes e + 32768, big-endian; a byte 1 + 10 d1 + d2 for each two digits; 00. All of it inverted if negative
///   string    40, UTF-8 with 00 as 00 FF, then 00 01
///   bytes     50, as a string
/// </code>
/// Numbers are decimal and exact: 1, 1.0 and 10e-1 are one value, 9007199254740993 and 9007199254740992 are two.
/// </summary>
internal static class IndexValueEncoding
{
    public const byte Null = 0x10;
    public const byte False = 0x20;
    public const byte True = 0x21;
    public const byte Negative = 0x30;
    public const byte Zero = 0x31;
    public const byte Positive = 0x32;
    public const byte Text = 0x40;
    public const byte Bytes = 0x50;

    /// <summary>Above every value.</summary>
    public const byte End = 0x60;

    /// <summary>Digits that count, of one number.</summary>
    public const int MaxDigits = 400;

    private const int ExponentBias = 32768;
    private const int MaxExponent = 32000;

    /// <summary>Appends a number in the notation of JSON; false if it has too many digits or too large an exponent, or is none.</summary>
    public static bool TryAppendNumber(NativeBuffer into, ReadOnlySpan<byte> text)
    {
        bool negative = !text.IsEmpty && text[0] == '-';
        ReadOnlySpan<byte> digits = negative ? text[1..] : text;
        if (!TryMeasure(digits, out int first, out int last, out int mantissaEnd, out long exponent))
        {
            return false;
        }

        if (first < 0)
        {
            into.AppendByte(Zero);
            return true;
        }

        if (exponent is < -MaxExponent or > MaxExponent)
        {
            return false;
        }

        into.AppendByte(negative ? Negative : Positive);
        byte flip = negative ? (byte)0xff : (byte)0;
        int biased = (int)exponent + ExponentBias;
        into.AppendByte((byte)((biased >> 8) ^ flip));
        into.AppendByte((byte)((biased & 0xff) ^ flip));
        AppendDigits(into, digits[..mantissaEnd], first, last, flip);
        into.AppendByte(flip);
        return true;
    }

    /// <summary>Appends the bytes of a string or of binary data.</summary>
    public static void AppendText(NativeBuffer into, byte tag, ReadOnlySpan<byte> text)
    {
        into.AppendByte(tag);
        for (int zero = text.IndexOf((byte)0); zero >= 0; zero = text.IndexOf((byte)0))
        {
            into.Append(text[..(zero + 1)]);
            into.AppendByte(0xff);
            text = text[(zero + 1)..];
        }

        into.Append(text);
        into.AppendByte(0);
        into.AppendByte(1);
    }

    /// <summary>The bytes of the value at the beginning; 0 if there is none that can be read.</summary>
    public static int LengthOfFirst(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            return 0;
        }

        switch (bytes[0])
        {
            case Null or False or True or Zero:
                return 1;
            case Negative or Positive:
                int end = bytes.Length < 3 ? -1 : bytes[3..].IndexOf(bytes[0] == Negative ? (byte)0xff : (byte)0);
                return end < 0 ? 0 : end + 4;
            case Text or Bytes:
                return LengthOfText(bytes);
            default:
                return 0;
        }
    }

    /// <summary>Whether one of the values of a tuple is null.</summary>
    public static bool HasNull(ReadOnlySpan<byte> tuple)
    {
        while (!tuple.IsEmpty)
        {
            if (tuple[0] == Null)
            {
                return true;
            }

            int length = LengthOfFirst(tuple);
            tuple = tuple[(length == 0 ? tuple.Length : length)..];
        }

        return false;
    }

    /// <summary>Makes the bytes the first ones behind everything that begins with them. They begin with a tag, so there are such.</summary>
    public static void ToSuccessor(NativeBuffer bytes)
    {
        int length = bytes.Written.TrimEnd((byte)0xff).Length;
        bytes.Truncate(length);
        bytes.Slice(length - 1, 1)[0]++;
    }

    private static int LengthOfText(ReadOnlySpan<byte> bytes)
    {
        for (int at = 1; ;)
        {
            int zero = bytes[at..].IndexOf((byte)0);
            at += zero + 2;
            if (zero < 0 || at > bytes.Length)
            {
                return 0;
            }

            if (bytes[at - 1] != 0xff)
            {
                return at;
            }
        }
    }

    // First and last: which digits, counted from 0 and without the point, are not zero; first is -1 if none is.
    private static bool TryMeasure(ReadOnlySpan<byte> text, out int first, out int last, out int mantissaEnd, out long exponent)
    {
        first = last = -1;
        exponent = 0;
        int digits = 0;
        int whole = -1;
        int i = 0;
        for (; i < text.Length && text[i] is not ((byte)'e' or (byte)'E'); i++)
        {
            if (text[i] == '.')
            {
                whole = digits;
                continue;
            }

            if (text[i] is < (byte)'0' or > (byte)'9')
            {
                mantissaEnd = 0;
                return false;
            }

            if (text[i] != '0')
            {
                first = first < 0 ? digits : first;
                last = digits;
            }

            digits++;
        }

        mantissaEnd = i;
        long power = 0;
        if (i < text.Length && !TryReadExponent(text[(i + 1)..], out power))
        {
            return false;
        }

        exponent = (whole < 0 ? digits : whole) - first + power;
        return digits > 0 && last - first < MaxDigits;
    }

    private static bool TryReadExponent(ReadOnlySpan<byte> text, out long power)
    {
        bool negative = !text.IsEmpty && text[0] == '-';
        power = 0;
        text = !text.IsEmpty && text[0] is (byte)'-' or (byte)'+' ? text[1..] : text;
        if (text.IsEmpty)
        {
            return false;
        }

        foreach (byte digit in text)
        {
            if (digit is < (byte)'0' or > (byte)'9')
            {
                return false;
            }

            // Far beyond what is accepted it makes no difference any more.
            power = Math.Min((power * 10) + digit - '0', int.MaxValue);
        }

        power = negative ? -power : power;
        return true;
    }

    private static void AppendDigits(NativeBuffer into, ReadOnlySpan<byte> mantissa, int first, int last, byte flip)
    {
        int digit = 0;
        int pending = -1;
        foreach (byte c in mantissa)
        {
            if (c == '.')
            {
                continue;
            }

            if (digit >= first && digit <= last)
            {
                if (pending < 0)
                {
                    pending = c - '0';
                }
                else
                {
                    into.AppendByte((byte)((1 + (pending * 10) + c - '0') ^ flip));
                    pending = -1;
                }
            }

            digit++;
        }

        if (pending >= 0)
        {
            into.AppendByte((byte)((1 + (pending * 10)) ^ flip));
        }
    }
}
