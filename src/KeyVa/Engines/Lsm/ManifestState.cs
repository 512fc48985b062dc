namespace KeyVa.Engines.Lsm;

/// <summary>
/// What a manifest says: the tables, and the log up to which they hold everything. Edits are applied one by one, as they
/// were written. Not thread-safe: guarded by the lock of the manifest.
/// </summary>
internal sealed class ManifestState
{
    private readonly Dictionary<long, long> _liveBytes = [];

    public LogMark Mark { get; set; }

    public long NextId { get; set; } = 1;

    /// <summary>What the tables have forgotten; null: that was not noted, since versions were not retained.</summary>
    public HistoryMark? History { get; set; }

    public Dictionary<long, ManifestTable> Tables { get; } = [];

    /// <summary>The value files that the tables lead to.</summary>
    public Dictionary<long, ManifestValueFile> ValueFiles { get; } = [];

    public byte[]?[] Pointers { get; } = new byte[Superversion.Levels][];

    /// <summary>The last record was incomplete and has been ignored.</summary>
    public bool TailWasTorn => TornAt > 0;

    /// <summary>Where in the file that record begins; 0 if there is none.</summary>
    public int TornAt { get; set; }

    /// <summary>Bytes of a value file that tables lead to.</summary>
    public long LiveBytes(long valueFile) => _liveBytes.GetValueOrDefault(valueFile);

    /// <summary>The value files that no table will lead to after this edit.</summary>
    public IEnumerable<long> UnusedAfter(ManifestEdit edit)
    {
        Dictionary<long, long> change = [];
        foreach ((_, long id) in edit.Removed)
        {
            Count(change, Tables[id].Properties, -1);
        }

        foreach (ManifestTable table in edit.Added)
        {
            Count(change, table.Properties, 1);
        }

        return change.Where(file => file.Value < 0 && LiveBytes(file.Key) + file.Value == 0).Select(file => file.Key);
    }

    /// <summary>False if the edit removes what is not there, or is in use, or adds what is there or leads to what is not.</summary>
    public bool TryApply(ManifestEdit edit)
    {
        foreach (ManifestValueFile file in edit.AddedValues)
        {
            if (!ValueFiles.TryAdd(file.Id, file))
            {
                return false;
            }
        }

        foreach ((int level, long id) in edit.Removed)
        {
            if (!Tables.Remove(id, out ManifestTable? table) || table.Level != level)
            {
                return false;
            }

            Count(_liveBytes, table.Properties, -1);
        }

        foreach (ManifestTable table in edit.Added)
        {
            if (!Tables.TryAdd(table.Id, table) || Array.Exists(table.Properties.ValueFiles, use => !ValueFiles.ContainsKey(use.Id)))
            {
                return false;
            }

            Count(_liveBytes, table.Properties, 1);
        }

        foreach (long id in edit.RemovedValues)
        {
            if (!ValueFiles.Remove(id) || LiveBytes(id) != 0)
            {
                return false;
            }

            _liveBytes.Remove(id);
        }

        foreach ((int level, byte[] key) in edit.Pointers)
        {
            Pointers[level] = key;
        }

        Mark = edit.Mark ?? Mark;
        History = edit.History ?? History;
        NextId = Math.Max(NextId, edit.NextId);
        return true;
    }

    /// <summary>
    /// Moves the levels below level 0 down, together, until the last one has tables: versions before dynamic level sizes
    /// filled them from level 1 on. They stay in order and no table is touched.
    /// </summary>
    public void FillFromLastLevel()
    {
        int deepest = Tables.Values.Select(table => table.Level).DefaultIfEmpty().Max();
        int down = LevelTargets.Last - deepest;
        if (deepest == 0 || down == 0)
        {
            return;
        }

        foreach (ManifestTable table in Tables.Values.Where(table => table.Level > 0).ToArray())
        {
            Tables[table.Id] = table with { Level = table.Level + down };
        }

        // Where compactions continue is a hint: they begin anew.
        Array.Clear(Pointers);
    }

    /// <summary>One edit that makes this state out of nothing.</summary>
    public ManifestEdit ToEdit()
    {
        ManifestEdit edit = new() { Mark = Mark, NextId = NextId, History = History };
        edit.AddedValues.AddRange(ValueFiles.Values.OrderBy(file => file.Id));
        edit.Added.AddRange(Tables.Values.OrderBy(table => table.Id));
        for (int level = 0; level < Pointers.Length; level++)
        {
            if (Pointers[level] is byte[] key)
            {
                edit.Pointers.Add((level, key));
            }
        }

        return edit;
    }

    private static void Count(Dictionary<long, long> bytes, TableProperties properties, int sign)
    {
        foreach (ValueFileUse use in properties.ValueFiles)
        {
            bytes[use.Id] = bytes.GetValueOrDefault(use.Id) + (sign * use.Bytes);
        }
    }
}
