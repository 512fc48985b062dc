using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Transactions;

/// <summary>Reads of several keys in a transaction, at one version.</summary>
internal static class MultiReads
{
    /// <summary>
    /// Reads the keys; if <paramref name="closed"/> has not ended, they are to be read again when it has. Levels without a snapshot of
    /// the whole transaction have one of the call, unless they look at what is not committed.
    /// </summary>
    public static MultiReadResult Get(TransactionBody body, IReadOnlyList<ReadOnlyMemory<byte>> keys, out ValueTask closed)
    {
        ArgumentNullException.ThrowIfNull(keys);
        closed = default;
        if (keys.Count > Limits.MaxBatchOperations)
        {
            return Refused(Status.TooLarge, $"a request for {keys.Count} keys exceeds the limit of {Limits.MaxBatchOperations}");
        }

        if (!body.IsActive)
        {
            return Refused(body.EndStatus, body.Detail);
        }

        using Snapshot snapshot = new();
        long at = body.At;
        if (at == ReadVersion.Latest && !body.LocksReads && !body.SeesUncommitted)
        {
            body.Live.OpenSnapshot(snapshot);
            at = snapshot.Version;
        }

        var records = new Record?[keys.Count];
        for (int i = 0; i < records.Length; i++)
        {
            using ValueLease lease = TransactionReads.Get(body, keys[i].Span, at, forUpdate: false);
            if (lease.Status > Status.NotFound)
            {
                return Refused(lease.Status, body.Detail ?? (lease.Status == Status.BadNode ? Refusals.BadNodeDetail : Refusals.DescribeKey(keys[i].Length)));
            }

            records[i] = lease.Found ? StoreReads.Copy(keys[i], lease).Record : null;
        }

        return new MultiReadResult { Status = Status.Ok, Records = records };
    }

    private static MultiReadResult Refused(Status status, string? detail) => new() { Status = status, Detail = detail, Records = [] };
}
