using System.Globalization;
using System.Text;

namespace KeyVa.Merges;

/// <summary>Numbers as decimal text, and how a value that is none is called in a refusal. Stateless.</summary>
internal static class DecimalText
{
    /// <summary>The longest text that is read as a number: more digits would be a mistake, and cost the writer time.</summary>
    public const int MaxLength = 256;

    private const int QuotedBytes = 40;
    private const NumberStyles Decimal = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;

    public static bool TryReadWhole(ReadOnlySpan<byte> text, out long number)
    {
        number = 0;
        return text.Length <= MaxLength && long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out number);
    }

    /// <summary>A finite number; names of infinities are none.</summary>
    public static bool TryRead(ReadOnlySpan<byte> text, out double number)
    {
        number = 0;
        return text.Length <= MaxLength && double.TryParse(text, Decimal, CultureInfo.InvariantCulture, out number) && double.IsFinite(number);
    }

    /// <summary>The beginning of bytes, for a message.</summary>
    public static string Quote(ReadOnlySpan<byte> bytes)
    {
        ReadOnlySpan<byte> beginning = bytes[..Math.Min(bytes.Length, QuotedBytes)];
        string more = bytes.Length > QuotedBytes ? string.Create(CultureInfo.InvariantCulture, $"… ({bytes.Length} bytes)") : "";
        foreach (byte one in beginning)
        {
            if (one is < 0x20 or > 0x7E)
            {
                return string.Create(CultureInfo.InvariantCulture, $"{bytes.Length} bytes that are no plain text");
            }
        }

        return $"'{Encoding.ASCII.GetString(beginning)}'{more}";
    }
}
