namespace KeyVa.Protocol.Resp;

/// <summary>
/// Patterns as KEYS, SCAN and PSUBSCRIBE take them: <c>*</c>, <c>?</c>, <c>[a-z]</c>, <c>[^a]</c>, <c>\</c> before a literal byte (Redis: util.c,
/// stringmatchlen). Stateless.
/// </summary>
internal static class RespPattern
{
    /// <summary>
    /// Whether the whole text matches. Of several stars the last one alone is tried again: what an earlier one took can
    /// stay as short as it is, so the time is bounded by the product of both lengths.
    /// </summary>
    public static bool Matches(ReadOnlySpan<byte> pattern, ReadOnlySpan<byte> text)
    {
        int p = 0;
        int t = 0;
        int star = -1;
        int starText = 0;
        while (t < text.Length)
        {
            if (p < pattern.Length && pattern[p] == (byte)'*')
            {
                star = ++p;
                starText = t;
            }
            else if (p < pattern.Length && MatchesOne(pattern, ref p, text[t]))
            {
                t++;
            }
            else if (star >= 0)
            {
                p = star;
                t = ++starText;
            }
            else
            {
                return false;
            }
        }

        while (p < pattern.Length && pattern[p] == (byte)'*')
        {
            p++;
        }

        return p == pattern.Length;
    }

    /// <summary>How many bytes of the pattern every match begins with.</summary>
    public static int LiteralPrefix(ReadOnlySpan<byte> pattern)
    {
        int length = pattern.IndexOfAny("*?[\\"u8);
        return length < 0 ? pattern.Length : length;
    }

    /// <summary>Matches one byte and moves the pattern behind what matched it.</summary>
    private static bool MatchesOne(ReadOnlySpan<byte> pattern, ref int p, byte one)
    {
        switch (pattern[p])
        {
            case (byte)'?':
                p++;
                return true;
            case (byte)'[':
                return MatchesSet(pattern, ref p, one);
            case (byte)'\\' when p + 1 < pattern.Length:
                if (pattern[p + 1] != one)
                {
                    return false;
                }

                p += 2;
                return true;
            default:
                return pattern[p++] == one;
        }
    }

    private static bool MatchesSet(ReadOnlySpan<byte> pattern, ref int p, byte one)
    {
        int at = p + 1;
        bool not = at < pattern.Length && pattern[at] == (byte)'^';
        if (not)
        {
            at++;
        }

        bool matches = false;
        while (at < pattern.Length && pattern[at] != (byte)']')
        {
            if (pattern[at] == (byte)'\\' && at + 1 < pattern.Length)
            {
                at++;
                matches |= pattern[at] == one;
            }
            else if (at + 2 < pattern.Length && pattern[at + 1] == (byte)'-')
            {
                byte low = Math.Min(pattern[at], pattern[at + 2]);
                byte high = Math.Max(pattern[at], pattern[at + 2]);
                matches |= one >= low && one <= high;
                at += 2;
            }
            else
            {
                matches |= pattern[at] == one;
            }

            at++;
        }

        // A set that does not end takes the rest of the pattern.
        p = Math.Min(at + 1, pattern.Length);
        return matches != not;
    }
}
