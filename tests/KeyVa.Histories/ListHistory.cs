namespace KeyVa.Histories;

/// <summary>
/// Transactions on lists, in the order in which they began. Immutable. As text (see <see cref="HistoryText"/> for what
/// stands before the operations):
/// <code>
/// 0 120 340 ok a5:17 r6:1,2,3        append 17 to list 5, read list 6 as 1, 2, 3
/// 1 130 350 fail r5: a6:18           read list 5 as empty; aborted
/// 2 140 - unknown r5:?               a read without an answer; nobody knows how the transaction ended
/// </code>
/// </summary>
public sealed class ListHistory
{
    private const string Kind = "lists";

    public ListHistory(IEnumerable<ListTransaction> transactions)
    {
        Transactions = [.. transactions.OrderBy(static one => one.Invoked)];
        foreach (ListTransaction one in Transactions)
        {
            if (one.Completed < one.Invoked || (one.Completed == RegisterOperation.Never) != (one.Outcome == Outcome.Unknown))
            {
                throw new ArgumentException($"{one}: ends before it begins, or its outcome does not go with its end", nameof(transactions));
            }
        }
    }

    /// <summary>A transaction's place here is its name (T0, T1, ...) in everything that is said about the history.</summary>
    public IReadOnlyList<ListTransaction> Transactions { get; }

    /// <summary>Reads what <see cref="Write"/> wrote; <see cref="FormatException"/> names the line.</summary>
    public static ListHistory Parse(TextReader reader) => new(HistoryText.Read(reader, Kind).Select(static line => new ListTransaction
    {
        Process = HistoryText.Number(line.Fields[0], line.Line),
        Invoked = HistoryText.ParseTime(line.Fields[1], line.Line),
        Completed = HistoryText.ParseTime(line.Fields[2], line.Line),
        Outcome = HistoryText.ParseOutcome(line.Fields[3], line.Line),
        Operations = line.Fields[4] == "-" ? [] : [.. line.Fields.Skip(4).Select(field => Operation(field, line.Line))],
    }));

    /// <summary>Reads what <see cref="ToString"/> gave.</summary>
    public static ListHistory Parse(string text) => Parse(new StringReader(text));

    public void Write(TextWriter writer)
    {
        writer.Write(HistoryText.Head(Kind) + "\n");
        foreach (ListTransaction one in Transactions)
        {
            writer.Write($"{one.Process} {HistoryText.Time(one.Invoked)} {HistoryText.Time(one.Completed)} {HistoryText.Text(one.Outcome)}");
            foreach (ListOperation operation in one.Operations)
            {
                writer.Write(operation.IsAppend
                    ? $" a{operation.Key}:{operation.Value}"
                    : $" r{operation.Key}:{(operation.List is { } list ? string.Join(',', list) : "?")}");
            }

            // A line without operations would be too short to be read.
            writer.Write(one.Operations.Count == 0 ? " -\n" : "\n");
        }
    }

    public override string ToString()
    {
        StringWriter writer = new();
        Write(writer);
        return writer.ToString();
    }

    private static ListOperation Operation(string field, int line)
    {
        int colon = field.IndexOf(':', StringComparison.Ordinal);
        if (colon < 2 || field[0] is not ('a' or 'r'))
        {
            throw new FormatException($"line {line}: '{field}' is no operation on a list");
        }

        int key = HistoryText.Number(field[1..colon], line);
        string rest = field[(colon + 1)..];
        return field[0] == 'a' ? ListOperation.Append(key, HistoryText.Number(rest, line)) : ListOperation.Read(key, rest switch
        {
            "?" => null,
            "" => [],
            _ => [.. rest.Split(',').Select(one => HistoryText.Number(one, line))],
        });
    }
}
