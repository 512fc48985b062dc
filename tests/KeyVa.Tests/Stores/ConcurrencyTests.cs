using KeyVa.Io;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Stores;

public sealed class ConcurrencyTests
{
    [Theory]
    [InlineData(EngineKind.Lsm, Durability.Always)]
    [InlineData(EngineKind.Lsm, Durability.Os)]
    [InlineData(EngineKind.Memory, Durability.Always)]
    [InlineData(EngineKind.Memory, Durability.Interval)]
    public async Task EveryCallerOfAGroupGetsItsOwnResult(EngineKind engine, Durability durability)
    {
        const int Callers = 32;
        const int Writes = 200;
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, Durability = durability });
        await using (Store store = fixture.Open())
        {
            var threads = new Thread[Callers / 2];
            var errors = new System.Collections.Concurrent.ConcurrentQueue<string>();
            for (int t = 0; t < threads.Length; t++)
            {
                int caller = t;
                threads[t] = new Thread(() =>
                {
                    for (int i = 0; i < Writes; i++)
                    {
                        Check(Set(store, $"s{caller}-{i}", $"{i}"), errors);
                        Check(Set(store, $"s{caller}-{i}", "never", new WriteOptions { Condition = Condition.IfAbsent }), errors, Status.ConditionFailed);
                    }
                });
                threads[t].Start();
            }

            var tasks = Enumerable.Range(0, Callers / 2).Select(async caller =>
            {
                for (int i = 0; i < Writes; i++)
                {
                    Check(await store.UpsertAsync(Bytes($"a{caller}-{i}"), Bytes($"{i}")), errors);
                    Check(await store.RemoveAsync(Bytes($"none{caller}")), errors, Status.NotFound);
                }
            }).ToArray();
            await Task.WhenAll(tasks);
            foreach (Thread thread in threads)
            {
                thread.Join();
            }

            Assert.Empty(errors);
            AssertAll(store);
            StoreStatistics statistics = store.GetStatistics();
            Assert.Equal(Callers / 2 * Writes, statistics.Refused);
            Assert.Equal(0, statistics.Partitions[0].QueuedWrites);
            if (durability == Durability.Always)
            {
                Assert.True(statistics.JournalSyncs < Callers * Writes * 2, "callers share syncs");
            }
        }

        await using Store again = fixture.Open();
        AssertAll(again);

        static void AssertAll(Store store)
        {
            for (int caller = 0; caller < Callers / 2; caller++)
            {
                for (int i = 0; i < Writes; i++)
                {
                    Assert.Equal($"{i}", Get(store, $"s{caller}-{i}"));
                    Assert.Equal($"{i}", Get(store, $"a{caller}-{i}"));
                }
            }
        }
    }

    [Fact]
    public async Task AnIncrementByCompareAndSetLosesNothing()
    {
        await using Store store = new StoreFixture(new StoreOptions { Durability = Durability.Os }).Open();
        Set(store, "n", "0");
        Parallel.For(0, 8, _ =>
        {
            for (int done = 0; done < 250;)
            {
                using ValueLease lease = store.Get("n"u8);
                long version = lease.Version;
                int next = int.Parse(System.Text.Encoding.ASCII.GetString(lease.Value), System.Globalization.CultureInfo.InvariantCulture) + 1;
                done += Set(store, "n", $"{next}", new WriteOptions { Condition = Condition.IfVersion(version) }).IsOk ? 1 : 0;
            }
        });
        Assert.Equal("2000", Get(store, "n"));
    }

    [Fact]
    public async Task AFullQueueRefusesInsteadOfGrowing()
    {
        var fixture = new StoreFixture(new StoreOptions { MaxQueuedWrites = 4 });
        await using Store store = fixture.Open();
        using var entered = new ManualResetEventSlim();
        using var hold = new ManualResetEventSlim();
        fixture.Files.Faults.Before = (operation, path) =>
        {
            if (operation == FileOperation.SyncData && path.EndsWith(".journal", StringComparison.Ordinal))
            {
                entered.Set();
                hold.Wait();
            }
        };
        ValueTask<WriteResult> first = store.UpsertAsync(Bytes("first"), Bytes("1"));
        entered.Wait();
        List<Task<WriteResult>> writes = [first.AsTask()];
        for (int i = 0; i < 8; i++)
        {
            writes.Add(store.UpsertAsync(Bytes($"k{i}"), Bytes("1")).AsTask());
        }

        hold.Set();
        WriteResult[] results = await Task.WhenAll(writes);
        fixture.Files.Faults.Before = null;
        Assert.Equal(5, results.Count(r => r.Status == Status.Busy));
        Assert.Equal(4, results.Count(r => r.IsOk));
        Assert.Equal("1", Get(store, "first"));
        Assert.True(Set(store, "after", "1").IsOk);
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task GetAndPutAllocateNothing(EngineKind engine)
    {
        string directory = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"keyva-alloc-{Guid.NewGuid():N}");
        try
        {
            await using Store store = Store.Open(directory, new StoreOptions { Engine = engine, Durability = Durability.Os });
            byte[] key = new byte[16];
            byte[] value = new byte[100];
            (long puts, long gets) = (0, 0);
            for (int round = 0; round < 3; round++)
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                for (int i = 0; i < 20_000; i++)
                {
                    BitConverter.TryWriteBytes(key, i);
                    store.Upsert(key, value);
                }

                puts = GC.GetAllocatedBytesForCurrentThread() - before;
                before = GC.GetAllocatedBytesForCurrentThread();
                for (int i = 0; i < 20_000; i++)
                {
                    BitConverter.TryWriteBytes(key, i);
                    using ValueLease lease = store.Get(key);
                }

                gets = GC.GetAllocatedBytesForCurrentThread() - before;
            }

            Assert.True(puts < 20_000, $"20000 puts allocated {puts} bytes");
            Assert.True(gets == 0, $"20000 gets allocated {gets} bytes");
        }
        finally
        {
            System.IO.Directory.Delete(directory, recursive: true);
        }
    }

    private static void Check(in WriteResult result, System.Collections.Concurrent.ConcurrentQueue<string> errors, Status expected = Status.Ok)
    {
        if (result.Status != expected)
        {
            errors.Enqueue($"{result.Status} instead of {expected}: {result.Detail}");
        }
    }
}
