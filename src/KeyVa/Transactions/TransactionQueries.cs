using KeyVa.Engines;
using KeyVa.Indexes;
using KeyVa.Measurements;
using KeyVa.Partitions;

namespace KeyVa.Transactions;

/// <summary>
/// How a transaction asks a secondary index: at its snapshot, with what it has written laid over; in a serializable one that may write,
/// what was read is noted, and the commit finds it unchanged. Locks are not taken, under pessimistic control neither.
/// </summary>
internal static class TransactionQueries
{
    public static IndexCursor Open(TransactionBody body, IndexQuery query) =>
        TryShare(body, query, out Snapshot? at)
            ? body.Live.Indexes.Query(query, at, Lay(body))
            : Ended(body);

    /// <summary>As <see cref="Open"/>, without blocking the thread.</summary>
    public static ValueTask<IndexCursor> OpenAsync(TransactionBody body, IndexQuery query) =>
        TryShare(body, query, out Snapshot? at)
            ? body.Live.Indexes.QueryAsync(query, at, Lay(body))
            : ValueTask.FromResult(Ended(body));

    // What only reads at a snapshot needs nothing laid over the index.
    private static TransactionScan? Lay(TransactionBody body) => body.IsReadOnly && !body.SeesUncommitted ? null : new TransactionScan(body);

    private static IndexCursor Ended(TransactionBody body) => new(body.EndStatus, body.Detail ?? "the transaction was ended");

    /// <summary>Opens another snapshot at the version of the transaction's; null: it has none.</summary>
    private static bool TryShare(TransactionBody body, IndexQuery query, out Snapshot? at)
    {
        ArgumentNullException.ThrowIfNull(query);
        body.Live.Counters.Add(Counter.Scans);
        at = null;
        if (body.IsActive && body.At != ReadVersion.Latest)
        {
            if (body.SeesKeys)
            {
                // Which records an index will show is not known here.
                body.Seen.Add(default, default);
            }

            at = new Snapshot();
            body.Live.Snapshots.Share(body.Snapshot, at);
        }

        // Not before: what the snapshot sees may have been forgotten if it was ended before it was shared.
        if (body.IsActive)
        {
            return true;
        }

        at?.Dispose();
        at = null;
        return false;
    }
}
