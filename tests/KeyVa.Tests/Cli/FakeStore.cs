using System.Runtime.CompilerServices;
using KeyVa.Indexes;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>
/// A store in a sorted dictionary that answers late and in any order, refuses what it is told to, and breaks off. The
/// model for import and export.
/// </summary>
internal sealed class FakeStore : IStore
{
    public IIndexes Indexes => throw new NotSupportedException();

    public IAsyncEnumerable<IndexedRecord> QueryAsync(IndexQuery query, CancellationToken cancellation = default) => throw new NotSupportedException();

    private readonly Lock _lock = new();
    private readonly Random _random;
    private readonly TaskCompletionSource _second = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _writes;

    public int Writes => _writes;

    public FakeStore(int seed = 1) => _random = new Random(seed);

    public SortedDictionary<byte[], (byte[] Value, long Expires)> Records { get; } =
        new(Comparer<byte[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b)));

    /// <summary>The longest value taken.</summary>
    public int MaxValueBytes { get; init; } = int.MaxValue;

    /// <summary>Fails with the write of this number, from 1; 0: never.</summary>
    public int FailAtWrite { get; set; }

    /// <summary>How many writes are refused as busy before they are taken.</summary>
    public int BusyEvery { get; init; }

    /// <summary>Breaks a scan off after so many records; 0: never.</summary>
    public int BreakScanAfter { get; set; }

    /// <summary>Holds the first write back until a second one is on its way.</summary>
    public bool WaitForSecond { get; init; }

    public int MostInFlight { get; private set; }

    private int InFlight { get; set; }

    public async ValueTask<WriteResult> WriteAsync(WriteBatch batch, CancellationToken cancellation = default)
    {
        List<(byte[] Key, byte[] Value, long Expires)> puts = Decode(batch);
        int yields;
        lock (_lock)
        {
            MostInFlight = Math.Max(MostInFlight, ++InFlight);
            yields = _random.Next(4);
            if (InFlight > 1)
            {
                _second.TrySetResult();
            }
        }

        if (WaitForSecond)
        {
            await _second.Task.WaitAsync(TimeSpan.FromMinutes(1), cancellation);
        }

        for (int i = 0; i < yields; i++)
        {
            await Task.Yield();
        }

        lock (_lock)
        {
            InFlight--;
            int number = ++_writes;
            if (number == FailAtWrite)
            {
                throw new StoreException("the connection was lost");
            }

            if (BusyEvery > 0 && number % BusyEvery == 0)
            {
                return new WriteResult { Status = Status.Busy };
            }

            if (puts.Any(put => put.Value.Length > MaxValueBytes))
            {
                return new WriteResult { Status = Status.TooLarge, Detail = $"a value is longer than {MaxValueBytes} bytes" };
            }

            Assert.Equal(puts.Count, puts.DistinctBy(put => Convert.ToHexString(put.Key)).Count());
            foreach ((byte[] key, byte[] value, long expires) in puts)
            {
                Records[key] = (value, expires);
            }

            return new WriteResult { Version = number };
        }
    }

    public async IAsyncEnumerable<Record> ScanAsync(ScanOptions options, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        await Task.Yield();
        int left = BreakScanAfter == 0 ? int.MaxValue : BreakScanAfter;
        long limit = options.Limit == 0 ? long.MaxValue : options.Limit;
        foreach ((byte[] key, (byte[] value, long expires)) in Records)
        {
            if (!key.AsSpan().StartsWith(options.Prefix.Span))
            {
                continue;
            }

            if (!options.After.IsEmpty && key.AsSpan().SequenceCompareTo(options.After.Span) <= 0)
            {
                continue;
            }

            if (limit-- == 0)
            {
                yield break;
            }

            if (left-- == 0)
            {
                throw new StoreException("the connection was lost");
            }

            yield return new Record { Key = key, Value = value, ExpiresAtUnixMilliseconds = expires };
        }
    }

    public ValueTask<ReadResult> GetAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<MultiReadResult> GetAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, CancellationToken cancellation = default) =>
        throw new NotSupportedException();

    public ValueTask<WriteResult> UpsertAsync(
        ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, WriteOptions options = default, CancellationToken cancellation = default) =>
        throw new NotSupportedException();

    public ValueTask<WriteResult> RemoveAsync(ReadOnlyMemory<byte> key, Condition condition = default, CancellationToken cancellation = default) =>
        throw new NotSupportedException();

    public ValueTask<WriteResult> MergeAsync(
        ReadOnlyMemory<byte> key, MergeFunction function, ReadOnlyMemory<byte> operand, WriteOptions options = default, CancellationToken cancellation = default) =>
        throw new NotSupportedException();

    public ValueTask<WriteResult> IncrementAsync(ReadOnlyMemory<byte> key, long delta = 1, WriteOptions options = default, CancellationToken cancellation = default) =>
        throw new NotSupportedException();

    public ValueTask<WriteResult> RemoveRangeAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, CancellationToken cancellation = default) =>
        throw new NotSupportedException();

    public IAsyncEnumerable<WatchEvent> WatchAsync(WatchOptions options, CancellationToken cancellation = default) =>
        throw new NotSupportedException();

    public ValueTask<ReadResult> GetAtAsync(ReadOnlyMemory<byte> key, AsOf at, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<MultiReadResult> GetAtAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, AsOf at, CancellationToken cancellation = default) =>
        throw new NotSupportedException();

    public ValueTask<HistoryResult> HistoryAsync(ReadOnlyMemory<byte> key, HistoryOptions? options = null, CancellationToken cancellation = default) =>
        throw new NotSupportedException();

    public ValueTask<RollBackResult> RollBackAsync(KeyRange range, AsOf to, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<RollBackResult> RollBackAsync(ReadOnlyMemory<byte> key, AsOf to, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<RollBackResult> RollBackAsync(long partition, AsOf to, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<ITransaction> BeginAsync(TransactionOptions? options = null, CancellationToken cancellation = default) =>
        throw new NotSupportedException();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private static List<(byte[] Key, byte[] Value, long Expires)> Decode(WriteBatch batch)
    {
        List<(byte[], byte[], long)> puts = [];
        ReadOnlySpan<byte> bytes = batch.Commands.Buffer.Written;
        while (OperationEncoding.TryRead(ref bytes, out Operation operation))
        {
            Assert.True(operation.IsPut);
            puts.Add((operation.Key.ToArray(), operation.Value.ToArray(), operation.Expiry));
        }

        return puts;
    }
}
