namespace KeyVa.Engines.Lsm;

/// <summary>A level below the first: tables in key order that do not overlap. Immutable.</summary>
internal sealed unsafe class Level
{
    public static readonly Level Empty = new([]);

    private readonly ulong[] _largestHeads;

    /// <summary>Takes tables that are in order.</summary>
    public Level(SsTable[] tables)
    {
        Tables = tables;
        WithEntries = SsTable.WithEntries(tables);
        _largestHeads = new ulong[tables.Length];
        for (int i = 0; i < tables.Length; i++)
        {
            _largestHeads[i] = tables[i].LargestHead;
            Bytes += tables[i].FileBytes;
        }
    }

    public SsTable[] Tables { get; }

    /// <summary>Those a cursor can stand in.</summary>
    public SsTable[] WithEntries { get; }

    public long Bytes { get; }

    /// <summary>Puts tables in order; throws <see cref="CorruptionException"/> if two overlap.</summary>
    public static Level Sorted(List<SsTable> tables)
    {
        if (tables.Count == 0)
        {
            return Empty;
        }

        tables.Sort((a, b) => KeyOrder.Compare(a.Smallest, b.Smallest));
        for (int i = 1; i < tables.Count; i++)
        {
            if (KeyOrder.Compare(tables[i - 1].Largest, tables[i].Smallest) >= 0)
            {
                throw new CorruptionException(tables[i].Path, 0, $"its keys overlap those of '{tables[i - 1].Path}' on the same level");
            }
        }

        return new Level([.. tables]);
    }

    /// <summary>The one table that may hold the key, or null.</summary>
    public SsTable? Find(byte* key, int keyLength, ulong head)
    {
        ulong[] heads = _largestHeads;
        int low = 0;
        int high = heads.Length;
        while (low < high)
        {
            int middle = (low + high) >> 1;
            bool before = heads[middle] != head ? heads[middle] < head : !Tables[middle].IsAtOrBeforeLargest(key, keyLength, head);
            if (before)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low < heads.Length && Tables[low].IsAtOrBehindSmallest(key, keyLength, head) ? Tables[low] : null;
    }

    /// <summary>The tables that may have keys of [smallest, largest]: a run of the level.</summary>
    public ReadOnlySpan<SsTable> Overlapping(ReadOnlySpan<byte> smallest, ReadOnlySpan<byte> largest)
    {
        int first = FirstEndingAtOrBehind(smallest);
        int end = first;
        int high = Tables.Length;
        while (end < high)
        {
            int middle = (end + high) >> 1;
            if (KeyOrder.Compare(Tables[middle].Smallest, largest) <= 0)
            {
                end = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return Tables.AsSpan(first, end - first);
    }

    /// <summary>The first table whose largest key is at or behind this key; the number of tables if there is none.</summary>
    public int FirstEndingAtOrBehind(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = Tables.Length;
        while (low < high)
        {
            int middle = (low + high) >> 1;
            if (KeyOrder.Compare(Tables[middle].Largest, key) < 0)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }
}
