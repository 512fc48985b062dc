using System.Globalization;
using System.Text;
using KeyVa.Engines;
using KeyVa.Io;
using KeyVa.Tests.Engines.Lsm;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Stores;

public sealed class ScanCursorTests
{
    [Fact]
    public async Task OpeningSeekingSteppingAndClosingAllocateNothing()
    {
        var fixture = new StoreFixture();
        await using Store store = Open(fixture, LsmFixture.SmallOptions);
        Fill(store, 2000);
        var forward = new ScanOptions { From = Bytes("k00010"), To = Bytes("k01900") };
        var backward = new ScanOptions { Prefix = Bytes("k01"), Reverse = true };
        byte[] key = Bytes("k00700");
        int records = 0;
        long allocated = 0;
        for (int round = 0; round < 50; round++)
        {
            // The first rounds make what is kept.
            long before = GC.GetAllocatedBytesForCurrentThread();
            records += Walk(store, forward, key, 10) + Walk(store, backward, key, 10);
            allocated = round < 10 ? 0 : allocated + GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Assert.Equal(50 * (20 + 10), records);
        Assert.Equal(0, allocated);
    }

    [Fact]
    public async Task AHandleThatWasDisposedNeverTouchesTheNextScan()
    {
        var fixture = new StoreFixture();
        await using Store store = Open(fixture, LsmFixture.SmallOptions);
        Fill(store, 100);
        ScanCursor dead = store.Scan(new ScanOptions());
        Assert.True(dead.MoveNext());
        dead.Dispose();
        using ScanCursor next = store.Scan(new ScanOptions { From = Bytes("k00050") });
        Assert.True(next.MoveNext());
        Assert.False(dead == next);
        Assert.Throws<ObjectDisposedException>(() => dead.MoveNext());
        Assert.Throws<ObjectDisposedException>(() => dead.Seek("k00010"u8));
        Assert.Throws<ObjectDisposedException>(() => dead.Key.Length);
        Assert.Throws<ObjectDisposedException>(() => dead.Status);
        dead.Dispose();
        Assert.Equal("k00050", Encoding.UTF8.GetString(next.Key));
        Assert.True(next.MoveNext());
        Assert.Throws<ObjectDisposedException>(() => default(ScanCursor).MoveNext());
    }

    [Fact]
    public async Task ManyCursorsAtOnceStandEachOnItsOwnPlace()
    {
        var fixture = new StoreFixture();
        await using Store store = Open(fixture, LsmFixture.SmallOptions);
        Fill(store, 200);
        for (int round = 0; round < 3; round++)
        {
            var cursors = new List<ScanCursor>();
            for (int i = 0; i < 20; i++)
            {
                cursors.Add(store.Scan(new ScanOptions { From = Bytes(Key(i * 5)) }));
            }

            for (int i = 0; i < 20; i++)
            {
                Assert.True(cursors[i].MoveNext());
                Assert.Equal(Key(i * 5), Encoding.UTF8.GetString(cursors[i].Key));
                cursors[i].Dispose();
            }
        }
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, true)]
    [InlineData(3, false)]
    [InlineData(4, true)]
    public async Task SeeksStayWithinTheBoundsAndAgreeWithAModel(int seed, bool reverse)
    {
        var random = new Random(seed);
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false });
        await using Store store = Open(fixture, LsmFixture.SmallOptions);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, Bytes("k00300"))).Status);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(Bytes("k00300"), Bytes("k00700"))).Status);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(Bytes("k00700"), default)).Status);
        var model = new SortedSet<string>(StringComparer.Ordinal);
        for (int i = 0; i < 600; i++)
        {
            string key = Key(random.Next(1000));
            Set(store, key, "1");
            model.Add(key);
        }

        for (int scan = 0; scan < 40; scan++)
        {
            string from = random.Next(3) == 0 ? "" : Key(random.Next(1000));
            string to = random.Next(3) == 0 ? "" : Key(random.Next(1000));
            if (to.Length > 0 && string.CompareOrdinal(from, to) > 0)
            {
                (from, to) = (to, from);
            }

            List<string> inside = [.. model.Where(key => string.CompareOrdinal(key, from) >= 0 && (to.Length == 0 || string.CompareOrdinal(key, to) < 0))];
            using ScanCursor cursor = store.Scan(new ScanOptions { From = Bytes(from), To = Bytes(to), Reverse = reverse });
            for (int seek = 0; seek < 10; seek++)
            {
                string target = Key(random.Next(1000));
                cursor.Seek(Bytes(target));
                IEnumerable<string> expected = reverse
                    ? inside.Where(key => string.CompareOrdinal(key, target) <= 0).Reverse()
                    : inside.Where(key => string.CompareOrdinal(key, target) >= 0);
                int steps = random.Next(60);
                foreach (string key in expected.Take(steps))
                {
                    Assert.True(cursor.MoveNext(), $"seed {seed}: {key} is missing behind {target} in [{from}, {to})");
                    Assert.Equal(key, Encoding.UTF8.GetString(cursor.Key));
                }

                if (expected.Count() < steps)
                {
                    Assert.False(cursor.MoveNext(), $"seed {seed}, [{from}, {to}), seek {target}");
                }
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ALongScanBackwardReadsAheadAndOneMayLeaveTheCacheAlone(bool reverse)
    {
        var fixture = new StoreFixture();
        EngineOptions options = LsmFixture.SmallOptions with { MemtableBytes = 4 << 20, TableBytes = 1 << 20, BlockBytes = 4096 };
        await using (Store store = Open(fixture, options))
        {
            using BulkLoader loader = store.BeginBulkLoad();
            for (int i = 0; i < 20_000; i++)
            {
                loader.Add(Bytes(Key(i)), new byte[100]);
            }

            Assert.True(loader.Complete().IsOk);
        }

        await using Store cold = Open(fixture, options);
        Assert.Equal(10, Walk(cold, new ScanOptions { From = Bytes(Key(500)), Limit = 10 }, default, 10));
        Assert.Equal(0, fixture.Files.Faults.Count(FileOperation.Prefetch));
        long missesBefore = cold.GetStatistics().CacheMisses;
        Assert.Equal(20_000, Walk(cold, new ScanOptions { Reverse = reverse, FillCache = false }, default, int.MaxValue));
        long hints = fixture.Files.Faults.Count(FileOperation.Prefetch);
        Assert.InRange(hints, reverse ? 4 : 0, reverse ? 40 : 0);

        // Nothing of it was put into the cache: the same scan misses as before.
        Assert.Equal(missesBefore, cold.GetStatistics().CacheMisses);
        Assert.Equal(20_000, Walk(cold, new ScanOptions { Reverse = reverse }, default, int.MaxValue));
        Assert.True(cold.GetStatistics().CacheMisses > missesBefore + 100);
    }

    private static Store Open(StoreFixture fixture, EngineOptions options) => Store.Open(
        StoreFixture.Directory,
        fixture.Options,
        new StoreEnvironment { FileSystem = fixture.Files, Time = fixture.Time, Engine = _ => options });

    private static string Key(int i) => string.Create(CultureInfo.InvariantCulture, $"k{i:D5}");

    private static void Fill(Store store, int records)
    {
        for (int i = 0; i < records; i++)
        {
            Assert.True(Set(store, Key(i), "value").IsOk);
        }
    }

    /// <summary>Some steps, a seek, and as many steps again.</summary>
    private static int Walk(Store store, ScanOptions options, ReadOnlySpan<byte> seek, int steps)
    {
        int records = 0;
        using ScanCursor cursor = store.Scan(options);
        for (int i = 0; i < steps && cursor.MoveNext(); i++)
        {
            records += cursor.Value.Length > 0 ? 1 : 0;
        }

        if (seek.Length > 0)
        {
            cursor.Seek(seek);
            for (int i = 0; i < steps && cursor.MoveNext(); i++)
            {
                records += cursor.Value.Length > 0 ? 1 : 0;
            }
        }

        return records;
    }
}
