using KeyVa.Indexes;

namespace KeyVa.Measurements;

/// <summary>The metrics of secondary indexes, by index. Stateless.</summary>
internal static class IndexMetrics
{
    internal static void Add(List<Metric> list, IReadOnlyList<IndexInfo> indexes)
    {
        Add(list, indexes, "keyva_index_ready", "1 if the index answers queries, 0 while it is being filled or removed.", static index => index.State == IndexState.Ready ? 1 : 0);
        Add(list, indexes, "keyva_index_filled_records", "Records that the filling has been through; 0 if it was filled before the start.", static index => index.FilledRecords);
        Add(list, indexes, "keyva_index_total_records", "Records that a filling goes through, estimated.", static index => index.TotalRecords);
        Add(list, indexes, "keyva_index_entries", "Entries, estimated.", static index => index.Entries);
        Add(list, indexes, "keyva_index_storage_bytes", "Bytes of its files.", static index => index.StorageBytes);
        Add(list, indexes, "keyva_index_unindexed_records", "Records that it cannot read and that are in none of its answers; counted up to 10,000.", static index => index.Unindexed);
    }

    private static void Add(List<Metric> list, IReadOnlyList<IndexInfo> indexes, string name, string help, Func<IndexInfo, double> value)
    {
        MetricFamily family = new(name, MetricKind.Gauge, help);
        foreach (IndexInfo index in indexes)
        {
            list.Add(new Metric(family, value(index), [new("index", index.Definition.Name)]));
        }
    }
}
