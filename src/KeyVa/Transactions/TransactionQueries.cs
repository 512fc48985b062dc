using KeyVa.Engines;
using KeyVa.Indexes;
using KeyVa.Measurements;
using KeyVa.Partitions;

namespace KeyVa.Transactions;

/// <summary>How a transaction asks a secondary index: at its snapshot, as long as that is all it sees.</summary>
internal static class TransactionQueries
{
    private const string HasWritten =
        "the transaction has written, and an index does not show what is not committed; ask before the first write, or scan";

    private const string NotValidated =
        "a serializable transaction that may write would have to find the index unchanged when it commits, which is not looked at; ask in a read-only one, or at repeatable read";

    public static IndexCursor Open(TransactionBody body, IndexQuery query) =>
        TryShare(body, query, out Snapshot? at, out Status status, out string? detail)
            ? body.Live.Indexes.Query(query, at)
            : new IndexCursor(status, detail!);

    /// <summary>As <see cref="Open"/>, without blocking the thread.</summary>
    public static ValueTask<IndexCursor> OpenAsync(TransactionBody body, IndexQuery query) =>
        TryShare(body, query, out Snapshot? at, out Status status, out string? detail)
            ? body.Live.Indexes.QueryAsync(query, at)
            : ValueTask.FromResult(new IndexCursor(status, detail!));

    /// <summary>Opens another snapshot at the version of the transaction's; null: it has none.</summary>
    private static bool TryShare(TransactionBody body, IndexQuery query, out Snapshot? at, out Status status, out string? detail)
    {
        ArgumentNullException.ThrowIfNull(query);
        body.Live.Counters.Add(Counter.Scans);
        at = null;
        status = Status.Unsupported;
        detail = body.NotesReads ? NotValidated : body.Writes.IsEmpty ? null : HasWritten;
        if (body.IsActive && detail is not null)
        {
            return false;
        }

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
        status = body.EndStatus;
        detail = body.Detail;
        return false;
    }
}
