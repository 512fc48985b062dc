using System.Diagnostics;
using System.Globalization;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Engines.Memory;
using KeyVa.Indexes;
using KeyVa.Log;
using KeyVa.Replication;

namespace KeyVa.Partitions;

/// <summary>
/// Owns the partitions' lives: opens them, adds, removes, takes snapshots, and publishes the map that the router reads.
/// </summary>
/// <remarks>Thread-safe. Changes are made one at a time under a lock; readers take the published map and never wait.</remarks>
internal sealed class PartitionRegistry : IPartitions
{
    private readonly StoreContext _context;
    private readonly Lock _changes = new();
    private PartitionMap _map = new(0, []);
    private Catalog _catalog;
    private Journal? _journal;

    public PartitionRegistry(StoreContext context, Catalog catalog)
    {
        _context = context;
        _catalog = catalog;
        context.History.DurableIndexOf = id => Map.TryFind(id, out Partition? partition) && !partition.Definition.IsVolatile ? partition.Engine.DurableIndex : null;
    }

    public PartitionMap Map => Volatile.Read(ref _map);

    /// <summary>What the folder holds, as it was written last.</summary>
    public Catalog Catalog => Volatile.Read(ref _catalog);

    /// <summary>The indexes of the catalog.</summary>
    public IReadOnlyList<StoredIndex> Indexes => Volatile.Read(ref _catalog).Indexes;

    /// <summary>While opening: opens the engine of every partition of the catalog, and deletes folders it does not know.</summary>
    public void OpenAll(Journal journal)
    {
        _journal = journal;
        _context.Watches.Feed.ChangedAt = _catalog.Version;
        DeleteOrphans();
        var opened = new List<Partition>();
        foreach (PartitionDefinition definition in _catalog.Partitions)
        {
            Partition partition = Open(definition);
            opened.Add(partition);
            _context.Oracle.Recover(partition.Engine.VisibleVersion, partition.Engine.VisibleStamp);
        }

        Volatile.Write(ref _map, new PartitionMap(1, opened));
    }

    public IReadOnlyList<PartitionInfo> List()
    {
        Epochs.Enter();
        try
        {
            var infos = new List<PartitionInfo>();
            foreach (Partition partition in Map.Partitions)
            {
                infos.Add(partition.Describe());
            }

            return infos;
        }
        finally
        {
            Epochs.Exit();
        }
    }

    public PartitionResult Add(KeyRange range, EngineKind engine = EngineKind.Lsm, bool isVolatile = false)
    {
        if (CheckNew(range, engine, isVolatile) is { } refusal)
        {
            return refusal;
        }

        if (_context.Replication is not null && !isVolatile)
        {
            return Refuse(Status.Unsupported, Refusals.NotReplicated("adding a partition").Detail!);
        }

        lock (_changes)
        {
            if (Map.FindOverlap(range) is { } other)
            {
                return Refuse(Status.Invalid, $"the range overlaps partition {other.Id}; remove that one first or choose another range");
            }

            var copy = new KeyRange(range.From.ToArray(), range.To.ToArray());
            var definition = new PartitionDefinition(_catalog.NextPartitionId, copy, engine, isVolatile);
            WriteCatalog([.. _catalog.Partitions, definition], definition.Id + 1);
            Partition partition = Open(definition);
            WriteResult defined = DefineIndexes(partition);
            Publish([.. Map.Partitions, partition]);
            if (!defined.IsOk)
            {
                Remove(partition, discardData: true);
                return Refuse(defined.Status, $"the partition's indexes could not be begun: {defined.Detail}");
            }

            return new PartitionResult { Status = Status.Ok, Partition = partition.Describe() };
        }
    }

    public PartitionResult Remove(long id, bool discardData = false)
    {
        lock (_changes)
        {
            return Map.TryFind(id, out Partition? partition)
                ? Remove(partition, discardData)
                : Refuse(Status.NotFound, string.Create(CultureInfo.InvariantCulture, $"there is no partition {id}; 'keyva admin partition list' shows them"));
        }
    }

    public PartitionResult Remove(KeyRange range, bool discardData = false)
    {
        lock (_changes)
        {
            return Map.TryFind(range, out Partition? partition)
                ? Remove(partition, discardData)
                : Refuse(Status.NotFound, "no partition has exactly this range; 'keyva admin partition list' shows them");
        }
    }

    public PartitionSnapshot BeginSnapshot(long id, string directory, CancellationToken cancellation = default)
    {
        var snapshot = new PartitionSnapshot();
        if (!Map.TryFind(id, out Partition? partition) || !partition.TryPin())
        {
            snapshot.Complete(new PartitionSnapshotResult(Status.NotFound, 0, 0, string.Create(CultureInfo.InvariantCulture, $"there is no partition {id}; 'keyva admin partition list' shows them")));
            return snapshot;
        }

        new SnapshotJob(_context, partition, _catalog, directory, snapshot, cancellation).Begin();
        return snapshot;
    }

    public PartitionCompaction BeginCompaction(long id, KeyRange range, CancellationToken cancellation = default)
    {
        var compaction = new PartitionCompaction(cancellation);
        if (!Map.TryFind(id, out Partition? partition))
        {
            compaction.Complete(Status.NotFound, string.Create(CultureInfo.InvariantCulture, $"there is no partition {id}; 'keyva admin partition list' shows them"));
            return compaction;
        }

        // What has expired by the clock counts as expired for the log from here on.
        var copy = new KeyRange(range.From.ToArray(), range.To.ToArray());
        WriteResult stamped = partition.Writer.WriteEmptyGroup();
        partition.Writer.Enter(new ExclusiveAction(writer =>
        {
            if (!stamped.IsOk || writer.Closed != Status.Ok)
            {
                compaction.Complete(stamped.IsOk ? writer.Closed : stamped.Status, stamped.Detail ?? "the partition is closed");
                return;
            }

            if (!partition.Definition.IsVolatile)
            {
                writer.Engine.BeginFlush();
            }

            writer.Engine.BeginCompaction(compaction, copy);
        }));
        return compaction;
    }

    public ValueTask<PartitionResult> SetAsync(long id, string name, string value, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(value);
        return new(SettingChange.RunAsync(this, _context, id, name, value, cancellation));
    }

    /// <summary>The journal is past its budget: these partitions move what they have into their files.</summary>
    public void Flush(IReadOnlyList<long> partitions)
    {
        foreach (long id in partitions)
        {
            if (Map.TryFind(id, out Partition? partition))
            {
                partition.Writer.Enter(new ExclusiveAction(static writer => writer.Engine.BeginFlush()));
            }
        }
    }

    /// <summary>
    /// By whoever drives a partition's replicated log: other files have taken the place of the partition's (<see cref="PartitionFolders"/>), and from here on
    /// the partition is what they hold. Those who read go on with what they have; who watches is told to come again.
    /// </summary>
    public ReplicatedWriter Replace(long id, IReplication replication)
    {
        lock (_changes)
        {
            bool found = Map.TryFind(id, out Partition? old);
            Debug.Assert(found, "a replicated partition is not removed");
            string directory = old!.Engine.Context.Directory;
            Partition fresh = Open(old.Definition, old.Writer.Queue);
            _context.Oracle.Recover(fresh.Engine.VisibleVersion, fresh.Engine.VisibleStamp);

            // Before anybody can find it: what is queued goes to the log that is replicated, and to no other.
            ReplicatedWriter writer = fresh.Writer.Replicate(replication);
            Publish([.. Map.Partitions.ToArray().Where(one => one != old), fresh]);
            _context.Watches.Feed.Removed(old);
            old.EngineClosed = () => DeleteReplaced(directory);
            old.Unpin();
            return writer;
        }
    }

    /// <summary>
    /// By whoever drives the partitions' replicated logs: adds partitions that other nodes have and this one lacks, all or none, empty. <paramref name="begin"/> makes durable how the
    /// log of one begins, before the catalog has it; <paramref name="join"/> takes the logs on before anybody can find a partition.
    /// </summary>
    public void Learn(IReadOnlyList<PartitionDefinition> definitions, long nextId, Action<Partition> begin, Action<IReadOnlyList<Partition>> join)
    {
        lock (_changes)
        {
            var opened = new List<Partition>();
            bool isDone = false;
            try
            {
                foreach (PartitionDefinition definition in definitions)
                {
                    Partition partition = Open(definition);
                    opened.Add(partition);
                    begin(partition);
                }

                WriteCatalog([.. _catalog.Partitions, .. definitions], Math.Max(nextId, _catalog.NextPartitionId));
                isDone = true;
            }
            finally
            {
                foreach (Partition partition in isDone ? [] : opened)
                {
                    // The next opening deletes its folder.
                    _context.Watches.Feed.Removed(partition);
                    partition.Unpin();
                }
            }

            join(opened);
            Publish([.. Map.Partitions, .. opened]);
        }
    }

    /// <summary>Refuses further writes and lets go of all engines; waits for the groups under way.</summary>
    public async ValueTask CloseAsync()
    {
        PartitionMap map = Map;
        _context.History.BeginClose();
        foreach (Partition partition in map.Partitions.ToArray())
        {
            await CloseWriter(partition.Writer, Status.Failed).ConfigureAwait(false);
        }

        Volatile.Write(ref _map, new PartitionMap(map.Epoch + 1, []));
        foreach (Partition partition in map.Partitions.ToArray())
        {
            partition.Unpin();
        }
    }

    /// <summary>
    /// Changes the indexes of the catalog, durably. <paramref name="change"/> gets the present ones and the number of the next, and gives
    /// the new ones, or null: nothing changes. Partitions come and go before or after.
    /// </summary>
    public bool ChangeIndexes(Func<IReadOnlyList<StoredIndex>, long, IReadOnlyList<StoredIndex>?> change)
    {
        lock (_changes)
        {
            if (change(_catalog.Indexes, _catalog.NextIndexId) is not { } indexes)
            {
                return false;
            }

            long next = indexes.Count == 0 ? _catalog.NextIndexId : Math.Max(_catalog.NextIndexId, indexes.Max(static index => index.Id) + 1);
            WriteCatalog(_catalog.Partitions, _catalog.NextPartitionId, indexes, next);
            return true;
        }
    }

    /// <summary>Runs something with the writer's role of each partition held in turn, while none comes or goes.</summary>
    public void WithEachWriter(Action<Partition> action)
    {
        lock (_changes)
        {
            foreach (Partition partition in Map.Partitions.ToArray())
            {
                var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                partition.Writer.Enter(new ExclusiveAction(writer =>
                {
                    try
                    {
                        action(partition);
                        done.SetResult();
                    }
                    catch (StoreException failure)
                    {
                        done.SetException(failure);
                    }
                }));
                done.Task.GetAwaiter().GetResult();
            }
        }
    }

    private static PartitionResult? CheckNew(KeyRange range, EngineKind engine, bool isVolatile)
    {
        if (range.IsEmpty)
        {
            return Refuse(Status.Invalid, "the range ends before it begins");
        }

        if (range.From.Length > Limits.MaxKeyBytes || range.To.Length > Limits.MaxKeyBytes)
        {
            return Refuse(Status.TooLarge, string.Create(CultureInfo.InvariantCulture, $"a bound exceeds the longest key, {Limits.MaxKeyBytes} bytes"));
        }

        if (engine is not (EngineKind.Lsm or EngineKind.Memory))
        {
            return Refuse(Status.Invalid, "the engine is lsm or memory");
        }

        return isVolatile && engine != EngineKind.Memory
            ? Refuse(Status.Invalid, "only the memory engine can be volatile")
            : null;
    }

    private static PartitionResult Refuse(Status status, string detail) => new() { Status = status, Detail = detail };

    private static Task CloseWriter(PartitionWriter writer, Status status)
    {
        var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        writer.Enter(new ExclusiveAction(w =>
        {
            w.Close(status);
            closed.SetResult();
        }));
        return closed.Task;
    }

    private PartitionResult Remove(Partition partition, bool discardData)
    {
        if (_context.Replication is not null && !partition.Definition.IsVolatile)
        {
            return Refuse(Status.Unsupported, Refusals.NotReplicated("removing a partition").Detail!);
        }

        PartitionInfo info = partition.Describe();
        if (info.Keys > 0 && !discardData)
        {
            return Refuse(Status.ConditionFailed, string.Create(CultureInfo.InvariantCulture, $"partition {partition.Id} holds about {info.Keys} keys; say that its data is to be discarded"));
        }

        CloseWriter(partition.Writer, Status.BadNode).GetAwaiter().GetResult();
        WriteCatalog(_catalog.Partitions.Where(p => p.Id != partition.Id), _catalog.NextPartitionId);
        Publish(Map.Partitions.ToArray().Where(p => p != partition));
        _context.Watches.Feed.Removed(partition);
        string directory = _context.PartitionDirectory(partition.Id);
        partition.EngineClosed = () =>
        {
            if (_context.FileSystem.DirectoryExists(directory))
            {
                _context.FileSystem.DeleteDirectory(directory);
            }
        };
        partition.Unpin();
        _journal!.Forget(partition.Id);
        return new PartitionResult { Status = Status.Ok, Partition = info };
    }

    /// <summary>A new partition follows the indexes from its first group on, and has nothing to be filled with.</summary>
    private static WriteResult DefineIndexes(Partition partition)
    {
        var result = new WriteResult { Status = Status.Ok };
        foreach (PartitionIndex index in partition.Indexes.All)
        {
            foreach (IndexAction action in (ReadOnlySpan<IndexAction>)[IndexAction.Define, IndexAction.Ready])
            {
                result = result.IsOk ? IndexLog.Write(partition, action, index.Id, default) : result;
            }
        }

        return result;
    }

    private void WriteCatalog(IEnumerable<PartitionDefinition> partitions, long nextId) =>
        WriteCatalog(partitions, nextId, _catalog.Indexes, _catalog.NextIndexId);

    private void WriteCatalog(IEnumerable<PartitionDefinition> partitions, long nextId, IReadOnlyList<StoredIndex> indexes, long nextIndex)
    {
        var catalog = new Catalog
        {
            StoreId = _catalog.StoreId,
            NextPartitionId = nextId,
            Version = _context.Oracle.LastVersion,
            Stamp = _context.Oracle.LastStamp,
            Partitions = [.. partitions],
            NextIndexId = nextIndex,
            Indexes = [.. indexes],
        };
        catalog.Write(_context.FileSystem, _context.Directory);
        Volatile.Write(ref _catalog, catalog);
        _context.Watches.Feed.ChangedAt = catalog.Version;
    }

    private void Publish(IEnumerable<Partition> partitions) =>
        Volatile.Write(ref _map, new PartitionMap(Map.Epoch + 1, partitions));

    private void DeleteReplaced(string directory)
    {
        if (_context.FileSystem.DirectoryExists(directory))
        {
            _context.FileSystem.DeleteDirectory(directory);
        }

        if (_context.FileSystem.FileExists(directory + PartitionFolders.MetaSuffix))
        {
            _context.FileSystem.DeleteFile(directory + PartitionFolders.MetaSuffix);
        }
    }

    private Partition Open(PartitionDefinition definition, RequestQueue? queue = null)
    {
        string directory = _context.PartitionDirectory(definition.Id);
        if (!_context.FileSystem.DirectoryExists(directory))
        {
            _context.FileSystem.CreateDirectory(directory);
            _context.FileSystem.SyncDirectory(StoreContext.PartitionsDirectoryOf(_context.Directory));
        }

        Engine? engine = null;
        PartitionWriter? writer = null;
        PartitionIndexes? indexes = null;
        var context = new EngineContext
        {
            FileSystem = _context.FileSystem,
            Directory = directory,
            Options = _context.EngineOptions,
            Background = _context.Background,
            Snapshots = _context.Snapshots,
            BlockCache = _context.BlockCache,
            Time = _context.Time,
            Volatile = definition.IsVolatile,
            CompactionRate = _context.CompactionRate,
            Settle = append =>
            {
                if (_context.IsOpen && Volatile.Read(ref writer) is { } opened)
                {
                    Settle(opened, append);
                }
            },
            SyncLog = definition.IsVolatile ? null : _journal!.Sync,
            Rotating = () => indexes?.Rotate(),
            BeforeDurable = index => Volatile.Read(ref indexes)?.FlushThrough(index),

            // A companion may be ahead of its partition, never of the log: so it must not be that the partition is.
            FilesMayPassLog = () => IsAlone() && Volatile.Read(ref indexes) is not { All.Length: > 0 },
            RequestFlush = () => Volatile.Read(ref writer)?.Enter(new ExclusiveAction(static role =>
            {
                // Once the partition is closed its engine may be gone.
                if (role.Closed == Status.Ok)
                {
                    role.Engine.BeginFlush();
                }
            })),
            DurableAdvanced = () =>
            {
                if (Volatile.Read(ref engine) is { } opened)
                {
                    if (_context.Replication is { } replication && !definition.IsVolatile)
                    {
                        replication.DurableAdvanced(definition.Id, opened.DurableIndex);
                    }
                    else
                    {
                        _journal!.Release(definition.Id, opened.DurableIndex);
                    }

                    _context.History.Advance();
                }
            },
        };
        Volatile.Write(ref engine, definition.Engine == EngineKind.Memory ? MemoryEngine.Open(context) : LsmEngine.Open(context));
        Volatile.Write(ref writer, new PartitionWriter(
            definition.Id,
            engine!,
            definition.IsVolatile ? null : _journal,
            _context.Oracle,
            _context.Background,
            _context.Time,
            _context.MergeFunctions,
            _context.Options.MaxQueuedWrites,
            syncs: _context.Options.Durability == Durability.Always && !definition.IsVolatile,
            queue,
            _context.Timing));
        context.History.From = Math.Min(context.History.From, _context.History.PinnedIn(definition.Id));
        PartitionIndexes opening = OpenIndexes(context, engine!, writer!);
        Volatile.Write(ref indexes, opening);
        if (_context.Snapshots.Retention.IsOn)
        {
            writer!.State.Follow(new ClockFollower(_context.History));
        }

        var partition = new Partition(definition, engine!, writer!, opening, _context);
        _context.Watches.Feed.Opened(partition, isNew: _context.IsOpen);
        return partition;
    }

    private PartitionIndexes OpenIndexes(EngineContext context, Engine engine, PartitionWriter writer)
    {
        var opening = new PartitionIndexes(context, writer.State, _context.Options.IndexExtractors, action => writer.Enter(new ExclusiveAction(action)));
        try
        {
            opening.DeleteOrphans(_catalog.Indexes);
            foreach (StoredIndex index in _catalog.Indexes)
            {
                opening.Open(index);
            }
        }
        catch
        {
            writer.DisposeTimer();
            engine.Dispose();
            opening.Dispose();
            throw;
        }

        writer.State.Indexes = opening;
        return opening;
    }

    /// <summary>Whether one partition alone writes to the journal. While opening, when the map is not there yet: no.</summary>
    private bool IsAlone()
    {
        int durable = 0;
        foreach (Partition partition in Map.Partitions)
        {
            durable += partition.Definition.IsVolatile ? 0 : 1;
        }

        return durable == 1;
    }

    private static void Settle(PartitionWriter writer, bool append)
    {
        if (append && !writer.WriteEmptyGroup().IsOk)
        {
            // Full, failed or closed: the engine asks again later, if it still needs to.
            return;
        }

        writer.Enter(new ExclusiveAction(static writer =>
        {
            if (writer.Closed == Status.Ok)
            {
                writer.Engine.Settle();
            }
        }));
    }

    /// <summary>A partition's folder outlives its removal from the catalog by a crash: it goes now.</summary>
    private void DeleteOrphans()
    {
        string directory = StoreContext.PartitionsDirectoryOf(_context.Directory);
        foreach (string name in _context.FileSystem.List(directory))
        {
            bool isMeta = name.EndsWith(PartitionFolders.MetaSuffix, StringComparison.Ordinal);
            string folder = isMeta ? name[..^PartitionFolders.MetaSuffix.Length] : name;
            bool isOurs = PartitionFolders.TryParse(folder, out long id, out _);
            bool known = isOurs && _catalog.Partitions.Any(p => !p.IsVolatile && p.Id == id) && Path.GetFileName(_context.PartitionDirectory(id)) == folder;
            if (known || !(isOurs || PartitionFolders.IsLeftOver(name)))
            {
                continue;
            }

            string path = Path.Combine(directory, name);
            if (isMeta)
            {
                _context.FileSystem.DeleteFile(path);
            }
            else
            {
                _context.FileSystem.DeleteDirectory(path);
            }
        }
    }
}
