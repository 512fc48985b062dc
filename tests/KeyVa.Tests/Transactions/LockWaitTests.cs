using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Transactions;

/// <summary>64 threads of transactions with locks on a few counters: every wait ends, by a lock or a deadlock that names its ring, and no update is lost.</summary>
public sealed class LockWaitTests
{
    private const int Threads = 64;
    private const int Rounds = 15;
    private const int Counters = 5;

    [Theory]
    [InlineData(EngineKind.Lsm, 1)]
    [InlineData(EngineKind.Memory, 3)]
    public async Task NoWakeUpIsLostUnderSixtyFourThreads(EngineKind engine, int partitions)
    {
        int seed = System.Environment.TickCount;
        await using Store store = new StoreFixture(new StoreOptions { Engine = engine, CreateDefaultPartition = partitions == 1, Durability = Durability.Os }).Open();
        PartitionedStore.Split(store, engine, partitions, "c2", "c4");

        // No time-out would end a wait that nobody ends.
        var options = new TransactionOptions { Concurrency = Concurrency.Pessimistic, LockTimeout = TimeSpan.FromHours(1), TimeLimit = TimeSpan.FromHours(1) };
        int[] added = new int[Counters];
        int deadlocks = 0;
        string? failure = null;
        Thread[] threads = [.. Enumerable.Range(0, Threads).Select(number => new Thread(() =>
        {
            var random = new Random(seed + number);
            for (int round = 0; round < Rounds; round++)
            {
                int first = random.Next(Counters);
                int second = (first + 1 + random.Next(Counters - 1)) % Counters;
                using Transaction txn = store.Begin(options);
                (Status status, string? detail) = Add(txn, first, random);
                if (status == Status.Ok)
                {
                    (status, detail) = Add(txn, second, random);
                }

                if (status == Status.Ok)
                {
                    CommitResult result = txn.Commit();
                    (status, detail) = (result.Status, result.Detail);
                }

                if (status == Status.Ok)
                {
                    Interlocked.Increment(ref added[first]);
                    Interlocked.Increment(ref added[second]);
                }
                else if (status == Status.Deadlock && detail!.Contains($"txn {txn.Number} waits for key \"c", StringComparison.Ordinal))
                {
                    Interlocked.Increment(ref deadlocks);
                }
                else
                {
                    failure = $"{status}: {detail}";
                }
            }
        }))];
        Array.ForEach(threads, static thread => thread.Start());
        for (int i = 0; i < Threads; i++)
        {
            Assert.True(threads[i].Join(TimeSpan.FromMinutes(2)), $"seed {seed}: thread {i} waits for ever, {store.Locks!.Figures}");
        }

        Assert.True(failure is null, $"seed {seed}: {failure}");
        Assert.Equal(added.Select(static count => $"{count}"), Enumerable.Range(0, Counters).Select(i => Get(store, $"c{i}") ?? "0"));
        Assert.False(store.Locks!.HasLocks);
        Assert.Equal(Threads * Rounds, (added.Sum() / 2) + deadlocks);
        Assert.True(store.Locks.Figures.Waits > 0, "nobody waited");
    }

    /// <summary>Reads a counter to write it, and lets others in before it goes on: by a lock on the thread, or awaited.</summary>
    private static (Status Status, string? Detail) Add(Transaction txn, int counter, Random random)
    {
        byte[] key = Bytes($"c{counter}");
        ReadResult read;
        if (random.Next(2) == 0)
        {
            read = txn.GetForUpdateAsync(key).AsTask().GetAwaiter().GetResult();
        }
        else
        {
            using ValueLease lease = txn.GetForUpdate(key);
            read = lease.Found ? new ReadResult { Record = new Record { Value = lease.Value.ToArray() } } : new ReadResult { Status = lease.Status };
        }

        Thread.Yield();
        if (read.Status > Status.NotFound)
        {
            return (read.Status, read.Detail ?? txn.Commit().Detail);
        }

        int value = read.Found ? int.Parse(read.Record.Value.Span, System.Globalization.CultureInfo.InvariantCulture) : 0;
        WriteResult written = txn.Put(key, Bytes($"{value + 1}"));
        return (written.Status, written.Detail);
    }
}
