using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace KeyVa.Cli;

/// <summary>How keys are written on the command line.</summary>
internal enum KeyEncoding
{
    /// <summary>As text; the key is its UTF-8 bytes.</summary>
    Utf8,

    /// <summary>Two hexadecimal digits per byte.</summary>
    Hex,

    /// <summary>Base64 with or without padding, in the usual or the URL alphabet.</summary>
    Base64,
}

/// <summary>Keys and values as text: from arguments, and for the eyes of a person. Stateless.</summary>
internal static class KeyText
{
    /// <summary>The longest key that any server takes.</summary>
    public const int MaxKeyBytes = 8192;

    /// <summary>The bytes of a key argument, checked for what every server refuses.</summary>
    public static byte[] ParseKey(string text, KeyEncoding encoding)
    {
        byte[] key = Parse(text, encoding, "key");
        if (key.Length == 0)
        {
            throw CommandException.Usage("a key is empty; keys have 1 byte to 8 KiB");
        }

        return key.Length <= MaxKeyBytes
            ? key
            : throw CommandException.Usage($"a key has {key.Length} bytes; the most are {MaxKeyBytes}");
    }

    /// <summary>The bytes of an argument that may be empty: a bound or a prefix.</summary>
    public static byte[] Parse(string text, KeyEncoding encoding, string what)
    {
        switch (encoding)
        {
            case KeyEncoding.Hex:
                try
                {
                    return Convert.FromHexString(text);
                }
                catch (FormatException)
                {
                    throw CommandException.Usage($"the {what} '{text}' is not hexadecimal: it needs two digits 0-9 a-f for each byte");
                }

            case KeyEncoding.Base64:
                return ParseBase64(text, what);
            default:
                return ParseUtf8(text, what);
        }
    }

    /// <summary>The UTF-8 bytes of an argument; refuses one that was no UTF-8, of which the runtime only left U+FFFD.</summary>
    public static byte[] ParseUtf8(string text, string what)
    {
        if (text.Contains('\uFFFD', StringComparison.Ordinal))
        {
            string way = what == "value" ? "give it with --file or on the standard input ('-')" : "write it with --key-encoding hex or base64";
            throw CommandException.Usage($"the {what} is not valid UTF-8 text (or holds U+FFFD, which stands for that); {way}");
        }

        return Encoding.UTF8.GetBytes(text);
    }

    /// <summary>A key as the person would type it.</summary>
    public static string Format(ReadOnlySpan<byte> key, KeyEncoding encoding) => encoding switch
    {
        KeyEncoding.Hex => Convert.ToHexStringLower(key),
        KeyEncoding.Base64 => Convert.ToBase64String(key),
        _ => Escape(key),
    };

    /// <summary>Bytes as one line of printable text: what is not printable, and the backslash, is escaped.</summary>
    public static string Escape(ReadOnlySpan<byte> bytes)
    {
        StringBuilder text = new(bytes.Length);
        while (!bytes.IsEmpty)
        {
            if (Rune.DecodeFromUtf8(bytes, out Rune rune, out int length) != OperationStatus.Done)
            {
                text.Append(CultureInfo.InvariantCulture, $"\\x{bytes[0]:x2}");
                length = 1;
            }
            else if (Symbol(rune) is { } symbol)
            {
                text.Append(symbol);
            }
            else if (IsPrintable(rune))
            {
                text.Append(rune.ToString());
            }
            else
            {
                foreach (byte b in bytes[..length])
                {
                    text.Append(CultureInfo.InvariantCulture, $"\\x{b:x2}");
                }
            }

            bytes = bytes[length..];
        }

        return text.ToString();
    }

    /// <summary>Whether a terminal can show the bytes as they are: UTF-8 of printable characters, lines and tabs.</summary>
    public static bool IsPrintable(ReadOnlySpan<byte> bytes)
    {
        if (!Utf8.IsValid(bytes))
        {
            return false;
        }

        while (!bytes.IsEmpty)
        {
            _ = Rune.DecodeFromUtf8(bytes, out Rune rune, out int length);
            if (!IsPrintable(rune) && rune.Value is not ('\n' or '\t'))
            {
                return false;
            }

            bytes = bytes[length..];
        }

        return true;
    }

    private static byte[] ParseBase64(string text, string what)
    {
        string usual = text.Replace('-', '+').Replace('_', '/').TrimEnd('=');
        byte[] bytes = new byte[usual.Length];
        return Convert.TryFromBase64String(usual.PadRight((usual.Length + 3) / 4 * 4, '='), bytes, out int written)
            ? bytes[..written]
            : throw CommandException.Usage($"the {what} '{text}' is not base64");
    }

    private static string? Symbol(Rune rune) => rune.Value switch
    {
        '\\' => @"\\",
        '\n' => @"\n",
        '\r' => @"\r",
        '\t' => @"\t",
        _ => null,
    };

    private static bool IsPrintable(Rune rune) => Rune.GetUnicodeCategory(rune) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
        or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
}
