namespace KeyVa.Histories;

/// <summary>What came out of a check of registers; <see cref="Explanation"/> is for a person, and null if all is well.</summary>
public sealed record LinearizabilityResult(Verdict Verdict, int? Key, string? Explanation, long Configurations);

/// <summary>
/// Checks that a history of registers is linearizable (Herlihy and Wing, 1990): that every operation can be thought of as
/// happening at one instant between its invocation and its answer. Each key is checked by itself, since linearizability
/// is local. Operations that failed did nothing; those with unknown outcome may have happened at any time after they
/// began, or never. Stateless.
/// </summary>
public static class LinearizabilityChecker
{
    /// <summary>Configurations per key, at about 40 bytes each, before a search gives up.</summary>
    public const int DefaultMaxConfigurations = 4_000_000;

    private const int RowsBefore = 12;

    /// <summary>Checks a history. <paramref name="initial"/>: what registers hold at first; missing ones hold nothing.</summary>
    public static LinearizabilityResult Check(
        RegisterHistory history, IReadOnlyDictionary<int, int>? initial = null, int maxConfigurations = DefaultMaxConfigurations)
    {
        long configurations = 0;
        LinearizabilityResult? undecided = null;
        foreach (IGrouping<int, RegisterOperation> key in history.Operations.GroupBy(static one => one.Key).OrderBy(static key => key.Key))
        {
            RegisterOperation[] operations = [.. key];
            int? first = initial is not null && initial.TryGetValue(key.Key, out int value) ? value : null;
            RegisterSearch search = new(operations, first, maxConfigurations);
            Verdict verdict = search.Run();
            configurations += search.Configurations;
            if (verdict == Verdict.Violated)
            {
                string explanation = Explain(key.Key, operations, first, maxConfigurations);
                return new LinearizabilityResult(verdict, key.Key, explanation, configurations);
            }

            if (verdict == Verdict.Undecided)
            {
                undecided ??= new LinearizabilityResult(
                    verdict, key.Key, $"key {key.Key}: undecided after {search.Configurations} configurations of {operations.Length} operations; make rounds shorter or workers fewer", 0);
            }
        }

        return undecided is null
            ? new LinearizabilityResult(Verdict.Holds, null, null, configurations)
            : undecided with { Configurations = configurations };
    }

    /// <summary>
    /// A history that is cut off at any time stays linearizable if it was (what is then under way has an unknown outcome). So there is
    /// a first answer that breaks it, and nothing after that matters.
    /// </summary>
    private static string Explain(int key, RegisterOperation[] operations, int? first, int maxConfigurations)
    {
        long[] ends = [.. operations.Where(static one => one.Outcome == Outcome.Ok).Select(static one => one.Completed).Order()];
        (int low, int high) = (0, ends.Length - 1);
        while (low < high)
        {
            int middle = (low + high) / 2;
            bool fails = new RegisterSearch(Until(operations, ends[middle]), first, maxConfigurations).Run() == Verdict.Violated;
            (low, high) = fails ? (low, middle) : (middle + 1, high);
        }

        long end = ends[high];
        RegisterOperation[] prefix = [.. Until(operations, end)];
        RegisterSearch search = new(prefix, first, maxConfigurations);
        search.Run();
        int deepest = search.Deepest;
        search = new(prefix, first, maxConfigurations);
        search.Run(deepest);
        return Table(key, prefix, end, search);
    }

    private static IEnumerable<RegisterOperation> Until(IEnumerable<RegisterOperation> operations, long end) => operations
        .Where(one => one.Invoked <= end)
        .Select(one => one.Outcome == Outcome.Ok && one.Completed > end
            ? one with { Outcome = Outcome.Unknown, Completed = RegisterOperation.Never, Held = null, Value = one.Action == RegisterAction.Read ? null : one.Value }
            : one);

    private static string Table(int key, RegisterOperation[] prefix, long end, RegisterSearch search)
    {
        StringWriter text = new();
        int known = prefix.Count(static one => one.Outcome == Outcome.Ok);
        int placed = search.Longest.Count(static one => one.Outcome == Outcome.Ok);
        text.Write($"key {key} is not linearizable: no order explains the {known} operations that ended up to {end}.\n");
        text.Write($"The longest order found holds {placed} of them");
        int skipped = Math.Max(0, search.Longest.Count - RowsBefore);
        text.Write(skipped > 0 ? $"; its last {RowsBefore}:\n" : ":\n");
        int? state = null;
        foreach (RegisterOperation one in search.Longest.Skip(skipped))
        {
            RegisterSearch.TryApply(one, state, out state);
            Row(text, "  ", one, "");
        }

        text.Write($"Then the register holds {RegisterOperation.Text(search.LongestState)}, and one of these must come next:\n");
        foreach (RegisterOperation one in search.Stuck)
        {
            bool fits = RegisterSearch.TryApply(one, search.LongestState, out _);
            Row(text, "? ", one, fits ? "fits here, but leaves no way on" : "does not fit");
        }

        RegisterOperation[] idle = [.. prefix.Where(one => one.Outcome == Outcome.Unknown && one.Action != RegisterAction.Read && !search.Longest.Contains(one))];
        if (idle.Length > 0)
        {
            text.Write("Not in the order, outcome unknown at that time:\n");
            foreach (RegisterOperation one in idle.TakeLast(RowsBefore))
            {
                Row(text, "  ", one, "");
            }
        }

        return text.ToString();
    }

    private static void Row(StringWriter text, string mark, in RegisterOperation one, string note)
    {
        string line = $"  {mark}{HistoryText.Span(one.Invoked, one.Completed),-24} p{one.Process,-4} {one.Describe(),-18} {note}";
        text.Write(line.TrimEnd() + "\n");
    }
}
