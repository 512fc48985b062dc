using System.Text;
using KeyVa.Tests.Stores;
using KeyVa.Tests.Transactions;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Merges;

/// <summary>Merges through an embedded store: results, refusals, expiry, batches, many threads, and the same again after a crash.</summary>
public sealed class StoreMergeTests
{
    private static readonly string[] Borders = ["g", "p"];

    public static TheoryData<EngineKind, int> Stores() => new() { { EngineKind.Lsm, 1 }, { EngineKind.Memory, 1 }, { EngineKind.Lsm, 3 }, { EngineKind.Memory, 3 } };

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task AMergeTellsWhatItCameTo(EngineKind engine, int partitions)
    {
        var fixture = new StoreFixture(Options(engine, partitions));
        await using Store store = fixture.Open();
        PartitionedStore.Split(store, engine, partitions, Borders);
        Assert.Equal((Status.Ok, 1L, 1L), Told(store.Increment("n"u8)));
        Assert.Equal((Status.Ok, 5L, 2L), Told(await store.IncrementAsync(Bytes("n"), 4)));
        Assert.Equal((Status.Ok, -5L, 3L), Told(store.Increment("n"u8, -10)));
        Assert.Equal("-5", Get(store, "n"));
        WriteResult appended = store.Merge("log"u8, MergeFunction.Append, "ab"u8);
        Assert.Equal("ab", Text(appended.Merged.Single()));
        appended = await store.MergeAsync(Bytes("log"), MergeFunction.Append, Bytes("c"));
        Assert.Equal(("abc", 0L), (Text(appended.Merged.Single()), appended.MergedNumber));
        Assert.Equal("abc", Get(store, "log"));

        using var batch = new WriteBatch();
        batch.Increment("z"u8).Put("a"u8, "1"u8).Merge("b"u8, MergeFunction.SetUnion, "[1,1]"u8).Remove("log"u8).Increment("n"u8, 6);
        WriteResult result = store.Write(batch);
        Assert.Equal("1 [1] 1", string.Join(' ', result.Merged.Select(Text)));
        Assert.Equal([false, false, false, true, false], result.Removed.ToArray());
        Assert.Equal($"a=1@{result.Version}!0\nb=[1]@{result.Version}!0\nn=1@{result.Version}!0\nz=1@{result.Version}!0", State(store));
        Assert.Empty(Set(store, "a", "2").Merged);
        batch.Clear();
        batch.Put("a"u8, "3"u8);
        Assert.Empty(store.Write(batch).Merged);
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task ARefusalLeavesEverythingAsItWas(EngineKind engine, int partitions)
    {
        var fixture = new StoreFixture(Options(engine, partitions));
        await using Store store = fixture.Open();
        PartitionedStore.Split(store, engine, partitions, Borders);
        Set(store, "c", "text");
        Set(store, "z", "1");
        string before = State(store);
        WriteResult refused = store.Increment("c"u8);
        Assert.Equal((Status.MergeRefused, 0L, 0), (refused.Status, refused.Version, refused.FailedOperation));
        Assert.Equal("increment: the key's value is no whole number of 64 bits in decimal, but 'text'", refused.Detail);
        Assert.Empty(refused.Merged);

        using var batch = new WriteBatch();
        batch.Put("a"u8, "x"u8).Increment("z"u8).Remove("c"u8).Merge("h"u8, MergeFunction.Append, "x"u8).Merge("z2"u8, MergeFunction.Max, "x"u8);
        refused = await store.WriteAsync(batch);
        Assert.Equal((Status.MergeRefused, 4), (refused.Status, refused.FailedOperation));
        batch.Clear();
        batch.Increment("z"u8).Increment("c"u8, 1).Put("q"u8, "x"u8, new WriteOptions { Condition = Condition.IfPresent });
        refused = store.Write(batch);
        Assert.Equal((Status.MergeRefused, 1), (refused.Status, refused.FailedOperation));
        Assert.Equal(Status.ConditionFailed, store.Increment("z"u8, 1, new WriteOptions { Condition = Condition.IfVersion(999) }).Status);
        Assert.Equal(Status.ConditionFailed, store.Increment("z"u8, 1, new WriteOptions { Condition = Condition.IfAbsent }).Status);
        Assert.Equal(Status.Invalid, store.Increment(default).Status);
        batch.Clear();
        Assert.Equal(Status.Invalid, store.Write(batch.Increment("z"u8).Increment("z"u8)).Status);
        Assert.Equal(before, State(store));
        Assert.True(store.Increment("z"u8, 1, new WriteOptions { Condition = Condition.IfValue(Bytes("1")) }).IsOk);
        Assert.Equal("2", Get(store, "z"));
    }

    [Fact]
    public async Task NoMergeComesToMoreThanAValueMayHave()
    {
        var fixture = new StoreFixture(new StoreOptions { MaxValueBytes = 100, MaxBatchBytes = 1 << 20, JournalSegmentBytes = 1 << 20 });
        await using (Store store = fixture.Open())
        {
            Assert.True(store.Merge("k"u8, MergeFunction.Append, new byte[100]).IsOk);
            WriteResult refused = store.Merge("k"u8, MergeFunction.Append, "x"u8);
            Assert.Equal((Status.TooLarge, 0), (refused.Status, refused.FailedOperation));
            Assert.Contains("101 bytes", refused.Detail, StringComparison.Ordinal);
            Assert.Equal(Status.TooLarge, store.Merge("k"u8, MergeFunction.Append, new byte[101]).Status);
        }

        // The limit is the command's own: opening with another one changes nothing of what is in the journal.
        await using (Store store = fixture.Open(fixture.Options with { MaxValueBytes = 10 }))
        {
            Assert.Equal(100, Get(store, "k")!.Length);
            Assert.Equal(Status.TooLarge, store.Merge("k"u8, MergeFunction.Append, ""u8).Status);
        }

        fixture.Files = fixture.Files.Kill();
        await using (Store store = fixture.Open(fixture.Options with { MaxValueBytes = 1000 }))
        {
            Assert.Equal(100, Get(store, "k")!.Length);
            Assert.True(store.Merge("k"u8, MergeFunction.Append, "x"u8).IsOk);
        }
    }

    [Fact]
    public async Task TheMergesOfABatchAreBoundedTogether()
    {
        var fixture = new StoreFixture(new StoreOptions { MaxValueBytes = 40 << 20, JournalSegmentBytes = 1 << 20, Volatile = true, Engine = EngineKind.Memory });
        await using Store store = fixture.Open();
        Set(store, "a", new string('a', 40 << 20));
        Set(store, "b", new string('b', 30 << 20));
        using var batch = new WriteBatch();
        WriteResult refused = store.Write(batch.Merge("a"u8, MergeFunction.Append, "x"u8).Merge("b"u8, MergeFunction.Append, "x"u8));
        Assert.Equal(Status.TooLarge, refused.Status);
        Assert.True(store.Merge("b"u8, MergeFunction.Append, "x"u8).IsOk);
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task AnExpiryStaysUnlessOneIsGiven(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, JournalSegmentBytes = 1 << 20 });
        await using (Store store = fixture.Open())
        {
            long start = fixture.Time.UnixMilliseconds;
            store.Increment("n"u8, 1, new WriteOptions { Expiry = Expiry.InMilliseconds(5000) });
            fixture.Time.Advance(TimeSpan.FromSeconds(1));
            store.Increment("n"u8);
            Assert.Equal((start + 5000, "2"), (ExpiresAt(store, "n"u8), Get(store, "n")));
            store.Increment("n"u8, 1, new WriteOptions { Expiry = Expiry.InMilliseconds(9000) });
            Assert.Equal((start + 10_000, "3"), (ExpiresAt(store, "n"u8), Get(store, "n")));
            store.Increment("n"u8, 1, new WriteOptions { Expiry = Expiry.AtUnixMilliseconds(start + 3000) });
            fixture.Time.Advance(TimeSpan.FromSeconds(3));
            Assert.Null(Get(store, "n"));
            Assert.Equal(7, store.Increment("n"u8, 7).MergedNumber);
            Assert.Equal((0, "7"), (ExpiresAt(store, "n"u8), Get(store, "n")));
        }

        fixture.Files = fixture.Files.Kill();
        await using (Store store = fixture.Open())
        {
            Assert.Equal((0, "7"), (ExpiresAt(store, "n"u8), Get(store, "n")));
        }
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task EightThreadsLoseNoIncrement(EngineKind engine)
    {
        const int Threads = 8;
        const int Each = 10_000;
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, Durability = Durability.Os });
        await using (Store store = fixture.Open())
        {
            var threads = new Thread[Threads];
            long highest = 0;
            for (int t = 0; t < Threads; t++)
            {
                threads[t] = new Thread(() =>
                {
                    long last = 0;
                    for (int i = 0; i < Each; i++)
                    {
                        long now = store.Increment("counter"u8).MergedNumber;
                        Assert.True(now > last, "a counter only rises");
                        last = now;
                    }

                    InterlockedMax(ref highest, last);
                });
                threads[t].Start();
            }

            foreach (Thread thread in threads)
            {
                thread.Join();
            }

            Assert.Equal(Threads * Each, highest);
            Assert.Equal("80000", Get(store, "counter"));
        }

        await using Store again = fixture.Open();
        Assert.Equal("80000", Get(again, "counter"));
    }

    [Fact]
    public async Task AsynchronousIncrementsAndBatchesOverPartitionsLoseNothing()
    {
        var fixture = new StoreFixture(Options(EngineKind.Lsm, 3));
        await using Store store = fixture.Open();
        PartitionedStore.Split(store, EngineKind.Lsm, 3, Borders);
        await Parallel.ForEachAsync(Enumerable.Range(0, 600), async (_, cancellation) =>
        {
            using var batch = new WriteBatch();
            Assert.True((await store.WriteAsync(batch.Increment("a"u8).Increment("h"u8, 2).Increment("z"u8, 3), cancellation)).IsOk);
            Assert.True((await store.IncrementAsync(Bytes("h"), cancellation: cancellation)).IsOk);
        });
        Assert.Equal(("600", "1800", "1800"), (Get(store, "a"), Get(store, "h"), Get(store, "z")));
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task AReplayComesToTheSameValues(EngineKind engine, int partitions)
    {
        for (int seed = 0; seed < 6; seed++)
        {
            var random = new Random(seed);
            var fixture = new StoreFixture(Options(engine, partitions) with { MemtableBytes = 1 << 14, MergeFunctions = [new Reverse(), new Reverse(2)] });
            Store store = fixture.Open();
            PartitionedStore.Split(store, engine, partitions, Borders);
            for (int round = 0; round < 3; round++)
            {
                for (int i = 0; i < 120; i++)
                {
                    MergeSomething(store, random);
                    if (random.Next(20) == 0)
                    {
                        fixture.Time.Advance(TimeSpan.FromMilliseconds(random.Next(1, 2000)));
                    }
                }

                string before = State(store);
                Crash(fixture, random);
                await store.DisposeAsync();
                store = fixture.Open();
                Assert.True(before == State(store), $"seed {seed}, round {round}:\n{before}\n{State(store)}");
            }

            await store.DisposeAsync();
        }
    }

    private static void Crash(StoreFixture fixture, Random random) =>
        fixture.Files = random.Next(2) == 0 ? fixture.Files.Kill() : fixture.Files.AfterPowerLoss(random.Next());

    private static void MergeSomething(Store store, Random random)
    {
        using var batch = new WriteBatch();
        foreach (int key in Enumerable.Range(0, random.Next(1, 6)).Select(_ => random.Next(26)).Distinct())
        {
            byte[] name = [(byte)('a' + key)];
            WriteOptions options = random.Next(6) == 0 ? new WriteOptions { Expiry = Expiry.InMilliseconds(random.Next(1, 4000)) } : default;
            _ = random.Next(9) switch
            {
                0 => batch.Put(name, Bytes(random.Next(2) == 0 ? "[1]" : "7"), options),
                1 => batch.Remove(name),
                2 => batch.Merge(name, MergeFunction.Append, Bytes(new string('x', random.Next(200))), options),
                3 => batch.Merge(name, MergeFunction.IncrementFloat, "0.1"u8, options),
                4 => batch.Merge(name, new Reverse(random.Next(1, 3)), Bytes($"{random.Next(100)}"), options),
                5 => batch.Merge(name, MergeFunction.JsonMergePatch, Bytes($"{{\"m{random.Next(5)}\":{random.Next(9)}}}"), options),
                6 => batch.Merge(name, MergeFunction.SetUnion, Bytes($"[{random.Next(9)}]"), options),
                _ => batch.Increment(name, random.Next(-5, 9), options),
            };
        }

        // Of different kinds as the values are, many are refused: those stay in the journal, and must be refused again.
        store.Write(batch);
    }

    private static StoreOptions Options(EngineKind engine, int partitions) => new()
    {
        Engine = engine,
        CreateDefaultPartition = partitions == 1,
        JournalSegmentBytes = 1 << 20,
        BlockCacheBytes = 1 << 20,
    };

    private static (Status Status, long Number, long Version) Told(in WriteResult result) => (result.Status, result.MergedNumber, result.Version);

    private static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);

    private static long ExpiresAt(Store store, ReadOnlySpan<byte> key)
    {
        using ValueLease lease = store.Get(key);
        return lease.ExpiresAtUnixMilliseconds;
    }

    /// <summary>Everything that is there, with versions and expiries.</summary>
    private static string State(Store store)
    {
        var lines = new List<string>();
        using ScanCursor cursor = store.Scan(new ScanOptions { Unordered = true });
        while (cursor.MoveNext())
        {
            lines.Add($"{Encoding.UTF8.GetString(cursor.Key)}={Encoding.UTF8.GetString(cursor.Value)}@{cursor.Version}!{cursor.ExpiresAtUnixMilliseconds}");
        }

        lines.Sort(StringComparer.Ordinal);
        return string.Join('\n', lines);
    }

    private static void InterlockedMax(ref long location, long value)
    {
        long seen = Volatile.Read(ref location);
        while (value > seen)
        {
            long before = Interlocked.CompareExchange(ref location, value, seen);
            if (before == seen)
            {
                return;
            }

            seen = before;
        }
    }
}
