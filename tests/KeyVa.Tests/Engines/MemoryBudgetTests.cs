using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Tests.Engines.Lsm;
using KeyVa.Tests.Stores;
using Xunit;

namespace KeyVa.Tests.Engines;

public sealed class MemoryBudgetTests
{
    private const long MiB = 1 << 20;

    [Fact]
    public void TheCacheHasWhatTheOthersLeaveDownToItsFloor()
    {
        using BlockCache cache = new(40 * MiB, budget: 64 * MiB);
        MemoryBudget budget = cache.Memory;
        Assert.Equal(40 * MiB, cache.Capacity);
        budget.Charge(MemoryKind.Active, 30 * MiB);
        Assert.Equal(34 * MiB, cache.Capacity);
        budget.Charge(MemoryKind.Buffers, 10 * MiB);
        Assert.Equal(24 * MiB, cache.Capacity);
        budget.Move(MemoryKind.Active, MemoryKind.Immutable, 30 * MiB);
        budget.Charge(MemoryKind.Active, 30 * MiB);
        Assert.Equal(8 * MiB, cache.Capacity);
        budget.Release(MemoryKind.Immutable, 30 * MiB);
        budget.Release(MemoryKind.Active, 30 * MiB);
        budget.Release(MemoryKind.Buffers, 10 * MiB);
        Assert.Equal(40 * MiB, cache.Capacity);
    }

    [Fact]
    public void PressureRisesSmoothlyAndOnlyWhileAFlushIsOnItsWay()
    {
        using BlockCache cache = new(0, budget: 64 * MiB);
        MemoryBudget budget = cache.Memory;
        budget.Charge(MemoryKind.Active, 200 * MiB);
        Assert.Equal(0, budget.Pressure);
        Assert.True(budget.NeedsAttention && budget.TakeFlush() && !budget.TakeFlush());
        budget.Release(MemoryKind.Active, 200 * MiB);
        Assert.False(budget.NeedsAttention);
        budget.Charge(MemoryKind.Immutable, 1);
        double last = 0;
        for (int i = 1; i <= 64; i++)
        {
            budget.Charge(MemoryKind.Active, MiB);
            Assert.InRange(budget.Pressure - last, 0, 0.07);
            Assert.Equal(i > 48, budget.Pressure > 0.001);
            last = budget.Pressure;
        }

        Assert.InRange(last, 0.99, 1.01);
    }

    [Fact]
    public void CountersAreExactUnderManyThreads()
    {
        using BlockCache cache = new(8 * MiB, budget: 64 * MiB);
        Thread[] threads = [.. Enumerable.Range(0, 4).Select(t => new Thread(() =>
        {
            var random = new Random(t);
            long[] held = new long[6];
            for (int i = 0; i < 30_000; i++)
            {
                int kind = random.Next(6);
                long bytes = random.Next(1 << 20);
                int to = random.Next(6);
                if (random.Next(2) == 0)
                {
                    cache.Memory.Charge((MemoryKind)kind, bytes);
                    held[kind] += bytes;
                }
                else
                {
                    cache.Memory.Move((MemoryKind)kind, (MemoryKind)to, bytes);
                    held[kind] -= bytes;
                    held[to] += bytes;
                }
            }

            for (int kind = 0; kind < 6; kind++)
            {
                cache.Memory.Release((MemoryKind)kind, held[kind]);
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.All(Enum.GetValues<MemoryKind>(), kind => Assert.Equal(0, cache.Memory.Used(kind)));
        Assert.Equal(8 * MiB, cache.Capacity);
        Assert.Equal(0, cache.Memory.Pressure);
    }

    /// <summary>One engine that nobody else helps: its memtable goes early, long before it is full.</summary>
    [Fact]
    public void AMemtableIsFlushedEarlyWhenTheBudgetSaysSo()
    {
        using LsmFixture fixture = new(new EngineOptions { MemtableBytes = 1 << 30 }, cacheBytes: MiB, budget: 16 * MiB);
        byte[] value = new byte[10_000];
        for (int i = 0; i < 5000; i++)
        {
            fixture.Put(BitConverter.GetBytes(i), value);
            fixture.Background.RunAll(new Random(i));
            Assert.InRange(fixture.Cache.Memory.Memtables, 0, 12 * MiB);
        }

        Assert.True(fixture.Engine.Versions.Current.Tables.Any());
        Assert.Equal(0, fixture.Cache.Memory.Used(MemoryKind.Immutable));
    }

    [Fact]
    public void WritersAreSlowedWhenTheFlushDoesNotKeepUp()
    {
        using LsmFixture fixture = new(new EngineOptions { MemtableBytes = 1 << 30 }, cacheBytes: MiB, budget: 16 * MiB);
        byte[] value = new byte[10_000];
        TimeSpan delay = TimeSpan.Zero;
        for (int i = 0; delay == TimeSpan.Zero && i < 3000; i++)
        {
            fixture.Put(BitConverter.GetBytes(i), value);
            delay = fixture.Engine.Admit(10_000);
        }

        Assert.InRange(delay, TimeSpan.FromMicroseconds(250), TimeSpan.FromSeconds(1));
        fixture.Flush();
        Assert.Equal(TimeSpan.Zero, fixture.Engine.Admit(100));
    }

    [Fact]
    public void OpenTablesCountAndAreClosedWhenTheBudgetIsSmall()
    {
        using LsmFixture fixture = new(new EngineOptions { MemtableBytes = 64 << 10, Level0Tables = 1000, BloomBitsPerKey = 100 }, cacheBytes: 0, budget: 1 << 20);
        for (int i = 0; i < 50_000; i++)
        {
            fixture.Put($"key{i:D9}", "");
            fixture.Background.RunAll(new Random(i));
        }

        MemoryBudget budget = fixture.Cache.Memory;
        for (int i = 0; i < 50_000; i += 10)
        {
            Assert.Equal("", fixture.Get($"key{i:D9}"));
        }

        Assert.True(fixture.Cache.Tables.Evictions > 0);
        Assert.True(
            SpinWait.SpinUntil(
                () =>
                {
                    fixture.Cache.Tables.Trim(budget.TableAllowance);
                    return budget.Used(MemoryKind.Tables) <= budget.Bytes / 2;
                },
                TimeSpan.FromSeconds(20)),
            $"tables take {budget.Used(MemoryKind.Tables)} of {budget.Bytes}");
        fixture.Reopen();
        Assert.Equal("", fixture.Get("key000012345"));
    }

    /// <summary>Two partitions of a store: the idle one's memtable is the larger, so it goes when the other one writes.</summary>
    [Fact]
    public async Task TheLargestMemtableOfAnyPartitionGoesFirst()
    {
        var fixture = new StoreFixture(new StoreOptions
        {
            CreateDefaultPartition = false,
            MemoryBudgetBytes = 8 * MiB,
            BlockCacheBytes = MiB,
            JournalSegmentBytes = MiB,
            Durability = Durability.Os,
        });
        await using Store store = fixture.Open();
        byte[] middle = "m"u8.ToArray();
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, middle)).Status);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(middle, default)).Status);
        string value = new('v', 10_000);
        for (int i = 0; i < 150; i++)
        {
            Assert.True(StoreFixture.Set(store, $"a{i}", value).IsOk);
        }

        Assert.All(store.GetStatistics().Partitions, partition => Assert.Equal(0, partition.DurableIndex));
        int written = 0;
        Assert.True(SpinWait.SpinUntil(
            () => StoreFixture.Set(store, $"z{written++ % 40}", value).IsOk && store.GetStatistics().Partitions[0].DurableIndex > 0,
            TimeSpan.FromSeconds(30)));
        Assert.True(written < 300, $"the second partition had to write {written} values before the first was flushed");
        for (int i = 0; i < 2000; i++)
        {
            Assert.True(StoreFixture.Set(store, $"{(i % 2 == 0 ? 'a' : 'z')}{i}", value).IsOk);
            StoreStatistics statistics = store.GetStatistics();
            long used = statistics.MemtableMemoryBytes + statistics.CacheMemoryBytes + statistics.TableMemoryBytes + statistics.OtherMemoryBytes;
            Assert.InRange(used, 1, 12 * MiB);
        }

        Assert.Equal(value, StoreFixture.Get(store, "a1998"));
        Assert.Equal(value, StoreFixture.Get(store, "z1999"));
    }

    [Fact]
    public void ABudgetThatIsTooSmallIsRefused()
    {
        StoreException refused = Assert.Throws<StoreException>(() => new StoreFixture(new StoreOptions { MemoryBudgetBytes = 1 }).Open());
        Assert.Contains("memory-budget", refused.Message);
    }
}
