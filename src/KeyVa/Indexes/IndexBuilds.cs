using KeyVa.Partitions;

namespace KeyVa.Indexes;

/// <summary>
/// What an index's life takes more than a moment for, step by step on one thread of the store, one index after the other: filling it, and
/// taking it away.
/// </summary>
/// <remarks>
/// Thread-safe. Each step is a command in the partition's log, so that a replay and a replica do the same, and writers get their turn
/// in between. What was interrupted is done again from its beginning when the store is opened: every step may be repeated.
/// </remarks>
internal sealed class IndexBuilds : IDisposable
{
    private static readonly TimeSpan FullRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Retry = TimeSpan.FromMilliseconds(20);

    private readonly PartitionRegistry _registry;
    private readonly StoreContext _context;
    private readonly Action<StoredIndex, IndexResult> _givingUp;
    private readonly Action<StoredIndex, IndexResult> _ended;
    private readonly ManualResetEventSlim _stopping = new();
    private readonly Lock _gate = new();
    private readonly Queue<StoredIndex> _waiting = [];
    private Task? _worker;

    /// <param name="registry">The partitions.</param>
    /// <param name="context">The store.</param>
    /// <param name="givingUp">Told that an index is about to be given up, while the catalog still has it. May be told again.</param>
    /// <param name="ended">Told when an index is ready, or was given up and dropped.</param>
    public IndexBuilds(PartitionRegistry registry, StoreContext context, Action<StoredIndex, IndexResult> givingUp, Action<StoredIndex, IndexResult> ended)
    {
        _registry = registry;
        _context = context;
        _givingUp = givingUp;
        _ended = ended;
    }

    /// <summary>Has an index filled, or taken away, as its state says.</summary>
    public void Begin(StoredIndex index)
    {
        lock (_gate)
        {
            if (!_stopping.IsSet)
            {
                _waiting.Enqueue(index);
                _worker ??= Task.Factory.StartNew(Run, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            }
        }
    }

    /// <summary>Logs that an index follows the writes of a partition, in each that it does not follow yet.</summary>
    public WriteResult Define(StoredIndex index) => LogEverywhere(index, IndexAction.Define, static found => !found.IsActive);

    /// <summary>Logs that an index follows the writes of no partition any more.</summary>
    public WriteResult Forget(StoredIndex index) => LogEverywhere(index, IndexAction.Drop, static found => found.IsActive);

    /// <summary>Waits for the step under way; the rest is for the next opening.</summary>
    public void Dispose()
    {
        Task? worker;
        lock (_gate)
        {
            _stopping.Set();
            worker = _worker;
        }

        worker?.GetAwaiter().GetResult();
        _stopping.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            StoredIndex? index;
            lock (_gate)
            {
                if (_stopping.IsSet || !_waiting.TryDequeue(out index))
                {
                    _worker = null;
                    return;
                }
            }

            try
            {
                Run(index);
            }
            catch (StorageFullException)
            {
                Later(index);
            }
            catch (StoreException failure)
            {
                _ended(index, new IndexResult { Status = Status.Failed, Detail = failure.Message });
            }
        }
    }

    /// <summary>The disk has no room for the catalog: there may be some later.</summary>
    private void Later(StoredIndex index)
    {
        if (!_stopping.Wait(FullRetry))
        {
            lock (_gate)
            {
                _waiting.Enqueue(index);
            }
        }
    }

    private void Run(StoredIndex index)
    {
        if (index.State == IndexState.Dropping)
        {
            Remove(index);
            return;
        }

        IndexResult result = Fill(index);
        if (result.Status is Status.Ok or Status.NotUnique)
        {
            bool changed = _registry.ChangeIndexes((all, _) => End(all, index, result));
            _ended(index, changed ? result : new IndexResult { Status = Status.NotFound, Detail = $"the index '{index.Definition.Name}' was dropped" });
            if (changed && !result.IsOk)
            {
                Remove(index);
            }
        }
        else
        {
            _ended(index, result);
        }
    }

    /// <summary>All indexes with one that has ended; null if it was dropped meanwhile.</summary>
    private IReadOnlyList<StoredIndex>? End(IReadOnlyList<StoredIndex> all, StoredIndex index, IndexResult result)
    {
        if (!all.Any(other => other.Id == index.Id && other.State != IndexState.Dropping))
        {
            return null;
        }

        if (!result.IsOk)
        {
            _givingUp(index, result);
        }

        return [.. all.Select(other => other.Id != index.Id ? other : other with { State = result.IsOk ? IndexState.Ready : IndexState.Dropping })];
    }

    private IndexResult Fill(StoredIndex index)
    {
        while (NextUnready(index) is { } partition)
        {
            WriteResult step = FillOne(partition, index);
            if (step.Status is not (Status.Ok or Status.BadNode))
            {
                return new IndexResult { Status = step.Status, Detail = step.Detail };
            }
        }

        if (index.Definition.Unique && FindTwice(index) is { } twice)
        {
            return new IndexResult { Status = Status.NotUnique, Detail = twice };
        }

        WriteResult ready = LogEverywhere(index, IndexAction.Ready, static found => found.IsActive && found.ReadyVersion == 0);
        return new IndexResult { Status = ready.Status, Detail = ready.Detail };
    }

    /// <summary>A partition that was not filled since the store was opened.</summary>
    private Partition? NextUnready(StoredIndex index)
    {
        foreach (Partition partition in _registry.Map.Partitions)
        {
            if (partition.Indexes.Find(index.Id) is { ReadyVersion: 0, IsFilled: false })
            {
                return partition;
            }
        }

        return null;
    }

    private WriteResult FillOne(Partition partition, StoredIndex index)
    {
        PartitionIndex found = partition.Indexes.Find(index.Id)!;
        WriteResult result = found.IsActive ? new WriteResult { Status = Status.Ok } : LogOne(partition, IndexAction.Define, index.Id, default);
        byte[]? from = [];
        while (result.IsOk && from is not null)
        {
            result = LogOne(partition, IndexAction.Fill, index.Id, from);
            from = found.NextToFill;
        }

        found.IsFilled = result.IsOk || result.Status == Status.BadNode;
        return result;
    }

    private WriteResult LogEverywhere(StoredIndex index, IndexAction action, Predicate<PartitionIndex> isDue)
    {
        var result = new WriteResult { Status = Status.Ok };
        foreach (Partition partition in _registry.Map.Partitions.ToArray())
        {
            if (partition.Indexes.Find(index.Id) is { } found && isDue(found))
            {
                result = LogOne(partition, action, index.Id, default);
                if (result.Status is not (Status.Ok or Status.BadNode))
                {
                    return result;
                }
            }
        }

        return new WriteResult { Status = Status.Ok };
    }

    /// <summary>A full disk or a full queue is waited for.</summary>
    private WriteResult LogOne(Partition partition, IndexAction action, long index, ReadOnlySpan<byte> from)
    {
        while (true)
        {
            if (_stopping.IsSet)
            {
                return Refusals.Failed(new StoreException("the store is being closed"));
            }

            WriteResult result = IndexLog.Write(partition, action, index, from);
            if (result.Status is not (Status.Full or Status.Busy))
            {
                return result;
            }

            _stopping.Wait(Retry);
        }
    }

    /// <summary>
    /// Two records of all partitions that have the same values, in words; null if there are none. What is written from the snapshot
    /// on was compared with all that is there.
    /// </summary>
    private string? FindTwice(StoredIndex index)
    {
        using IndexCursor cursor = IndexQueries.Open(_registry, _context, index, new IndexQuery { Index = index.Definition.Name, KeysOnly = true }, wholeOnly: false);
        byte[] tuple = [];
        byte[] key = [];
        while (!_stopping.IsSet && cursor.MoveNext())
        {
            ReadOnlySpan<byte> next = cursor.ResumeToken[..^cursor.Key.Length];
            if (next.SequenceEqual(tuple) && !IndexValueEncoding.HasNull(tuple))
            {
                return $"the index '{index.Definition.Name}' cannot be unique: the records {IndexRefusals.Show(key)} and {IndexRefusals.Show(cursor.Key)} both have {IndexValueText.OfTuple(tuple)}";
            }

            tuple = next.ToArray();
            key = cursor.Key.ToArray();
        }

        return null;
    }

    /// <summary>
    /// Takes an index away. A replay of what came before may still ask it, so its files stay until those of the partitions
    /// contain its end.
    /// </summary>
    private void Remove(StoredIndex index)
    {
        if (Forget(index).Status is not (Status.Ok or Status.BadNode))
        {
            return;
        }

        foreach (Partition partition in _registry.Map.Partitions.ToArray())
        {
            if (!AwaitDurable(partition, partition.Engine.AppliedIndex))
            {
                return;
            }
        }

        // A folder is not deleted in one step: once the catalog does not know the index, opening deletes what is left of it.
        _registry.ChangeIndexes((all, _) => [.. all.Where(other => other.Id != index.Id)]);
        _registry.WithEachWriter(partition =>
        {
            if (partition.Indexes.Find(index.Id) is { } found)
            {
                partition.Indexes.Close(found);
            }
        });
    }

    private bool AwaitDurable(Partition partition, long applied)
    {
        if (partition.Definition.IsVolatile)
        {
            return true;
        }

        partition.Writer.Enter(new ExclusiveAction(static writer =>
        {
            if (writer.Closed == Status.Ok)
            {
                writer.Engine.BeginFlush();
            }
        }));
        while (partition.Engine.DurableIndex < applied && partition.Writer.Failure is null && partition.Writer.Closed == Status.Ok)
        {
            if (_stopping.Wait(Retry))
            {
                return false;
            }
        }

        return partition.Engine.DurableIndex >= applied || partition.Writer.Closed == Status.BadNode;
    }
}
