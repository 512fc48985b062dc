using System.Buffers;
using System.Buffers.Text;

namespace KeyVa.Server;

/// <summary>Bytes as they travel in URLs: percent-encoded (RFC 3986, 2.1) or base64url (RFC 4648, 5). Stateless.</summary>
internal static class UrlBytes
{
    /// <summary>Why a percent-encoded text was refused.</summary>
    internal const string BadPercent = "is not validly percent-encoded: every % must be followed by two hexadecimal digits";

    /// <summary>Why a base64url text was refused.</summary>
    internal const string BadBase64 = "is not valid base64url (letters, digits, - and _)";

    /// <summary>The most bytes that a text of this length decodes to, in either encoding.</summary>
    internal static int MaxBytes(int length) => length;

    /// <summary>Decodes percent-encoding byte by byte; what it means as text is nobody's business here.</summary>
    /// <param name="text">ASCII, as Kestrel guarantees for targets.</param>
    /// <param name="bytes">At least as long as <paramref name="text"/>.</param>
    /// <param name="plusIsSpace">Whether '+' stands for a space, as HTML forms write queries.</param>
    /// <param name="written">How many bytes came out.</param>
    internal static bool TryDecodePercent(ReadOnlySpan<char> text, Span<byte> bytes, bool plusIsSpace, out int written)
    {
        written = 0;
        if (!plusIsSpace && !text.Contains('%'))
        {
            // The common key: nothing to decode.
            return System.Text.Ascii.FromUtf16(text, bytes, out written) == OperationStatus.Done;
        }

        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (c == '%')
            {
                if (i + 2 >= text.Length || !char.IsAsciiHexDigit(text[i + 1]) || !char.IsAsciiHexDigit(text[i + 2]))
                {
                    return false;
                }

                bytes[written++] = (byte)((Digit(text[i + 1]) << 4) | Digit(text[i + 2]));
                i += 2;
            }
            else if (c > 0x7F)
            {
                return false;
            }
            else
            {
                bytes[written++] = c == '+' && plusIsSpace ? (byte)' ' : (byte)c;
            }
        }

        return true;
    }

    /// <summary>Decodes base64url, with or without padding (which a URL may carry as %3D).</summary>
    internal static bool TryDecodeBase64(ReadOnlySpan<char> text, Span<byte> bytes, out int written)
    {
        written = 0;
        while (text.EndsWith("%3D", StringComparison.OrdinalIgnoreCase))
        {
            text = text[..^3];
        }

        text = text.TrimEnd('=');
        // The decoder skips white space; a URL must not contain any, and neither must what was escaped.
        return !text.ContainsAny(" \t\r\n%") && text.Length % 4 != 1
            && Base64Url.DecodeFromChars(text, bytes, out int consumed, out written) == OperationStatus.Done
            && consumed == text.Length;
    }

    /// <summary>Whether a path contains a segment that every client and proxy resolves away: <c>.</c> or <c>..</c>.</summary>
    internal static bool HasDotSegment(ReadOnlySpan<char> path)
    {
        if (!path.Contains('.') && !path.Contains("%2e", StringComparison.OrdinalIgnoreCase))
        {
            return false;
        }

        foreach (Range range in path.Split('/'))
        {
            ReadOnlySpan<char> segment = path[range];
            int dots = 0;
            while (!segment.IsEmpty)
            {
                if (segment[0] == '.')
                {
                    segment = segment[1..];
                }
                else if (segment.StartsWith("%2e", StringComparison.OrdinalIgnoreCase))
                {
                    segment = segment[3..];
                }
                else
                {
                    dots = 0;
                    break;
                }

                dots++;
            }

            if (dots is 1 or 2)
            {
                return true;
            }
        }

        return false;
    }

    private static int Digit(char c) => c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}
