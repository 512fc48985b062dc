using KeyVa.Partitions;
using KeyVa.Transactions;

namespace KeyVa.Indexes;

/// <summary>The indexes of one store: their definitions in the catalog, and what becomes of them. Thread-safe.</summary>
internal sealed class StoreIndexes : IIndexes, IDisposable
{
    /// <summary>Indexes of one store: each of them makes every write slower.</summary>
    public const int MaxIndexes = 64;

    private const int MaxCountedUnindexed = 10_000;
    private const int MaxShownUnindexed = 16;

    private readonly PartitionRegistry _registry;
    private readonly StoreContext _context;
    private readonly IndexBuilds _builds;
    private readonly Lock _gate = new();
    private volatile bool _closed;

    // Guarded by the gate; by index number, while somebody waits or may wait.
    private readonly Dictionary<long, TaskCompletionSource<IndexResult>> _ends = [];

    // Guarded by the gate. A reason stands here before the catalog says that the index is gone, so whoever does not find the index finds the reason.
    private readonly GivenUpIndexes _givenUp = new();

    public StoreIndexes(PartitionRegistry registry, StoreContext context)
    {
        _registry = registry;
        _context = context;
        _builds = new IndexBuilds(registry, context, GivingUp, Ended);
        Guard = new UniqueGuard(registry, context);
        Guard.Refresh();
    }

    /// <summary>Keeps values unique across partitions.</summary>
    public UniqueGuard Guard { get; }

    // Definitions stand in the catalog, which is each node's own.
    private bool IsReplicated => _context.Replication is not null;

    /// <summary>Goes on with what the store did when it was closed.</summary>
    public void Resume()
    {
        foreach (StoredIndex index in _registry.Indexes.Where(index => !IsReady(index)))
        {
            _builds.Begin(index);
        }
    }

    public async ValueTask<IndexResult> CreateAsync(IndexDefinition definition, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(definition);
        cancellation.ThrowIfCancellationRequested();
        if ((StoredIndex.Check(definition) ?? CheckExtractor(definition)) is { } refusal)
        {
            return new IndexResult { Status = Status.Invalid, Detail = refusal };
        }

        if (IsReplicated)
        {
            return new IndexResult { Status = Status.Unsupported, Detail = Partitions.Refusals.NotReplicated("an index").Detail };
        }

        if (_closed)
        {
            return Closed;
        }

        // Folders are made and logs are synced: not on the caller's thread, nor on one of the pool.
        return await Task.Factory.StartNew(() => Create(definition), cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default).ConfigureAwait(false);
    }

    public async ValueTask<IndexResult> WaitAsync(string name, CancellationToken cancellation = default)
    {
        Task<IndexResult> end;
        lock (_gate)
        {
            if (Find(name) is not { } index)
            {
                return _givenUp.Find(name) ?? NotFound(name);
            }

            if (IsReady(index))
            {
                return new IndexResult { Status = Status.Ok };
            }

            if (!_ends.TryGetValue(index.Id, out TaskCompletionSource<IndexResult>? source))
            {
                _ends.Add(index.Id, source = new TaskCompletionSource<IndexResult>(TaskCreationOptions.RunContinuationsAsynchronously));
            }

            end = source.Task;
        }

        return await end.WaitAsync(cancellation).ConfigureAwait(false);
    }

    public async ValueTask<IndexResult> DropAsync(string name, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        if (IsReplicated)
        {
            return new IndexResult { Status = Status.Unsupported, Detail = Partitions.Refusals.NotReplicated("an index").Detail };
        }

        if (_closed)
        {
            return Closed;
        }

        return await Task.Factory.StartNew(() => Drop(name), cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default).ConfigureAwait(false);
    }

    public ValueTask<IndexInfo?> FindAsync(string name, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        return ValueTask.FromResult(Find(name) is { } index ? Describe(index) : null);
    }

    public ValueTask<IReadOnlyList<IndexInfo>> ListAsync(CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        return ValueTask.FromResult(List());
    }

    /// <summary>The indexes, by name.</summary>
    public IReadOnlyList<IndexInfo> List() =>
        [.. _registry.Indexes.OrderBy(static index => index.Definition.Name, StringComparer.Ordinal).Select(Describe)];

    /// <summary>
    /// Opens a query; a refused one says so in its status. <paramref name="at"/>: the snapshot that it is to have and close; null: a new one.
    /// <paramref name="scan"/>: of a transaction, what is laid over the index and where is noted what was read.
    /// </summary>
    public IndexCursor Query(IndexQuery query, Snapshot? at = null, TransactionScan? scan = null) =>
        Find(query.Index) is { } index
            ? IndexQueries.Open(_registry, _context, index, query, wholeOnly: true, at, scan)
            : Unknown(query, at);

    /// <summary>As <see cref="Query"/>, without blocking.</summary>
    public async ValueTask<IndexCursor> QueryAsync(IndexQuery query, Snapshot? at = null, TransactionScan? scan = null) =>
        Find(query.Index) is { } index
            ? await IndexQueries.OpenAsync(_registry, _context, index, query, at, scan).ConfigureAwait(false)
            : Unknown(query, at);

    /// <summary>Why the newest index of this name was given up; null if none was, or there is one again.</summary>
    public IndexResult? ReasonOf(string name)
    {
        lock (_gate)
        {
            return _givenUp.Find(name);
        }
    }

    /// <summary>The name of an index; null if there is none of this number any more.</summary>
    public string? NameOf(long id) => _registry.Indexes.FirstOrDefault(index => index.Id == id && index.State != IndexState.Dropping)?.Definition.Name;

    /// <summary>Stops filling and removing; opening the store goes on with it.</summary>
    public void Dispose()
    {
        _closed = true;
        _builds.Dispose();
        EndWaits();
    }

    /// <summary>Whoever waits for an index is told that the store is closed.</summary>
    public void EndWaits()
    {
        lock (_gate)
        {
            foreach (TaskCompletionSource<IndexResult> end in _ends.Values)
            {
                end.TrySetResult(Closed);
            }

            _ends.Clear();
        }
    }

    private static IndexResult Closed { get; } = new() { Status = Status.Failed, Detail = "the store is closed" };

    private static IndexResult NotFound(string name) => new() { Status = Status.NotFound, Detail = $"there is no index '{name}'" };

    private static IndexCursor Unknown(IndexQuery query, Snapshot? at)
    {
        at?.Dispose();
        return new IndexCursor(Status.NotFound, NotFound(query.Index).Detail!);
    }

    private static bool AreEqual(IndexDefinition a, IndexDefinition b) => a.Fields.SequenceEqual(b.Fields) && (a with { Fields = b.Fields }) == b;

    private string? CheckExtractor(IndexDefinition definition) =>
        definition.Extractor is not { } name || _context.Options.IndexExtractors.Any(known => known.Name == name && known.Version == definition.ExtractorVersion)
            ? null
            : $"the store was opened without version {definition.ExtractorVersion} of the extractor '{name}'";

    private StoredIndex? Find(string name) =>
        _registry.Indexes.FirstOrDefault(index => index.Definition.Name == name && index.State != IndexState.Dropping);

    /// <summary>
    /// Whether it answers queries. One that the catalog calls ready need not be: a partition that is lost at exit has nothing, and a
    /// journal that is not synced may have lost the end that made it so. Such a one is filled again.
    /// </summary>
    private bool IsReady(StoredIndex index)
    {
        foreach (Partition partition in _registry.Map.Partitions)
        {
            if (partition.Indexes.Find(index.Id) is not { ReadyVersion: > 0 })
            {
                return false;
            }
        }

        return index.State == IndexState.Ready;
    }

    private IndexResult Create(IndexDefinition definition)
    {
        var result = new IndexResult { Status = Status.Ok };
        StoredIndex? created = null;
        IndexDefinition copy = definition with { Fields = [.. definition.Fields] };
        _registry.ChangeIndexes((all, next) =>
        {
            StoredIndex? other = all.FirstOrDefault(index => index.Definition.Name == copy.Name && index.State != IndexState.Dropping);
            if (other is not null || all.Count >= MaxIndexes)
            {
                result = Refuse(other, copy);
                return null;
            }

            created = new StoredIndex(next, IndexState.Building, copy);
            return [.. all, created];
        });
        if (created is null)
        {
            return result;
        }

        lock (_gate)
        {
            _givenUp.Forget(copy.Name);
        }

        // From here on the catalog has it: a partition that is added now opens it by itself.
        Guard.Refresh();
        try
        {
            return Begin(created);
        }
        catch (StoreException failure)
        {
            Drop(copy.Name);
            return new IndexResult { Status = failure is StorageFullException ? Status.Full : Status.Failed, Detail = failure.Message };
        }
    }

    private IndexResult Begin(StoredIndex created)
    {
        _registry.WithEachWriter(partition =>
        {
            if (partition.Indexes.Find(created.Id) is null)
            {
                partition.Indexes.Open(created);
            }
        });
        WriteResult defined = _builds.Define(created);
        _builds.Begin(created);
        return new IndexResult { Status = defined.Status, Detail = defined.Detail };
    }

    private static IndexResult Refuse(StoredIndex? other, IndexDefinition definition)
    {
        if (other is null)
        {
            return new IndexResult { Status = Status.TooLarge, Detail = $"a store has at most {MaxIndexes} indexes" };
        }

        return AreEqual(other.Definition, definition)
            ? new IndexResult { Status = Status.Ok, WasThere = true }
            : new IndexResult { Status = Status.ConditionFailed, Detail = $"there is an index '{definition.Name}' with another definition; drop that one first" };
    }

    private IndexResult Drop(string name)
    {
        StoredIndex? dropped = null;
        _registry.ChangeIndexes((all, _) =>
        {
            dropped = all.FirstOrDefault(index => index.Definition.Name == name && index.State != IndexState.Dropping);
            return dropped is null ? null : [.. all.Select(index => index.Id == dropped.Id ? index with { State = IndexState.Dropping } : index)];
        });
        if (dropped is null)
        {
            return NotFound(name);
        }

        dropped = dropped with { State = IndexState.Dropping };
        WriteResult forgotten = _builds.Forget(dropped);
        Guard.Refresh();
        _builds.Begin(dropped);
        return new IndexResult { Status = forgotten.Status, Detail = forgotten.Detail };
    }

    private void GivingUp(StoredIndex index, IndexResult reason)
    {
        lock (_gate)
        {
            _givenUp.Note(index.Definition.Name, reason);
        }
    }

    private void Ended(StoredIndex index, IndexResult result)
    {
        Guard.Refresh();
        lock (_gate)
        {
            if (_ends.Remove(index.Id, out TaskCompletionSource<IndexResult>? end))
            {
                end.TrySetResult(result);
            }
        }
    }

    private IndexInfo Describe(StoredIndex index)
    {
        long filled = 0;
        long records = 0;
        long entries = 0;
        long bytes = 0;
        var keys = new List<ReadOnlyMemory<byte>>();
        long unindexed = 0;
        foreach (Partition partition in _registry.Map.Partitions)
        {
            if (partition.Indexes.Find(index.Id) is not { } found || !partition.TryPin())
            {
                continue;
            }

            try
            {
                records += partition.Engine.GetStatistics().Keys;
                if (!found.TryPin())
                {
                    continue;
                }

                try
                {
                    Engines.EngineStatistics figures = found.Companion.GetStatistics();
                    filled += found.Filled;
                    entries += figures.Keys;
                    bytes += figures.StorageBytes;
                    unindexed += CountUnindexed(found, MaxCountedUnindexed - unindexed, keys);
                }
                finally
                {
                    found.Unpin();
                }
            }
            finally
            {
                partition.Unpin();
            }
        }

        return new IndexInfo
        {
            Definition = index.Definition,
            State = index.State == IndexState.Ready && !IsReady(index) ? IndexState.Building : index.State,
            FilledRecords = filled,
            TotalRecords = Math.Max(filled, records),
            Entries = entries,
            StorageBytes = bytes,
            Unindexed = unindexed,
            UnindexedKeys = keys,
        };
    }

    private long CountUnindexed(PartitionIndex index, long most, List<ReadOnlyMemory<byte>> keys)
    {
        long count = 0;
        using Snapshot snapshot = _context.Snapshots.Open(index.Companion);
        using Engines.EngineCursor cursor = index.Companion.OpenCursor([PartitionIndex.UnindexedTag], [PartitionIndex.UnindexedTag + 1], snapshot.Version, reverse: false);
        while (count < most && cursor.MoveNext())
        {
            if (cursor.ExpiresAt == 0 || cursor.ExpiresAt > _context.Oracle.Now())
            {
                count++;
                if (keys.Count < MaxShownUnindexed)
                {
                    keys.Add(cursor.Key[1..].ToArray());
                }
            }
        }

        return count;
    }
}
