using System.Buffers;
using System.Globalization;
using System.Text;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// The encoding of <c>grpc-message</c>: UTF-8 in which every byte outside 0x20–0x7E, and '%', becomes %XX.
/// </summary>
internal static class PercentEncoding
{
    /// <summary>
    /// Longest message sent, in bytes after encoding. Clients commonly refuse header lists above 8 KiB, and would then
    /// lose the status code together with the text.
    /// </summary>
    internal const int MaxEncodedBytes = 4096;

    private static readonly SearchValues<char> Plain = SearchValues.Create(
        string.Concat(Enumerable.Range(' ', '~' - ' ' + 1).Where(c => c != '%').Select(c => (char)c)));

    /// <summary>Encodes; text that is plain already comes back as it is.</summary>
    internal static string Encode(string text)
    {
        if (text.Length <= MaxEncodedBytes && !text.AsSpan().ContainsAnyExcept(Plain))
            return text;
        StringBuilder encoded = new(text.Length + 16);
        Span<byte> utf8 = stackalloc byte[4];
        foreach (Rune rune in text.EnumerateRunes())
        {
            int start = encoded.Length;
            foreach (byte one in utf8[..rune.EncodeToUtf8(utf8)])
            {
                if (Plain.Contains((char)one))
                    encoded.Append((char)one);
                else
                    encoded.Append(CultureInfo.InvariantCulture, $"%{one:X2}");
            }
            if (encoded.Length > MaxEncodedBytes)
            {
                encoded.Length = start; // whole characters only
                break;
            }
        }
        return encoded.ToString();
    }

    /// <summary>Decodes; a '%' that is not followed by two hexadecimal digits stands for itself, as the protocol asks.</summary>
    internal static string Decode(string text)
    {
        if (!text.Contains('%', StringComparison.Ordinal))
            return text;
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        int length = 0;
        for (int i = 0; i < utf8.Length; i++, length++)
        {
            if (utf8[i] == '%' && i + 2 < utf8.Length && char.IsAsciiHexDigit((char)utf8[i + 1])
                && char.IsAsciiHexDigit((char)utf8[i + 2]))
            {
                utf8[length] = byte.Parse(utf8.AsSpan(i + 1, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                i += 2;
            }
            else
            {
                utf8[length] = utf8[i];
            }
        }
        return Encoding.UTF8.GetString(utf8, 0, length);
    }
}
