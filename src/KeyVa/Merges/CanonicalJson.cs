using System.Globalization;
using System.Text;
using System.Text.Json;

namespace KeyVa.Merges;

/// <summary>
/// A text that two JSON values have in common exactly if they are the same value: no white space, members by rising name, of several with one
/// name the last, texts unescaped, numbers by their exact decimal value. For comparing only: RFC 8785's canonical form takes numbers as
/// doubles, which would make different large whole numbers one. Stateless; the recursion is bounded by <see cref="JsonText.MaxDepth"/>.
/// </summary>
internal static class CanonicalJson
{
    /// <summary>The greatest exponent that is calculated with.</summary>
    private const long MaxExponent = 1L << 60;

    /// <remarks><see cref="InvalidOperationException"/> if a text is no valid Unicode: half of a surrogate pair, escaped.</remarks>
    public static string Of(JsonElement value)
    {
        var text = new StringBuilder();
        Append(text, value);
        return text.ToString();
    }

    private static void Append(StringBuilder text, JsonElement value)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.Object:
                AppendObject(text, value);
                break;
            case JsonValueKind.Array:
                text.Append('[');
                foreach (JsonElement element in value.EnumerateArray())
                {
                    Append(text, element);
                    text.Append(',');
                }

                text.Append(']');
                break;
            case JsonValueKind.String:
                AppendString(text, value.GetString()!);
                break;
            case JsonValueKind.Number:
                AppendNumber(text, value.GetRawText());
                break;
            default:
                text.Append(value.GetRawText());
                break;
        }
    }

    private static void AppendObject(StringBuilder text, JsonElement value)
    {
        text.Append('{');
        foreach ((string name, JsonElement member) in JsonText.Members(value).OrderBy(static member => member.Key, StringComparer.Ordinal))
        {
            AppendString(text, name);
            Append(text, member);
        }

        text.Append('}');
    }

    // With its length, so that no escape is needed.
    private static void AppendString(StringBuilder text, string value) =>
        text.Append('"').Append(value.Length.ToString(CultureInfo.InvariantCulture)).Append(':').Append(value);

    /// <summary>As sign, digits without zeros at either end, and the power of ten of the last digit.</summary>
    private static void AppendNumber(StringBuilder text, string number)
    {
        int exponentAt = number.AsSpan().IndexOfAny('e', 'E');
        ReadOnlySpan<char> mantissa = exponentAt < 0 ? number : number.AsSpan(0, exponentAt);
        bool negative = mantissa[0] == '-';
        mantissa = negative ? mantissa[1..] : mantissa;
        int point = mantissa.IndexOf('.');
        string all = point < 0 ? mantissa.ToString() : string.Concat(mantissa[..point], mantissa[(point + 1)..]);
        ReadOnlySpan<char> digits = all.AsSpan().TrimEnd('0');
        int zeros = all.Length - digits.Length;
        digits = digits.TrimStart('0');
        if (digits.IsEmpty)
        {
            text.Append("+0");
            return;
        }

        long exponent = 0;
        if (exponentAt >= 0
            && (!long.TryParse(number.AsSpan(exponentAt + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out exponent)
                || exponent is < -MaxExponent or > MaxExponent))
        {
            // Beyond what digits could make up for: it equals what is written as it is.
            text.Append('#').Append(number);
            return;
        }

        exponent += zeros - (point < 0 ? 0 : mantissa.Length - point - 1);
        text.Append(negative ? '-' : '+').Append(digits).Append('e').Append(exponent.ToString(CultureInfo.InvariantCulture));
    }
}
