namespace KeyVa.Histories;

/// <summary>
/// One operation of a transaction on lists: append <see cref="Value"/> to the list of <see cref="Key"/>, or read it.
/// <see cref="List"/> is what was read; null for an append, and for a read that got no answer.
/// </summary>
public readonly record struct ListOperation(bool IsAppend, int Key, int Value, int[]? List)
{
    /// <summary>More elements than this are not written out for people.</summary>
    private const int MostElements = 12;

    public static ListOperation Append(int key, int value) => new(true, key, value, null);

    public static ListOperation Read(int key, int[]? list) => new(false, key, 0, list);

    /// <summary>For people: long lists are cut at the front.</summary>
    public override string ToString() => IsAppend ? $"a{Key}:{Value}" : $"r{Key}:{(List is null ? "?" : Text(List))}";

    internal static string Text(ReadOnlySpan<int> list) =>
        list.Length <= MostElements ? $"[{string.Join(' ', list.ToArray())}]" : $"[..{list.Length - MostElements} more.. {string.Join(' ', list[^MostElements..].ToArray())}]";
}

/// <summary>A transaction as its client saw it. Immutable; the arrays must not be changed.</summary>
public sealed record ListTransaction
{
    public required int Process { get; init; }

    /// <summary>When it began.</summary>
    public required long Invoked { get; init; }

    /// <summary>When its end was known; <see cref="RegisterOperation.Never"/> if the outcome is unknown.</summary>
    public required long Completed { get; init; }

    /// <summary>Committed, aborted, or unknown.</summary>
    public required Outcome Outcome { get; init; }

    public required IReadOnlyList<ListOperation> Operations { get; init; }

    public override string ToString() =>
        $"p{Process} {HistoryText.Span(Invoked, Completed)} {HistoryText.Text(Outcome)} {string.Join(' ', Operations)}";
}
