namespace KeyVa.Engines.Lsm;

/// <summary>Cuts the keys of a compaction into ranges of about equal bytes, by what the tables' indexes tell. Stateless.</summary>
internal static class KeyBounds
{
    /// <summary>Keys taken from one table's index at most.</summary>
    private const int KeysPerTable = 32;

    /// <summary>Rising keys, each the beginning of a range behind the first; fewer than asked for where keys are few.</summary>
    public static byte[][] Split(Compaction compaction, int ranges)
    {
        List<(byte[] Key, double Bytes)> keys = [];
        foreach (SsTable table in compaction.Inputs)
        {
            TableReader reader = table.PinReader();
            try
            {
                List<byte[]> found = reader.SampleKeys(KeysPerTable);
                keys.AddRange(found.Select(key => (key, (double)table.FileBytes / found.Count)));
            }
            finally
            {
                reader.Unpin();
            }
        }

        keys.Sort(static (a, b) => KeyOrder.Compare(a.Key, b.Key));
        List<byte[]> bounds = [];
        double share = keys.Sum(key => key.Bytes) / ranges;
        double bytes = 0;
        foreach ((byte[] key, double weight) in keys)
        {
            bytes += weight;
            if (bytes >= share * (bounds.Count + 1) && bounds.Count < ranges - 1 && (bounds.Count == 0 || KeyOrder.Compare(bounds[^1], key) < 0))
            {
                bounds.Add(key);
            }
        }

        return [.. bounds];
    }
}
