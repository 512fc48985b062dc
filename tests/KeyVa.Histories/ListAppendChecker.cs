namespace KeyVa.Histories;

/// <summary>How a history of lists came to be.</summary>
public sealed record ListAppendOptions
{
    /// <summary>
    /// Clients append by reading a list and writing a longer one back. Then lost updates, which read committed allows, make
    /// appends vanish, and that is not held against read uncommitted and read committed. From snapshot isolation on it makes
    /// no difference. Default: false, an append is one operation of the store.
    /// </summary>
    public bool AppendsMayOverwrite { get; init; }

    /// <summary>Judge the strong session levels too. Default: true.</summary>
    public bool ProcessOrder { get; init; } = true;

    /// <summary>Judge the strong levels and strict serializability too. Default: true.</summary>
    public bool RealTime { get; init; } = true;
}

/// <summary>What came out of a check of lists. Immutable.</summary>
public sealed class ListAppendResult
{
    private readonly int _violated;

    internal ListAppendResult(IReadOnlyList<Anomaly> anomalies, int violated, int total, int transactions)
    {
        Anomalies = anomalies;
        _violated = violated;
        Total = total;
        Transactions = transactions;
    }

    /// <summary>The weakest level's violations first; a few of each kind.</summary>
    public IReadOnlyList<Anomaly> Anomalies { get; }

    /// <summary>Anomalies found, with those that <see cref="Anomalies"/> leaves out.</summary>
    public int Total { get; }

    /// <summary>Transactions that counted as committed.</summary>
    public int Transactions { get; }

    /// <summary>
    /// Whether nothing was found that the level forbids. Of a level that was not asked for, whether nothing that makes up its weaker ones was.
    /// </summary>
    public bool Satisfies(ConsistencyModel level) => (_violated & IsolationLevels.Bit(level)) == 0;

    public bool Has(AnomalyKind kind) => Anomalies.Any(one => one.Kind == kind);

    /// <summary>What breaks a level, with everything that a person needs to see it; all anomalies without a level.</summary>
    public string Explain(ConsistencyModel? level = null)
    {
        StringWriter text = new();
        string satisfied = string.Join(", ", Enum.GetValues<ConsistencyModel>().Where(Satisfies));
        text.Write($"{Transactions} committed transactions, {Total} anomalies; satisfies: {(satisfied.Length == 0 ? "nothing" : satisfied)}\n");
        foreach (Anomaly one in Anomalies)
        {
            if (level is not { } asked || (IsolationLevels.AndStronger(one.Violates) & IsolationLevels.Bit(asked)) != 0)
            {
                text.Write($"{one.Name} (forbidden from {one.Violates} on): {one.Text}");
            }
        }

        return text.ToString();
    }
}

/// <summary>
/// Says which isolation levels a history of transactions on lists satisfies, after Elle (Kingsbury and Alvaro, "Elle:
/// Inferring Isolation Anomalies from Experimental Observations", VLDB 2020): since a list shows the order of its appends, reads give
/// away the version order, and with it Adya's dependency graph. Anomalies are cycles of that graph by class, and a few
/// that need none. What is reported is proven by the history; what is not reported may still have happened where nobody
/// read it, so let a run end with reads of all lists. Predicates and ranges are out of scope. Stateless.
/// </summary>
public static class ListAppendChecker
{
    /// <summary>Throws <see cref="ArgumentException"/> if an element is appended to a list twice: then nothing can be inferred.</summary>
    public static ListAppendResult Check(ListHistory history, ListAppendOptions? options = null)
    {
        options ??= new ListAppendOptions();
        AnomalyList anomalies = new(history);
        ListIndex index = new(history, anomalies);
        DependencyGraph graph = new(index, anomalies, options.AppendsMayOverwrite);
        new CycleSearch(index, anomalies, options.AppendsMayOverwrite, CycleOrder.None, graph.Data).Run(IsolationLevels.AndStronger(ConsistencyModel.ReadUncommitted));
        int left = Left(anomalies.Violated, ConsistencyModel.SnapshotIsolation, ConsistencyModel.Serializable);
        if (options.ProcessOrder && left != 0)
        {
            new CycleSearch(index, anomalies, options.AppendsMayOverwrite, CycleOrder.Process, graph.Data, graph.ProcessOrder()).Run(left);
            left &= Left(anomalies.Violated, ConsistencyModel.StrongSessionSnapshotIsolation, ConsistencyModel.StrongSessionSerializable);
        }

        if (options.RealTime && left != 0)
        {
            new CycleSearch(index, anomalies, options.AppendsMayOverwrite, CycleOrder.RealTime, graph.Data, graph.RealTimeOrder()).Run(left);
        }

        return new ListAppendResult(
            [.. anomalies.Found.OrderBy(static one => one.Violates).ThenBy(static one => one.Transactions.Count)],
            anomalies.Violated,
            anomalies.Total,
            index.IsCommitted.Count(static one => one));
    }

    /// <summary>
    /// The classes of cycles to look for with more edges, named by the levels that forbid them: none where a snapshot level is
    /// violated without them, since all stronger ones are then too; no G2-item where the serializable one is. So
    /// each cycle that is found with more edges needs one of them.
    /// </summary>
    private static int Left(int violated, ConsistencyModel snapshot, ConsistencyModel serializable)
    {
        int all = IsolationLevels.AndStronger(ConsistencyModel.ReadUncommitted);
        return (violated & IsolationLevels.Bit(snapshot)) != 0 ? 0
            : (violated & IsolationLevels.Bit(serializable)) != 0 ? all & ~IsolationLevels.Bit(ConsistencyModel.Serializable)
            : all;
    }
}
