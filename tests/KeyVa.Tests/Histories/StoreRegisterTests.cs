using KeyVa.Client;
using KeyVa.Histories;
using KeyVa.Server;
using KeyVa.Tests.Server;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Histories;

/// <summary>
/// The store's single keys are linearizable: threads read, put, compare-and-set and remove a few hot keys in rounds,
/// each of which ends in a crash, and all that they were told, over all rounds, must have an order.
/// <c>KEYVA_HISTORY_SEEDS</c> runs more seeds, <c>KEYVA_SEED</c> one of them.
/// </summary>
public sealed class StoreRegisterTests(ITestOutputHelper output)
{
    private const int Rounds = 5;
    private const int Workers = 6;
    private const int Keys = 3;
    private const int OperationsPerRound = 120;

    [Theory]
    [InlineData(EngineKind.Lsm, Durability.Always)]
    [InlineData(EngineKind.Lsm, Durability.Os)]
    [InlineData(EngineKind.Memory, Durability.Always)]
    [InlineData(EngineKind.Memory, Durability.Os)]
    public async Task AnEmbeddedStoreIsLinearizableAcrossCrashes(EngineKind engine, Durability durability)
    {
        foreach (int seed in StoreRounds.Seeds(few: 4))
        {
            await RunAsync(new StoreRounds(seed, engine, durability), seed, OperationsPerRound, EmbeddedAsync);
        }
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task AServerIsLinearizableAcrossCrashes(EngineKind engine)
    {
        foreach (int seed in StoreRounds.Seeds(few: 1))
        {
            await RunAsync(new StoreRounds(seed, engine, Durability.Always), seed, OperationsPerRound / 2, ServedAsync);
        }
    }

    [Fact]
    public async Task ACrashThatLosesAcknowledgedWritesIsFound()
    {
        // Without syncs a power loss may take back what was acknowledged: the checker sees it.
        bool isFound = false;
        for (int seed = 0; seed < 10 && !isFound; seed++)
        {
            StoreRounds rounds = new(seed, EngineKind.Lsm, Durability.Os);
            RegisterRecorder recorder = new(Workers);
            RegisterWorkload[] workloads = RegisterRun.Workloads(seed, Workers, Keys);
            for (int round = 0; round < 3; round++)
            {
                await rounds.LosePowerAsync(store => EmbeddedAsync(store, recorder, workloads, 50));
            }

            isFound = LinearizabilityChecker.Check(recorder.ToHistory()).Verdict == Verdict.Violated;
        }

        Assert.True(isFound, "no power loss without syncs was noticed");
    }

    private async Task RunAsync(StoreRounds rounds, int seed, int operations, Func<Store, RegisterRecorder, RegisterWorkload[], int, Task> round)
    {
        output.WriteLine(rounds.ToString());
        RegisterRecorder recorder = new(Workers);
        RegisterWorkload[] workloads = RegisterRun.Workloads(seed, Workers, Keys);
        for (int i = 0; i < Rounds; i++)
        {
            await rounds.CrashAsync(operations * Workers, store => round(store, recorder, workloads, operations));
        }

        await rounds.FinishAsync(store => EmbeddedAsync(store, recorder, workloads, operations));
        RegisterHistory history = recorder.ToHistory();
        LinearizabilityResult result = LinearizabilityChecker.Check(history);
        int unknown = history.Operations.Count(static one => one.Outcome == Outcome.Unknown);
        output.WriteLine($"{history.Operations.Count} operations, {unknown} of unknown outcome, {result.Configurations} configurations");
        if (result.Verdict != Verdict.Holds)
        {
            Assert.Fail($"{rounds}; the history is in {rounds.Keep(history.ToString())}\n{result.Explanation}");
        }

        Assert.True(history.Operations.Count(static one => one.Outcome == Outcome.Ok) > operations, "hardly anything was done");
    }

    private static Task EmbeddedAsync(Store store, RegisterRecorder recorder, RegisterWorkload[] workloads, int operations)
    {
        IRegisterClient[] clients = [.. Enumerable.Range(0, Workers).Select(i => new StoreRegisterClient(store, synchronously: i % 2 == 0))];
        RegisterRun.Threads(clients, workloads, recorder, operations);
        return Task.CompletedTask;
    }

    private static async Task ServedAsync(Store store, RegisterRecorder recorder, RegisterWorkload[] workloads, int operations)
    {
        KeyVaServer server = await KeyVaServer.StartAsync(ServerFixture.AnyPorts with { Logs = new CapturedLog() }, store, CancellationToken.None);
        await using (RemoteStore remote = RemoteStore.Connect(server.GrpcAddress.ToString()))
        {
            IRegisterClient[] clients = [.. Enumerable.Range(0, Workers).Select(_ => new StoreRegisterClient(remote, synchronously: false))];
            RegisterRun.Threads(clients, workloads, recorder, operations);
        }

        await StoreRounds.AbandonAsync(server);
    }
}
