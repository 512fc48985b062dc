using KeyVa.Engines;
using KeyVa.Partitions;
using KeyVa.Transactions;

namespace KeyVa.Indexes;

/// <summary>Opens cursors over an index of all partitions.</summary>
internal static class IndexQueries
{
    /// <summary>
    /// Opens a cursor at a snapshot, which becomes its own (null: at a new one), and waits on the calling thread until it may be read.
    /// </summary>
    public static IndexCursor Open(
        PartitionRegistry registry, StoreContext context, StoredIndex index, IndexQuery query, bool wholeOnly = true, Snapshot? at = null, TransactionScan? scan = null)
    {
        at ??= context.Snapshots.Open(context.Oracle);
        IndexCursor cursor = Begin(registry, context, index, query, at, scan, out ValueTask closed);
        if (!closed.IsCompletedSuccessfully)
        {
            closed.AsTask().GetAwaiter().GetResult();
        }

        return OpenAt(registry, context, index, cursor, at.Version, wholeOnly);
    }

    /// <summary>As above, without blocking.</summary>
    public static async ValueTask<IndexCursor> OpenAsync(PartitionRegistry registry, StoreContext context, StoredIndex index, IndexQuery query, Snapshot? at = null, TransactionScan? scan = null)
    {
        at ??= context.Snapshots.Open(context.Oracle);
        IndexCursor cursor = Begin(registry, context, index, query, at, scan, out ValueTask closed);
        await closed.ConfigureAwait(false);
        return OpenAt(registry, context, index, cursor, at.Version, wholeOnly: true);
    }

    private static IndexCursor Begin(PartitionRegistry registry, StoreContext context, StoredIndex index, IndexQuery query, Snapshot snapshot, TransactionScan? scan, out ValueTask closed)
    {
        var cursor = new IndexCursor(query, context.Oracle, snapshot, scan);
        if (cursor.Bounds.Set(query, index.Definition.Fields.Count) is { } refusal)
        {
            cursor.Refuse(Status.Invalid, refusal);
        }

        closed = cursor.Status == Status.Ok ? WaitForAll(registry.Map, snapshot.Version) : default;
        return cursor;
    }

    private static IndexCursor OpenAt(PartitionRegistry registry, StoreContext context, StoredIndex index, IndexCursor cursor, long version, bool wholeOnly)
    {
        if (cursor.Status != Status.Ok || cursor.Bounds.IsEmpty)
        {
            return cursor;
        }

        cursor.LayOver(index, context.Options.IndexExtractors, version);
        if (cursor.Status != Status.Ok)
        {
            return cursor;
        }

        Epochs.Enter();
        try
        {
            foreach (Partition partition in registry.Map.Partitions)
            {
                if (partition.Indexes.Find(index.Id) is not { } found || (wholeOnly && (found.ReadyVersion == 0 || found.ReadyVersion > version)))
                {
                    cursor.Refuse(Status.NotReady, $"the index '{index.Definition.Name}' is being filled (or is newer than the snapshot); wait until it is ready");
                    return cursor;
                }

                if (!partition.TryPin())
                {
                    cursor.Refuse(Status.BadNode, "a partition is being removed from this node");
                    return cursor;
                }

                if (!found.TryPin())
                {
                    partition.Unpin();
                    cursor.Refuse(Status.NotFound, $"the index '{index.Definition.Name}' was dropped");
                    return cursor;
                }

                cursor.Add(partition, found, version);
            }
        }
        finally
        {
            Epochs.Exit();
        }

        return cursor;
    }

    private static async ValueTask WaitForAll(PartitionMap map, long version)
    {
        foreach (Partition partition in map.Partitions.ToArray())
        {
            await partition.Writer.WaitUntilClosed(version).ConfigureAwait(false);
        }
    }
}
