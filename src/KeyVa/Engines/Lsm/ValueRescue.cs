using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// For repair: tells which value files of a folder are intact, and takes values out of the others by the references to
/// them. Those go back into the tables, so that of a damaged value file nothing is needed. One thread.
/// </summary>
internal sealed unsafe class ValueRescue(
    IFileSystem files, string source, EngineContext context, RepairLog log, IReadOnlyDictionary<long, ManifestValueFile> expected) : IDisposable
{
    // By id; null: not intact.
    private readonly Dictionary<long, ManifestValueFile?> _known = [];
    private readonly Dictionary<long, ValueFileReader?> _damaged = [];

    /// <summary>The value file if every byte of it is as it was written; each is looked at once.</summary>
    public ManifestValueFile? Intact(long id, CancellationToken cancellation)
    {
        if (_known.TryGetValue(id, out ManifestValueFile? known))
        {
            return known;
        }

        string path = PathOf(id);
        List<CorruptionException> damages = [];
        ValueFileVerifier.Verify(files, path, expected.GetValueOrDefault(id), damages.Add, cancellation);
        log.Damages.AddRange(damages);
        if (damages.Count == 0)
        {
            using StorageFile file = files.Open(path, writable: false);
            ValueFileFooter footer = ValueFileReader.ReadEnds(file);
            known = new ManifestValueFile(id, file.Length, footer.RecordsEnd - ValueFileHeader.Bytes, footer.Records);
        }

        _known.Add(id, known);
        return known;
    }

    public string PathOf(long id) => Path.Combine(source, FileNames.Values(id));

    /// <summary>
    /// Writes a repaired table anew if it leads to damaged value files: what can be read of their values goes into it, the rest is
    /// lost and reported. Null if nothing is left.
    /// </summary>
    public (TableProperties Properties, long Bytes)? Restore(
        string path, TableProperties properties, long fileBytes, CancellationToken cancellation)
    {
        int damaged = properties.ValueFiles.Count(use => Intact(use.Id, cancellation) is null);
        if (damaged == 0)
        {
            return (properties, fileBytes);
        }

        string old = path + ".old";
        files.Rename(path, old);
        using TableReader reader = TableReader.Open(files.Open(old, writable: false), context.BlockCache, context.Options.CompressionLibraries);
        using TableBuilder builder = new(files.Create(path), context.Options, properties.VersionBase, properties.StampBase, compression: properties.Compression);
        Copy(reader, builder, cancellation);
        if (!builder.IsEmpty || reader.Ranges is not null)
        {
            builder.Finish(reader.Ranges);
            files.DeleteFile(old);
            log.FilesSalvaged++;
            return (builder.Properties, builder.FileBytes);
        }

        builder.Dispose();
        files.DeleteFile(old);
        files.DeleteFile(path);
        return null;
    }

    public void Dispose()
    {
        foreach (ValueFileReader? reader in _damaged.Values)
        {
            reader?.Dispose();
        }
    }

    private void Copy(TableReader reader, TableBuilder builder, CancellationToken cancellation)
    {
        using NativeBuffer key = new();
        using NativeBuffer last = new();
        for (int ordinal = 0; ordinal < reader.DataBlocks; ordinal++)
        {
            cancellation.ThrowIfCancellationRequested();
            reader.Locate(ordinal, out long offset, out int length);
            Block* block = reader.ReadDataBlock(offset, length);
            try
            {
                byte* end = Block.Data(block) + block->EntriesEnd;
                for (byte* p = Block.Data(block); p < end;)
                {
                    BlockFormat.Decode(p, reader.Properties.VersionBase, reader.Properties.StampBase, out BlockEntry entry);
                    key.Truncate(entry.Shared);
                    key.Append(new ReadOnlySpan<byte>(entry.Suffix, entry.Unshared));
                    Copy(key.Written, entry, builder, last);
                    p = entry.End;
                }
            }
            finally
            {
                Block.Free(block);
            }
        }
    }

    /// <param name="key">The entry's.</param>
    /// <param name="entry">To copy.</param>
    /// <param name="builder">Where to.</param>
    /// <param name="last">The last key that was kept.</param>
    private void Copy(ReadOnlySpan<byte> key, in BlockEntry entry, TableBuilder builder, NativeBuffer last)
    {
        ReadOnlySpan<byte> value = new(entry.Value, entry.ValueLength);
        EntryKind kind = entry.Kind;
        Block* rescued = null;
        try
        {
            if (kind == EntryKind.Reference)
            {
                ValueReference reference = ValueFiles.Decode(value);
                if (_known[reference.File] is null)
                {
                    rescued = TryRead(reference, key, entry.Version);
                    if (rescued == null)
                    {
                        log.Lose(PathOf(reference.File), reference.Offset, $"the value of version {entry.Version} of a key", 1, last.Written.ToArray(), [.. key, 0]);
                        return;
                    }

                    value = ValueFileReader.ValueOf(rescued, reference);
                    kind = EntryKind.Value;
                }
            }

            fixed (byte* bytes = key)
            {
                builder.Add(bytes, key.Length, entry.Version, kind, entry.Stamp, entry.ExpiresAt, value);
            }

            last.Clear();
            last.Append(key);
        }
        finally
        {
            Block.Free(rescued);
        }
    }

    private Block* TryRead(in ValueReference reference, ReadOnlySpan<byte> key, long version)
    {
        if (!_damaged.TryGetValue(reference.File, out ValueFileReader? reader))
        {
            string path = PathOf(reference.File);
            reader = files.FileExists(path) ? ValueFileReader.OpenDamaged(files.Open(path, writable: false), context.BlockCache, context.Options.CompressionLibraries) : null;
            _damaged.Add(reference.File, reader);
        }

        try
        {
            return reader is null ? null : reader.ReadAlone(reference, key, version);
        }
        catch (CorruptionException)
        {
            // The file's damage is in the report already.
            return null;
        }
    }
}
