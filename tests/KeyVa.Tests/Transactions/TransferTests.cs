using System.Buffers.Binary;
using System.Collections.Concurrent;
using KeyVa.Tests.Stores;
using Xunit;

namespace KeyVa.Tests.Transactions;

/// <summary>Money moves between accounts on many threads: no snapshot ever shows more or less of it.</summary>
public sealed class TransferTests
{
    private const int Accounts = 32;
    private const int Threads = 8;
    private const int Transfers = 150;
    private const long Start = 1000;

    [Theory]
    [InlineData(EngineKind.Lsm, 1, Concurrency.Optimistic, IsolationLevel.Serializable)]
    [InlineData(EngineKind.Lsm, 3, Concurrency.Optimistic, IsolationLevel.Serializable)]
    [InlineData(EngineKind.Memory, 3, Concurrency.Optimistic, IsolationLevel.RepeatableRead)]
    [InlineData(EngineKind.Lsm, 1, Concurrency.Pessimistic, IsolationLevel.Serializable)]
    [InlineData(EngineKind.Memory, 2, Concurrency.Pessimistic, IsolationLevel.Serializable)]
    public async Task TheTotalStaysTheSame(EngineKind engine, int partitions, Concurrency concurrency, IsolationLevel isolation)
    {
        var options = new TransactionOptions { Concurrency = concurrency, Isolation = isolation };
        await using Store store = new StoreFixture(new StoreOptions { Engine = engine, CreateDefaultPartition = partitions == 1, LockTimeout = TimeSpan.FromHours(1), Durability = Durability.Os }).Open();
        PartitionedStore.Split(store, engine, partitions, $"{(char)10}", $"{(char)20}");
        for (byte account = 0; account < Accounts; account++)
        {
            Assert.True(store.Upsert([account], Money(Start)).IsOk);
        }

        var errors = new ConcurrentQueue<string>();
        int running = Threads;
        var threads = new Thread[Threads];
        for (int t = 0; t < Threads; t++)
        {
            int seed = t;
            threads[t] = new Thread(() =>
            {
                var random = new Random(seed);
                for (int i = 0; i < Transfers; i++)
                {
                    byte from = (byte)random.Next(Accounts);
                    byte to = (byte)((from + 1 + random.Next(Accounts - 1)) % Accounts);
                    CommitResult result = store.Transact(txn => Transfer(txn, from, to, random.Next(100)), options);
                    if (!result.IsOk)
                    {
                        errors.Enqueue($"{result.Status}: {result.Detail}");
                    }
                }

                Interlocked.Decrement(ref running);
            });
            threads[t].Start();
        }

        do
        {
            using Transaction reader = store.Begin(new TransactionOptions { ReadOnly = true });
            Assert.Equal(Accounts * Start, Total(reader));
            Assert.True(reader.Commit().IsOk);
        }
        while (Volatile.Read(ref running) > 0);

        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        Assert.Empty(errors);
        using Transaction last = store.Begin();
        Assert.Equal(Accounts * Start, Total(last));
        Assert.True(store.Locks is not { HasLocks: true });
    }

    private static void Transfer(Transaction txn, byte from, byte to, int amount)
    {
        long has = Read(txn, from);
        long other = Read(txn, to);
        txn.Put([from], Money(has - amount));
        txn.Put([to], Money(other + amount));
    }

    private static long Read(Transaction txn, byte account)
    {
        using ValueLease lease = txn.Get([account]);
        return lease.Found ? BinaryPrimitives.ReadInt64LittleEndian(lease.Value) : 0;
    }

    private static long Total(Transaction txn)
    {
        long total = 0;
        for (byte account = 0; account < Accounts; account++)
        {
            total += Read(txn, account);
        }

        return total;
    }

    private static byte[] Money(long amount) => BitConverter.GetBytes(amount);
}
