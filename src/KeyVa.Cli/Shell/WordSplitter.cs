using System.Buffers;
using System.Text;

namespace KeyVa.Cli.Shell;

/// <summary>
/// Splits a line of the shell into words. Words are separated by spaces; single quotes keep everything, double quotes
/// and the backslash work as in a POSIX shell, with <c>\n</c>, <c>\t</c>, <c>\r</c> and <c>\xNN</c> (ASCII) understood
/// inside double quotes. Stateless.
/// </summary>
internal static class WordSplitter
{
    private static readonly SearchValues<char> NeedsQuotes = SearchValues.Create(" \t\"'\\#");

    /// <summary>The words of a line, or what is wrong with it.</summary>
    public static string? Split(string line, List<string> words)
    {
        words.Clear();
        StringBuilder word = new();
        bool inWord = false;
        int i = 0;
        while (i < line.Length)
        {
            char c = line[i];
            switch (c)
            {
                case ' ' or '\t':
                    Finish(words, word, ref inWord);
                    i++;
                    break;
                case '\'':
                    int end = line.IndexOf('\'', i + 1);
                    if (end < 0)
                    {
                        return "a single quote is not closed";
                    }

                    word.Append(line, i + 1, end - i - 1);
                    inWord = true;
                    i = end + 1;
                    break;
                case '"':
                    inWord = true;
                    i = ReadQuoted(line, i + 1, word);
                    if (i < 0)
                    {
                        return "a double quote is not closed, or \\x is not followed by two digits 0-7 and 0-9 a-f";
                    }

                    break;
                case '\\' when i + 1 < line.Length:
                    word.Append(line[i + 1]);
                    inWord = true;
                    i += 2;
                    break;
                default:
                    word.Append(c);
                    inWord = true;
                    i++;
                    break;
            }
        }

        Finish(words, word, ref inWord);
        return null;
    }

    /// <summary>A word as it must be written to be read back: quoted if it needs to be.</summary>
    public static string Quote(string word)
    {
        if (word.Length > 0 && !word.AsSpan().ContainsAny(NeedsQuotes) && !word.Any(char.IsControl))
        {
            return word;
        }

        StringBuilder quoted = new("\"");
        foreach (char c in word)
        {
            quoted.Append(c switch
            {
                '"' => "\\\"",
                '\\' => @"\\",
                '\n' => @"\n",
                '\r' => @"\r",
                '\t' => @"\t",
                _ when char.IsControl(c) && c < 128 => $"\\x{(int)c:x2}",
                _ => c.ToString(),
            });
        }

        return quoted.Append('"').ToString();
    }

    private static void Finish(List<string> words, StringBuilder word, ref bool inWord)
    {
        if (inWord)
        {
            words.Add(word.ToString());
            word.Clear();
            inWord = false;
        }
    }

    /// <summary>Reads up to the closing quote and returns where it goes on; -1 if it is not right.</summary>
    private static int ReadQuoted(string line, int i, StringBuilder word)
    {
        while (i < line.Length)
        {
            char c = line[i++];
            if (c == '"')
            {
                return i;
            }

            if (c != '\\')
            {
                word.Append(c);
                continue;
            }

            if (i == line.Length)
            {
                return -1;
            }

            char escaped = line[i++];
            if (escaped == 'x')
            {
                if (i + 2 > line.Length || line[i] > '7' || !byte.TryParse(line.AsSpan(i, 2), System.Globalization.NumberStyles.AllowHexSpecifier, null, out byte code))
                {
                    return -1;
                }

                word.Append((char)code);
                i += 2;
                continue;
            }

            word.Append(escaped switch { 'n' => '\n', 't' => '\t', 'r' => '\r', _ => escaped });
        }

        return -1;
    }
}
