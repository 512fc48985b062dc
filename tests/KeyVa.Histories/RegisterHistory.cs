namespace KeyVa.Histories;

/// <summary>
/// Operations on registers, in the order of their invocations. Immutable. As text (see <see cref="HistoryText"/> for what
/// stands before the key):
/// <code>
/// 0 120 340 ok k5 read 7          1 130 350 ok k5 cas 7 8 yes         2 140 - unknown k5 remove ?
/// 0 360 380 ok k5 read -          1 390 400 ok k5 write 9             a - is the value of what is not there
/// </code>
/// </summary>
public sealed class RegisterHistory
{
    private const string Kind = "registers";

    public RegisterHistory(IEnumerable<RegisterOperation> operations)
    {
        Operations = [.. operations.OrderBy(static one => one.Invoked)];
        foreach (RegisterOperation one in Operations)
        {
            if (one.Completed < one.Invoked || (one.Completed == RegisterOperation.Never) != (one.Outcome == Outcome.Unknown))
            {
                throw new ArgumentException($"process {one.Process}, {one.Describe()}: ends before it begins, or its outcome does not go with its end", nameof(operations));
            }
        }
    }

    public IReadOnlyList<RegisterOperation> Operations { get; }

    /// <summary>Reads what <see cref="Write"/> wrote; <see cref="FormatException"/> names the line.</summary>
    public static RegisterHistory Parse(TextReader reader) => new(HistoryText.Read(reader, Kind).Select(static line => Parse(line.Line, line.Fields)));

    /// <summary>Reads what <see cref="ToString"/> gave.</summary>
    public static RegisterHistory Parse(string text) => Parse(new StringReader(text));

    public void Write(TextWriter writer)
    {
        writer.Write(HistoryText.Head(Kind) + "\n");
        foreach (RegisterOperation one in Operations)
        {
            writer.Write($"{one.Process} {HistoryText.Time(one.Invoked)} {HistoryText.Time(one.Completed)} {HistoryText.Text(one.Outcome)} k{one.Key} {one.Describe()}\n");
        }
    }

    public override string ToString()
    {
        StringWriter writer = new();
        Write(writer);
        return writer.ToString();
    }

    private static RegisterOperation Parse(int line, string[] fields)
    {
        if (fields.Length < 7 || fields[4][0] != 'k')
        {
            throw new FormatException($"line {line}: expected a key and an operation");
        }

        Outcome outcome = HistoryText.ParseOutcome(fields[3], line);
        RegisterOperation bare = new()
        {
            Process = HistoryText.Number(fields[0], line),
            Invoked = HistoryText.ParseTime(fields[1], line),
            Completed = HistoryText.ParseTime(fields[2], line),
            Outcome = outcome,
            Key = HistoryText.Number(fields[4][1..], line),
            Action = RegisterAction.Read,
        };
        return (fields[5], fields.Length) switch
        {
            ("read", 7) => outcome == Outcome.Ok ? bare with { Value = Value(fields[6], line) } : bare,
            ("write", 7) => bare with { Action = RegisterAction.Write, Value = Value(fields[6], line) },
            ("cas", 9) => bare with { Action = RegisterAction.CompareAndSet, Expected = Value(fields[6], line), Value = Value(fields[7], line), Held = Held(fields[8], line) },
            ("remove", 7) => bare with { Action = RegisterAction.Remove, Held = Held(fields[6], line) },
            _ => throw new FormatException($"line {line}: '{fields[5]}' with {fields.Length - 6} arguments is no operation"),
        };
    }

    private static int? Value(string text, int line) => text == "-" ? null : HistoryText.Number(text, line);

    private static bool? Held(string text, int line) => text switch
    {
        "yes" => true,
        "no" => false,
        "?" => null,
        _ => throw new FormatException($"line {line}: '{text}' is neither yes, no nor ?"),
    };
}
