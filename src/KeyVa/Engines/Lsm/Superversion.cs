using System.Runtime.CompilerServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// All that a read looks at: the memtables and the tables of every level at one moment (the name is RocksDB's).
/// Immutable but for its pins. A get uses it inside an epoch; a cursor pins it.
/// </summary>
internal sealed unsafe class Superversion
{
    public const int Levels = 7;

    private readonly ReadSampler _reads;

    // Shared, by interlocked operations: one for being current, one per cursor, compaction or checkpoint.
    private int _pins = 1;

    /// <param name="active">Where the writer writes.</param>
    /// <param name="immutables">Newest first.</param>
    /// <param name="level0">Newest first; may overlap.</param>
    /// <param name="levels">By number; the first is empty.</param>
    /// <param name="durable">What the tables contain.</param>
    /// <param name="options">The levels' sizes.</param>
    /// <param name="reads">Counts what reads look at.</param>
    public Superversion(
        Memtable active, Memtable[] immutables, SsTable[] level0, Level[] levels, LogMark durable, EngineOptions options, ReadSampler reads)
    {
        Active = active;
        Immutables = immutables;
        Level0 = level0;
        Deeper = levels;
        Durable = durable;
        while (DeepestLevel > 0 && levels[DeepestLevel].Tables.Length == 0)
        {
            DeepestLevel--;
        }

        while (FirstLevel < DeepestLevel && levels[FirstLevel].Tables.Length == 0)
        {
            FirstLevel++;
        }

        Targets = new LevelTargets(options, levels);
        _reads = reads;
        HasRanges = Array.Exists(immutables, memtable => memtable.Ranges is not null) || Tables.Any(table => table.HasRanges);
    }

    public Memtable Active { get; }

    public Memtable[] Immutables { get; }

    public SsTable[] Level0 { get; }

    public Level[] Deeper { get; }

    /// <summary>The last level with tables; 0 if only level 0 may have some.</summary>
    public int DeepestLevel { get; } = Levels - 1;

    /// <summary>The first level below level 0 with tables, if any has some: levels fill from the last one up.</summary>
    public int FirstLevel { get; } = 1;

    public LogMark Durable { get; }

    /// <summary>What each level may hold.</summary>
    public LevelTargets Targets { get; }

    /// <summary>Whether anything but the active memtable has range tombstones.</summary>
    public bool HasRanges { get; }

    public IEnumerable<SsTable> Tables => Level0.Concat(Deeper.SelectMany(level => level.Tables));

    public IEnumerable<Memtable> Memtables => Immutables.Prepend(Active);

    /// <summary>Keeps it beyond the epoch; false if it is already gone. Inside an epoch.</summary>
    public bool TryPin()
    {
        int seen = Volatile.Read(ref _pins);
        while (seen > 0)
        {
            int found = Interlocked.CompareExchange(ref _pins, seen + 1, seen);
            if (found == seen)
            {
                return true;
            }

            seen = found;
        }

        return false;
    }

    /// <summary>Ends a pin; true if it was the last.</summary>
    public bool Unpin() => Interlocked.Decrement(ref _pins) == 0;

    /// <summary>The newest entry of the key at or below the version. Newer structures first: what they have is newer.</summary>
    public bool TryFind(byte* key, int keyLength, long at, out BlockEntry entry)
    {
        ulong head = KeyOrder.Head(key, keyLength);
        SkipNode* node = Active.Find(key, keyLength, head, at);
        foreach (Memtable memtable in Immutables)
        {
            if (node != null)
            {
                break;
            }

            node = memtable.Find(key, keyLength, head, at);
        }

        if (node == null)
        {
            return TryFindInTables(key, keyLength, head, at, out entry);
        }

        Load(node, out entry);
        return true;
    }

    private static void Load(SkipNode* node, out BlockEntry entry)
    {
        entry = default;
        entry.Kind = node->Kind;
        entry.Version = node->Version;
        entry.Stamp = node->Stamp;
        entry.ExpiresAt = node->ExpiresAt;
        entry.Value = SkipNode.Value(node);
        entry.ValueLength = node->ValueLength;
    }

    /// <summary>
    /// As <see cref="TryFind"/> where ranges were removed: an entry below a removal that covers it counts as not there. What
    /// a structure's removals cover is in it or in older ones, so the first that covers the key ends the search.
    /// </summary>
    /// <param name="key">The key.</param>
    /// <param name="keyLength">Its length.</param>
    /// <param name="at">The version to read at.</param>
    /// <param name="activeRanges">The active memtable's, loaded before the visible version was.</param>
    /// <param name="entry">What was found.</param>
    public bool TryFindUncovered(byte* key, int keyLength, long at, RangeTombstoneRuns? activeRanges, out BlockEntry entry)
    {
        ulong head = KeyOrder.Head(key, keyLength);
        if (TryFindUncovered(Active, activeRanges, key, keyLength, head, at, out entry, out bool covered))
        {
            return true;
        }

        for (int i = 0; i < Immutables.Length && !covered; i++)
        {
            if (TryFindUncovered(Immutables[i], Immutables[i].Ranges, key, keyLength, head, at, out entry, out covered))
            {
                return true;
            }
        }

        return !covered && TryFindUncoveredInTables(key, keyLength, head, at, out entry);
    }

    private static bool TryFindUncovered(
        Memtable memtable, RangeTombstoneRuns? ranges, byte* key, int keyLength, ulong head, long at, out BlockEntry entry, out bool covered)
    {
        SkipNode* node = memtable.Find(key, keyLength, head, at);
        long removed = ranges is null ? 0 : ranges.Covering(new ReadOnlySpan<byte>(key, keyLength), at);
        entry = default;
        covered = removed > (node == null ? 0 : node->Version);
        if (node == null || covered)
        {
            return false;
        }

        Load(node, out entry);
        return true;
    }

    private bool TryFindUncoveredInTables(byte* key, int keyLength, ulong head, long at, out BlockEntry entry)
    {
        ulong hash = KeyHash.Compute(key, keyLength);
        bool covered = false;
        foreach (SsTable table in Level0)
        {
            if (table.IsAtOrBehindSmallest(key, keyLength, head) && table.IsAtOrBeforeLargest(key, keyLength, head)
                && TryFindUncovered(table, key, keyLength, hash, at, out entry, out covered))
            {
                return true;
            }

            if (covered)
            {
                break;
            }
        }

        for (int level = FirstLevel; level <= DeepestLevel && !covered; level++)
        {
            SsTable? table = Deeper[level].Find(key, keyLength, head);
            if (table is not null && TryFindUncovered(table, key, keyLength, hash, at, out entry, out covered))
            {
                return true;
            }
        }

        entry = default;
        return false;
    }

    private static bool TryFindUncovered(SsTable table, byte* key, int keyLength, ulong hash, long at, out BlockEntry entry, out bool covered)
    {
        entry = default;
        bool found = table.Properties.Entries > 0 && TryFindInTable(table, key, keyLength, hash, at, out entry);
        long removed = table.Ranges?.Covering(new ReadOnlySpan<byte>(key, keyLength), at) ?? 0;
        covered = removed > (found ? entry.Version : 0);
        return found && !covered;
    }

    private bool TryFindInTables(byte* key, int keyLength, ulong head, long at, out BlockEntry entry)
    {
        ulong hash = KeyHash.Compute(key, keyLength);
        if (_reads.IsSampled())
        {
            Sample(key, keyLength, head, hash, at);
        }

        foreach (SsTable table in Level0)
        {
            if (table.IsAtOrBehindSmallest(key, keyLength, head) && table.IsAtOrBeforeLargest(key, keyLength, head)
                && TryFindInTable(table, key, keyLength, hash, at, out entry))
            {
                return true;
            }
        }

        for (int level = FirstLevel; level <= DeepestLevel; level++)
        {
            SsTable? table = Deeper[level].Find(key, keyLength, head);
            if (table is not null && TryFindInTable(table, key, keyLength, hash, at, out entry))
            {
                return true;
            }
        }

        entry = default;
        return false;
    }

    private static bool TryFindInTable(SsTable table, byte* key, int keyLength, ulong hash, long at, out BlockEntry entry)
    {
        TableReader reader = table.Reader;
        if (reader.MayContain(hash))
        {
            return reader.TryFind(key, keyLength, hash, at, out entry);
        }

        entry = default;
        return false;
    }

    /// <summary>Counts what the read that follows looks at, by doing the same: one read in many, so that the others count nothing.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Sample(byte* key, int keyLength, ulong head, ulong hash, long at)
    {
        ReadSample sample = default;
        bool found = false;
        foreach (SsTable table in Level0)
        {
            if (!found && table.IsAtOrBehindSmallest(key, keyLength, head) && table.IsAtOrBeforeLargest(key, keyLength, head))
            {
                found = Sample(table, key, keyLength, hash, at, ref sample);
            }
        }

        for (int level = FirstLevel; level <= DeepestLevel && !found; level++)
        {
            SsTable? table = Deeper[level].Find(key, keyLength, head);
            found = table is not null && Sample(table, key, keyLength, hash, at, ref sample);
        }

        _reads.Add(sample);
    }

    private static bool Sample(SsTable table, byte* key, int keyLength, ulong hash, long at, ref ReadSample sample)
    {
        TableReader reader = table.Reader;
        sample.Tables++;
        if (!reader.MayContain(hash))
        {
            sample.Filtered++;
            return false;
        }

        sample.Blocks++;
        bool found = reader.TryFind(key, keyLength, hash, at, out _);
        sample.FalsePositives += found ? 0 : 1;
        return found;
    }
}
