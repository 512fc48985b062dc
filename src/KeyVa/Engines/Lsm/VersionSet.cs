using System.Diagnostics;
using KeyVa.Io;
using KeyVa.Sessions;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Owns the current <see cref="Superversion"/> and the manifest: every change of memtables or tables goes through here,
/// first to the manifest, then to the readers. It frees what no reader can see any more.
/// </summary>
/// <remarks>
/// <para>Thread-safe. Locks, in this order: the manifest's (held over its sync; flush and compactions wait for each other
/// there), then the gate (never held over a disk operation: the partition's writer takes it).</para>
/// <para>Invariants.
/// 1. The superversion's tables are those of the manifest on disk, synced.
/// 2. A superversion that is no longer current and has lost its last pin is retired with an epoch; memtables and tables
///    that only it held are freed when no reader of that epoch is left.
/// 3. A file is deleted after the manifest has stopped naming it, and after the last superversion with it is gone.
/// </para>
/// </remarks>
internal sealed class VersionSet : IDisposable
{
    private readonly EngineContext _context;
    private readonly Lock _manifestLock = new();
    private readonly Lock _gate = new();

    // Guarded by the manifest's lock.
    private readonly Manifest _manifest;
    private readonly ManifestState _state;

    // Guarded by the gate; the current one is read by all.
    private readonly Queue<(Superversion Superversion, long Epoch)> _retired = new();
    private Superversion _current;

    private long _nextId;
    private long _expiryDueAt;
    private StoreException? _failure;

    private VersionSet(EngineContext context, Manifest manifest, ManifestState state, Superversion current, ReadSampler reads)
    {
        Reads = reads;
        _context = context;
        _manifest = manifest;
        _state = state;
        _nextId = state.NextId;
        _current = current;
        _expiryDueAt = TableWaste.ExpiryDueAt(current);
        Hold(current);
    }

    /// <summary>Load it inside an epoch.</summary>
    public Superversion Current => Volatile.Read(ref _current);

    /// <summary>Guards the fields of tables that say so.</summary>
    public Lock Gate => _gate;

    /// <summary>Under the gate: tables are about to come that no compaction knows of, so none may begin.</summary>
    public bool Ingesting { get; private set; }

    public StoreException? Failure => Volatile.Read(ref _failure);

    /// <summary>See <see cref="TableWaste.ExpiryDueAt(Superversion)"/>.</summary>
    public long ExpiryDueAt => Volatile.Read(ref _expiryDueAt);

    /// <summary>Where the compactions of each level continue, as the manifest had it when opened.</summary>
    public byte[]?[] Pointers => _state.Pointers;

    /// <summary>Counts what reads look at.</summary>
    public ReadSampler Reads { get; }

    public long ManifestBytes => _manifest.Bytes;

    /// <summary>Whether something waits for readers to leave.</summary>
    public bool HasRetired
    {
        get
        {
            lock (_gate)
            {
                return _retired.Count > 0;
            }
        }
    }

    /// <summary>Opens what the folder holds; an empty folder becomes an empty engine.</summary>
    public static VersionSet Open(EngineContext context)
    {
        IFileSystem files = context.FileSystem;
        ManifestState state = Manifest.Read(files, context.Directory) ?? new ManifestState();
        IReadOnlyList<string> names = files.List(context.Directory);
        foreach (string name in names)
        {
            if (FileNames.TryParseTable(name, out long id) || FileNames.TryParseManifest(name, out id) || FileNames.TryParseStaged(name, out id)
                || FileNames.TryParseValues(name, out id))
            {
                state.NextId = Math.Max(state.NextId, id + 1);
            }
        }

        state.FillFromLastLevel();
        state.Mark = state.Mark with { Sessions = SessionsFile.Read(files, context.Directory, state.Mark.Index) };
        Retention retention = context.Snapshots.Retention;
        context.History.Open(state.History, state.Mark.Version, retention);
        state.History = retention.IsOn ? context.History.Mark : null;
        ReadSampler reads = new();
        Superversion current = FirstSuperversion.Load(context, state, reads);
        Manifest manifest = Manifest.Create(files, context.Directory, state);
        VersionSet set = new(context, manifest, state, current, reads);

        // Where the manifest's tail was torn, its last edit may have named tables: they are kept until the next opening,
        // in case it turns out that the record was damaged and not torn.
        bool keepTables = state.TailWasTorn;
        foreach (string name in names)
        {
            bool orphan = FileNames.TryParseManifest(name, out _)
                || name == FileNames.CurrentTemporary
                || (!keepTables && FileNames.TryParseTable(name, out long id) && !state.Tables.ContainsKey(id))
                || (!keepTables && FileNames.TryParseValues(name, out id) && !state.ValueFiles.ContainsKey(id));
            string path = Path.Combine(context.Directory, name);
            if (orphan && files.FileExists(path))
            {
                files.DeleteFile(path);
            }
        }

        return set;
    }

    public long NewFileId() => Interlocked.Increment(ref _nextId) - 1;

    /// <summary>Keeps the first failure: from then on the engine refuses writes.</summary>
    public void Fail(StoreException failure) => Interlocked.CompareExchange(ref _failure, failure, null);

    /// <summary>The current superversion, kept until <see cref="Unpin"/>.</summary>
    public Superversion Pin()
    {
        Epochs.Enter();
        try
        {
            Superversion current;
            do
            {
                current = Current;
            }
            while (!current.TryPin());

            return current;
        }
        finally
        {
            Epochs.Exit();
        }
    }

    public void Unpin(Superversion superversion)
    {
        if (superversion.Unpin())
        {
            lock (_gate)
            {
                _retired.Enqueue((superversion, Epochs.Advance()));
            }

            Reclaim();
        }
    }

    /// <summary>Puts an empty memtable in place of the active one, which becomes immutable. Writer only.</summary>
    public Memtable Rotate(LogMark end)
    {
        Memtable fresh = new(_context.BlockCache.Memory);
        lock (_gate)
        {
            Superversion old = _current;
            old.Active.End = end;
            Publish(new Superversion(fresh, [old.Active, .. old.Immutables], old.Level0, old.Deeper, old.Durable, _context.Options, Reads)
            {
                Values = old.Values,
            });
        }

        Reclaim();
        return fresh;
    }

    /// <summary>
    /// Makes an edit durable and shows it to readers. <paramref name="flushed"/>: the memtable, the oldest one, whose entries
    /// the added tables hold. If it throws <see cref="StorageFullException"/> and <see cref="Failure"/> is null, nothing has happened.
    /// </summary>
    public void Apply(ManifestEdit edit, IReadOnlyCollection<SsTable> added, Memtable? flushed)
    {
        lock (_manifestLock)
        {
            edit.NextId = Volatile.Read(ref _nextId);
            edit.History = _state.History is null ? null : _context.History.Mark;
            edit.RemovedValues.AddRange(_state.UnusedAfter(edit));
            Write(edit);
            bool fits = _state.TryApply(edit);
            Debug.Assert(fits, "edits come from the current state");
            lock (_gate)
            {
                Publish(Successor(edit, added, flushed));
                Volatile.Write(ref _expiryDueAt, TableWaste.ExpiryDueAt(_current));
            }

            if (_manifest.WantsRewrite)
            {
                _state.NextId = NewFileId();
                Rewrite();
            }
        }

        Reclaim();
    }

    /// <summary>
    /// Puts the tables of a bulk load into effect, each as deep as it may go, and notes that the log is contained up to it.
    /// The writer's role is held and all memtables are empty.
    /// </summary>
    public void Ingest(IReadOnlyCollection<SsTable> tables, LogMark mark)
    {
        ManifestEdit edit = new() { Mark = mark };
        lock (_gate)
        {
            // A compaction that began between the choice of the levels and the edit could write to where the tables go.
            Ingesting = true;
            IngestLevels levels = new(_current);
            edit.Added.AddRange(tables.Select(table => new ManifestTable(levels.DeepestFor(table), table.Id, table.FileBytes, table.Properties)));
        }

        try
        {
            Apply(edit, tables, flushed: null);
        }
        finally
        {
            lock (_gate)
            {
                Ingesting = false;
            }
        }
    }

    /// <summary>
    /// Takes disk room for an edit that must not fail for want of it. Throws <see cref="StorageFullException"/> if there is
    /// none.
    /// </summary>
    public void ReserveEdit(int bytes)
    {
        lock (_manifestLock)
        {
            try
            {
                _manifest.Reserve(bytes);
            }
            catch (StorageException failure) when (failure is not StorageFullException)
            {
                Fail(failure);
                throw;
            }
        }
    }

    /// <summary>Frees what its last reader has left. True if more waits.</summary>
    public bool Reclaim()
    {
        List<EngineFile> files = [];
        List<Memtable> memtables = [];
        lock (_gate)
        {
            long oldest = _retired.Count > 0 ? Epochs.OldestActive() : 0;
            while (_retired.TryPeek(out (Superversion Superversion, long Epoch) retired) && retired.Epoch < oldest)
            {
                _retired.Dequeue();
                LetGo(retired.Superversion, files, memtables);
            }
        }

        memtables.ForEach(memtable => memtable.Dispose());
        foreach (EngineFile file in files)
        {
            _context.BlockCache.Tables.Close(file);
            if (file.Obsolete)
            {
                DeleteUnnamed(file.Path);
            }
        }

        return HasRetired;
    }

    /// <summary>
    /// Deletes a file that no manifest names. If that fails, the next opening does it; and also once the manifest could not be written: an edit whose sync failed may stand
    /// in it, and then the next opening needs the file.
    /// </summary>
    public void DeleteUnnamed(string path)
    {
        if (Failure is not null)
        {
            return;
        }

        try
        {
            _context.FileSystem.DeleteFile(path);
        }
        catch (StorageException)
        {
            Debug.Assert(!_state.Tables.Values.Any(table => FileNames.Table(table.Id) == Path.GetFileName(path)), "only what the manifest does not name is deleted");
        }
    }

    /// <summary>Nobody reads or writes any more. Cursors still open keep their superversions, and those their memory.</summary>
    public void Dispose()
    {
        Unpin(Current);
        Reclaim();
        _manifest.Dispose();
    }

    private void Write(ManifestEdit edit)
    {
        try
        {
            _manifest.Append(edit);
        }
        catch (StorageException failure) when (failure is not StorageFullException)
        {
            Fail(failure);
            throw;
        }
    }

    private void Rewrite()
    {
        try
        {
            // Where there is no room, the old one goes on and the next edit tries again.
            _manifest.TryRewrite(_state);
        }
        catch (StorageException failure)
        {
            Fail(failure);
            throw;
        }
    }

    private Superversion Successor(ManifestEdit edit, IReadOnlyCollection<SsTable> added, Memtable? flushed)
    {
        Superversion old = _current;
        Dictionary<long, SsTable> fresh = added.ToDictionary(table => table.Id);
        Dictionary<long, SsTable> known = old.Tables.Concat(added).DistinctBy(table => table.Id).ToDictionary(table => table.Id);
        Level[] levels = [.. old.Deeper];
        SsTable[] level0 = old.Level0;
        foreach (int level in edit.Added.Select(table => table.Level).Concat(edit.Removed.Select(table => table.Level)).Distinct())
        {
            HashSet<long> removed = [.. edit.Removed.Where(table => table.Level == level).Select(table => table.Id)];
            IEnumerable<SsTable> kept = (level == 0 ? level0 : levels[level].Tables).Where(table => !removed.Contains(table.Id));
            List<SsTable> tables = [.. kept, .. edit.Added.Where(table => table.Level == level).Select(table => known[table.Id])];
            if (level == 0)
            {
                tables.Sort((a, b) => b.Id.CompareTo(a.Id));
                level0 = [.. tables];
            }
            else
            {
                levels[level] = Level.Sorted(tables);
            }
        }

        HashSet<long> moved = [.. edit.Added.Select(table => table.Id)];
        foreach ((_, long id) in edit.Removed)
        {
            known[id].Obsolete = !moved.Contains(id);
        }

        Memtable[] immutables = flushed is null ? old.Immutables : old.Immutables[..^1];
        Debug.Assert(flushed is null || old.Immutables[^1] == flushed, "the oldest memtable is flushed first");
        Debug.Assert(fresh.Values.All(table => moved.Contains(table.Id)), "every new table is in the edit");
        return new Superversion(old.Active, immutables, level0, levels, edit.Mark ?? old.Durable, _context.Options, Reads)
        {
            Values = SuccessorOf(old.Values, edit),
        };
    }

    private ValueFiles SuccessorOf(ValueFiles old, ManifestEdit edit)
    {
        ValueFiles values = old;
        if (edit.AddedValues.Count > 0 || edit.RemovedValues.Count > 0)
        {
            HashSet<long> removed = [.. edit.RemovedValues];
            foreach (ValueFile file in old.All)
            {
                file.Obsolete |= removed.Contains(file.Id);
            }

            values = new ValueFiles(old.All.Where(file => !file.Obsolete).Concat(edit.AddedValues.Select(file => new ValueFile(file, _context))));
        }

        foreach (ValueFile file in values.All)
        {
            file.LiveBytes = _state.LiveBytes(file.Id);
        }

        return values;
    }

    private void Publish(Superversion next)
    {
        Superversion old = _current;
        Hold(next);
        Volatile.Write(ref _current, next);
        if (old.Unpin())
        {
            _retired.Enqueue((old, Epochs.Advance()));
        }
    }

    private static void Hold(Superversion superversion)
    {
        foreach (Memtable memtable in superversion.Memtables)
        {
            memtable.References++;
        }

        foreach (EngineFile file in superversion.Files)
        {
            file.References++;
        }
    }

    private static void LetGo(Superversion superversion, List<EngineFile> files, List<Memtable> memtables)
    {
        memtables.AddRange(superversion.Memtables.Where(memtable => --memtable.References == 0));
        files.AddRange(superversion.Files.Where(file => --file.References == 0));
    }
}
