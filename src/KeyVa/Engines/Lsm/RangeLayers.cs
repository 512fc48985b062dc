namespace KeyVa.Engines.Lsm;

/// <summary>How range tombstones hide an entry from a cursor.</summary>
internal enum Cover
{
    None,

    /// <summary>By one in the entry's own memtable or level: what lies beside it may be newer.</summary>
    Same,

    /// <summary>By one in something newer: so is everything else of the piece, in all that is older than that.</summary>
    Newer,
}

/// <summary>
/// What range tombstones hide from a cursor: a layer for each memtable, table of level 0 and level that has some, newest
/// first, numbered as the sources are (<see cref="MergeSource.Ordinal"/>). One thread.
/// </summary>
/// <remarks>
/// A piece that a newer layer covers is passed over with one seek of the older sources, and not entry by entry; the
/// newer sources and the layer's own go on step by step, since they may hold entries that were written after the removal.
/// </remarks>
internal sealed class RangeLayers
{
    private readonly RangeLayer[] _layers;

    private RangeLayers(RangeLayer[] layers) => _layers = layers;

    /// <summary>The layer that covers the entry last asked for, if it was <see cref="Cover.Newer"/>.</summary>
    public RangeLayer? Found { get; private set; }

    /// <summary>Null if no range was removed. The caller has pinned the superversion.</summary>
    public static RangeLayers? Of(Superversion superversion, long at)
    {
        RangeTombstoneRuns? active = superversion.Active.Ranges;
        if (active is null && !superversion.HasRanges)
        {
            return null;
        }

        List<RangeLayer> layers = [];
        int ordinal = 0;
        Add(layers, ordinal++, active is null ? [] : [active.Merged], at);
        foreach (Memtable memtable in superversion.Immutables)
        {
            Add(layers, ordinal++, memtable.Ranges is { } ranges ? [ranges.Merged] : [], at);
        }

        foreach (SsTable table in superversion.Level0)
        {
            Add(layers, ordinal++, table.Ranges is { } ranges ? [ranges] : [], at);
        }

        for (int level = 1; level <= superversion.DeepestLevel; level++)
        {
            Add(layers, ordinal++, [.. superversion.Deeper[level].Tables.Where(table => table.HasRanges).Select(table => table.Ranges!)], at);
        }

        return new RangeLayers([.. layers]);
    }

    public Cover Covers(MergeSource entry)
    {
        foreach (RangeLayer layer in _layers)
        {
            if (layer.Ordinal > entry.Ordinal)
            {
                break;
            }

            long removed = layer.Covering(entry.KeySpan);
            if (removed > 0 && layer.Ordinal < entry.Ordinal)
            {
                Found = layer;
                return Cover.Newer;
            }

            if (removed > entry.Version)
            {
                return Cover.Same;
            }
        }

        return Cover.None;
    }

    private static void Add(List<RangeLayer> layers, int ordinal, RangeTombstones[] parts, long at)
    {
        if (parts.Length > 0)
        {
            layers.Add(new RangeLayer(ordinal, parts, at));
        }
    }
}

/// <summary>
/// The range tombstones of one source, in parts that follow one another. It keeps its place, since a cursor asks for
/// neighbouring keys. One thread.
/// </summary>
internal sealed class RangeLayer(int ordinal, RangeTombstones[] parts, long at)
{
    // The first fragment that ends behind the key last asked for; the part is parts.Length where there is none.
    private int _part = -1;
    private int _fragment;

    public int Ordinal => ordinal;

    /// <summary>Where the covered piece begins in which the key last asked for lies.</summary>
    public ReadOnlySpan<byte> Start
    {
        get
        {
            int part = _part;
            int fragment = _fragment;
            ReadOnlySpan<byte> start = parts[part].Start(fragment);
            while (TryBefore(ref part, ref fragment) && parts[part].End(fragment).SequenceEqual(start) && parts[part].NewestAt(fragment, at) > 0)
            {
                start = parts[part].Start(fragment);
            }

            return start;
        }
    }

    /// <summary>Where that piece ends.</summary>
    public ReadOnlySpan<byte> End
    {
        get
        {
            int part = _part;
            int fragment = _fragment;
            ReadOnlySpan<byte> end = parts[part].End(fragment);
            while (TryBehind(ref part, ref fragment) && parts[part].Start(fragment).SequenceEqual(end) && parts[part].NewestAt(fragment, at) > 0)
            {
                end = parts[part].End(fragment);
            }

            return end;
        }
    }

    /// <summary>The newest version, among those the cursor sees, at which a range with the key was removed; 0 if there is none.</summary>
    public long Covering(ReadOnlySpan<byte> key)
    {
        if (!IsPlaceOf(key))
        {
            Place(key);
        }

        return _part < parts.Length && KeyOrder.Compare(parts[_part].Start(_fragment), key) <= 0 ? parts[_part].NewestAt(_fragment, at) : 0;
    }

    private bool IsPlaceOf(ReadOnlySpan<byte> key)
    {
        if (_part < 0 || (_part < parts.Length && KeyOrder.Compare(parts[_part].End(_fragment), key) <= 0))
        {
            return false;
        }

        int part = _part;
        int fragment = _fragment;
        return !TryBefore(ref part, ref fragment) || KeyOrder.Compare(parts[part].End(fragment), key) <= 0;
    }

    private void Place(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = parts.Length;
        while (low < high)
        {
            int middle = (low + high) >> 1;
            if (KeyOrder.Compare(parts[middle].Last, key) <= 0)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        _part = low;
        _fragment = low < parts.Length ? parts[low].Find(key) : 0;
    }

    private bool TryBefore(ref int part, ref int fragment)
    {
        if (fragment > 0)
        {
            fragment--;
            return true;
        }

        if (part == 0)
        {
            return false;
        }

        fragment = parts[--part].Count - 1;
        return true;
    }

    private bool TryBehind(ref int part, ref int fragment)
    {
        if (++fragment < parts[part].Count)
        {
            return true;
        }

        fragment = 0;
        return ++part < parts.Length;
    }
}
