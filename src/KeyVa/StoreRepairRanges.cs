using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa;

/// <summary>Finds out which range a partition had, from its keys, where the catalog is lost. Stateless.</summary>
internal static class StoreRepairRanges
{
    /// <summary>
    /// Each partition from its first key to the next one's first key; the first from the beginning, the last to the end.
    /// Partitions without keys are left out, and so is one whose keys lie among another's.
    /// </summary>
    public static IReadOnlyList<PartitionDefinition> Infer(IReadOnlyCollection<RepairedPartition> partitions, RepairLog log)
    {
        var bounds = new List<(RepairedPartition Partition, byte[] First, byte[] Last)>();
        foreach (RepairedPartition partition in partitions)
        {
            if (Bounds(partition.Engine) is { } found)
            {
                bounds.Add((partition, found.First, found.Last));
            }
            else if (partitions.Count > 1)
            {
                log.Notes.Add($"partition {partition.Definition.Id} holds no key and was left out");
            }
            else
            {
                bounds.Add((partition, [], []));
            }
        }

        bounds.Sort(static (a, b) => a.First.AsSpan().SequenceCompareTo(b.First));
        var definitions = new List<PartitionDefinition>();
        for (int i = 0; i < bounds.Count; i++)
        {
            (RepairedPartition partition, byte[] first, byte[] last) = bounds[i];
            byte[] next = i + 1 < bounds.Count ? bounds[i + 1].First : [];
            if (next.Length > 0 && last.AsSpan().SequenceCompareTo(next) >= 0)
            {
                log.Lose("CATALOG", 0, $"partition {partition.Definition.Id}: its keys overlap those of partition {bounds[i + 1].Partition.Definition.Id}; it was left out");
                continue;
            }

            byte[] from = definitions.Count == 0 ? [] : first;
            definitions.Add(partition.Definition with { Range = new KeyRange(from, next) });
            log.Notes.Add($"partition {partition.Definition.Id}: its range was taken from its keys");
        }

        return definitions;
    }

    private static (byte[] First, byte[] Last)? Bounds(Engine engine)
    {
        byte[]? first = null;
        byte[]? last = null;
        using EngineCursor cursor = engine.OpenCursor(default, default, engine.VisibleVersion, reverse: false);
        while (cursor.MoveNext())
        {
            if (first is null || cursor.Key.SequenceCompareTo(first) < 0)
            {
                first = cursor.Key.ToArray();
            }

            if (last is null || cursor.Key.SequenceCompareTo(last) > 0)
            {
                last = cursor.Key.ToArray();
            }
        }

        return first is null ? null : (first, last!);
    }
}
