using KeyVa.Client;
using KeyVa.Histories;
using KeyVa.Server;
using KeyVa.Tests.Server;

namespace KeyVa.Tests.Histories;

/// <summary>
/// Random transactions on lists of two to eight threads at one isolation level, in rounds that end with crashes. The calls
/// of even seeds are synchronous, if the store is embedded.
/// </summary>
internal sealed class TransactionRun(int seed, EngineKind engine, Durability durability, int partitions, TransactionOptions options, Defects defects = Defects.None)
{
    private const int MostCrashes = 3;
    private const int TransactionsPerRound = 150;
    private const int TransactionsPerServedRound = 60;

    private readonly int _workers = 2 + (seed * 4 % 7);

    public StoreRounds Rounds => field ??= new(seed, engine, durability, Borders(partitions), defects) { OperationTime = OperationTime };

    /// <summary>How long each file operation takes, beside what it does.</summary>
    public TimeSpan OperationTime { get; init; }

    /// <summary>How long the clients of an embedded store think about each read.</summary>
    public TimeSpan ReadTime { get; init; }

    public Appends Appends { get; init; }

    public ListWorkloadOptions Lists { get; init; } = new() { Keys = 4 };

    /// <summary>Whether the transactions are those of clients, over gRPC and real sockets, of a server over the store.</summary>
    public bool Served { get; init; }

    /// <summary>Rounds that end with a crash.</summary>
    public int Crashes { get; init; } = MostCrashes;

    /// <summary>Between as many partitions as asked for; null for one.</summary>
    public static string[]? Borders(int partitions) => partitions == 1 ? null : partitions == 2 ? ["b"] : ["b", "c"];

    public override string ToString() => $"{Rounds}, {_workers} threads, {options.Isolation}, {options.Concurrency}, {Appends}{(Served ? ", over gRPC" : "")}";

    /// <summary>Runs it all, and what the checker says.</summary>
    public async Task<(ListHistory History, ListAppendResult Result)> CheckAsync()
    {
        ListWorkload[] workloads = ListWorkload.ForAll(seed, _workers, Lists);
        ListRecorder recorder = new(_workers);
        int transactions = Served ? TransactionsPerServedRound : TransactionsPerRound;
        for (int i = 0; i < Crashes; i++)
        {
            await Rounds.CrashAsync(transactions * _workers, store => RoundAsync(store, client =>
                ListRun.Threads([.. Enumerable.Range(0, _workers).Select(_ => client(options))], workloads, recorder, transactions)));
        }

        // Final reads are of what is committed, whatever the level.
        await Rounds.FinishAsync(store => RoundAsync(store, client =>
            ListRun.FinalReads(client(options with { Isolation = IsolationLevel.Serializable }), workloads, recorder)));
        ListHistory history = recorder.ToHistory();
        bool mayOverwrite = Appends == Appends.AsRead && options.Isolation > IsolationLevel.RepeatableRead;
        return (history, ListAppendChecker.Check(history, new ListAppendOptions { AppendsMayOverwrite = mayOverwrite }));
    }

    private async Task RoundAsync(Store store, Action<Func<TransactionOptions, TransactionListClient>> round)
    {
        if (!Served)
        {
            round(options => new TransactionListClient(() => ValueTask.FromResult<ITransaction>(store.Begin(options)), Appends, synchronously: seed % 2 == 0) { ReadTime = ReadTime });
            return;
        }

        KeyVaServer server = await KeyVaServer.StartAsync(ServerFixture.AnyPorts with { Logs = new CapturedLog() }, store, CancellationToken.None);
        await using (RemoteStore remote = RemoteStore.Connect(server.GrpcAddress.ToString()))
        {
            round(options => new TransactionListClient(() => remote.BeginAsync(options), Appends, synchronously: false));
        }

        await StoreRounds.AbandonAsync(server);
    }
}
