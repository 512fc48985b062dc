using KeyVa.Io;
using KeyVa.Sessions;

namespace KeyVa.Engines.Lsm;

/// <summary>Puts the tables of bulk loads into effect.</summary>
/// <remarks>
/// <see cref="BeginStaging"/> and <see cref="FlushAhead"/> may run on any thread; the rest belongs to the partition's writer,
/// who may wait here for the disk. The order of steps, which makes a load all-or-nothing:
/// 1. the tables are written and synced under staging names;
/// 2. <see cref="Prepare"/>: what is in memory goes to tables, so that nothing older lies above the load, and room for the
///    manifest's record is taken;
/// 3. the journal's record: from here on the load happens, if need be when the store is opened again;
/// 4. <see cref="Apply"/>: the files get version and stamp, then a second name, that of a table; one edit of the manifest adds
///    them and says that the log is contained up to the record, so that a replay comes here only if the edit is not there.
/// The staging names stay until then: a crash between the steps finds the files as the record names them.
/// </remarks>
internal sealed class Ingestion(LsmEngine engine, VersionSet versions, FlushJob flush)
{
    private readonly EngineContext _context = engine.Context;

    public TableStaging BeginStaging() => new(_context, versions);

    /// <summary>Writes what is immutable to tables, on the calling thread: less is left for when the role is held.</summary>
    public void FlushAhead() => flush.FlushUpTo(long.MaxValue);

    /// <summary>Step 2. Throws <see cref="StorageFullException"/> if there is no room; nothing has happened then.</summary>
    public void Prepare(IReadOnlyList<StagedTable> tables)
    {
        engine.BeginFlush();
        flush.FlushUpTo(long.MaxValue);
        ThrowIfFailed();
        versions.ReserveEdit(tables.Sum(static table => table.Properties.Length + StagedTable.EditOverheadBytes) + StagedTable.EditOverheadBytes);
    }

    /// <summary>Step 4, after <see cref="Prepare"/>. <paramref name="mark"/>: the record's index, version and stamp.</summary>
    public void Apply(IReadOnlyList<StagedTable> staged, LogMark mark)
    {
        List<SsTable> tables = [];
        foreach (StagedTable table in staged)
        {
            tables.Add(Adopt(table, mark));
        }

        _context.FileSystem.SyncDirectory(_context.Directory);
        _context.SyncLog?.Invoke();
        mark = mark with { Sessions = engine.CaptureTables() };
        SessionsFile.Write(_context.FileSystem, _context.Directory, mark.Index, mark.Sessions);
        versions.Ingest(tables, mark);
        if (mark.Sessions.Length > 0)
        {
            SessionsFile.RemoveAllBut(_context.FileSystem, _context.Directory, mark.Index);
        }

        foreach (StagedTable table in staged)
        {
            TableStaging.Delete(_context, table.Id);
        }

        engine.Flushed();
    }

    /// <summary>While opening: applies a record of the journal that the manifest does not contain.</summary>
    public void Replay(ReadOnlySpan<byte> record, LogMark mark)
    {
        List<StagedTable> tables = [];
        while (!record.IsEmpty)
        {
            if (!StagedTable.TryRead(ref record, out StagedTable? table))
            {
                throw new CorruptionException(_context.Directory, 0, $"the journal's record {mark.Index} is no bulk load");
            }

            tables.Add(table!);
        }

        Prepare(tables);
        Apply(tables, mark);
    }

    /// <summary>
    /// While repairing: as <see cref="Replay"/>, if the files are there; else they have become tables long ago. Throws
    /// <see cref="CorruptionException"/> if they are damaged.
    /// </summary>
    public void Salvage(ReadOnlySpan<byte> record, LogMark mark)
    {
        ReadOnlySpan<byte> rest = record;
        while (StagedTable.TryRead(ref rest, out StagedTable? table))
        {
            if (!_context.FileSystem.FileExists(Path.Combine(_context.Directory, FileNames.Staged(table!.Id))))
            {
                return;
            }
        }

        Replay(record, mark);
    }

    /// <summary>The journal is replayed: loads that it does not hold never happened.</summary>
    public void DeleteLeftovers()
    {
        foreach (string name in _context.FileSystem.List(_context.Directory))
        {
            if (FileNames.TryParseStaged(name, out long id))
            {
                TableStaging.Delete(_context, id);
            }
        }
    }

    private SsTable Adopt(StagedTable staged, LogMark mark)
    {
        IFileSystem files = _context.FileSystem;
        string from = Path.Combine(_context.Directory, FileNames.Staged(staged.Id));
        if (!files.FileExists(from))
        {
            throw new CorruptionException(from, 0, "the file of a bulk load is missing, though the journal names it");
        }

        TableProperties properties;
        using (StorageFile file = files.Open(from, writable: true))
        {
            properties = staged.Stamp(file, mark.Version, mark.Stamp);
        }

        // A number of its own: of two tables of level 0 the one with the higher number is newer.
        long id = versions.NewFileId();
        string to = Path.Combine(_context.Directory, FileNames.Table(id));
        if (!files.TryHardLink(from, to))
        {
            LsmCheckpoint.Copy(files, from, to, CancellationToken.None);
        }

        return new SsTable(id, _context.Directory, staged.FileBytes, properties, _context);
    }

    private void ThrowIfFailed()
    {
        if (versions.Failure is StoreException failure)
        {
            throw new StoreException($"the engine in '{_context.Directory}' has failed", failure);
        }
    }
}
