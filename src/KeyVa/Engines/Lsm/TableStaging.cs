using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Writes the tables of a bulk load beside those of the engine, under names that no manifest has. What is not kept is
/// deleted by <see cref="Dispose"/>, or by the next opening. One thread.
/// </summary>
internal sealed unsafe class TableStaging(EngineContext context, VersionSet versions) : IDisposable
{
    private readonly List<StagedTable> _tables = [];
    private readonly List<long> _ids = [];
    private TableBuilder? _builder;
    private bool _kept;

    public IReadOnlyList<StagedTable> Tables => _tables;

    /// <summary>Adds an entry; keys rise strictly.</summary>
    public void Add(ReadOnlySpan<byte> key, long expiresAt, ReadOnlySpan<byte> value)
    {
        TableBuilder builder = _builder ?? Begin();
        fixed (byte* bytes = key)
        {
            builder.Add(bytes, key.Length, version: 0, EntryKind.Value, stamp: 0, expiresAt, value);
        }

        if (builder.EstimatedBytes >= context.Options.TableBytes)
        {
            EndTable();
        }
    }

    /// <summary>Ends the last table: all files and their names are durable when it returns.</summary>
    public void Complete()
    {
        EndTable();
        context.FileSystem.SyncDirectory(context.Directory);
    }

    /// <summary>The journal may hold the load: from now on the files are needed until it is applied.</summary>
    public void Keep(bool keep) => _kept = keep;

    public void Dispose()
    {
        _builder?.Dispose();
        _builder = null;
        if (!_kept)
        {
            _ids.ForEach(id => Delete(context, id));
        }

        _ids.Clear();
    }

    /// <summary>Deletes a staged file. If that fails, the next opening does it.</summary>
    public static void Delete(EngineContext context, long id)
    {
        string path = System.IO.Path.Combine(context.Directory, FileNames.Staged(id));
        try
        {
            if (context.FileSystem.FileExists(path))
            {
                context.FileSystem.DeleteFile(path);
            }
        }
        catch (StorageException)
        {
            // No manifest names it, and no record of the journal that is not applied: it only takes room.
        }
    }

    private void EndTable()
    {
        if (_builder is null)
        {
            return;
        }

        _builder.Finish();
        using NativeBuffer properties = new();
        _builder.Properties.Encode(properties);
        _tables.Add(new StagedTable(_ids[^1], _builder.FileBytes, _builder.PropertiesPlace.Offset, properties.Written.ToArray()));
        _builder.Dispose();
        _builder = null;
    }

    private TableBuilder Begin()
    {
        long id = versions.NewFileId();
        _ids.Add(id);
        StorageFile file = context.FileSystem.Create(System.IO.Path.Combine(context.Directory, FileNames.Staged(id)));
        EngineOptions options = context.Options;
        _builder = new TableBuilder(file, options, versionBase: 0, stampBase: 0, compression: options.CompressionOf(Superversion.Levels, 0));
        return _builder;
    }
}
