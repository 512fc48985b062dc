using KeyVa.Client;
using KeyVa.Histories;
using KeyVa.Tests.Cli;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Histories;

/// <summary>
/// Transactions of clients in several partitions of a serving process that dies by SIGKILL in their midst, round after round on one folder: what
/// they were told over all rounds is strictly serializable. <c>KEYVA_HISTORY_SEEDS</c> runs more seeds, <c>KEYVA_SEED</c> one of them.
/// </summary>
public sealed class StoreKillTests(ITestOutputHelper output)
{
    private const int Kills = 3;
    private const int Workers = 4;
    private const int MostTransactions = 100;

    [Theory]
    [InlineData("always", Concurrency.Optimistic)]
    [InlineData("os", Concurrency.Pessimistic)]
    public async Task AKilledServerIsStrictlySerializable(string durability, Concurrency concurrency)
    {
        // A kill costs the starts of two processes: a few seeds of these for many of the others.
        foreach (int seed in StoreRounds.Seeds(few: 1).Take(20))
        {
            ListHistory history = await RunAsync(seed, durability, new TransactionOptions { Concurrency = concurrency });
            ListAppendResult result = ListAppendChecker.Check(history);
            output.WriteLine($"seed {seed}: {history.Transactions.Count} transactions, {result.Transactions} committed");
            if (!result.Satisfies(ConsistencyModel.StrictSerializable))
            {
                string file = Path.Combine(Path.GetTempPath(), $"keyva-history-kill-{durability}-{seed}.txt");
                await File.WriteAllTextAsync(file, history.ToString());
                Assert.Fail($"seed {seed}; the history is in {file}\n{result.Explain(ConsistencyModel.StrictSerializable)}");
            }

            Assert.True(result.Transactions > Kills, "hardly anything was committed");
        }
    }

    private static async Task<ListHistory> RunAsync(int seed, string durability, TransactionOptions options)
    {
        Random random = new(seed);
        string folder = Directory.CreateTempSubdirectory("keyva-history-").FullName;
        ListWorkload[] workloads = ListWorkload.ForAll(seed, Workers, new ListWorkloadOptions { Keys = 4 });
        ListRecorder recorder = new(Workers);
        try
        {
            for (int round = 0; round <= Kills; round++)
            {
                using ServedProcess server = ServedProcess.StartSmall(folder, durability);
                if (round == 0)
                {
                    await server.AddPairAsync("b");
                }

                await using RemoteStore store = server.Connect();
                TransactionListClient Client() => new(() => store.BeginAsync(options), Appends.ForUpdate, synchronously: false);
                if (round == Kills)
                {
                    ListRun.FinalReads(Client(), workloads, recorder);
                    break;
                }

                // Counted, not timed: whoever gets the last of so many commits kills the server while the others are on their way.
                int left = random.Next(10, MostTransactions);
                ITransactionalClient[] clients = [.. Enumerable.Range(0, Workers).Select(_ => new CountingClient(Client(), () =>
                {
                    if (Interlocked.Decrement(ref left) == 0)
                    {
                        server.Kill();
                    }
                }))];
                ListRun.Threads(clients, workloads, recorder, MostTransactions);
                server.Kill();
                server.WaitForExit();
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        return recorder.ToHistory();
    }

    /// <summary>Tells of each commit that was acknowledged.</summary>
    private sealed class CountingClient(ITransactionalClient client, Action committed) : ITransactionalClient
    {
        public ValueTask<Outcome> BeginAsync() => client.BeginAsync();

        public ValueTask<ListReply> ReadAsync(int key) => client.ReadAsync(key);

        public ValueTask<Outcome> AppendAsync(int key, int value) => client.AppendAsync(key, value);

        public async ValueTask<Outcome> CommitAsync()
        {
            Outcome outcome = await client.CommitAsync();
            if (outcome == Outcome.Ok)
            {
                committed();
            }

            return outcome;
        }

        public ValueTask<Outcome> AbortAsync() => client.AbortAsync();
    }
}
