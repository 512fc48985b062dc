using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The tables that a flush or compaction writes. Until they are in the manifest they are nobody's: <see cref="Dispose"/>
/// deletes them unless <see cref="Complete"/> was followed by <see cref="Keep"/>. One thread.
/// </summary>
internal sealed unsafe class TableOutput(
    EngineContext context, VersionSet versions, long versionBase, long stampBase, KeysBelow below) : IDisposable
{
    private readonly List<SsTable> _tables = [];
    private readonly List<string> _paths = [];
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

    public void Add(MergeSource entry, bool bury)
    {
        TableBuilder builder = _builder ?? Begin();
        if (bury)
        {
            builder.Add(entry.Key, entry.KeyLength, entry.Version, EntryKind.Tombstone, entry.Stamp, 0, default);
        }
        else
        {
            builder.Add(entry.Key, entry.KeyLength, entry.Version, entry.Kind, entry.Stamp, entry.ExpiresAt, entry.ValueSpan);
        }
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

        if (_tables.Count > 0)
        {
            context.FileSystem.SyncDirectory(context.Directory);
        }
    }

    /// <summary>The manifest has them now.</summary>
    public void Keep() => _kept = true;

    public void Dispose()
    {
        _builder?.Dispose();
        if (!_kept)
        {
            _paths.ForEach(versions.DeleteTable);
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
