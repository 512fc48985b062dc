using System.Globalization;

namespace KeyVa.Histories;

/// <summary>
/// What the text files of all histories have in common. The first line names kind and version; then one line per
/// operation, its fields parted by a blank:
/// <code>
/// process invoked completed outcome ...       completed: - if unknown; outcome: ok, fail, unknown
/// </code>
/// Empty lines and lines that begin with # are passed over.
/// </summary>
internal static class HistoryText
{
    public static string Head(string kind) => $"keyva-history {kind} 1";

    public static string Text(Outcome outcome) => outcome switch
    {
        Outcome.Ok => "ok",
        Outcome.Fail => "fail",
        _ => "unknown",
    };

    public static string Time(long time) =>
        time == RegisterOperation.Never ? "-" : time.ToString(CultureInfo.InvariantCulture);

    public static string Span(long invoked, long completed) => $"{Time(invoked)}..{(completed == RegisterOperation.Never ? "?" : Time(completed))}";

    /// <summary>The lines behind the head, by number, split into fields; <see cref="FormatException"/> if the head is another.</summary>
    public static IEnumerable<(int Line, string[] Fields)> Read(TextReader reader, string kind)
    {
        string? head = reader.ReadLine();
        if (head != Head(kind))
        {
            throw new FormatException($"the first line is '{head}'; expected '{Head(kind)}'");
        }

        for (int number = 2; reader.ReadLine() is { } line; number++)
        {
            if (line.Length > 0 && line[0] != '#')
            {
                string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (fields.Length < 5)
                {
                    throw new FormatException($"line {number}: '{line}' has {fields.Length} fields");
                }

                yield return (number, fields);
            }
        }
    }

    public static int Number(string text, int line) =>
        int.TryParse(text, CultureInfo.InvariantCulture, out int number) ? number : throw new FormatException($"line {line}: '{text}' is no number");

    public static long ParseTime(string text, int line) =>
        text == "-" ? RegisterOperation.Never
        : long.TryParse(text, CultureInfo.InvariantCulture, out long time) ? time
        : throw new FormatException($"line {line}: '{text}' is no time");

    public static Outcome ParseOutcome(string text, int line) => text switch
    {
        "ok" => Outcome.Ok,
        "fail" => Outcome.Fail,
        "unknown" => Outcome.Unknown,
        _ => throw new FormatException($"line {line}: '{text}' is no outcome"),
    };
}
