using System.Text;

namespace KeyVa.Cli.Transfer;

/// <summary>What <see cref="RecordReader.Read"/> found.</summary>
internal enum ReadOutcome
{
    /// <summary>A record: see its properties.</summary>
    Record,

    /// <summary>Something that is no record: see <see cref="RecordReader.Problem"/>. Reading may go on behind it.</summary>
    Bad,

    /// <summary>The end of the input.</summary>
    End,
}

/// <summary>The formats that can be imported and exported.</summary>
internal enum TransferFormat
{
    /// <summary>One JSON object per line.</summary>
    JsonLines,

    /// <summary>Comma-separated values, RFC 4180, with a header.</summary>
    Csv,
}

/// <summary>Where key and value of foreign records are; null: the fields that an export writes.</summary>
internal readonly record struct FieldNames(string? Key, string? Value);

/// <summary>
/// Reads records from an input of any length, one at a time, without allocating for each. One thread. Memory of a record
/// is valid until the next <see cref="Read"/>.
/// </summary>
internal abstract class RecordReader : IDisposable
{
    protected RecordReader(InputBuffer input) => Input = input;

    public ReadOnlyMemory<byte> Key { get; protected set; }

    public ReadOnlyMemory<byte> Value { get; protected set; }

    /// <summary>Milliseconds since 1970-01-01 UTC; 0: never.</summary>
    public long ExpiresAt { get; protected set; }

    /// <summary>The line on which the last record or problem begins, from 1.</summary>
    public long Line { get; protected set; }

    /// <summary>Where the last record or problem begins in the input.</summary>
    public long RecordOffset { get; protected set; }

    /// <summary>Whether the last record or problem is cut off by the end of the input: no line end stands behind it.</summary>
    public bool IsTorn { get; protected set; }

    /// <summary>What is wrong with the last line, for a person.</summary>
    public string Problem { get; protected set; } = "";

    /// <summary>Where the next record begins, and the line it is on.</summary>
    public long Offset => Input.Offset;

    /// <summary>The line on which the next record begins.</summary>
    public long NextLine { get; protected set; } = 1;

    protected InputBuffer Input { get; set; }

    /// <summary>The next record, problem or end.</summary>
    public abstract ReadOutcome Read();

    /// <summary>
    /// Opens an input. With a position, reading goes on there; the stream must then be able to seek, as formats with a
    /// header read that first.
    /// </summary>
    public static RecordReader Open(Stream stream, TransferFormat format, FieldNames fields, long offset = 0, long line = 1) =>
        format == TransferFormat.Csv
            ? new CsvReader(stream, fields, offset, line)
            : new JsonLinesReader(stream, fields, offset, line);

    /// <summary>Gives buffers back; the input stays open.</summary>
    public abstract void Dispose();

    protected ReadOutcome Bad(string problem)
    {
        Problem = problem;
        return ReadOutcome.Bad;
    }

    /// <summary>Takes a byte order mark off the front of the input.</summary>
    protected void SkipByteOrderMark()
    {
        ReadOnlySpan<byte> mark = Encoding.UTF8.Preamble;
        while (Input.UnreadSpan.Length < mark.Length && Input.Fill())
        {
        }

        if (Input.UnreadSpan.StartsWith(mark))
        {
            Input.Take(mark.Length);
        }
    }
}
