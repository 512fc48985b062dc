using System.Globalization;
using System.Numerics;
using System.Text;

namespace KeyVa.Server.Resp;

/// <summary>
/// The number that INCRBYFLOAT counts with: C's long double as x86 has it (IEEE 754 extended, 64 bits of mantissa, 15 of exponent), since Redis shows
/// 17 digits of it and a sum of doubles shows others. Immutable.
/// </summary>
internal readonly struct LongDouble
{
    private const int MantissaBits = 64;

    /// <summary>The highest and lowest power of two of the mantissa's last bit.</summary>
    private const int MaxExponent = 16383 - 63;
    private const int MinExponent = -16445;

    /// <summary>Longest text that is read (Redis: MAX_LONG_DOUBLE_CHARS), and powers of ten beyond any number of this kind.</summary>
    private const int MaxText = 5 << 10;
    private const int MostDecimalExponent = 20_000;

    private const int ShownDecimals = 17;

    private readonly BigInteger _mantissa;
    private readonly int _exponent;
    private readonly bool _isFinite;

    private LongDouble(BigInteger mantissa, int exponent, bool isFinite)
    {
        _mantissa = mantissa;
        _exponent = exponent;
        _isFinite = isFinite;
    }

    public static LongDouble Zero => new(BigInteger.Zero, 0, isFinite: true);

    public bool IsFinite => _isFinite;

    public static LongDouble operator +(LongDouble left, LongDouble right)
    {
        if (!left._isFinite || !right._isFinite)
        {
            return Infinite;
        }

        int exponent = Math.Min(left._exponent, right._exponent);
        BigInteger sum = (left._mantissa << (left._exponent - exponent)) + (right._mantissa << (right._exponent - exponent));
        return Round(sum, BigInteger.One, exponent);
    }

    /// <summary>Reads a whole text as strtold does, but for hexadecimal; false: it is no number, or too large or too small for one.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out LongDouble number)
    {
        number = Zero;
        if (text.Length is 0 or >= MaxText)
        {
            return false;
        }

        bool isNegative = text[0] == (byte)'-';
        ReadOnlySpan<byte> digits = isNegative || text[0] == (byte)'+' ? text[1..] : text;
        if (Ascii.EqualsIgnoreCase(digits, "inf"u8) || Ascii.EqualsIgnoreCase(digits, "infinity"u8))
        {
            number = Infinite;
            return true;
        }

        if (!TryReadDecimal(digits, out BigInteger value, out int power) || Math.Abs(power) > MostDecimalExponent)
        {
            return false;
        }

        BigInteger ten = BigInteger.Pow(10, Math.Abs(power));
        number = power >= 0 ? Round(value * ten, BigInteger.One, 0) : Round(value, ten, 0);
        bool isInRange = number._isFinite && (!number._mantissa.IsZero || value.IsZero);
        if (isNegative)
        {
            number = new LongDouble(-number._mantissa, number._exponent, number._isFinite);
        }

        return isInRange;
    }

    /// <summary>As C prints it with %.17Lf, without zeros at the end.</summary>
    public override string ToString()
    {
        BigInteger scaled = BigInteger.Abs(_mantissa) * BigInteger.Pow(10, ShownDecimals);
        scaled = _exponent >= 0 ? scaled << _exponent : DivideToEven(scaled, BigInteger.One << -_exponent);
        string digits = scaled.ToString(CultureInfo.InvariantCulture).PadLeft(ShownDecimals + 1, '0');
        string text = $"{digits[..^ShownDecimals]}.{digits[^ShownDecimals..]}".TrimEnd('0').TrimEnd('.');
        return _mantissa.Sign < 0 && text != "0" ? "-" + text : text;
    }

    private static LongDouble Infinite => new(BigInteger.Zero, 0, isFinite: false);

    /// <summary>Digits with a point and a power of ten: a whole number, times ten to a power.</summary>
    private static bool TryReadDecimal(ReadOnlySpan<byte> text, out BigInteger value, out int power)
    {
        value = BigInteger.Zero;
        power = 0;
        int end = text.IndexOfAny((byte)'e', (byte)'E');
        if (end >= 0)
        {
            ReadOnlySpan<byte> exponent = text[(end + 1)..];
            if (exponent.IsEmpty || exponent.Length > 9 || !int.TryParse(exponent, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out power))
            {
                return false;
            }

            text = text[..end];
        }

        int point = text.IndexOf((byte)'.');
        ReadOnlySpan<byte> whole = point < 0 ? text : text[..point];
        ReadOnlySpan<byte> fraction = point < 0 ? default : text[(point + 1)..];
        if (whole.IsEmpty && fraction.IsEmpty)
        {
            return false;
        }

        power -= fraction.Length;
        return IsDigits(whole) && IsDigits(fraction)
            && BigInteger.TryParse("0" + Encoding.ASCII.GetString(whole) + Encoding.ASCII.GetString(fraction), NumberStyles.None, CultureInfo.InvariantCulture, out value);
    }

    private static bool IsDigits(ReadOnlySpan<byte> text) => text.IndexOfAnyExceptInRange((byte)'0', (byte)'9') < 0;

    /// <summary>The nearest number to value / divisor times two to the exponent; of two the even one.</summary>
    private static LongDouble Round(BigInteger value, BigInteger divisor, int exponent)
    {
        if (value.IsZero)
        {
            return Zero;
        }

        bool isNegative = value.Sign < 0;
        BigInteger magnitude = BigInteger.Abs(value);
        long bits = magnitude.GetBitLength() - divisor.GetBitLength();
        int shift = (int)Math.Max(bits - MantissaBits, MinExponent - exponent);
        BigInteger mantissa = Shifted(magnitude, divisor, shift);
        if (mantissa.GetBitLength() > MantissaBits)
        {
            mantissa = Shifted(magnitude, divisor, ++shift);
        }

        if (mantissa.GetBitLength() > MantissaBits)
        {
            // Rounded up to a power of two.
            mantissa >>= 1;
            shift++;
        }

        if (exponent + shift > MaxExponent)
        {
            return Infinite;
        }

        return new LongDouble(isNegative ? -mantissa : mantissa, exponent + shift, isFinite: true);
    }

    private static BigInteger Shifted(BigInteger value, BigInteger divisor, int shift) =>
        shift >= 0 ? DivideToEven(value, divisor << shift) : DivideToEven(value << -shift, divisor);

    private static BigInteger DivideToEven(BigInteger value, BigInteger divisor)
    {
        BigInteger quotient = BigInteger.DivRem(value, divisor, out BigInteger rest);
        int half = (rest << 1).CompareTo(divisor);
        return half > 0 || (half == 0 && !quotient.IsEven) ? quotient + 1 : quotient;
    }
}
