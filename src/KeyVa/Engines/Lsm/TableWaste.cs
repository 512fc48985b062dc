namespace KeyVa.Engines.Lsm;

/// <summary>How much of a table is tombstones and expired entries, as far as its properties tell.</summary>
internal static class TableWaste
{
    /// <summary>A table is compacted when about this share of its entries has expired: one in four.</summary>
    private const int ExpiredShare = 4;

    /// <summary>A table below level 0 is compacted when this share of its entries are tombstones: one in two.</summary>
    private const int TombstoneShare = 2;

    /// <summary>A table with that many tombstones counts as so many times its bytes: it frees others' as well.</summary>
    private const int TombstoneWeight = 4;

    /// <summary>Whether so many entries are tombstones that the table goes before others of its level.</summary>
    public static bool IsHeavy(TableProperties properties) => properties.Tombstones * TombstoneShare >= properties.Entries;

    /// <summary>What the table counts in its level's score.</summary>
    public static long WeightedBytes(SsTable table) => table.FileBytes * (IsHeavy(table.Properties) ? TombstoneWeight : 1);

    /// <summary>The share of entries that a compaction would free, above 0 if that is worth it; 0 if the horizon keeps the table as it is.</summary>
    public static double Share(TableProperties properties, Horizon horizon, int level)
    {
        // Entries above the horizon stay whatever they are: the table would be rewritten for nothing.
        if (properties.MaxVersion > horizon.Version)
        {
            return 0;
        }

        // Range tombstones go down too: as long as there are some, every read looks at them.
        double ranges = level > 0 ? properties.RangeTombstones : 0;
        bool removed = level > 0 && IsHeavy(properties);
        bool expired = ExpiryDueAt(properties) <= horizon.Stamp;
        double share = ranges + (removed ? properties.Tombstones : 0) + (expired ? (double)properties.Expiring : 0);
        return share / Math.Max(1, properties.Entries);
    }

    /// <summary>When so much of some table will have expired that a compaction is worth it; MaxValue if none expires.</summary>
    public static long ExpiryDueAt(Superversion superversion)
    {
        long due = long.MaxValue;
        foreach (SsTable table in superversion.Tables)
        {
            due = Math.Min(due, ExpiryDueAt(table.Properties));
        }

        return due;
    }

    private static long ExpiryDueAt(TableProperties properties)
    {
        if (properties.Expiring == 0 || properties.Expiring * ExpiredShare < properties.Entries)
        {
            return long.MaxValue;
        }

        // As if the expiries were spread evenly between the first and the last.
        double share = (double)properties.Entries / ExpiredShare / properties.Expiring;
        return properties.SmallestExpiry + (long)((properties.LargestExpiry - properties.SmallestExpiry) * share);
    }
}
