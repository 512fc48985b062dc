using System.Buffers;

namespace KeyVa.Cli.Transfer;

/// <summary>
/// Splits one CSV record into its fields and takes the quotes off. One thread; the fields are valid until the next
/// <see cref="Split"/> and as long as the record's memory is.
/// </summary>
internal sealed class CsvFields
{
    private static readonly SearchValues<byte> LineEndOrQuote = SearchValues.Create("\n\""u8);
    private static readonly SearchValues<byte> CommaOrQuote = SearchValues.Create(",\""u8);

    private readonly List<ReadOnlyMemory<byte>> _fields = [];
    private byte[] _unquoted = new byte[4096];
    private int _unquotedLength;

    public int Count => _fields.Count;

    public ReadOnlyMemory<byte> this[int column] => _fields[column];

    /// <summary>
    /// The length of the record at the front of the input without its line end; -1 if it is too long or a quote is never
    /// closed. Counts the lines it goes over.
    /// </summary>
    public static int FindRecord(InputBuffer input, out bool terminated, out int lines)
    {
        int searched = 0;
        bool quoted = false;
        lines = 0;
        terminated = false;
        while (true)
        {
            ReadOnlySpan<byte> rest = input.UnreadSpan[searched..];
            int hit = quoted ? rest.IndexOf((byte)'"') : rest.IndexOfAny(LineEndOrQuote);
            if (hit >= 0)
            {
                lines += quoted ? rest[..hit].Count((byte)'\n') : 0;
                if (rest[hit] == '\n')
                {
                    lines++;
                    terminated = true;
                    return searched + hit;
                }

                quoted = !quoted;
                searched += hit + 1;
                continue;
            }

            lines += rest.Count((byte)'\n');
            searched += rest.Length;
            if (input.IsTooLong)
            {
                return -1;
            }

            if (!input.Fill())
            {
                return quoted ? -1 : searched;
            }
        }
    }

    /// <summary>Splits a record without its line end; null, or what is wrong with it.</summary>
    public string? Split(ReadOnlyMemory<byte> record)
    {
        _fields.Clear();
        _unquotedLength = 0;
        if (_unquoted.Length < record.Length)
        {
            _unquoted = new byte[Math.Max(record.Length, _unquoted.Length * 2)];
        }

        int position = 0;
        while (true)
        {
            ReadOnlySpan<byte> rest = record.Span[position..];
            int end;
            if (!rest.IsEmpty && rest[0] == '"')
            {
                end = Unquote(rest);
                if (end < 0)
                {
                    return $"field {Count + 1} goes on behind its closing quote; a quote inside a quoted field is doubled (\"\")";
                }
            }
            else
            {
                end = rest.IndexOfAny(CommaOrQuote);
                if (end >= 0 && rest[end] == '"')
                {
                    return $"field {Count + 1} has a quote in its middle; a field with quotes stands in quotes, with each doubled (\"\")";
                }

                end = end < 0 ? rest.Length : end;
                _fields.Add(record.Slice(position, end));
            }

            position += end;
            if (position == record.Length)
            {
                return null;
            }

            position++;
        }
    }

    /// <summary>Copies a quoted field without its quotes; where it ends, or -1 if neither comma nor end follows.</summary>
    private int Unquote(ReadOnlySpan<byte> rest)
    {
        int start = _unquotedLength;
        int position = 1;
        while (true)
        {
            int quote = rest[position..].IndexOf((byte)'"');
            if (quote < 0)
            {
                return -1;
            }

            rest.Slice(position, quote).CopyTo(_unquoted.AsSpan(_unquotedLength));
            _unquotedLength += quote;
            position += quote + 1;
            if (position == rest.Length || rest[position] == ',')
            {
                _fields.Add(_unquoted.AsMemory(start, _unquotedLength - start));
                return position;
            }

            if (rest[position] != '"')
            {
                return -1;
            }

            _unquoted[_unquotedLength++] = (byte)'"';
            position++;
        }
    }
}
