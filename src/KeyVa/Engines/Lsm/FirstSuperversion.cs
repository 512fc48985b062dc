namespace KeyVa.Engines.Lsm;

/// <summary>
/// The superversion that an engine opens with: every file that the manifest names, found and opened once, so that what is
/// missing or damaged at its ends is known before anyone reads. While opening only.
/// </summary>
internal static class FirstSuperversion
{
    /// <summary>Throws <see cref="CorruptionException"/>, with every file closed, if one does not fit the manifest.</summary>
    public static Superversion Load(EngineContext context, ManifestState state, ReadSampler reads)
    {
        List<ValueFile> values = [];
        List<SsTable>[] levels = new List<SsTable>[Superversion.Levels];
        for (int level = 0; level < levels.Length; level++)
        {
            levels[level] = [];
        }

        try
        {
            foreach (ManifestTable entry in state.Tables.Values)
            {
                SsTable table = new(entry.Id, context.Directory, entry.FileBytes, entry.Properties, context);
                levels[entry.Level].Add(table);
                CheckTable(context, table);
            }

            foreach (ManifestValueFile entry in state.ValueFiles.Values)
            {
                ValueFile file = new(entry, context) { LiveBytes = state.LiveBytes(entry.Id) };
                values.Add(file);
                CheckValueFile(context, file);
            }

            levels[0].Sort((a, b) => b.Id.CompareTo(a.Id));
            Level[] deeper = [.. levels.Select((tables, i) => i == 0 ? Level.Empty : Level.Sorted(tables))];
            return new Superversion(new Memtable(context.BlockCache.Memory), [], [.. levels[0]], deeper, state.Mark, context.Options, reads)
            {
                Values = new ValueFiles(values),
            };
        }
        catch
        {
            foreach (EngineFile file in levels.SelectMany(tables => tables).Concat<EngineFile>(values))
            {
                context.BlockCache.Tables.Close(file);
            }

            throw;
        }
    }

    /// <summary>Opening a table checks its footer, index and filter.</summary>
    private static void CheckTable(EngineContext context, SsTable table)
    {
        if (!context.FileSystem.FileExists(table.Path))
        {
            throw new CorruptionException(table.Path, 0, "the table is missing, though the manifest names it");
        }

        table.PinReader().Unpin();
    }

    /// <summary>Opening a value file checks its header, its footer and its length.</summary>
    private static void CheckValueFile(EngineContext context, ValueFile file)
    {
        if (!context.FileSystem.FileExists(file.Path))
        {
            throw new CorruptionException(file.Path, 0, "the value file is missing, though the manifest names it");
        }

        file.PinReader().Unpin();
    }
}
