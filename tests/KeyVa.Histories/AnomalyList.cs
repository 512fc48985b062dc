namespace KeyVa.Histories;

/// <summary>The anomalies found, at most <see cref="MostOfAKind"/> of each name. Not thread-safe.</summary>
internal sealed class AnomalyList(ListHistory history)
{
    public const int MostOfAKind = 8;

    private readonly Dictionary<(AnomalyKind, CycleOrder, ConsistencyModel), int> _counts = [];

    public List<Anomaly> Found { get; } = [];

    /// <summary>How many there were, with those that were not kept.</summary>
    public int Total { get; private set; }

    /// <summary>The levels that are violated, as bits.</summary>
    public int Violated { get; private set; }

    public void Add(Anomaly anomaly)
    {
        Total++;
        Violated |= IsolationLevels.AndStronger(anomaly.Violates);
        (AnomalyKind, CycleOrder, ConsistencyModel) name = (anomaly.Kind, anomaly.Order, anomaly.Violates);
        int count = _counts[name] = _counts.GetValueOrDefault(name) + 1;
        if (count <= MostOfAKind)
        {
            Found.Add(anomaly);
        }
    }

    /// <summary>A transaction as a line of an explanation.</summary>
    public string Row(int t) => $"    T{t} = {history.Transactions[t]}\n";
}
