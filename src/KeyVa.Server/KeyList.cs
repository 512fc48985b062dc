using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace KeyVa.Server;

/// <summary>
/// Keys in rising order as one writes them in a setting: UTF-8 text with commas between; a comma of a key, and what is no text, is written as the command
/// line shows it: <c>\xNN</c>, <c>\n</c>, <c>\r</c>, <c>\t</c>, <c>\\</c>. Stateless.
/// </summary>
internal static class KeyList
{
    private const int HexDigits = 2;

    internal static bool TryParse(string text, [NotNullWhen(true)] out IReadOnlyList<ReadOnlyMemory<byte>>? keys)
    {
        keys = [];
        if (text.Length == 0)
        {
            return true;
        }

        var read = new List<ReadOnlyMemory<byte>>();
        foreach (string part in text.Split(','))
        {
            ReadOnlySpan<byte> before = read.Count == 0 ? default : read[^1].Span;
            if (!TryParseKey(part, out byte[] key) || key.Length > Limits.MaxKeyBytes || key.AsSpan().SequenceCompareTo(before) <= 0)
            {
                keys = null;
                return false;
            }

            read.Add(key);
        }

        keys = read;
        return true;
    }

    // U+FFFD stands for bytes of an argument or a file that were no UTF-8, and are lost.
    private static bool TryParseKey(string text, out byte[] key)
    {
        key = [];
        var bytes = new List<byte>(text.Length);
        Span<byte> utf8 = stackalloc byte[4];
        for (int i = 0; i < text.Length;)
        {
            if (text[i] == '\\')
            {
                if (!TryReadEscape(text.AsSpan(i + 1), out byte escaped, out int length))
                {
                    return false;
                }

                bytes.Add(escaped);
                i += 1 + length;
                continue;
            }

            if (text[i] == '\uFFFD' || !Rune.TryGetRuneAt(text, i, out Rune rune))
            {
                return false;
            }

            bytes.AddRange(utf8[..rune.EncodeToUtf8(utf8)]);
            i += rune.Utf16SequenceLength;
        }

        key = [.. bytes];
        return true;
    }

    private static bool TryReadEscape(ReadOnlySpan<char> text, out byte escaped, out int length)
    {
        escaped = 0;
        length = 1;
        if (text.IsEmpty)
        {
            return false;
        }

        if (text[0] == 'x')
        {
            length += HexDigits;
            return text.Length >= length && byte.TryParse(text[1..length], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out escaped);
        }

        escaped = text[0] switch { '\\' => (byte)'\\', 'n' => (byte)'\n', 'r' => (byte)'\r', 't' => (byte)'\t', _ => 0 };
        return escaped != 0;
    }
}
