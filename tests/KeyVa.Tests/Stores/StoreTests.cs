using KeyVa.Io;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Stores;

public sealed class StoreTests
{
    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task WritesAreReadAndSurviveReopening(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, JournalSegmentBytes = 1 << 20 });
        await using (Store store = fixture.Open())
        {
            Assert.True(Set(store, "a", "1").IsOk);
            Assert.True((await store.UpsertAsync(Bytes("b"), Bytes("2"))).IsOk);
            Assert.True(Set(store, "a", "3").Version > 1);
            Assert.Equal(Status.Ok, store.Remove(Bytes("b")).Status);
            Assert.Equal(Status.NotFound, store.Remove(Bytes("b")).Status);
            Assert.Equal("3", Get(store, "a"));
            Assert.Null(Get(store, "b"));
            ReadResult read = await store.GetAsync(Bytes("a"));
            Assert.Equal(Bytes("3"), read.Record.Value.ToArray());
            Assert.Equal(fixture.Time.UnixMilliseconds, read.Record.ModifiedUnixMilliseconds);
            Assert.Equal(Status.NotFound, (await store.GetAsync(Bytes("b"))).Status);
        }

        long version;
        await using (Store store = fixture.Open())
        {
            Assert.Equal("3", Get(store, "a"));
            Assert.Null(Get(store, "b"));
            version = Set(store, "c", "4").Version;
        }

        fixture.Files = fixture.Files.Crash(7);
        await using (Store store = fixture.Open())
        {
            Assert.Equal("4", Get(store, "c"));
            Assert.True(Set(store, "c", "5").Version > version, "versions rise over restarts");
        }
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task ConditionsHoldOrNothingHappens(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine });
        await using Store store = fixture.Open();
        WriteOptions absent = new() { Condition = Condition.IfAbsent };
        WriteOptions present = new() { Condition = Condition.IfPresent };
        Assert.Equal(Status.ConditionFailed, Set(store, "k", "x", present).Status);
        long first = Set(store, "k", "1", absent).Version;
        WriteResult refused = Set(store, "k", "2", absent);
        Assert.Equal((Status.ConditionFailed, first, 0), (refused.Status, refused.CurrentVersion, refused.FailedOperation));
        Assert.Equal(Status.ConditionFailed, Set(store, "k", "2", new WriteOptions { Condition = Condition.IfVersion(first + 1) }).Status);
        Assert.Equal(Status.ConditionFailed, Set(store, "k", "2", new WriteOptions { Condition = Condition.IfValue(Bytes("0")) }).Status);
        Assert.True(Set(store, "k", "2", new WriteOptions { Condition = Condition.IfVersion(first) }).IsOk);
        Assert.True(Set(store, "k", "3", new WriteOptions { Condition = Condition.IfValue(Bytes("2")) }).IsOk);
        Assert.Equal(Status.ConditionFailed, store.Remove(Bytes("k"), Condition.IfVersion(first)).Status);
        Assert.Equal("3", Get(store, "k"));

        using var batch = new WriteBatch();
        batch.Put("p"u8, "1"u8).Remove("k"u8, Condition.IfValue(Bytes("no"))).Put("q"u8, "1"u8);
        WriteResult all = store.Write(batch);
        Assert.Equal((Status.ConditionFailed, 1), (all.Status, all.FailedOperation));
        Assert.Null(Get(store, "p"));
        batch.Clear();
        batch.Put("p"u8, "1"u8).Remove("k"u8, Condition.IfValue(Bytes("3"))).Remove("nobody"u8);
        all = await store.WriteAsync(batch);
        Assert.True(all.IsOk);
        Assert.Equal([false, true, false], all.Removed.ToArray());
        Assert.Null(Get(store, "k"));
        Assert.Equal("1", Get(store, "p"));
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task ExpiredKeysAreNeverReturned(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, JournalSegmentBytes = 1 << 20 });
        await using (Store store = fixture.Open())
        {
            Set(store, "short", "1", new WriteOptions { Expiry = Expiry.In(TimeSpan.FromSeconds(10)) });
            Set(store, "at", "2", new WriteOptions { Expiry = Expiry.At(fixture.Time.GetUtcNow().AddSeconds(20)) });
            Set(store, "past", "3", new WriteOptions { Expiry = Expiry.At(fixture.Time.GetUtcNow().AddSeconds(-1)) });
            Set(store, "never", "4", new WriteOptions { Expiry = Expiry.InMilliseconds(1) });
            Set(store, "never", "5");
            Assert.Equal("1", Get(store, "short"));
            Assert.Null(Get(store, "past"));
            fixture.Time.Advance(TimeSpan.FromSeconds(10));
            Assert.Null(Get(store, "short"));
            Assert.Equal("2", Get(store, "at"));
            Assert.Equal("5", Get(store, "never"));
            Assert.True(Set(store, "short", "again", new WriteOptions { Condition = Condition.IfAbsent }).IsOk);
        }

        fixture.Time.Advance(TimeSpan.FromSeconds(10));
        await using (Store store = fixture.Open())
        {
            Assert.Null(Get(store, "at"));
            Assert.Equal(Status.NotFound, store.Remove(Bytes("at")).Status);
            Assert.Equal("again", Get(store, "short"));
            string keys = Scan(store, new ScanOptions { Unordered = true });
            Assert.Equal(["never", "short"], keys.Split(' ').Order());
        }
    }

    [Fact]
    public async Task LimitsAreCheckedBeforeAnythingHappens()
    {
        var fixture = new StoreFixture(new StoreOptions { MaxValueBytes = 1000, MaxBatchBytes = 1500 });
        await using Store store = fixture.Open();
        Assert.Equal(Status.Invalid, Set(store, "", "v").Status);
        Assert.Equal(Status.TooLarge, store.Upsert(new byte[Limits.MaxKeyBytes + 1], "v"u8).Status);
        Assert.True(store.Upsert(new byte[Limits.MaxKeyBytes], "v"u8).IsOk);
        WriteResult large = store.Upsert("k"u8, new byte[1001]);
        Assert.Equal(Status.TooLarge, large.Status);
        Assert.Contains("1001", large.Detail, StringComparison.Ordinal);
        Assert.True(store.Upsert("k"u8, new byte[1000]).IsOk);
        using var batch = new WriteBatch();
        Assert.Equal(Status.Invalid, store.Write(batch).Status);
        batch.Put("a"u8, new byte[800]).Put("b"u8, new byte[800]);
        Assert.Equal(Status.TooLarge, store.Write(batch).Status);
        batch.Clear();
        batch.Put("a"u8, "1"u8).Remove("a"u8);
        WriteResult twice = store.Write(batch);
        Assert.Equal((Status.Invalid, 1), (twice.Status, twice.FailedOperation));
        Assert.Null(Get(store, "a"));
        Assert.Equal(Status.Invalid, store.Get(default).Status);
        Assert.Equal(Status.TooLarge, (await store.GetAsync(new byte[Limits.MaxKeyBytes + 1])).Status);
        Assert.Equal(6, store.GetStatistics().Refused);
    }

    [Fact]
    public async Task ScansGoByRangePrefixOrderAndToken()
    {
        await using Store store = new StoreFixture().Open();
        foreach (string key in new[] { "a", "ab", "abc", "b", "ba", "c" })
        {
            Set(store, key, key);
        }

        store.Upsert(new byte[] { 0xff, 0xff, 1 }, "top"u8);
        Assert.Equal("a ab abc b ba c", Scan(store, new ScanOptions { To = Bytes("z") }));
        Assert.Equal("ab abc", Scan(store, new ScanOptions { Prefix = Bytes("ab") }));
        Assert.Equal("abc ab", Scan(store, new ScanOptions { Prefix = Bytes("ab"), Reverse = true }));
        Assert.Equal("b ba", Scan(store, new ScanOptions { From = Bytes("b"), To = Bytes("c") }));
        Assert.Equal("ba b abc", Scan(store, new ScanOptions { To = Bytes("c"), Reverse = true, Limit = 3 }));
        Assert.Equal("ba c", Scan(store, new ScanOptions { From = Bytes("a"), To = Bytes("d"), After = Bytes("b") }));
        Assert.Equal("ba c", Scan(store, new ScanOptions { To = Bytes("d"), After = Bytes("b\0") }));
        Assert.Equal("ab a", Scan(store, new ScanOptions { Reverse = true, After = Bytes("abc") }));
        Assert.Equal("abc", Scan(store, new ScanOptions { Prefix = Bytes("a"), From = Bytes("abb"), To = Bytes("b") }));
        Assert.Equal("", Scan(store, new ScanOptions { Prefix = Bytes("a"), From = Bytes("b") }));
        Assert.Equal("", Scan(store, new ScanOptions { Prefix = Bytes("b"), To = Bytes("a") }));
        Assert.Equal("Invalid", Scan(store, new ScanOptions { From = Bytes("b"), To = Bytes("a") }));
        Assert.Equal("Invalid", Scan(store, new ScanOptions { Limit = -1 }));
        using (ScanCursor top = store.Scan(new ScanOptions { Prefix = new byte[] { 0xff, 0xff } }))
        {
            Assert.True(top.MoveNext());
            Assert.Equal("top"u8, top.Value);
            Assert.False(top.MoveNext());
        }

        List<Record> records = await store.ScanAsync(new ScanOptions { Limit = 2, KeysOnly = true }).ToListAsync();
        Assert.Equal(2, records.Count);
        Assert.True(records[1].Value.IsEmpty);
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(async () => await store.ScanAsync(new ScanOptions { Limit = -1 }).ToListAsync());
        Assert.Equal(Status.Invalid, refused.Status);
    }

    [Fact]
    public async Task AScanStandsAtItsSnapshot()
    {
        await using Store store = new StoreFixture().Open();
        for (int i = 0; i < 100; i++)
        {
            Set(store, $"k{i:000}", "old");
        }

        using ScanCursor cursor = store.Scan(new ScanOptions());
        Assert.True(cursor.MoveNext());
        for (int i = 0; i < 100; i += 2)
        {
            Set(store, $"k{i:000}", "new");
            store.Remove(Bytes($"k{i + 1:000}"));
            Set(store, $"n{i}", "new");
        }

        int seen = 1;
        while (cursor.MoveNext())
        {
            Assert.Equal("old"u8, cursor.Value);
            seen++;
        }

        Assert.Equal(100, seen);
        Assert.Equal(1, store.GetStatistics().OpenSnapshots);
    }

    [Fact]
    public async Task AnOrderedScanOfTheMemoryEngineIsRefusedAndAnUnorderedOneGoesOn()
    {
        await using Store store = new StoreFixture(new StoreOptions { Engine = EngineKind.Memory }).Open();
        for (int i = 0; i < 500; i++)
        {
            Set(store, $"k{i}", "v");
        }

        Assert.Equal("Unsupported", Scan(store, new ScanOptions()));
        Assert.Equal("Unsupported", Scan(store, new ScanOptions { Unordered = true, Prefix = Bytes("k") }));
        var seen = new HashSet<string>();
        byte[] after = [];
        while (true)
        {
            List<Record> page = await store.ScanAsync(new ScanOptions { Unordered = true, Limit = 7, After = after }).ToListAsync();
            Assert.All(page, r => Assert.True(seen.Add(System.Text.Encoding.UTF8.GetString(r.Key.Span))));
            if (page.Count == 0)
            {
                break;
            }

            after = page[^1].Key.ToArray();
        }

        Assert.Equal(500, seen.Count);
    }

    [Fact]
    public async Task ReadsOfManyKeysComeInOrderFromOneSnapshot()
    {
        await using Store store = new StoreFixture().Open();
        Set(store, "a", "1");
        Set(store, "c", "3");
        MultiReadResult read = await store.GetAsync([Bytes("c"), Bytes("b"), Bytes("a"), Bytes("c")]);
        Assert.Equal(["3", null, "1", "3"], read.Records.Select(r => r is { } found ? System.Text.Encoding.UTF8.GetString(found.Value.Span) : null));
        Assert.Equal(Status.Invalid, (await store.GetAsync([Bytes("c"), default])).Status);
        Assert.Equal((5L, 3L), (store.GetStatistics().Gets + 1, store.GetStatistics().GetsFound));
    }

    [Fact]
    public async Task AFolderIsCheckedBeforeItIsTouched()
    {
        var fixture = new StoreFixture();
        await using (Store store = fixture.Open())
        {
            StoreException used = Assert.ThrowsAny<StoreException>(() => fixture.Open());
            Assert.Contains("in use", used.Message, StringComparison.Ordinal);
        }

        fixture.Files.CreateDirectory("/other");
        using (StorageFile file = fixture.Files.Create("/other/photo.jpg"))
        {
            file.Write(0, "x"u8);
        }

        StoreException foreign = Assert.ThrowsAny<StoreException>(() => Store.Open("/other", null, new StoreEnvironment { FileSystem = fixture.Files }));
        Assert.Contains("no KeyVa data folder", foreign.Message, StringComparison.Ordinal);
        Assert.Single(fixture.Files.List("/other"));
        StoreException notFolder = Assert.ThrowsAny<StoreException>(() => Store.Open("/other/photo.jpg", null, new StoreEnvironment { FileSystem = fixture.Files }));
        Assert.Contains("not a folder", notFolder.Message, StringComparison.Ordinal);

        // A damaged format number is damage; one whose checksum fits is a newer format.
        fixture.Files.Corrupt("/data/CATALOG", 8, 0x7f);
        Assert.Throws<CorruptionException>(() => fixture.Open());
        using (StorageFile catalog = fixture.Files.Open("/data/CATALOG", writable: true))
        {
            byte[] bytes = new byte[catalog.Length];
            catalog.Read(0, bytes);
            BitConverter.TryWriteBytes(bytes.AsSpan(bytes.Length - 4), Crc32C.Compute(bytes.AsSpan(0, bytes.Length - 4)));
            catalog.Write(0, bytes);
        }

        StoreException unknown = Assert.Throws<StoreException>(() => fixture.Open());
        Assert.Contains("format version", unknown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AVolatileStoreForgetsAndWritesNoJournal()
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = EngineKind.Memory, Volatile = true });
        await using (Store store = fixture.Open())
        {
            Set(store, "a", "1");
            Assert.Equal("1", Get(store, "a"));
            Assert.Equal(0, store.GetStatistics().JournalSyncs);
        }

        await using (Store store = fixture.Open())
        {
            Assert.Null(Get(store, "a"));
        }

        Assert.ThrowsAny<StoreException>(() => new StoreFixture(new StoreOptions { Volatile = true }).Open());
    }
}
