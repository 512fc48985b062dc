namespace KeyVa.Engines.Lsm;

/// <summary>
/// Adds up a superversion's figures. Keys are estimated: every value counts one, and every entry that lies over an older
/// value takes one away. Tables know how many of theirs do (from when they were written); memtables are sampled.
/// </summary>
internal unsafe struct EngineFigures
{
    /// <summary>About how many nodes of a memtable are looked at.</summary>
    private const int SampledNodes = 512;

    private double _keys;
    private long _values;
    private long _valueBytes;

    public long StorageBytes { get; private set; }

    public long MemoryBytes { get; private set; }

    public readonly long Keys => (long)Math.Max(0, Math.Min(_keys, _values));

    public readonly long ValueBytes => _values == 0 ? 0 : (long)(_valueBytes * (Keys / (double)_values));

    /// <summary>Values that newer entries of their keys shadow.</summary>
    public readonly long OlderValues => _values - Keys;

    public readonly long OlderValueBytes => _valueBytes - ValueBytes;

    /// <summary>The caller has pinned the superversion.</summary>
    public static EngineFigures Of(Superversion superversion)
    {
        EngineFigures figures = default;
        KeysBelow below = new(superversion, firstLevel: 0);
        Memtable[] memtables = [.. superversion.Memtables];
        for (int i = 0; i < memtables.Length; i++)
        {
            figures.Add(memtables[i], memtables.AsSpan(i + 1), below);
        }

        foreach (SsTable table in superversion.Tables)
        {
            TableProperties properties = table.Properties;
            figures._values += properties.Entries - properties.Tombstones;
            figures._keys += properties.Entries - properties.Tombstones - properties.Covering;
            figures._valueBytes += properties.ValueBytes;
            figures.StorageBytes += table.FileBytes;
            figures.MemoryBytes += table.PeekReader?.MemoryBytes ?? 0;
        }

        foreach (ValueFile file in superversion.Values.All)
        {
            figures.StorageBytes += file.FileBytes;
            figures.MemoryBytes += file.OpenFile?.MemoryBytes ?? 0;
        }

        return figures;
    }

    private void Add(Memtable memtable, ReadOnlySpan<Memtable> older, KeysBelow below)
    {
        long entries = memtable.Entries;
        long values = entries - memtable.Tombstones;
        _values += values;
        _valueBytes += memtable.ValueBytes;
        MemoryBytes += memtable.AllocatedBytes;

        // The nodes that reach a level are a random sample, one in four per level.
        int level = 0;
        for (long nodes = entries; nodes > 2 * SampledNodes && level < SkipList.MaxHeight - 1; nodes /= 4)
        {
            level++;
        }

        long sampled = 0;
        long covering = 0;
        for (SkipNode* node = memtable.List.First(level); node != null; node = SkipList.Next(node, level))
        {
            sampled++;
            covering += IsCovering(node, older, below) ? 1 : 0;
        }

        _keys += values - (sampled == 0 ? 0 : covering * ((double)entries / sampled));
    }

    private static bool IsCovering(SkipNode* node, ReadOnlySpan<Memtable> older, KeysBelow below)
    {
        byte* key = SkipNode.Key(node);
        int length = node->KeyLength;
        SkipNode* next = SkipList.Next(node);
        if (next != null && next->Head == node->Head && KeyOrder.Compare(SkipNode.Key(next), next->KeyLength, key, length) == 0)
        {
            return next->Kind == EntryKind.Value;
        }

        foreach (Memtable memtable in older)
        {
            SkipNode* found = memtable.Find(key, length, node->Head, long.MaxValue);
            if (found != null)
            {
                return found->Kind == EntryKind.Value;
            }
        }

        return below.MayHold(key, length, KeyHash.Compute(key, length));
    }
}
