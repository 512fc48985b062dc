using System.Buffers.Binary;
using KeyVa.Histories;
using Xunit;

namespace KeyVa.Tests.Histories;

/// <summary>
/// Money moves between accounts, in several partitions and across crashes, while others read all of them at one snapshot: it
/// is always as much as it was. <c>KEYVA_HISTORY_SEEDS</c> runs more seeds, <c>KEYVA_SEED</c> one of them.
/// </summary>
public sealed class StoreBankTests
{
    private const int Crashes = 3;

    [Theory]
    [InlineData(EngineKind.Lsm, Durability.Always, 3, Concurrency.Optimistic, IsolationLevel.Serializable)]
    [InlineData(EngineKind.Memory, Durability.Os, 3, Concurrency.Optimistic, IsolationLevel.RepeatableRead)]
    [InlineData(EngineKind.Lsm, Durability.Os, 1, Concurrency.Pessimistic, IsolationLevel.Serializable)]
    [InlineData(EngineKind.Memory, Durability.Always, 3, Concurrency.Pessimistic, IsolationLevel.RepeatableRead)]
    public async Task NoMoneyIsMadeOrLost(EngineKind engine, Durability durability, int partitions, Concurrency concurrency, IsolationLevel isolation)
    {
        foreach (int seed in StoreRounds.Seeds(few: 2))
        {
            StoreRounds rounds = new(seed, engine, durability, TransactionRun.Borders(partitions));
            BankRun bank = new(seed, new TransactionOptions { Concurrency = concurrency, Isolation = isolation });
            await rounds.FinishAsync(bank.OpenAccounts);
            for (int i = 0; i < Crashes; i++)
            {
                await rounds.CrashAsync(within: 400, bank.Round);
            }

            await rounds.FinishAsync(bank.Round);
            Assert.True(bank.Reads.Count(static read => read.Outcome == Outcome.Ok) > Crashes, "too few reads");
            if (BankChecker.Check(bank.Reads, BankRun.Total) is { } wrong)
            {
                Assert.Fail($"{rounds}, {concurrency}, {isolation}: {wrong}");
            }
        }
    }

    private sealed class BankRun(int seed, TransactionOptions options)
    {
        public const long Total = Accounts * Opening;
        private const int Accounts = 9;
        private const long Opening = 100;
        private const int Transfers = 100;
        private const int Tellers = 4;

        private readonly HistoryClock _clock = HistoryClock.Start();
        private int _rounds;

        public List<BankRead> Reads { get; } = [];

        public Task OpenAccounts(Store store)
        {
            CommitResult result = store.Transact(static txn =>
            {
                for (int account = 0; account < Accounts; account++)
                {
                    txn.Put(TransactionListClient.Key(account), BitConverter.GetBytes(Opening));
                }
            });
            Assert.True(result.IsOk, result.Detail);
            return Task.CompletedTask;
        }

        /// <summary>Some transfer, one reads, until all transfers are done or the store is dead.</summary>
        public Task Round(Store store)
        {
            int running = Tellers;
            int round = _rounds++;
            Thread[] threads = [.. Enumerable.Range(0, Tellers).Select(teller => new Thread(() =>
            {
                Random random = new((seed * 1000) + (round * 10) + teller);
                for (int i = 0; i < Transfers && TryTransfer(store, random); i++)
                {
                }

                Interlocked.Decrement(ref running);
            }))];
            Array.ForEach(threads, static thread => thread.Start());
            do
            {
                Reads.Add(ReadAll(store));
            }
            while (Volatile.Read(ref running) > 0);
            Array.ForEach(threads, static thread => thread.Join());
            Reads.Add(ReadAll(store));
            return Task.CompletedTask;
        }

        /// <summary>False: the store is dead.</summary>
        private bool TryTransfer(Store store, Random random)
        {
            int from = random.Next(Accounts);
            int to = (from + 1 + random.Next(Accounts - 1)) % Accounts;
            try
            {
                CommitResult result = store.Transact(
                    txn =>
                    {
                        if (TryRead(txn, from, out long has) && TryRead(txn, to, out long other))
                        {
                            txn.Put(TransactionListClient.Key(from), BitConverter.GetBytes(has - 1));
                            txn.Put(TransactionListClient.Key(to), BitConverter.GetBytes(other + 1));
                        }
                    },
                    options);
                return result.Status != Status.Failed;
            }
            catch (StoreException)
            {
                return false;
            }
        }

        private BankRead ReadAll(Store store)
        {
            long invoked = _clock.Invoke();
            long[] balances = new long[Accounts];
            Outcome outcome = Outcome.Ok;
            try
            {
                using Transaction reader = store.Begin(new TransactionOptions { ReadOnly = true });
                for (int account = 0; account < Accounts; account++)
                {
                    outcome = TryRead(reader, account, out balances[account]) ? outcome : Outcome.Fail;
                }
            }
            catch (StoreException)
            {
                outcome = Outcome.Fail;
            }

            return new BankRead(Tellers, invoked, _clock.Complete(), outcome, balances);
        }

        private static bool TryRead(Transaction txn, int account, out long balance)
        {
            using ValueLease lease = txn.Get(TransactionListClient.Key(account));
            balance = lease.Found ? BinaryPrimitives.ReadInt64LittleEndian(lease.Value) : 0;

            // Not there is money lost, which the check is to see.
            return lease.Status <= Status.NotFound;
        }
    }
}
