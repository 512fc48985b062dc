using System.Globalization;
using System.Text;

namespace KeyVa.Cli.Shell;

/// <summary>How many columns of a terminal a text takes. Stateless.</summary>
internal static class TextWidth
{
    /// <summary>The columns of a text.</summary>
    public static int Of(string text)
    {
        int width = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            width += Of(rune);
        }

        return width;
    }

    /// <summary>As much of the beginning as fits.</summary>
    public static string Cut(string text, int columns)
    {
        int width = 0;
        int length = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            width += Of(rune);
            if (width > columns)
            {
                break;
            }

            length += rune.Utf16SequenceLength;
        }

        return text[..length];
    }

    /// <summary>The part of a line around its cursor that fits, and the column of the cursor in it.</summary>
    public static (string Visible, int Cursor) Window(string text, int cursor, int columns)
    {
        int start = 0;
        while (Of(text[start..cursor]) >= columns)
        {
            // By halves of the room, so that the text does not move with each key.
            string cut = Cut(text[start..], Math.Max(2, columns / 2));
            start += Math.Max(1, cut.Length);
        }

        return (Cut(text[start..], columns), Of(text[start..cursor]));
    }

    private static int Of(Rune rune)
    {
        if (rune.IsAscii)
        {
            return rune.Value < 32 ? 0 : 1;
        }

        UnicodeCategory category = Rune.GetUnicodeCategory(rune);
        if (category is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format)
        {
            return 0;
        }

        // The blocks of East Asian wide characters (Unicode Standard Annex 11) and emoji.
        return rune.Value is (>= 0x1100 and <= 0x115F) or (>= 0x2E80 and <= 0xA4CF) or (>= 0xAC00 and <= 0xD7A3)
            or (>= 0xF900 and <= 0xFAFF) or (>= 0xFE30 and <= 0xFE6F) or (>= 0xFF00 and <= 0xFF60) or (>= 0xFFE0 and <= 0xFFE6)
            or (>= 0x1F300 and <= 0x1FAFF) or (>= 0x20000 and <= 0x3FFFD) ? 2 : 1;
    }
}
