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

    /// <summary>Ends the table under way: written and synced.</summary>
    public void EndTable()
    {
        if (_builder is not null)
        {
            _builder.Finish();
            _tables.Add(new SsTable(_id, context.Directory, _builder.FileBytes, _builder.Properties, context));
            _builder.Dispose();
            _builder = null;
        }
    }

    /// <summary>Ends the last table and makes the directory's entries durable.</summary>
    public void Complete()
    {
        EndTable();
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
