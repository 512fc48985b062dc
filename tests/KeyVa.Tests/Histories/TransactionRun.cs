using KeyVa.Histories;

namespace KeyVa.Tests.Histories;

/// <summary>
/// Random transactions on lists of two to eight threads at one isolation level, in rounds that end with crashes. The calls
/// of even seeds are synchronous.
/// </summary>
internal sealed class TransactionRun(int seed, EngineKind engine, Durability durability, int partitions, TransactionOptions options, Defects defects = Defects.None)
{
    private const int MostCrashes = 3;
    private const int TransactionsPerRound = 150;

    private readonly int _workers = 2 + (seed * 4 % 7);

    public StoreRounds Rounds { get; } = new(seed, engine, durability, Borders(partitions), defects);

    public Appends Appends { get; init; }

    public ListWorkloadOptions Lists { get; init; } = new() { Keys = 4 };

    /// <summary>Rounds that end with a crash.</summary>
    public int Crashes { get; init; } = MostCrashes;

    /// <summary>Between as many partitions as asked for; null for one.</summary>
    public static string[]? Borders(int partitions) => partitions == 1 ? null : partitions == 2 ? ["b"] : ["b", "c"];

    public override string ToString() => $"{Rounds}, {_workers} threads, {options.Isolation}, {options.Concurrency}, {Appends}";

    /// <summary>Runs it all, and what the checker says.</summary>
    public async Task<(ListHistory History, ListAppendResult Result)> CheckAsync()
    {
        ListWorkload[] workloads = ListWorkload.ForAll(seed, _workers, Lists);
        ListRecorder recorder = new(_workers);
        for (int i = 0; i < Crashes; i++)
        {
            await Rounds.CrashAsync(TransactionsPerRound * _workers, store =>
            {
                ListRun.Threads([.. Enumerable.Range(0, _workers).Select(_ => Client(store, options))], workloads, recorder, TransactionsPerRound);
                return Task.CompletedTask;
            });
        }

        // Final reads are of what is committed, whatever the level.
        await Rounds.FinishAsync(store =>
        {
            ListRun.FinalReads(Client(store, options with { Isolation = IsolationLevel.Serializable }), workloads, recorder);
            return Task.CompletedTask;
        });
        ListHistory history = recorder.ToHistory();
        bool mayOverwrite = Appends == Appends.AsRead && options.Isolation > IsolationLevel.RepeatableRead;
        return (history, ListAppendChecker.Check(history, new ListAppendOptions { AppendsMayOverwrite = mayOverwrite }));
    }

    private TransactionListClient Client(Store store, TransactionOptions options) =>
        new(() => ValueTask.FromResult<ITransaction>(store.Begin(options)), Appends, synchronously: seed % 2 == 0);
}
