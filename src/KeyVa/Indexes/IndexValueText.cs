using System.Globalization;
using System.Text;
using System.Text.Json;

namespace KeyVa.Indexes;

/// <summary>Writes encoded values for people: as JSON does.</summary>
internal static class IndexValueText
{
    /// <summary>Zeros that a number is written with rather than with an exponent.</summary>
    private const int MaxZeros = 20;

    public static string Of(ReadOnlySpan<byte> encoded) => encoded[0] switch
    {
        IndexValueEncoding.Null => "null",
        IndexValueEncoding.False => "false",
        IndexValueEncoding.True => "true",
        IndexValueEncoding.Zero => "0",
        IndexValueEncoding.Negative or IndexValueEncoding.Positive => Number(encoded),
        IndexValueEncoding.Text => $"\"{JsonEncodedText.Encode(Unescape(encoded), System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"",
        _ => $"\"{Convert.ToHexStringLower(Unescape(encoded))}\"",
    };

    /// <summary>A tuple: its values with commas in between.</summary>
    public static string OfTuple(ReadOnlySpan<byte> tuple)
    {
        var text = new StringBuilder();
        for (int length; (length = IndexValueEncoding.LengthOfFirst(tuple)) > 0; tuple = tuple[length..])
        {
            text.Append(text.Length == 0 ? string.Empty : ", ").Append(Of(tuple[..length]));
        }

        return text.ToString();
    }

    /// <summary>The bytes of a string or of binary data.</summary>
    public static byte[] Unescape(ReadOnlySpan<byte> encoded)
    {
        ReadOnlySpan<byte> body = encoded[1..^2];
        var bytes = new List<byte>(body.Length);
        for (int i = 0; i < body.Length; i++)
        {
            bytes.Add(body[i]);
            i += body[i] == 0 ? 1 : 0;
        }

        return [.. bytes];
    }

    private static string Number(ReadOnlySpan<byte> encoded)
    {
        int flip = encoded[0] == IndexValueEncoding.Negative ? 0xff : 0;
        int exponent = ((encoded[1] ^ flip) << 8 | (encoded[2] ^ flip)) - 32768;
        var digits = new StringBuilder();
        foreach (byte pair in encoded[3..^1])
        {
            digits.Append(CultureInfo.InvariantCulture, $"{(pair ^ flip) - 1:D2}");
        }

        if (digits[^1] == '0')
        {
            digits.Length--;
        }

        string sign = flip == 0 ? string.Empty : "-";
        if (exponent > digits.Length + MaxZeros || exponent < -MaxZeros)
        {
            string rest = digits.Length > 1 ? $".{digits.ToString(1, digits.Length - 1)}" : string.Empty;
            return string.Create(CultureInfo.InvariantCulture, $"{sign}{digits[0]}{rest}e{exponent - 1}");
        }

        if (exponent >= digits.Length)
        {
            return $"{sign}{digits}{new string('0', exponent - digits.Length)}";
        }

        return exponent <= 0
            ? $"{sign}0.{new string('0', -exponent)}{digits}"
            : $"{sign}{digits.ToString(0, exponent)}.{digits.ToString(exponent, digits.Length - exponent)}";
    }
}
