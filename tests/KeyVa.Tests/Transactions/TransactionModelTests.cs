using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Transactions;

/// <summary>Random transactions, one after the other, against a sorted dictionary: own writes, savepoints, merges, scans, commits.</summary>
public sealed class TransactionModelTests
{
    private const int Rounds = 150;
    private const int Steps = 40;
    private const int KeyCount = 60;

    [Theory]
    [InlineData(EngineKind.Lsm, 1, Concurrency.Optimistic)]
    [InlineData(EngineKind.Lsm, 3, Concurrency.Optimistic)]
    [InlineData(EngineKind.Memory, 1, Concurrency.Optimistic)]
    [InlineData(EngineKind.Lsm, 3, Concurrency.Pessimistic)]
    [InlineData(EngineKind.Memory, 2, Concurrency.Pessimistic)]
    public async Task TheStoreIsAsTheModel(EngineKind engine, int partitions, Concurrency concurrency)
    {
        int seed = System.Environment.TickCount;
        var random = new Random(seed);
        await using Store store = new StoreFixture(new StoreOptions { Engine = engine, CreateDefaultPartition = partitions == 1, Durability = Durability.Os }).Open();
        PartitionedStore.Split(store, engine, partitions, "k20", "k40");
        var committed = new SortedDictionary<string, string>(StringComparer.Ordinal);
        for (int round = 0; round < Rounds; round++)
        {
            var options = new TransactionOptions { Isolation = (IsolationLevel)random.Next(4), Concurrency = concurrency };
            var run = new ModelRun(store, engine, random, options, committed);
            try
            {
                committed = run.Go(Steps);
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"seed {seed}, round {round}, {options.Isolation}: {failure.Message}", failure);
            }
        }

        Assert.Equal(0, store.Live.Count);
        Assert.True(store.Locks is not { HasLocks: true });
    }

    private sealed class ModelRun(Store store, EngineKind engine, Random random, TransactionOptions options, SortedDictionary<string, string> committed)
    {
        private SortedDictionary<string, string> _model = Copy(committed);
        private readonly List<(Savepoint Point, SortedDictionary<string, string> Model)> _savepoints = [];

        public SortedDictionary<string, string> Go(int steps)
        {
            using Transaction txn = store.Begin(options);
            for (int i = 0; i < steps; i++)
            {
                Step(txn);
            }

            switch (random.Next(4))
            {
                case 0:
                    txn.Rollback();
                    return committed;
                case 1:
                    return committed;
                default:
                    CommitResult result = txn.Commit();
                    Assert.True(result.IsOk, $"{result.Status}: {result.Detail}");
                    Assert.Equal(Text(_model), Script.StateOf(store));
                    return _model;
            }
        }

        private void Step(Transaction txn)
        {
            string key = Key();
            switch (random.Next(15))
            {
                case < 4:
                    string value = $"v{random.Next(1000)}";
                    Assert.True(txn.Put(Bytes(key), Bytes(value)).IsOk);
                    _model[key] = value;
                    break;
                case 4 or 5:
                    Assert.True(txn.Remove(Bytes(key)).IsOk);
                    _model.Remove(key);
                    break;
                case 6:
                    (string from, string to) = Range();
                    Assert.True(txn.RemoveRange(Bytes(from), Bytes(to)).IsOk);
                    foreach (string gone in _model.Keys.Where(k => In(k, from, to)).ToArray())
                    {
                        _model.Remove(gone);
                    }

                    break;
                case 7:
                    _savepoints.Add((txn.SetSavepoint(), Copy(_model)));
                    break;
                case 8 when _savepoints.Count > 0:
                    int to2 = random.Next(_savepoints.Count);
                    txn.RollbackTo(_savepoints[to2].Point);
                    _model = Copy(_savepoints[to2].Model);
                    _savepoints.RemoveRange(to2 + 1, _savepoints.Count - to2 - 1);
                    break;
                case 9:
                    bool absent = !_model.ContainsKey(key);
                    Assert.Equal(absent ? Status.Ok : Status.ConditionFailed, txn.Put(Bytes(key), "c"u8, new WriteOptions { Condition = Condition.IfAbsent }).Status);
                    if (absent)
                    {
                        _model[key] = "c";
                    }

                    break;
                case 10:
                    Scan(txn);
                    break;
                case 11 or 12 or 13:
                    string more = $"+{random.Next(10)}";
                    Assert.True(txn.Merge(Bytes(key), MergeFunction.Append, Bytes(more)).IsOk);
                    _model[key] = _model.GetValueOrDefault(key) + more;
                    break;
                default:
                    Assert.Equal(_model.GetValueOrDefault(key), TransactionTests.Read(txn, key));
                    break;
            }
        }

        private void Scan(Transaction txn)
        {
            if (engine == EngineKind.Memory)
            {
                string all = string.Join(' ', TransactionTests.Scan(txn, new ScanOptions { Unordered = true }).Split(' ', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal));
                Assert.Equal(Text(_model), all);
                return;
            }

            (string from, string to) = Range();
            bool reverse = random.Next(2) == 0;
            int limit = random.Next(3) == 0 ? random.Next(1, 10) : 0;
            IEnumerable<KeyValuePair<string, string>> expected = _model.Where(r => In(r.Key, from, to));
            expected = reverse ? expected.Reverse() : expected;
            expected = limit == 0 ? expected : expected.Take(limit);
            string actual = TransactionTests.Scan(txn, new ScanOptions { From = Bytes(from), To = Bytes(to), Reverse = reverse, Limit = limit });
            Assert.Equal(string.Join(' ', expected.Select(static r => $"{r.Key}={r.Value}")), actual);
        }

        private string Key() => $"k{random.Next(KeyCount):00}";

        private (string From, string To) Range()
        {
            string a = Key();
            string b = Key();
            return random.Next(5) switch
            {
                0 => ("", b),
                1 => (a, ""),
                _ => string.CompareOrdinal(a, b) < 0 ? (a, b) : (b, a + "x"),
            };
        }

        private static bool In(string key, string from, string to) =>
            string.CompareOrdinal(key, from) >= 0 && (to.Length == 0 || string.CompareOrdinal(key, to) < 0);

        private static string Text(SortedDictionary<string, string> records) => string.Join(' ', records.Select(static r => $"{r.Key}={r.Value}"));

        private static SortedDictionary<string, string> Copy(SortedDictionary<string, string> records) => new(records, StringComparer.Ordinal);
    }
}
