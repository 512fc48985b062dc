using KeyVa.Histories;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Histories;

/// <summary>
/// Each isolation level keeps what it promises on random transactions of many threads, with a crash after each round: what is
/// called serializable is strictly so, and repeatable read is strong snapshot isolation (a transaction begins after all that
/// was committed before, whoever committed it). Lower levels must show an anomaly that they allow: they would be
/// slower for nothing otherwise. <c>KEYVA_HISTORY_SEEDS</c> runs more seeds, <c>KEYVA_SEED</c> one of them.
/// </summary>
public sealed class StoreTransactionTests(ITestOutputHelper output)
{
    /// <summary>An anomaly that a level allows must be seen within so many seeds; mostly the first or second shows it.</summary>
    private const int MostSeeds = 60;

    [Theory]
    [InlineData(EngineKind.Lsm, Durability.Always, 1, Concurrency.Optimistic)]
    [InlineData(EngineKind.Lsm, Durability.Os, 3, Concurrency.Optimistic)]
    [InlineData(EngineKind.Memory, Durability.Always, 3, Concurrency.Optimistic)]
    [InlineData(EngineKind.Memory, Durability.Os, 1, Concurrency.Pessimistic)]
    [InlineData(EngineKind.Lsm, Durability.Always, 3, Concurrency.Pessimistic)]
    [InlineData(EngineKind.Memory, Durability.Os, 3, Concurrency.Pessimistic)]
    public async Task SerializableIsStrict(EngineKind engine, Durability durability, int partitions, Concurrency concurrency)
    {
        int committed = 0;
        foreach (int seed in StoreRounds.Seeds(few: 3))
        {
            // By turns: what it is to append to is merged without a look; of a pessimistic one it is locked as it is read, or when it is written.
            TransactionRun run = new(seed, engine, durability, partitions, new TransactionOptions { Concurrency = concurrency })
            {
                Appends = seed % 4 == 0 ? Appends.Merged : seed % 4 > 1 ? Appends.ForUpdate : Appends.AsRead,
            };
            committed += (await Judge(run, ConsistencyModel.StrictSerializable)).Transactions;
        }

        Assert.True(committed > 100, $"{committed} committed");
    }

    [Theory]
    [InlineData(EngineKind.Lsm, 3, Concurrency.Optimistic, IsolationLevel.Serializable, ConsistencyModel.StrictSerializable)]
    [InlineData(EngineKind.Memory, 3, Concurrency.Pessimistic, IsolationLevel.Serializable, ConsistencyModel.StrictSerializable)]
    [InlineData(EngineKind.Memory, 1, Concurrency.Optimistic, IsolationLevel.RepeatableRead, ConsistencyModel.StrongSnapshotIsolation)]
    [InlineData(EngineKind.Lsm, 1, Concurrency.Pessimistic, IsolationLevel.ReadCommitted, ConsistencyModel.ReadCommitted)]
    public async Task AServerKeepsItsLevels(EngineKind engine, int partitions, Concurrency concurrency, IsolationLevel isolation, ConsistencyModel level)
    {
        int committed = 0;
        foreach (int seed in StoreRounds.Seeds(few: 1))
        {
            TransactionRun run = new(seed, engine, Durability.Always, partitions, new TransactionOptions { Concurrency = concurrency, Isolation = isolation })
            {
                Appends = isolation == IsolationLevel.Serializable && concurrency == Concurrency.Optimistic ? Appends.Merged : Appends.ForUpdate,
                Served = true,
            };
            committed += (await Judge(run, level)).Transactions;
        }

        Assert.True(committed > 20, $"{committed} committed");
    }

    [Theory]
    [InlineData(EngineKind.Lsm, 3, Concurrency.Optimistic)]
    [InlineData(EngineKind.Memory, 1, Concurrency.Optimistic)]
    [InlineData(EngineKind.Memory, 3, Concurrency.Pessimistic)]
    public Task RepeatableReadIsStrongSnapshotIsolation(EngineKind engine, int partitions, Concurrency concurrency) => JudgeAndSee(
        seed => new TransactionRun(seed, engine, Durability.Always, partitions, new TransactionOptions { Isolation = IsolationLevel.RepeatableRead, Concurrency = concurrency }),
        ConsistencyModel.StrongSnapshotIsolation,
        AnomalyKind.G2Item);

    [Theory]
    [InlineData(EngineKind.Lsm, 3, Concurrency.Optimistic, Appends.ForUpdate)]
    [InlineData(EngineKind.Memory, 1, Concurrency.Optimistic, Appends.AsRead)]
    [InlineData(EngineKind.Lsm, 1, Concurrency.Pessimistic, Appends.ForUpdate)]
    public Task ReadCommittedIsSo(EngineKind engine, int partitions, Concurrency concurrency, Appends appends) => JudgeAndSee(
        seed => new TransactionRun(seed, engine, Durability.Always, partitions, new TransactionOptions { Isolation = IsolationLevel.ReadCommitted, Concurrency = concurrency }) { Appends = appends },
        ConsistencyModel.ReadCommitted,
        appends == Appends.AsRead ? AnomalyKind.LostUpdate : AnomalyKind.GSingle);

    [Theory]
    [InlineData(EngineKind.Lsm, 1, Concurrency.Optimistic)]
    [InlineData(EngineKind.Memory, 3, Concurrency.Pessimistic)]
    public Task ReadUncommittedIsSo(EngineKind engine, int partitions, Concurrency concurrency) => JudgeAndSee(
        seed => new TransactionRun(seed, engine, Durability.Os, partitions, new TransactionOptions { Isolation = IsolationLevel.ReadUncommitted, Concurrency = concurrency })
        {
            Appends = Appends.ForUpdate,
        },
        ConsistencyModel.ReadUncommitted,
        AnomalyKind.G1a);

    private async Task JudgeAndSee(Func<int, TransactionRun> run, ConsistencyModel level, AnomalyKind allowed)
    {
        bool isSeen = false;
        foreach (int seed in StoreRounds.Seeds(few: 2))
        {
            isSeen |= (await Judge(run(seed), level)).Has(allowed);
        }

        for (int seed = 0; seed < MostSeeds && !isSeen; seed++)
        {
            isSeen = (await Judge(run(seed), level)).Has(allowed);
        }

        Assert.True(isSeen, $"no {Anomaly.NameOf(allowed)} was seen");
    }

    private async Task<ListAppendResult> Judge(TransactionRun run, ConsistencyModel level)
    {
        (ListHistory history, ListAppendResult result) = await run.CheckAsync();
        output.WriteLine($"{run}: {history.Transactions.Count} transactions, {result.Transactions} committed, {result.Total} anomalies");
        if (!result.Satisfies(level))
        {
            Assert.Fail($"{run}; the history is in {run.Rounds.Keep(history.ToString())}\n{result.Explain(level)}");
        }

        return result;
    }
}
