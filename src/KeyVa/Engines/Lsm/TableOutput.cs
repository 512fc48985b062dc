using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The tables that a flush or compaction writes, and the value files with their large values. Until they are in the manifest they are nobody's: <see cref="Dispose"/>
/// deletes them unless <see cref="Complete"/> was followed by <see cref="Keep"/>. One thread.
/// </summary>
internal sealed unsafe class TableOutput(
    EngineContext context, VersionSet versions, long versionBase, long stampBase, KeysBelow below) : IDisposable
{
    private readonly List<SsTable> _tables = [];
    private readonly List<string> _paths = [];
    private readonly int _separateFrom = context.Options.SeparateValuesFrom > 0 ? context.Options.SeparateValuesFrom : int.MaxValue;
    private ValueOutput? _values;
    private TableBuilder? _builder;
    private long _id;
    private bool _kept;

    // Range tombstones before this key are in tables that are finished.
    private byte[] _rangesFrom = [];

    /// <summary>Range tombstones to write, each piece to the table among whose keys it lies; null: none.</summary>
    public RangeTombstones? Ranges { get; init; }

    /// <summary>Of the tables' blocks; null: the engine's for levels that are not the last.</summary>
    public Compression? Compression { get; init; }

    public IReadOnlyList<SsTable> Tables => _tables;

    public bool HasOpenTable => _builder is not null;

    /// <summary>About how large the table under way has become.</summary>
    public long OpenBytes => _builder?.EstimatedBytes ?? 0;

    public long Bytes => _tables.Sum(table => table.FileBytes);

    public long ValueFileBytes => ValueFiles.Sum(file => file.FileBytes);

    /// <summary>The value files whose values are written anew; null: none.</summary>
    public IReadOnlySet<long>? Moved { get; init; }

    /// <summary>Where the values of <see cref="Moved"/> are.</summary>
    public ValueFiles OldValues { get; init; } = Lsm.ValueFiles.None;

    /// <summary>The value files that were written; all after <see cref="Complete"/>.</summary>
    public IReadOnlyList<ManifestValueFile> ValueFiles => _values?.Files ?? [];

    /// <summary>Returns the bytes that this wrote to value files.</summary>
    public int Add(MergeSource entry, bool bury)
    {
        TableBuilder builder = _builder ?? Begin();
        if (bury)
        {
            builder.Add(entry.Key, entry.KeyLength, entry.Version, EntryKind.Tombstone, entry.Stamp, 0, default);
            return 0;
        }

        if (entry.Kind == EntryKind.Value && _separateFrom <= entry.ValueLength)
        {
            return Separate(builder, entry, entry.ValueSpan);
        }

        if (entry.Kind == EntryKind.Reference && Moved is not null)
        {
            ValueReference reference = Lsm.ValueFiles.Decode(entry.ValueSpan);
            if (Moved.Contains(reference.File))
            {
                return Move(builder, entry, reference);
            }
        }

        builder.Add(entry.Key, entry.KeyLength, entry.Version, entry.Kind, entry.Stamp, entry.ExpiresAt, entry.ValueSpan);
        return 0;
    }

    /// <summary>
    /// Ends the table under way: written and synced. Range tombstones are cut right behind its last key, so that the
    /// tables of a level do not overlap; what follows is the next one's.
    /// </summary>
    public void EndTable()
    {
        if (_builder is not null)
        {
            Finish(_builder, Ranges is null ? [] : [.. _builder.LastKey, 0]);
        }
    }

    /// <summary>Ends the last table, with all range tombstones that are left, and makes the directory's entries durable.</summary>
    public void Complete()
    {
        if (_builder is not null)
        {
            Finish(_builder, []);
        }
        else if (Ranges is not null && (_tables.Count == 0 || _rangesFrom.Length > 0)
            && RangeTombstoneMerge.Clip(Ranges, _rangesFrom, default) is not null)
        {
            Finish(Begin(), []);
        }

        _values?.Complete();
        if (_tables.Count > 0)
        {
            context.FileSystem.SyncDirectory(context.Directory);
        }
    }

    /// <summary>The manifest has them now.</summary>
    public void Keep()
    {
        _kept = true;
        _values?.Keep();
    }

    public void Dispose()
    {
        _builder?.Dispose();
        _values?.Dispose();
        if (!_kept)
        {
            _paths.ForEach(versions.DeleteUnnamed);
        }
    }

    private int Separate(TableBuilder builder, MergeSource entry, ReadOnlySpan<byte> value)
    {
        _values ??= new ValueOutput(context, versions, Compression ?? context.Options.Compression);
        ReadOnlySpan<byte> reference = _values.Add(entry.KeySpan, entry.Version, value, out int bytes);
        builder.Add(entry.Key, entry.KeyLength, entry.Version, EntryKind.Reference, entry.Stamp, entry.ExpiresAt, reference);
        return bytes;
    }

    /// <summary>Writes a value anew: to a value file or, if such values are no longer separated, to the table.</summary>
    private int Move(TableBuilder builder, MergeSource entry, in ValueReference reference)
    {
        ValueFileReader reader = OldValues.Get(reference).PinReader();
        Block* block = null;
        try
        {
            block = reader.ReadAlone(reference, entry.KeySpan, entry.Version);
            ReadOnlySpan<byte> value = ValueFileReader.ValueOf(block, reference);
            if (_separateFrom <= value.Length)
            {
                return Separate(builder, entry, value);
            }

            builder.Add(entry.Key, entry.KeyLength, entry.Version, EntryKind.Value, entry.Stamp, entry.ExpiresAt, value);
            return value.Length;
        }
        finally
        {
            Block.Free(block);
            reader.Unpin();
        }
    }

    /// <param name="builder">The table under way.</param>
    /// <param name="rangesTo">Range tombstones from here on are left for the next table; empty: none are.</param>
    private void Finish(TableBuilder builder, byte[] rangesTo)
    {
        RangeTombstones? ranges = Ranges is null ? null : RangeTombstoneMerge.Clip(Ranges, _rangesFrom, rangesTo);
        _rangesFrom = rangesTo;
        builder.Finish(ranges);
        _tables.Add(new SsTable(_id, context.Directory, builder.FileBytes, builder.Properties, context) { Ranges = ranges });
        builder.Dispose();
        _builder = null;
    }

    private TableBuilder Begin()
    {
        _id = versions.NewFileId();
        string path = Path.Combine(context.Directory, FileNames.Table(_id));
        StorageFile file = context.FileSystem.Create(path);
        _paths.Add(path);
        _builder = new TableBuilder(file, context.Options, versionBase, stampBase, below: below, compression: Compression);
        return _builder;
    }
}
