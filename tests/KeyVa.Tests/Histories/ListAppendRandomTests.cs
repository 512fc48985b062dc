using System.Diagnostics;
using KeyVa.Histories;
using Xunit;

namespace KeyVa.Tests.Histories;

/// <summary>
/// The checker on random histories: those of correct executors are never accused, those of broken ones soon are, and on
/// tiny ones it says exactly what trying everything says.
/// </summary>
public sealed class ListAppendRandomTests
{
    private const int CleanSeeds = 2_000;

    /// <summary>A broken executor must be accused within so many seeds.</summary>
    private const int FewSeeds = 5;

    private static readonly ToyOptions SnapshotIsolated = new() { Validation = ToyValidation.Writes };

    [Fact]
    public void ASerializableExecutorIsNeverAccused() =>
        AssertNeverAccused(new ToyOptions { UnknownShare = 0.1 }, ConsistencyModel.StrictSerializable);

    [Fact]
    public void ASerializableExecutorThatValidatesLateReadsIsNeverAccused() =>
        AssertNeverAccused(new ToyOptions { Reads = ToyReads.Committed, UnknownShare = 0.1 }, ConsistencyModel.StrictSerializable);

    [Fact]
    public void ASnapshotIsolatedExecutorIsNeverAccusedOfLess() =>
        AssertNeverAccused(SnapshotIsolated with { UnknownShare = 0.1 }, ConsistencyModel.StrongSnapshotIsolation);

    [Fact]
    public void AReadCommittedExecutorIsNeverAccusedOfLess() =>
        AssertNeverAccused(new ToyOptions { Reads = ToyReads.Committed, Validation = ToyValidation.None, Merges = true, UnknownShare = 0.1 }, ConsistencyModel.ReadCommitted);

    [Fact]
    public void AReadCommittedExecutorThatLosesUpdatesIsNeverAccusedOfLess() =>
        AssertNeverAccused(new ToyOptions { Reads = ToyReads.Committed, Validation = ToyValidation.None }, ConsistencyModel.ReadCommitted, new ListAppendOptions { AppendsMayOverwrite = true });

    [Fact]
    public void AReadUncommittedExecutorIsNeverAccusedOfLessAndSoonOfMore()
    {
        int accused = 0;
        for (int seed = 0; seed < CleanSeeds / 4; seed++)
        {
            Dictionary<int, List<int>> lists = [];
            Dictionary<int, ITransactionalClient> locks = [];
            ITransactionalClient[] clients = [.. Enumerable.Range(0, 4).Select(_ => new DirtyToyClient(lists, locks))];
            ListAppendResult result = ListAppendChecker.Check(Interleaved(clients, seed, 60));
            Assert.True(result.Satisfies(ConsistencyModel.ReadUncommitted), $"seed {seed}\n{result.Explain(ConsistencyModel.ReadUncommitted)}");
            accused += result.Satisfies(ConsistencyModel.ReadCommitted) ? 0 : 1;
        }

        Assert.True(accused > CleanSeeds / 4 * 9 / 10, $"{accused} accused");
    }

    [Fact]
    public void WithoutValidationUpdatesGetLost() =>
        AssertSoonAccused(new ToyOptions { Validation = ToyValidation.None }, ConsistencyModel.SnapshotIsolation, AnomalyKind.LostUpdate);

    [Fact]
    public void WithoutValidationOfReadsThereIsWriteSkew() => AssertSoonAccused(SnapshotIsolated, ConsistencyModel.Serializable, AnomalyKind.G2Item);

    [Fact]
    public void WithoutSnapshotsThereIsReadSkew() =>
        AssertSoonAccused(new ToyOptions { Reads = ToyReads.Committed, Validation = ToyValidation.Writes, Merges = true }, ConsistencyModel.SnapshotIsolation, AnomalyKind.GSingle);

    [Fact]
    public void CommitsThatACrashLosesAreFound()
    {
        for (int seed = 0; seed < FewSeeds; seed++)
        {
            ToyStore store = new(new ToyOptions(), seed);
            ITransactionalClient[] clients = ToyStore.Clients(store, 4);
            ListWorkload[] workloads = ListWorkload.ForAll(seed, clients.Length);
            ListRecorder recorder = Recorder(clients.Length);
            ListRun.Interleaved(clients, workloads, recorder, 100, seed);
            store.Lose(commits: 3);
            ListRun.Interleaved(clients, workloads, recorder, 100, seed + 1);
            ListRun.FinalReads(clients[0], workloads, recorder);
            ListAppendResult result = ListAppendChecker.Check(recorder.ToHistory());
            Assert.True(!result.Satisfies(ConsistencyModel.StrictSerializable), $"seed {seed}");
        }
    }

    [Fact]
    public void RealThreadsAreNotAccused()
    {
        foreach (ToyOptions options in new[] { new ToyOptions { UnknownShare = 0.01 }, SnapshotIsolated })
        {
            ToyStore store = new(options, 1);
            ITransactionalClient[] clients = ToyStore.Clients(store, 4);
            ListWorkload[] workloads = ListWorkload.ForAll(1, clients.Length);
            ListRecorder recorder = new(clients.Length);
            for (int round = 0; round < 5; round++)
            {
                ListRun.Threads(clients, workloads, recorder, 200);
            }

            ListRun.FinalReads(clients[0], workloads, recorder);
            ListHistory history = recorder.ToHistory();
            ListAppendResult result = ListAppendChecker.Check(history);
            ConsistencyModel level = options.Validation == ToyValidation.Writes ? ConsistencyModel.StrongSnapshotIsolation : ConsistencyModel.StrictSerializable;
            Assert.True(result.Satisfies(level), result.Explain(level));
            Assert.True(result.Transactions > 500, $"{result.Transactions} committed");
        }
    }

    [Fact]
    public void OnTinyHistoriesItSaysWhatTryingEverythingSays()
    {
        int[] found = new int[4];
        const int Histories = 4_000;
        for (int seed = 0; seed < Histories; seed++)
        {
            ListHistory history = Tiny(new Random(seed));
            ListAppendResult result = ListAppendChecker.Check(history);
            bool[] expected =
            [
                new ListOracle(history, respectsTime: false).IsSerializable(),
                new ListOracle(history, respectsTime: false).IsSnapshotIsolated(),
                new ListOracle(history, respectsTime: true).IsSerializable(),
                new ListOracle(history, respectsTime: true).IsSnapshotIsolated(),
            ];
            bool[] said =
            [
                result.Satisfies(ConsistencyModel.Serializable),
                result.Satisfies(ConsistencyModel.SnapshotIsolation),
                result.Satisfies(ConsistencyModel.StrictSerializable),
                result.Satisfies(ConsistencyModel.StrongSnapshotIsolation),
            ];
            Assert.True(expected.SequenceEqual(said), $"seed {seed}: expected {string.Join(' ', expected)}, said {string.Join(' ', said)}\n{history}{result.Explain()}");
            for (int i = 0; i < found.Length; i++)
            {
                found[i] += expected[i] ? 1 : 0;
            }
        }

        // The histories are of all kinds.
        Assert.All(found, count => Assert.InRange(count, Histories / 50, Histories * 49 / 50));
        Assert.True(found[1] > found[0] && found[0] > found[2] && found[1] > found[3], string.Join(' ', found));
    }

    [Fact]
    public void AHundredThousandTransactionsTakeSeconds()
    {
        foreach ((ToyOptions options, ConsistencyModel level) in new[] { (new ToyOptions(), ConsistencyModel.StrictSerializable), (SnapshotIsolated, ConsistencyModel.StrongSnapshotIsolation) })
        {
            ToyStore store = new(options, 5);
            ITransactionalClient[] clients = ToyStore.Clients(store, 8);
            ListWorkload[] workloads = ListWorkload.ForAll(5, clients.Length, new ListWorkloadOptions { Keys = 20 });
            ListRecorder recorder = Recorder(clients.Length);
            ListRun.Interleaved(clients, workloads, recorder, 100_000, 5);
            ListHistory history = recorder.ToHistory();
            long start = Stopwatch.GetTimestamp();
            ListAppendResult result = ListAppendChecker.Check(history);
            TimeSpan taken = Stopwatch.GetElapsedTime(start);
            Assert.True(result.Satisfies(level), result.Explain(level));
            Assert.Equal(level == ConsistencyModel.StrictSerializable, result.Satisfies(ConsistencyModel.Serializable));
            Assert.True(taken < TimeSpan.FromSeconds(30), $"{level}: {taken}");
        }
    }

    private static ListHistory Interleaved(ITransactionalClient[] clients, int seed, int transactions)
    {
        ListWorkload[] workloads = ListWorkload.ForAll(seed, clients.Length, new ListWorkloadOptions { Keys = 3 });
        ListRecorder recorder = Recorder(clients.Length);
        ListRun.Interleaved(clients, workloads, recorder, transactions, seed);
        ListRun.FinalReads(clients[0], workloads, recorder);
        return recorder.ToHistory();
    }

    private static ListRecorder Recorder(int workers)
    {
        long time = 0;
        return new ListRecorder(workers, new HistoryClock(() => ++time));
    }

    private static ListAppendResult Run(ToyOptions options, int seed, ListAppendOptions? check = null) =>
        ListAppendChecker.Check(Interleaved(ToyStore.Clients(new ToyStore(options, seed), 4), seed, 60), check);

    private static void AssertNeverAccused(ToyOptions options, ConsistencyModel level, ListAppendOptions? check = null)
    {
        int committed = 0;
        for (int seed = 0; seed < CleanSeeds; seed++)
        {
            ListAppendResult result = Run(options, seed, check);
            Assert.True(result.Satisfies(level), $"seed {seed}\n{result.Explain(level)}");
            committed += result.Transactions;
        }

        Assert.True(committed > CleanSeeds * 20, $"{committed} committed");
    }

    private static void AssertSoonAccused(ToyOptions options, ConsistencyModel level, AnomalyKind kind)
    {
        ListAppendResult[] results = [.. Enumerable.Range(0, FewSeeds).Select(seed => Run(options, seed))];
        Assert.Contains(results, result => !result.Satisfies(level) && result.Has(kind));
        Assert.True(results.Count(result => !result.Satisfies(level)) > FewSeeds / 2, $"{results.Count(result => !result.Satisfies(level))} accused");
    }

    /// <summary>
    /// Up to four transactions with any order of the elements of two lists, reads of any beginning of it (that goes with
    /// the transaction's own appends), any times, and a last one that reads everything.
    /// </summary>
    private static ListHistory Tiny(Random random)
    {
        int count = random.Next(2, 5);
        (bool IsAppend, int Key, int Value)[][] plans = new (bool, int, int)[count][];
        int values = 0;
        for (int t = 0; t < count; t++)
        {
            plans[t] = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => (random.Next(2) == 0, random.Next(1, 3), ++values))];
        }

        Dictionary<int, int[]> orders = [];
        foreach (int key in new[] { 1, 2 })
        {
            int[] order = [.. plans.SelectMany(static plan => plan).Where(one => one.IsAppend && one.Key == key).Select(static one => one.Value)];
            random.Shuffle(order);
            // Mostly the transactions' own order, which shuffling seldom keeps.
            orders[key] = random.Next(4) == 0 ? order : [.. order.GroupBy(value => Array.FindIndex(plans, plan => plan.Contains((true, key, value)))).SelectMany(static own => own.Order())];
        }

        List<ListTransaction> all = [];
        for (int t = 0; t < count; t++)
        {
            List<ListOperation> operations = [];
            foreach ((bool isAppend, int key, int value) in plans[t])
            {
                if (isAppend)
                {
                    operations.Add(ListOperation.Append(key, value));
                    continue;
                }

                int[] order = orders[key];
                int ownAt = Array.FindIndex(order, element => plans[t].Contains((true, key, element)));
                int prefix = random.Next((ownAt < 0 ? order.Length : ownAt) + 1);
                int[] own = [.. operations.Where(one => one.IsAppend && one.Key == key).Select(static one => one.Value)];
                operations.Add(ListOperation.Read(key, [.. order[..prefix], .. own]));
            }

            int begin = random.Next(100);
            all.Add(new ListTransaction { Process = t, Invoked = begin, Completed = begin + random.Next(1, 60), Outcome = Outcome.Ok, Operations = operations });
        }

        all.Add(new ListTransaction { Process = count, Invoked = 1000, Completed = 1001, Outcome = Outcome.Ok, Operations = [ListOperation.Read(1, orders[1]), ListOperation.Read(2, orders[2])] });
        return new ListHistory(all);
    }
}
