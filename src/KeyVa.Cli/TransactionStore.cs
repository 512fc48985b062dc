using System.Runtime.CompilerServices;
using KeyVa.Indexes;

namespace KeyVa.Cli;

/// <summary>
/// The shell's transaction as a store, so that get, mget, set, mset, del, incr, merge and scan run inside it as they do outside. Results of writes have
/// version 0: they have none before the commit. One thread.
/// </summary>
internal sealed class TransactionStore(ITransaction transaction) : IStore
{
    public ITransaction Transaction { get; } = transaction;

    public IIndexes Indexes => throw Outside("changes of indexes");

    public ValueTask<ReadResult> GetAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default) => Transaction.GetAsync(key, cancellation);

    public ValueTask<MultiReadResult> GetAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, CancellationToken cancellation = default) =>
        Transaction.GetAsync(keys, cancellation);

    public ValueTask<WriteResult> UpsertAsync(
        ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, WriteOptions options = default, CancellationToken cancellation = default) =>
        Transaction.PutAsync(key, value, options, cancellation);

    public ValueTask<WriteResult> RemoveAsync(ReadOnlyMemory<byte> key, Condition condition = default, CancellationToken cancellation = default) =>
        Transaction.RemoveAsync(key, condition, cancellation);

    public ValueTask<WriteResult> RemoveRangeAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, CancellationToken cancellation = default) =>
        Transaction.RemoveRangeAsync(from, to, cancellation);

    public ValueTask<WriteResult> WriteAsync(WriteBatch batch, CancellationToken cancellation = default) => Transaction.WriteAsync(batch, cancellation);

    public async IAsyncEnumerable<Record> ScanAsync(ScanOptions options, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        await foreach (Record record in Transaction.ScanAsync(options, cancellation))
        {
            yield return record;
        }
    }

    public ValueTask<ITransaction> BeginAsync(TransactionOptions? options = null, CancellationToken cancellation = default) =>
        throw CommandException.Usage("a transaction is under way already; 'commit' or 'rollback' ends it");

    public ValueTask<WriteResult> MergeAsync(
        ReadOnlyMemory<byte> key, MergeFunction function, ReadOnlyMemory<byte> operand, WriteOptions options = default, CancellationToken cancellation = default) =>
        Transaction.MergeAsync(key, function, operand, options, cancellation);

    public ValueTask<WriteResult> IncrementAsync(ReadOnlyMemory<byte> key, long delta = 1, WriteOptions options = default, CancellationToken cancellation = default) =>
        Transaction.IncrementAsync(key, delta, options, cancellation);

    public IAsyncEnumerable<IndexedRecord> QueryAsync(IndexQuery query, CancellationToken cancellation = default) => Transaction.QueryAsync(query, cancellation);

    public IAsyncEnumerable<WatchEvent> WatchAsync(WatchOptions options, CancellationToken cancellation = default) => throw Outside("watches");

    public ValueTask<ReadResult> GetAtAsync(ReadOnlyMemory<byte> key, AsOf at, CancellationToken cancellation = default) => throw Outside("reads of the past");

    public ValueTask<MultiReadResult> GetAtAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, AsOf at, CancellationToken cancellation = default) =>
        throw Outside("reads of the past");

    public ValueTask<HistoryResult> HistoryAsync(ReadOnlyMemory<byte> key, HistoryOptions? options = null, CancellationToken cancellation = default) =>
        throw Outside("histories");

    public ValueTask<RollBackResult> RollBackAsync(KeyRange range, AsOf to, CancellationToken cancellation = default) => throw Outside("reverting");

    public ValueTask<RollBackResult> RollBackAsync(ReadOnlyMemory<byte> key, AsOf to, CancellationToken cancellation = default) => throw Outside("reverting");

    public ValueTask<RollBackResult> RollBackAsync(long partition, AsOf to, CancellationToken cancellation = default) => throw Outside("reverting");

    public ValueTask DisposeAsync() => Transaction.DisposeAsync();

    private static CommandException Outside(string what) =>
        CommandException.Usage($"a transaction takes no {what}; 'commit' or 'rollback' ends it");
}
