using System.Globalization;
using KeyVa.Client;
using KeyVa.Histories;
using KeyVa.Io;
using KeyVa.Server;
using KeyVa.Tests.Server;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Histories;

/// <summary>
/// The store's single keys are linearizable: threads read, put, compare-and-set and remove a few hot keys in rounds,
/// each of which ends in a crash at a file operation in its midst, and all that they were told, over all rounds,
/// must have an order. <c>KEYVA_HISTORY_SEEDS</c> runs more seeds, <c>KEYVA_SEED</c> one of them.
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
        foreach (int seed in Seeds(few: 4))
        {
            await RunAsync(seed, engine, durability, OperationsPerRound, EmbeddedAsync);
        }
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task AServerIsLinearizableAcrossCrashes(EngineKind engine)
    {
        foreach (int seed in Seeds(few: 1))
        {
            await RunAsync(seed, engine, Durability.Always, OperationsPerRound / 2, ServedAsync);
        }
    }

    [Fact]
    public async Task ACrashThatLosesAcknowledgedWritesIsFound()
    {
        // Without syncs a power loss may take back what was acknowledged: the checker sees it.
        int found = 0;
        for (int seed = 0; seed < 10 && found == 0; seed++)
        {
            MemoryFileSystem files = new();
            RegisterRecorder recorder = new(Workers);
            RegisterWorkload[] workloads = RegisterRun.Workloads(seed, Workers, Keys);
            for (int round = 0; round < 3; round++)
            {
                Store store = Open(files, EngineKind.Lsm, Durability.Os);
                RegisterRun.Threads(Clients(store), workloads, recorder, 50);
                files = files.Crash(seed + round);
                await AbandonAsync(store);
            }

            found += LinearizabilityChecker.Check(recorder.ToHistory()).Verdict == Verdict.Violated ? 1 : 0;
        }

        Assert.True(found > 0, "no power loss without syncs was noticed");
    }

    private static IEnumerable<int> Seeds(int few)
    {
        if (Number("KEYVA_SEED") is { } seed)
        {
            return [seed];
        }

        return Enumerable.Range(0, Number("KEYVA_HISTORY_SEEDS") ?? few);
    }

    private static int? Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out int number) ? number : null;

    private async Task RunAsync(
        int seed, EngineKind engine, Durability durability, int operations, Func<Store, RegisterRecorder, RegisterWorkload[], int, Task> round)
    {
        output.WriteLine($"seed {seed}, {engine}, {durability}");
        Random random = new(seed);
        RegisterRecorder recorder = new(Workers);
        RegisterWorkload[] workloads = RegisterRun.Workloads(seed, Workers, Keys);
        MemoryFileSystem files = new();
        for (int i = 0; i < Rounds; i++)
        {
            Store store = Open(files, engine, durability);
            MemoryFileSystem disk = files;
            MemoryFileSystem? left = null;
            int lossSeed = random.Next();
            int countdown = random.Next(1, operations * Workers);
            files.Faults.Before = (_, _) =>
            {
                if (Interlocked.Decrement(ref countdown) == 0)
                {
                    Volatile.Write(ref left, Crash(disk, durability, lossSeed));
                }
            };
            await round(store, recorder, workloads, operations);
            files.Faults.Before = null;
            files = Volatile.Read(ref left) ?? Crash(disk, durability, lossSeed);
            await AbandonAsync(store);
        }

        await using (Store last = Open(files, engine, durability))
        {
            RegisterRun.Threads(Clients(last), workloads, recorder, operations);
        }

        Check(recorder.ToHistory(), seed, engine, durability);
    }

    // Without syncs only the process may die; with them, power may fail.
    private static MemoryFileSystem Crash(MemoryFileSystem files, Durability durability, int seed) =>
        durability == Durability.Always ? files.Crash(seed) : files.Kill();

    private static Task EmbeddedAsync(Store store, RegisterRecorder recorder, RegisterWorkload[] workloads, int operations)
    {
        RegisterRun.Threads(Clients(store), workloads, recorder, operations);
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

        await AbandonAsync(server);
    }

    private static IRegisterClient[] Clients(Store store) =>
        [.. Enumerable.Range(0, Workers).Select(i => new StoreRegisterClient(store, synchronously: i % 2 == 0))];

    private static Store Open(MemoryFileSystem files, EngineKind engine, Durability durability) => Store.Open(
        "/data",
        new StoreOptions
        {
            Engine = engine,
            Durability = durability,
            MemtableBytes = 1 << 14,
            JournalSegmentBytes = 1 << 16,
            JournalBudgetBytes = 1 << 19,
            BlockCacheBytes = 1 << 16,
        },
        new StoreEnvironment { FileSystem = files });

    private static async Task AbandonAsync(IAsyncDisposable dead)
    {
        try
        {
            await dead.DisposeAsync();
        }
        catch (StoreException)
        {
            // Its disk is dead; what matters is that its threads and memory are gone.
        }
    }

    private void Check(RegisterHistory history, int seed, EngineKind engine, Durability durability)
    {
        int unknown = history.Operations.Count(static one => one.Outcome == Outcome.Unknown);
        LinearizabilityResult result = LinearizabilityChecker.Check(history);
        output.WriteLine($"{history.Operations.Count} operations, {unknown} of unknown outcome, {result.Configurations} configurations");
        if (result.Verdict != Verdict.Holds)
        {
            string file = Path.Combine(Path.GetTempPath(), $"keyva-history-{engine}-{durability}-{seed}.txt");
            File.WriteAllText(file, history.ToString());
            Assert.Fail($"seed {seed}, {engine}, {durability}; the history is in {file}\n{result.Explanation}");
        }

        Assert.True(history.Operations.Count(static one => one.Outcome == Outcome.Ok) > Keys * Workers, "hardly anything was done");
    }
}
