namespace KeyVa.Protocol.Resp;

/// <summary>
/// The words of an inline command: separated by white space; in double quotes with <c>\n \r \t \b \a \" \\ \xHH</c>, in single quotes with
/// <c>\'</c> (Redis: sds.c, sdssplitargs). Stateless.
/// </summary>
internal static class RespWords
{
    /// <summary>Writes the words into <paramref name="words"/>, which has room for the line; false if a quote does not end, or is not followed by white space.</summary>
    public static bool TrySplit(ReadOnlySpan<byte> line, Span<byte> words, RespCommand command)
    {
        int read = 0;
        int written = 0;
        while (true)
        {
            while (read < line.Length && IsSpace(line[read]))
            {
                read++;
            }

            // Redis works on C strings: a zero byte ends the line.
            if (read >= line.Length || line[read] == 0)
            {
                return true;
            }

            int begin = written;
            if (!TryWord(line, ref read, words, ref written))
            {
                return false;
            }

            command.Add(begin, written - begin);
        }
    }

    private static bool TryWord(ReadOnlySpan<byte> line, ref int read, Span<byte> words, ref int written)
    {
        while (read < line.Length && line[read] != 0 && !IsSpace(line[read]))
        {
            byte one = line[read++];
            if (one is (byte)'"' or (byte)'\'')
            {
                // What is quoted ends the word.
                return TryQuoted(line, one, ref read, words, ref written);
            }

            words[written++] = one;
        }

        return true;
    }

    private static bool TryQuoted(ReadOnlySpan<byte> line, byte quote, ref int read, Span<byte> words, ref int written)
    {
        while (read < line.Length && line[read] != 0)
        {
            byte one = line[read++];
            if (one == quote)
            {
                return read == line.Length || line[read] == 0 || IsSpace(line[read]);
            }

            if (one == (byte)'\\' && read < line.Length)
            {
                one = quote == (byte)'"' ? Escaped(line, ref read) : line[read] == (byte)'\'' ? line[read++] : one;
            }

            words[written++] = one;
        }

        return false;
    }

    private static byte Escaped(ReadOnlySpan<byte> line, ref int read)
    {
        byte one = line[read++];
        if (one == (byte)'x' && read + 1 < line.Length && char.IsAsciiHexDigit((char)line[read]) && char.IsAsciiHexDigit((char)line[read + 1]))
        {
            read += 2;
            return (byte)((HexValue(line[read - 2]) << 4) | HexValue(line[read - 1]));
        }

        return one switch
        {
            (byte)'n' => (byte)'\n',
            (byte)'r' => (byte)'\r',
            (byte)'t' => (byte)'\t',
            (byte)'b' => (byte)'\b',
            (byte)'a' => (byte)'\a',
            _ => one,
        };
    }

    private static int HexValue(byte digit) => digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10;

    private static bool IsSpace(byte one) => one is (byte)' ' or (>= 9 and <= 13);
}
