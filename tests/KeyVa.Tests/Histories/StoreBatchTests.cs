using KeyVa.Client;
using KeyVa.Histories;
using KeyVa.Server;
using KeyVa.Tests.Server;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Histories;

/// <summary>
/// Snapshots and conditional batches are atomic, also across partitions and crashes: transactions that clients make of
/// them have exactly the isolation that their conditions give. <c>KEYVA_HISTORY_SEEDS</c> runs more seeds,
/// <c>KEYVA_SEED</c> one of them.
/// </summary>
public sealed class StoreBatchTests(ITestOutputHelper output)
{
    private const int Rounds = 4;
    private const int Workers = 6;
    private const int TransactionsPerRound = 60;

    /// <summary>A level that is given up must be found missing within so many seeds; mostly the first or second does.</summary>
    private const int MostSeeds = 60;

    // Keys 0 to 3, the same all along: each snapshot reads all of them.
    private static readonly ListWorkloadOptions Lists = new() { Keys = 4, AppendsPerKey = 1_000_000 };

    [Theory]
    [InlineData(EngineKind.Lsm, Durability.Always, false)]
    [InlineData(EngineKind.Memory, Durability.Os, false)]
    [InlineData(EngineKind.Lsm, Durability.Always, true)]
    [InlineData(EngineKind.Memory, Durability.Os, true)]
    [InlineData(EngineKind.Memory, Durability.Always, true)]
    public async Task ConditionsOnAllThatWasReadAreStrictlySerializable(EngineKind engine, Durability durability, bool twoPartitions)
    {
        foreach (int seed in StoreRounds.Seeds(few: 2))
        {
            ListAppendResult result = await RunAsync(seed, engine, durability, twoPartitions, BatchIsolation.ConditionsOnAll, ConsistencyModel.StrictSerializable);
            Assert.True(result.Transactions > TransactionsPerRound, $"{result.Transactions} committed");
        }
    }

    [Theory]
    [InlineData(EngineKind.Lsm, true)]
    [InlineData(EngineKind.Memory, false)]
    public async Task ConditionsOnWhatIsWrittenAreSnapshotIsolation(EngineKind engine, bool twoPartitions)
    {
        bool isSkewed = false;
        foreach (int seed in StoreRounds.Seeds(few: 2))
        {
            isSkewed |= await IsSkewedAsync(seed);
        }

        for (int seed = 0; seed < MostSeeds && !isSkewed; seed++)
        {
            isSkewed = await IsSkewedAsync(seed);
        }

        Assert.True(isSkewed, "no write skew was seen");

        async Task<bool> IsSkewedAsync(int seed)
        {
            ListAppendResult result = await RunAsync(seed, engine, Durability.Always, twoPartitions, BatchIsolation.ConditionsOnWrites, ConsistencyModel.StrongSnapshotIsolation);
            return result.Has(AnomalyKind.G2Item);
        }
    }

    [Theory]
    [InlineData(BatchIsolation.NoSnapshot, AnomalyKind.GSingle)]
    [InlineData(BatchIsolation.NoConditions, AnomalyKind.LostUpdate)]
    public async Task WithoutSnapshotOrConditionsItShows(BatchIsolation isolation, AnomalyKind kind)
    {
        bool isFound = false;
        for (int seed = 0; seed < MostSeeds && !isFound; seed++)
        {
            ListAppendResult result = await RunAsync(seed, EngineKind.Memory, Durability.Os, twoPartitions: true, isolation, ConsistencyModel.ReadCommitted);
            isFound = result.Has(kind) && !result.Satisfies(ConsistencyModel.SnapshotIsolation);
        }

        Assert.True(isFound, $"no {Anomaly.NameOf(kind)} was seen");
    }

    [Fact]
    public async Task OverGrpcTheyAreStrictlySerializableToo()
    {
        foreach (int seed in StoreRounds.Seeds(few: 1))
        {
            await RunAsync(seed, EngineKind.Memory, Durability.Always, twoPartitions: true, BatchIsolation.ConditionsOnAll, ConsistencyModel.StrictSerializable, served: true);
        }
    }

    private async Task<ListAppendResult> RunAsync(
        int seed, EngineKind engine, Durability durability, bool twoPartitions, BatchIsolation isolation, ConsistencyModel level, bool served = false)
    {
        StoreRounds rounds = new(seed, engine, durability, twoPartitions ? "list2" : null);
        ListWorkload[] workloads = ListWorkload.ForAll(seed, Workers, Lists);
        ListRecorder recorder = new(Workers);
        for (int i = 0; i < Rounds; i++)
        {
            await rounds.CrashAsync(TransactionsPerRound * Workers, store => served
                ? ServedAsync(store, isolation, workloads, recorder)
                : Embedded(store, isolation, workloads, recorder));
        }

        await rounds.FinishAsync(store =>
        {
            ListRun.FinalReads(Client(store, isolation), workloads, recorder);
            return Task.CompletedTask;
        });
        ListHistory history = recorder.ToHistory();
        ListAppendResult result = ListAppendChecker.Check(history, new ListAppendOptions { AppendsMayOverwrite = isolation >= BatchIsolation.NoConditions });
        output.WriteLine($"{rounds}, {isolation}: {history.Transactions.Count} transactions, {result.Transactions} committed, {result.Total} anomalies");
        if (!result.Satisfies(level))
        {
            Assert.Fail($"{rounds}, {isolation}; the history is in {rounds.Keep(history.ToString())}\n{result.Explain(level)}");
        }

        return result;
    }

    private static BatchListClient Client(IStore store, BatchIsolation isolation) => new BatchListClient(store, Lists.Keys, isolation);

    private static Task Embedded(IStore store, BatchIsolation isolation, ListWorkload[] workloads, ListRecorder recorder)
    {
        BatchListClient[] clients = [.. Enumerable.Range(0, Workers).Select(_ => Client(store, isolation))];
        ListRun.Threads(clients, workloads, recorder, TransactionsPerRound);
        return Task.CompletedTask;
    }

    private static async Task ServedAsync(Store store, BatchIsolation isolation, ListWorkload[] workloads, ListRecorder recorder)
    {
        KeyVaServer server = await KeyVaServer.StartAsync(ServerFixture.AnyPorts with { Logs = new CapturedLog() }, store, CancellationToken.None);
        await using (RemoteStore remote = RemoteStore.Connect(server.GrpcAddress.ToString()))
        {
            await Embedded(remote, isolation, workloads, recorder);
        }

        await StoreRounds.AbandonAsync(server);
    }
}
