using System.Globalization;
using System.Text;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Stores;

public class VersionTests
{
    private static readonly StoreOptions SmallLsm = new() { MemtableBytes = 16 << 10, JournalSegmentBytes = 1 << 18 };

    [Fact]
    public async Task What_is_forgotten_is_refused_and_says_where_to_start()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        long first = StoreFixture.Set(store, "key", "old").Version;
        StoreFixture.Set(store, "key", "new");
        await store.CompactAsync(KeyRange.All);
        ReadResult read = store.GetAt(StoreFixture.Bytes("key"), AsOf.AtVersion(first));
        Assert.Equal(Status.Compacted, read.Status);
        long begins = store.Partitions.List()[0].HistoryFromVersion;
        Assert.Contains($"start at {begins}", read.Detail, StringComparison.Ordinal);
        Assert.Equal("new", Text(store.GetAt(StoreFixture.Bytes("key"), AsOf.AtVersion(begins))));
        RollBackResult back = store.RollBack(StoreFixture.Bytes("key"), AsOf.AtVersion(first));
        Assert.Equal((Status.Compacted, 0L), (back.Status, back.Version));
        Assert.Equal("new", StoreFixture.Get(store, "key"));
        Assert.Equal(Status.Invalid, store.GetAt(StoreFixture.Bytes("key"), AsOf.AtVersion(begins + 1000)).Status);
        Assert.Equal(Status.Compacted, store.GetAt(StoreFixture.Bytes("key"), AsOf.AtTime(5)).Status);
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task The_floor_is_right_when_retention_changes(EngineKind engine)
    {
        var fixture = new StoreFixture { Options = new StoreOptions { Engine = engine, RetainVersionsFor = TimeSpan.FromHours(1) } };
        long first;
        await using (Store store = fixture.Open())
        {
            first = StoreFixture.Set(store, "key", "1").Version;
            StoreFixture.Set(store, "key", "2");
            await store.CompactAsync(KeyRange.All);
        }

        await using (Store store = fixture.Open())
        {
            Assert.Equal("1", Text(store.GetAt(StoreFixture.Bytes("key"), AsOf.AtVersion(first))));
            Assert.Equal(2, store.History(StoreFixture.Bytes("key")).Versions.Count);
            await Flush(store);
        }

        // Without retention everything may go, and nothing is said to be there that was dropped meanwhile.
        StoreOptions without = fixture.Options with { RetainVersionsFor = TimeSpan.Zero };
        await using (Store store = fixture.Open(without))
        {
            StoreFixture.Set(store, "key", "3");
            await Flush(store);
        }

        await using (Store store = fixture.Open())
        {
            ReadResult read = store.GetAt(StoreFixture.Bytes("key"), AsOf.AtVersion(first));
            Assert.True(read.Status == Status.Compacted || Text(read) == "1", $"{read.Status} {Text(read)}");
            long third = StoreFixture.Set(store, "key", "4").Version;
            StoreFixture.Set(store, "key", "5");
            await Flush(store);
            Assert.Equal("4", Text(store.GetAt(StoreFixture.Bytes("key"), AsOf.AtVersion(third))));
        }

        await using (Store store = fixture.Open())
        {
            fixture.Time.Advance(TimeSpan.FromHours(3));
            StoreFixture.Set(store, "key", "6");
            await store.CompactAsync(KeyRange.All);
            Assert.Equal("6", StoreFixture.Get(store, "key"));
            if (engine == EngineKind.Lsm)
            {
                Assert.Equal(Status.Compacted, store.GetAt(StoreFixture.Bytes("key"), AsOf.AtVersion(first)).Status);
            }
        }
    }

    [Fact]
    public async Task A_large_range_is_rolled_back_and_survives_power_loss_at_any_step()
    {
        for (int step = 1; step < 400; step += 23)
        {
            await RollBackWithPowerLoss(step);
        }
    }

    [Fact]
    public async Task Partitions_are_rolled_back_together()
    {
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false, RetainVersionsFor = TimeSpan.FromHours(1) });
        await using Store store = fixture.Open();
        store.Partitions.Add(new KeyRange(default, "m"u8.ToArray()), EngineKind.Lsm);
        store.Partitions.Add(new KeyRange("m"u8.ToArray(), default), EngineKind.Memory);
        StoreFixture.Set(store, "a", "1");
        long then = StoreFixture.Set(store, "z", "1").Version;
        long time = fixture.Time.UnixMilliseconds;
        fixture.Time.Advance(TimeSpan.FromMinutes(1));
        StoreFixture.Set(store, "a", "2");
        StoreFixture.Set(store, "b", "2");
        store.Remove("z"u8);
        using (ScanCursor cursor = store.Scan(new ScanOptions { At = AsOf.AtVersion(then), Unordered = true }))
        {
            Assert.Equal(then, cursor.SnapshotVersion);
            Assert.True(cursor.MoveNext() && cursor.MoveNext() && !cursor.MoveNext());
        }

        RollBackResult back = store.RollBack(KeyRange.All, AsOf.AtTime(time));
        Assert.Equal((Status.Ok, then, 3L), (back.Status, back.ToVersion, back.KeysChanged));
        Assert.Equal(("1", null, "1"), (StoreFixture.Get(store, "a"), StoreFixture.Get(store, "b"), StoreFixture.Get(store, "z")));
        Assert.Equal(back.Version, store.GetAt("z"u8, AsOf.Now).Record.Version);
        Assert.Equal([false, true, false], store.History("z"u8).Versions.Select(version => version.IsRemoval));

        // And back again.
        RollBackResult again = store.RollBack(KeyRange.All, AsOf.AtVersion(back.Version - 1));
        Assert.Equal((Status.Ok, 3L), (again.Status, again.KeysChanged));
        Assert.Equal(("2", "2", null), (StoreFixture.Get(store, "a"), StoreFixture.Get(store, "b"), StoreFixture.Get(store, "z")));
        RollBackResult one = store.RollBack("a"u8, AsOf.AtTime(time));
        Assert.Equal((Status.Ok, 1L), (one.Status, one.KeysChanged));
        Assert.Equal("1", StoreFixture.Get(store, "a"));
        Assert.Equal(Status.NotFound, store.RollBack(99, AsOf.AtTime(time)).Status);
    }

    [Fact]
    public async Task A_snapshot_that_is_held_for_long_blocks_nobody_and_its_cost_is_told()
    {
        var fixture = new StoreFixture(SmallLsm);
        await using Store store = fixture.Open();
        for (int i = 0; i < 500; i++)
        {
            StoreFixture.Set(store, Key(i), "old");
        }

        ScanCursor held = store.Scan(new ScanOptions());
        using (held)
        {
            for (int round = 0; round < 4; round++)
            {
                for (int i = 0; i < 500; i++)
                {
                    Assert.True(StoreFixture.Set(store, Key(i), $"new {round}").IsOk);
                }

                await store.CompactAsync(KeyRange.All);
            }

            StoreStatistics statistics = store.GetStatistics();
            Assert.Equal(1, statistics.OpenSnapshots);
            Assert.Equal(held.SnapshotVersion, statistics.OldestSnapshotVersion);
            Assert.True(statistics.OldestSnapshotAge >= TimeSpan.Zero);
            int found = 0;
            while (held.MoveNext())
            {
                Assert.Equal("old", Encoding.UTF8.GetString(held.Value));
                found++;
            }

            Assert.Equal(500, found);
        }

        Assert.Equal(0, store.GetStatistics().OldestSnapshotVersion);
    }

    [Fact]
    public void The_history_file_is_read_as_it_was_written_and_damage_is_noticed()
    {
        var files = new MemoryFileSystem();
        files.CreateDirectory("/data");
        VersionSamplesAreRead(files);
        using (StorageFile file = files.Open("/data/HISTORY", writable: true))
        {
            file.Write(25, [0xEE]);
        }

        Assert.False(KeyVa.Partitions.HistoryFile.TryRead(files, "/data", out _, out _));
    }

    private static void VersionSamplesAreRead(MemoryFileSystem files)
    {
        KeyVa.Partitions.VersionSample[] samples = [new(10, 1), new(20, 7)];
        KeyVa.Partitions.HistoryPin[] pins = [new(3, 5)];
        KeyVa.Partitions.HistoryFile.Write(files, "/data", samples, pins);
        Assert.True(KeyVa.Partitions.HistoryFile.TryRead(files, "/data", out KeyVa.Partitions.VersionSample[] readSamples, out KeyVa.Partitions.HistoryPin[] readPins));
        Assert.Equal(samples, readSamples);
        Assert.Equal(pins, readPins);
    }

    private static async Task RollBackWithPowerLoss(int step)
    {
        // No retention: what is rolled back to is there by chance, because nothing was compacted, and only the pin keeps it.
        var fixture = new StoreFixture(SmallLsm);
        Store store = fixture.Open();
        for (int i = 0; i < 600; i++)
        {
            StoreFixture.Set(store, Key(i), new string('a', 60));
        }

        await Flush(store);
        long then = store.Partitions.List()[0].AppliedIndex;
        using ScanCursor pin = store.Scan(new ScanOptions());
        long target = pin.SnapshotVersion;
        for (int i = 0; i < 600; i++)
        {
            StoreFixture.Set(store, Key(i + 300), new string('b', 60));
        }

        await Flush(store);
        Assert.True(then > 0);
        MemoryFileSystem? after = null;
        int countdown = step;
        Lock lost = new();
        fixture.Files.Faults.Before = (_, _) =>
        {
            lock (lost)
            {
                after = --countdown == 0 ? fixture.Files.AfterPowerLoss(step) : after;
            }
        };
        RollBackResult back = store.RollBack(KeyRange.All, AsOf.AtVersion(target));
        Assert.Equal((Status.Ok, 600L), (back.Status, back.KeysChanged));
        pin.Dispose();
        await store.CompactAsync(KeyRange.All);
        fixture.Files.Faults.Before = null;
        bool wasAcknowledged;
        lock (lost)
        {
            // A thread of the store's own may have begun to copy the files before all this was acknowledged.
            wasAcknowledged = after is null;
            after ??= fixture.Files.AfterPowerLoss(step);
        }

        await store.DisposeAsync();
        fixture.Files = after;
        await using Store again = fixture.Open();
        string[] expectedBack = [.. Enumerable.Range(0, 600).Select(i => Key(i) + "a")];
        string[] expectedBefore = [.. Enumerable.Range(0, 900).Select(i => Key(i) + (i < 300 ? "a" : "b"))];
        string[] found = [.. Read(again)];
        Assert.True(found.SequenceEqual(expectedBack) || (!wasAcknowledged && found.SequenceEqual(expectedBefore)), $"step {step}: {found.Length} keys, {found.Count(key => key[^1] == 'b')} of them new");
        Assert.Null(again.Failure);
    }

    private static List<string> Read(Store store)
    {
        List<string> found = [];
        using ScanCursor cursor = store.Scan(new ScanOptions());
        while (cursor.MoveNext())
        {
            found.Add(Encoding.UTF8.GetString(cursor.Key) + (char)cursor.Value[0]);
        }

        return found;
    }

    private static Task<CompactionResult> Flush(Store store) => store.CompactAsync(KeyRange.All);

    private static string Key(int i) => i.ToString("d6", CultureInfo.InvariantCulture);

    private static string? Text(ReadResult read) => read.Found ? Encoding.UTF8.GetString(read.Record.Value.Span) : null;
}
