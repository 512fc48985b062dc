using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Builds an lsm engine's folder anew from what is intact of another one. One thread.
/// </summary>
/// <remarks>
/// With a manifest that can be read, tables keep their numbers and levels: intact ones are linked, damaged ones replaced by
/// what is left of them. Without one nobody knows which table is newer than which: all that can be read is merged, version
/// by version, into tables of the deepest level, where no two overlap.
/// </remarks>
internal sealed unsafe class LsmRepair(IFileSystem files, string source, string target, EngineContext context, RepairLog log)
{
    private const int CopyBytes = 1 << 20;
    private const int DeepestLevel = Superversion.Levels - 1;

    /// <summary>The manifest was lost: the log may hold what the tables hold too.</summary>
    public bool IsRebuilt { get; private set; }

    public void Run(CancellationToken cancellation)
    {
        files.CreateDirectory(target);
        ManifestState? state = ReadManifest();
        if (state is null)
        {
            IsRebuilt = true;
            state = Merge(cancellation);
        }
        else
        {
            state = TakeOver(state, cancellation);
        }

        CopyStaged(cancellation);
        files.SyncDirectory(target);
        Manifest.Create(files, target, state).Dispose();
    }

    /// <summary>Tables of bulk loads that the journal may still name; they are applied from it, or deleted.</summary>
    private void CopyStaged(CancellationToken cancellation)
    {
        foreach (string name in files.List(source))
        {
            if (FileNames.TryParseStaged(name, out _))
            {
                LsmCheckpoint.Copy(files, Path.Combine(source, name), Path.Combine(target, name), cancellation);
            }
        }
    }

    /// <summary>The state by CURRENT, or by the newest manifest that can be read; null if there is none.</summary>
    private ManifestState? ReadManifest()
    {
        try
        {
            return Manifest.Read(files, source) ?? new ManifestState();
        }
        catch (CorruptionException damage)
        {
            log.Damages.Add(damage);
        }

        foreach (long number in files.List(source).Select(static name => FileNames.TryParseManifest(name, out long number) ? number : 0).Where(static number => number > 0).OrderDescending())
        {
            string path = Path.Combine(source, FileNames.Manifest(number));
            try
            {
                ManifestState state = Manifest.Load(files, path);
                log.Notes.Add($"'{source}': {FileNames.Current} was of no use, {FileNames.Manifest(number)} was taken");
                return state;
            }
            catch (CorruptionException damage)
            {
                if (log.Damages[^1].File != damage.File)
                {
                    log.Damages.Add(damage);
                }
            }
        }

        log.Notes.Add($"'{source}': the manifest is lost; all tables that can be read were merged by version (records that were being deleted when it was lost may be back)");
        return null;
    }

    private ManifestState TakeOver(ManifestState from, CancellationToken cancellation)
    {
        ManifestState state = new() { Mark = from.Mark, NextId = from.NextId };
        foreach (ManifestTable table in from.Tables.Values.OrderBy(static table => table.Id))
        {
            cancellation.ThrowIfCancellationRequested();
            if (TakeTable(table) is { } taken)
            {
                state.Tables.Add(taken.Id, taken);
            }
        }

        return state;

        ManifestTable? TakeTable(ManifestTable table)
        {
            string path = Path.Combine(source, FileNames.Table(table.Id));
            if (!files.FileExists(path))
            {
                TableProperties lost = table.Properties;
                log.Damages.Add(new CorruptionException(path, 0, "the table is missing, though the manifest names it"));
                log.Lose(path, 0, $"the table is missing: keys from '{KeyText(lost.Smallest)}' to '{KeyText(lost.Largest)}'", lost.Entries, lost.Smallest, lost.Largest);
                return null;
            }

            return Take(table.Id, table.Properties, table.FileBytes, Path.Combine(target, FileNames.Table(table.Id)), cancellation) is { } taken
                ? table with { Properties = taken.Properties, FileBytes = taken.Bytes }
                : null;
        }
    }

    /// <summary>Links or salvages one table; null if nothing is left of it.</summary>
    private (TableProperties Properties, long Bytes)? Take(long id, TableProperties? known, long fileBytes, string to, CancellationToken cancellation)
    {
        string path = Path.Combine(source, FileNames.Table(id));
        if (IsIntact(id, ref known, ref fileBytes, cancellation))
        {
            Link(path, to);
            log.FilesKept++;
            return (known!, fileBytes);
        }

        TableSalvage salvage = new(files, path, known, context);
        (TableProperties Properties, long Bytes)? saved = salvage.Run(to, cancellation);
        long? lost = salvage.LostEntries < 0 ? null : salvage.LostEntries;
        foreach (LostBlocks blocks in salvage.Lost)
        {
            log.Lose(path, blocks.Offset, $"{blocks.Detail}: {Between(blocks)}", salvage.Lost.Count == 1 ? lost : null, blocks.Behind, blocks.Before);
        }

        if (salvage.Lost.Count != 1 && lost > 0)
        {
            log.Lose(path, 0, $"{lost} of {known?.Entries ?? (salvage.Entries + lost)} entries of the table, all holes together", lost);
        }

        log.FilesSalvaged += saved is null ? 0 : 1;
        return saved;
    }

    private bool IsIntact(long id, ref TableProperties? known, ref long fileBytes, CancellationToken cancellation)
    {
        string path = Path.Combine(source, FileNames.Table(id));
        List<CorruptionException> damages = [];
        try
        {
            long length;
            TableProperties own;
            StorageFile file = files.Open(path, writable: false);
            using (TableReader reader = TableReader.Open(file, context.BlockCache))
            {
                length = file.Length;
                own = reader.Properties;
            }

            known ??= own;
            if (fileBytes >= 0 && length != fileBytes)
            {
                throw new CorruptionException(path, Math.Min(length, fileBytes), $"the file has {length} bytes, the manifest says {fileBytes}");
            }

            fileBytes = length;
            TableVerifier.VerifyTable(context, new SsTable(id, source, length, known, context), damages, cancellation);
        }
        catch (CorruptionException damage)
        {
            damages.Add(damage);
        }

        log.Damages.AddRange(damages);
        return damages.Count == 0;
    }

    private ManifestState Merge(CancellationToken cancellation)
    {
        string work = Path.Combine(target, "merge");
        files.CreateDirectory(work);
        List<SsTable> tables = [];
        long highest = 0;
        foreach (string name in files.List(source).Order(StringComparer.Ordinal))
        {
            if (FileNames.TryParseTable(name, out long id))
            {
                highest = Math.Max(highest, id);
                if (Take(id, null, -1, Path.Combine(work, FileNames.Table(id)), cancellation) is { } taken)
                {
                    tables.Add(new SsTable(id, work, taken.Bytes, taken.Properties, context));
                }
            }
        }

        ManifestState state = new() { NextId = highest + 1 };
        if (tables.Count > 0)
        {
            Merge(tables, state, cancellation);
        }

        tables.ForEach(context.BlockCache.Tables.Close);
        files.DeleteDirectory(work);
        return state;
    }

    private void Merge(List<SsTable> tables, ManifestState state, CancellationToken cancellation)
    {
        using MergeHeap heap = new([.. tables.Select(static table => new TableSource([table], streaming: true))]);
        long versionBase = tables.Min(static table => table.Properties.VersionBase);
        long stampBase = tables.Min(static table => table.Properties.StampBase);
        RangeTombstones[] inputs = [.. tables.Select(static table => table.Ranges).OfType<RangeTombstones>()];
        RangeTombstones? ranges = inputs.Length == 0 ? null : RangeTombstoneMerge.Merge(inputs, horizon: 0);
        TableBuilder? builder = null;
        byte[] rangesFrom = [];
        byte[] last = [];
        long lastVersion = 0;
        try
        {
            heap.SeekFirst();
            for (long entries = 0; heap.Top is MergeSource entry; heap.Next(), entries++)
            {
                if (entries % 1024 == 0)
                {
                    cancellation.ThrowIfCancellationRequested();
                }

                bool sameKey = entries > 0 && entry.KeySpan.SequenceEqual(last);
                if (sameKey && entry.Version == lastVersion)
                {
                    continue;
                }

                if (builder is not null && !sameKey && builder.EstimatedBytes >= context.Options.TableBytes)
                {
                    // Cut right behind the last key, so that the tables do not overlap.
                    byte[] rangesTo = [.. last, 0];
                    Finish(builder, state, ranges is null ? null : RangeTombstoneMerge.Clip(ranges, rangesFrom, rangesTo));
                    rangesFrom = rangesTo;
                    builder = null;
                }

                builder ??= new TableBuilder(files.Create(Path.Combine(target, FileNames.Table(state.NextId))), context.Options, versionBase, stampBase);
                builder.Add(entry.Key, entry.KeyLength, entry.Version, entry.Kind, entry.Stamp, entry.ExpiresAt, entry.ValueSpan);
                last = sameKey ? last : entry.KeySpan.ToArray();
                lastVersion = entry.Version;
            }

            if (builder is not null)
            {
                Finish(builder, state, ranges is null ? null : RangeTombstoneMerge.Clip(ranges, rangesFrom, default));
                builder = null;
            }
        }
        finally
        {
            builder?.Dispose();
        }
    }

    private static void Finish(TableBuilder builder, ManifestState state, RangeTombstones? ranges)
    {
        using (builder)
        {
            builder.Finish(ranges);
            TableProperties properties = builder.Properties;
            state.Tables.Add(state.NextId, new ManifestTable(DeepestLevel, state.NextId, builder.FileBytes, properties));
            state.NextId++;
            state.Mark = new LogMark(state.Mark.Index, Math.Max(state.Mark.Version, properties.MaxVersion), Math.Max(state.Mark.Stamp, properties.MaxStamp));
        }
    }

    private void Link(string from, string to)
    {
        if (files.TryHardLink(from, to))
        {
            return;
        }

        using StorageFile original = files.Open(from, writable: false);
        using StorageFile copy = files.Create(to);
        using NativeBuffer buffer = new(CopyBytes);
        Span<byte> piece = buffer.Append(CopyBytes);
        long at = 0;
        for (int read; (read = original.Read(at, piece)) > 0; at += read)
        {
            copy.Write(at, piece[..read]);
        }

        copy.Sync();
    }

    private static string Between(LostBlocks blocks) => (blocks.Behind.Length, blocks.Before.Length) switch
    {
        (0, 0) => "the whole table is lost",
        (0, _) => $"keys before '{KeyText(blocks.Before)}' are lost",
        (_, 0) => $"keys behind '{KeyText(blocks.Behind)}' are lost",
        _ => $"keys behind '{KeyText(blocks.Behind)}' and before '{KeyText(blocks.Before)}' are lost",
    };

    private static string KeyText(ReadOnlySpan<byte> key)
    {
        const int Most = 60;
        ReadOnlySpan<byte> shown = key[..Math.Min(key.Length, Most)];
        string text = shown.IndexOfAnyExceptInRange((byte)' ', (byte)'~') < 0 ? System.Text.Encoding.ASCII.GetString(shown) : "0x" + Convert.ToHexString(shown);
        return key.Length > Most ? text + "…" : text;
    }
}
