namespace KeyVa.Histories;

/// <summary>A cycle in words: its transactions, then what makes each edge. Stateless.</summary>
internal static class CycleText
{
    public static string Describe(Dependency[] edges, ListIndex index, AnomalyList anomalies)
    {
        StringWriter text = new();
        text.Write($"a cycle of {edges.Length} transactions: {string.Join(" -> ", edges.Select(static edge => $"T{edge.From}"))} -> T{edges[0].From}\n");
        foreach (Dependency edge in edges)
        {
            text.Write(anomalies.Row(edge.From));
        }

        foreach (Dependency edge in edges)
        {
            text.Write($"    T{edge.From} -{Name(edge.Kind)}-> T{edge.To}: {Because(edge, index)}\n");
        }

        return text.ToString();
    }

    private static string Name(DependencyKind kind) => kind switch
    {
        DependencyKind.Ww => "ww",
        DependencyKind.Wr => "wr",
        DependencyKind.Rw => "rw",
        DependencyKind.Process => "process",
        _ => "realtime",
    };

    private static string Because(in Dependency edge, ListIndex index)
    {
        (ListTransaction from, ListTransaction to) = (index.Transactions[edge.From], index.Transactions[edge.To]);
        return edge.Kind switch
        {
            DependencyKind.Ww when edge.IsUnread => $"T{edge.From} appended {edge.Before} to list {edge.Key}, the last that was ever read; T{edge.To}'s {edge.Element} was not, so it comes later",
            DependencyKind.Ww => $"T{edge.From} appended {edge.Before} to list {edge.Key}, and T{edge.To} {edge.Element} right behind it",
            DependencyKind.Wr => $"T{edge.From} appended {edge.Element} to list {edge.Key}, and T{edge.To} read it last in {Read(to, edge)}",
            DependencyKind.Rw when edge.IsUnread => $"T{edge.From} read list {edge.Key} as {Read(from, edge)}; T{edge.To}'s append of {edge.Element} was never read, so it comes later",
            DependencyKind.Rw => $"T{edge.From} read list {edge.Key} as {Read(from, edge)}, before T{edge.To}'s append of {edge.Element}",
            DependencyKind.Process => $"process {from.Process} did T{edge.From} before T{edge.To}",
            _ => $"T{edge.From} had ended at {from.Completed}, before T{edge.To} began at {to.Invoked}",
        };
    }

    private static string Read(ListTransaction transaction, in Dependency edge) => ListOperation.Text(transaction.Operations[edge.Operation].List);
}
