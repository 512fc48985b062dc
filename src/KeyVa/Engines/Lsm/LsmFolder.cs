using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Sessions;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Reads every byte of an lsm engine's folder that nobody has open, and changes nothing. Damage is collected, so that one
/// broken file does not hide another. One thread.
/// </summary>
internal sealed class LsmFolder(IFileSystem files, string directory, TimeProvider time, List<CorruptionException> damages, Action<string>? note)
{
    /// <summary>The log index that the files contain; -1 if the manifest cannot be read.</summary>
    public long Index { get; private set; } = -1;

    public void Verify(CancellationToken cancellation)
    {
        IReadOnlyList<string> names = files.List(directory);
        ManifestState? state = ReadManifest(names);
        using var cache = new BlockCache(1 << 20);
        EngineContext context = ForReading(files, directory, cache, time);
        foreach (string name in names.Order(StringComparer.Ordinal))
        {
            bool isTable = FileNames.TryParseTable(name, out long id);
            if (FileNames.TryParseValues(name, out long values))
            {
                VerifyValues(values, state, cancellation);
                continue;
            }

            if (state is not null && isTable && !state.Tables.ContainsKey(id))
            {
                note?.Invoke($"'{Path.Combine(directory, name)}' is a table that the manifest does not name (a crash left it); opening the store deletes it");
            }
            else if (state is null && isTable)
            {
                cancellation.ThrowIfCancellationRequested();
                Collect(() => VerifyUnnamed(context, id, cancellation));
            }
            else if (FileNames.TryParseStaged(name, out _))
            {
                note?.Invoke($"'{Path.Combine(directory, name)}' is of a bulk load that a crash interrupted; opening the store completes it if the journal holds it, and else deletes it");
            }
            else if (!isTable && !SessionsFile.IsName(name) && name is not Indexes.PartitionIndexes.FolderName and not FileNames.Current and not FileNames.CurrentTemporary && !FileNames.TryParseManifest(name, out _))
            {
                note?.Invoke($"'{Path.Combine(directory, name)}' is no file of the engine");
            }
        }

        foreach (ManifestTable table in state?.Tables.Values.OrderBy(static table => table.Id) ?? Enumerable.Empty<ManifestTable>())
        {
            cancellation.ThrowIfCancellationRequested();
            Collect(() => VerifyTable(context, table, cancellation));
        }

        foreach (ManifestValueFile file in state?.ValueFiles.Values.Where(file => !names.Contains(FileNames.Values(file.Id))) ?? [])
        {
            VerifyValues(file.Id, state, cancellation);
        }

        Collect(() => CheckLevels(state));
    }

    private void VerifyValues(long id, ManifestState? state, CancellationToken cancellation)
    {
        string path = Path.Combine(directory, FileNames.Values(id));
        ManifestValueFile? expected = null;
        if (state is not null && !state.ValueFiles.TryGetValue(id, out expected))
        {
            note?.Invoke($"'{path}' is a value file that the manifest does not name (a crash left it); opening the store deletes it");
            return;
        }

        Collect(() => ValueFileVerifier.Verify(files, path, expected, damages.Add, cancellation));
    }

    /// <summary>What a table needs to be read without an engine.</summary>
    public static EngineContext ForReading(IFileSystem files, string directory, BlockCache cache, TimeProvider time) => new()
    {
        FileSystem = files,
        Directory = directory,
        Options = new EngineOptions(),
        Background = new InlineWork(),
        Snapshots = new SnapshotList(),
        BlockCache = cache,
        Time = time,
    };

    private void Collect(Action check)
    {
        try
        {
            check();
        }
        catch (CorruptionException damage)
        {
            damages.Add(damage);
        }
    }

    private ManifestState? ReadManifest(IReadOnlyList<string> names)
    {
        ManifestState? state = null;
        Collect(() =>
        {
            ManifestState? read = Manifest.Read(files, directory);
            Index = read?.Mark.Index ?? 0;
            state = read ?? new ManifestState();
        });
        string? current = null;
        try
        {
            current = files.FileExists(Path.Combine(directory, FileNames.Current)) ? Manifest.ReadCurrent(files, Path.Combine(directory, FileNames.Current)) : null;
        }
        catch (CorruptionException)
        {
            // Collected above.
        }

        if (state is { TailWasTorn: true })
        {
            note?.Invoke($"'{Path.Combine(directory, current!)}' ends at offset {state.TornAt} in a record that was not completed (a crash interrupted a write); opening the store leaves it out");
        }

        foreach (string name in names.Where(name => name != current && FileNames.TryParseManifest(name, out _)))
        {
            note?.Invoke($"'{Path.Combine(directory, name)}' is a manifest that CURRENT does not name (a crash left it); opening the store deletes it");
        }

        return state;
    }

    private void VerifyTable(EngineContext context, ManifestTable entry, CancellationToken cancellation)
    {
        SsTable table = new(entry.Id, directory, entry.FileBytes, entry.Properties, context);
        if (!files.FileExists(table.Path))
        {
            throw new CorruptionException(table.Path, 0, "the table is missing, though the manifest names it");
        }

        using (StorageFile file = files.Open(table.Path, writable: false))
        {
            if (file.Length != entry.FileBytes)
            {
                throw new CorruptionException(table.Path, Math.Min(file.Length, entry.FileBytes), $"the file has {file.Length} bytes, the manifest says {entry.FileBytes}");
            }
        }

        TableVerifier.VerifyTable(context, table, damages, cancellation);
    }

    /// <summary>A table beside a manifest that cannot be read: it is compared with what it says of itself.</summary>
    private void VerifyUnnamed(EngineContext context, long id, CancellationToken cancellation)
    {
        string path = Path.Combine(directory, FileNames.Table(id));
        TableProperties properties;
        long length;
        using (TableReader reader = TableReader.Open(files.Open(path, writable: false), context.BlockCache))
        {
            properties = reader.Properties;
        }

        using (StorageFile file = files.Open(path, writable: false))
        {
            length = file.Length;
        }

        TableVerifier.VerifyTable(context, new SsTable(id, directory, length, properties, context), damages, cancellation);
    }

    private void CheckLevels(ManifestState? state)
    {
        IEnumerable<IGrouping<int, ManifestTable>> levels = state?.Tables.Values.Where(static table => table.Level > 0).GroupBy(static table => table.Level) ?? [];
        foreach (IGrouping<int, ManifestTable> level in levels)
        {
            ManifestTable[] tables = [.. level];
            Array.Sort(tables, static (a, b) => KeyOrder.Compare(a.Properties.Smallest, b.Properties.Smallest));
            for (int i = 1; i < tables.Length; i++)
            {
                if (KeyOrder.Compare(tables[i - 1].Properties.Largest, tables[i].Properties.Smallest) >= 0)
                {
                    throw new CorruptionException(Path.Combine(directory, FileNames.Table(tables[i].Id)), 0, $"its keys overlap those of {FileNames.Table(tables[i - 1].Id)} on the same level");
                }
            }
        }
    }
}
