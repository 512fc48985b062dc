using System.Text;
using KeyVa.Indexes;
using KeyVa.Tests.Stores;
using Xunit;

namespace KeyVa.Tests.Transactions;

/// <summary>
/// Serializable transactions that ask an index, several of them open at once, in an order that a seed decides. What each that committed has
/// seen is what it would have seen alone, in the order of commits: a model says so.
/// </summary>
public sealed class TransactionQueryModelTests
{
    private const int Keys = 24;
    private const int Numbers = 12;

    [Theory]
    [InlineData(1, EngineKind.Lsm, Concurrency.Optimistic)]
    [InlineData(3, EngineKind.Lsm, Concurrency.Optimistic)]
    [InlineData(3, EngineKind.Memory, Concurrency.Optimistic)]
    [InlineData(3, EngineKind.Lsm, Concurrency.Pessimistic)]
    public async Task CommittedTransactionsHaveSeenTheirPlaceInTheOrder(int partitions, EngineKind engine, Concurrency concurrency)
    {
        int committed = 0;
        int refused = 0;
        for (int seed = 0; seed < 6; seed++)
        {
            (string? wrong, int commits, int conflicts) = await SimulateAsync(seed, partitions, engine, concurrency, Defects.None);
            Assert.True(wrong is null, $"seed {seed}: {wrong}");
            committed += commits;
            refused += conflicts;
        }

        Assert.True(committed > 100 && refused > 50, $"{committed} committed, {refused} refused: it says little");
    }

    [Fact]
    public async Task TheModelSeesWhenCommitsAreNotValidated()
    {
        List<string?> wrongs = [];
        for (int seed = 0; seed < 6; seed++)
        {
            wrongs.Add((await SimulateAsync(seed, 1, EngineKind.Lsm, Concurrency.Optimistic, Defects.SkipsValidation)).Wrong);
        }

        Assert.Contains(wrongs, static wrong => wrong is not null);
    }

    private static async Task<(string? Wrong, int Commits, int Conflicts)> SimulateAsync(int seed, int partitions, EngineKind engine, Concurrency concurrency, Defects defects)
    {
        var fixture = new StoreFixture();
        await using Store store = await Open(fixture, engine, partitions, defects);
        Random random = new(seed);
        List<Run> open = [];
        List<Run> done = [];
        int conflicts = 0;
        for (int step = 0; step < 400; step++)
        {
            if (open.Count < 4 && random.Next(3) == 0)
            {
                open.Add(new Run(store.Begin(new TransactionOptions { Concurrency = concurrency, LockTimeout = TimeSpan.Zero })));
            }

            if (open.Count == 0)
            {
                continue;
            }

            Run run = open[random.Next(open.Count)];
            int what = random.Next(8);
            bool goes = what switch
            {
                < 3 => run.Ask(Query(random)),
                < 6 => run.Write(Key(random), random.Next(5) == 0 ? null : random.Next(Numbers)),
                _ => false,
            };
            if (!goes)
            {
                open.Remove(run);
                if (what >= 6 && run.Commit())
                {
                    done.Add(run);
                }
                else
                {
                    conflicts++;
                }

                run.Dispose();
            }
        }

        open.ForEach(static run => run.Dispose());
        return (Check(done), done.Count, conflicts);
    }

    private static async Task<Store> Open(StoreFixture fixture, EngineKind engine, int partitions, Defects defects)
    {
        Store store = Store.Open(
            StoreFixture.Directory,
            fixture.Options with { Engine = engine, CreateDefaultPartition = partitions == 1 },
            new StoreEnvironment { FileSystem = fixture.Files, Time = fixture.Time, Defects = defects });
        PartitionedStore.Split(store, engine, partitions, "k08", "k16");
        Assert.True((await store.Indexes.CreateAsync(new IndexDefinition { Name = "n", Fields = ["n"], Sparse = true })).IsOk);
        Assert.True((await store.Indexes.WaitAsync("n")).IsOk);
        return store;
    }

    private static string Key(Random random) => $"k{random.Next(Keys):D2}";

    private static (int From, int To, bool Reverse, int Limit, bool KeysOnly) Query(Random random)
    {
        int from = random.Next(Numbers);
        return (from, from + 1 + random.Next(4), random.Next(2) == 0, random.Next(3), random.Next(2) == 0);
    }

    /// <summary>Does the transactions again on a dictionary: those that wrote at their version, the others at their snapshot.</summary>
    private static string? Check(List<Run> done)
    {
        SortedDictionary<string, int> model = new(StringComparer.Ordinal);
        foreach (Run run in done.OrderBy(static run => run.At).ThenBy(static run => run.Version == 0))
        {
            SortedDictionary<string, int> own = new(model, StringComparer.Ordinal);
            if (run.Repeat(own) is { } wrong)
            {
                return $"version {run.At}: {wrong}";
            }

            model = run.Version == 0 ? model : own;
        }

        return null;
    }

    private sealed class Run(Transaction transaction) : IDisposable
    {
        private readonly List<Func<SortedDictionary<string, int>, string?>> _steps = [];
        private readonly long _snapshot = transaction.SnapshotVersion;

        public long Version { get; private set; }

        public long At => Version == 0 ? _snapshot : Version;

        public bool Ask((int From, int To, bool Reverse, int Limit, bool KeysOnly) what)
        {
            using IndexCursor cursor = transaction.Query(new IndexQuery
            {
                Index = "n",
                From = [what.From],
                To = [what.To],
                Reverse = what.Reverse,
                Limit = what.Limit,
                KeysOnly = what.KeysOnly,
            });
            if (cursor.Status != Status.Ok)
            {
                return false;
            }

            List<string> found = [];
            while (cursor.MoveNext())
            {
                found.Add($"{cursor.Fields[0]}:{Encoding.UTF8.GetString(cursor.Key)}");
            }

            _steps.Add(model =>
            {
                IEnumerable<(int Value, string Key)> all = model.Where(one => one.Value >= what.From && one.Value < what.To).Select(static one => (one.Value, one.Key)).Order();
                all = what.Reverse ? all.Reverse() : all;
                string expected = string.Join(' ', (what.Limit == 0 ? all : all.Take(what.Limit)).Select(static one => $"{one.Value}:{one.Key}"));
                return expected == string.Join(' ', found) ? null : $"{what} has shown '{string.Join(' ', found)}', and it should be '{expected}'";
            });
            return true;
        }

        public bool Write(string key, int? number)
        {
            WriteResult result = number is { } n ? transaction.Put(StoreFixture.Bytes(key), StoreFixture.Bytes($"{{\"n\":{n}}}")) : transaction.Remove(StoreFixture.Bytes(key));
            _steps.Add(model =>
            {
                if (number is { } value)
                {
                    model[key] = value;
                }
                else
                {
                    model.Remove(key);
                }

                return null;
            });
            return result.IsOk;
        }

        public bool Commit()
        {
            CommitResult result = transaction.Commit();
            Version = result.Version;
            return result.IsOk && (Version != 0 || _snapshot != 0);
        }

        public string? Repeat(SortedDictionary<string, int> model)
        {
            foreach (Func<SortedDictionary<string, int>, string?> step in _steps)
            {
                if (step(model) is { } wrong)
                {
                    return wrong;
                }
            }

            return null;
        }

        public void Dispose() => transaction.Dispose();
    }
}
