namespace KeyVa.Engines.Lsm;

/// <summary>Several sets of fragments become one, and what nobody can see any more goes. Stateless.</summary>
internal static class RangeTombstoneMerge
{
    /// <summary>
    /// The fragments of all inputs together. Of the versions of a fragment at or below <paramref name="horizon"/> only
    /// the newest stays: it covers what the others cover, for every reader there is. The newest <paramref name="retained"/>
    /// stay in any case: they may be among as many newest versions of a key.
    /// </summary>
    public static RangeTombstones? Merge(ReadOnlySpan<RangeTombstones> inputs, long horizon, int retained = 0)
    {
        // A sweep from left to right. At each step [left, right) is the next piece in which nothing begins or ends.
        Span<int> next = inputs.Length <= 64 ? stackalloc int[inputs.Length] : new int[inputs.Length];
        next.Clear();
        List<(long Version, long Stamp)> found = [];
        RangeTombstoneBuilder builder = new();
        ReadOnlySpan<byte> left = inputs[0].First;
        foreach (RangeTombstones input in inputs)
        {
            left = KeyOrder.Compare(input.First, left) < 0 ? input.First : left;
        }

        while (TryStep(inputs, next, left, found, out ReadOnlySpan<byte> right))
        {
            if (found.Count > 0)
            {
                Add(builder, left, right, found, horizon, retained);
            }

            left = right;
        }

        return builder.Build();
    }

    /// <summary>The part of the fragments that lies in [from, to); an empty <paramref name="to"/> is open.</summary>
    public static RangeTombstones? Clip(RangeTombstones fragments, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        RangeTombstoneBuilder builder = new();
        for (int i = fragments.Find(from); i < fragments.Count; i++)
        {
            ReadOnlySpan<byte> start = fragments.Start(i);
            ReadOnlySpan<byte> end = fragments.End(i);
            start = KeyOrder.Compare(start, from) < 0 ? from : start;
            end = !to.IsEmpty && KeyOrder.Compare(end, to) > 0 ? to : end;
            if (KeyOrder.Compare(start, end) >= 0)
            {
                break;
            }

            builder.Add(start, end, fragments.Versions(i), fragments.Stamps(i));
        }

        return builder.Build();
    }

    /// <summary>
    /// The fragments without those versions at or below the horizon that have nothing left to cover: no table of
    /// <paramref name="below"/> lies in their range. What they covered among the entries that are written was left out.
    /// </summary>
    public static RangeTombstones? DropCoveringNothing(RangeTombstones fragments, long horizon, IEnumerable<SsTable> below)
    {
        SsTable[] tables = [.. below];
        RangeTombstoneBuilder builder = new();
        for (int i = 0; i < fragments.Count; i++)
        {
            ReadOnlySpan<long> versions = fragments.Versions(i);
            int kept = OverlapsAny(tables, fragments.Start(i), fragments.End(i)) ? versions.Length : CountAbove(versions, horizon);
            if (kept > 0)
            {
                builder.Add(fragments.Start(i), fragments.End(i), versions[..kept], fragments.Stamps(i)[..kept]);
            }
        }

        return builder.Build();
    }

    /// <summary>Finds where the piece from <paramref name="left"/> on ends, and the versions that cover it; false if nothing is left.</summary>
    private static bool TryStep(
        scoped ReadOnlySpan<RangeTombstones> inputs, scoped Span<int> next, scoped ReadOnlySpan<byte> left,
        List<(long Version, long Stamp)> found, out ReadOnlySpan<byte> right)
    {
        found.Clear();
        right = default;
        bool any = false;
        for (int i = 0; i < inputs.Length; i++)
        {
            RangeTombstones input = inputs[i];
            while (next[i] < input.Count && KeyOrder.Compare(input.End(next[i]), left) <= 0)
            {
                next[i]++;
            }

            if (next[i] < input.Count)
            {
                bool covers = KeyOrder.Compare(input.Start(next[i]), left) <= 0;
                ReadOnlySpan<byte> border = covers ? input.End(next[i]) : input.Start(next[i]);
                right = !any || KeyOrder.Compare(border, right) < 0 ? border : right;
                any = true;
                if (covers)
                {
                    Collect(input, next[i], found);
                }
            }
        }

        return any;
    }

    private static void Collect(RangeTombstones input, int fragment, List<(long Version, long Stamp)> found)
    {
        ReadOnlySpan<long> versions = input.Versions(fragment);
        ReadOnlySpan<long> stamps = input.Stamps(fragment);
        for (int i = 0; i < versions.Length; i++)
        {
            found.Add((versions[i], stamps[i]));
        }
    }

    private static void Add(
        RangeTombstoneBuilder builder, ReadOnlySpan<byte> start, ReadOnlySpan<byte> end, List<(long Version, long Stamp)> found, long horizon, int retained)
    {
        found.Sort(static (a, b) => b.Version.CompareTo(a.Version));
        long[] versions = new long[found.Count];
        long[] stamps = new long[found.Count];
        int count = 0;
        foreach ((long version, long stamp) in found)
        {
            if (count > 0 && versions[count - 1] == version)
            {
                continue;
            }

            versions[count] = version;
            stamps[count++] = stamp;
            if (version <= horizon && count >= retained)
            {
                break;
            }
        }

        builder.Add(start, end, versions.AsSpan(0, count), stamps.AsSpan(0, count));
    }

    private static int CountAbove(ReadOnlySpan<long> versions, long horizon)
    {
        int count = 0;
        while (count < versions.Length && versions[count] > horizon)
        {
            count++;
        }

        return count;
    }

    private static bool OverlapsAny(SsTable[] tables, ReadOnlySpan<byte> start, ReadOnlySpan<byte> end)
    {
        foreach (SsTable table in tables)
        {
            if (KeyOrder.Compare(table.Largest, start) >= 0 && KeyOrder.Compare(table.Smallest, end) < 0)
            {
                return true;
            }
        }

        return false;
    }
}
