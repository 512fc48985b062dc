namespace KeyVa.Indexes;

/// <summary>The secondary indexes of a store. Thread-safe.</summary>
public interface IIndexes
{
    /// <summary>
    /// Creates an index. From the moment this ends on, it follows every write; what is there already is filled in in the background, while
    /// reads and writes go on: <see cref="WaitAsync"/> waits for that. <see cref="Status.Invalid"/> if the definition cannot be
    /// carried out, <see cref="Status.ConditionFailed"/> if there is an index of this name with another definition (the same one: Ok).
    /// </summary>
    ValueTask<IndexResult> CreateAsync(IndexDefinition definition, CancellationToken cancellation = default);

    /// <summary>
    /// Ends when an index answers queries. <see cref="Status.NotUnique"/> if it was given up because two records have the same
    /// values (the detail names both), <see cref="Status.NotFound"/> if there is none, <see cref="Status.Failed"/> if the store stops.
    /// </summary>
    ValueTask<IndexResult> WaitAsync(string name, CancellationToken cancellation = default);

    /// <summary>
    /// Drops an index: it is no longer asked and constrains no write. Cursors that are open go on; its files go when the last one
    /// is closed. <see cref="Status.NotFound"/> if there is none.
    /// </summary>
    ValueTask<IndexResult> DropAsync(string name, CancellationToken cancellation = default);

    /// <summary>An index as it is; null if there is none of this name.</summary>
    ValueTask<IndexInfo?> FindAsync(string name, CancellationToken cancellation = default);

    /// <summary>The indexes, by name.</summary>
    ValueTask<IReadOnlyList<IndexInfo>> ListAsync(CancellationToken cancellation = default);
}
