using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Tests.Stores;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>Which level gets which compression; what a store says if the library is missing; damage under a running engine.</summary>
public sealed class LsmCompressionTests
{
    [Theory]
    [InlineData(Compression.None, Compression.Zstandard)]
    [InlineData(Compression.Lz4, Compression.Zstandard)]
    [InlineData(Compression.Lz4, null)]
    [InlineData(Compression.Snappy, Compression.None)]
    public void TheDeepestLevelHasItsOwn(Compression compression, Compression? bottommost)
    {
        using LsmFixture fixture = new(LsmFixture.SmallOptions with { BlockBytes = 1024, Compression = compression, BottommostCompression = bottommost });
        var random = new Random(1);
        Dictionary<string, string> model = [];
        for (int i = 0; i < 6000; i++)
        {
            string key = $"user{random.Next(2000):D6}";
            model[key] = $"a value that repeats itself, repeats itself and has the number {i}";
            fixture.Put(key, model[key]);
            fixture.Background.RunAll(random);
        }

        fixture.Flush();
        fixture.Background.RunAll(random);
        Superversion superversion = fixture.Engine.Versions.Pin();
        try
        {
            Assert.True(superversion.DeepestLevel >= 2, $"the deepest level is {superversion.DeepestLevel}");
            CheckLevels(superversion, compression, bottommost ?? compression);
        }
        finally
        {
            fixture.Engine.Versions.Unpin(superversion);
        }

        foreach ((string key, string value) in model)
        {
            Assert.Equal(value, fixture.Get(key));
        }

        Assert.Empty(fixture.Engine.Verify(CancellationToken.None));
    }

    [Fact]
    public void SettingsThatChangeLeaveOldTablesReadable()
    {
        MemoryFileSystem files = new();
        Dictionary<string, string> model = [];
        var random = new Random(2);
        foreach (Compression compression in (Compression[])[Compression.Lz4, Compression.None, Compression.Zstandard, Compression.Snappy, Compression.None])
        {
            StoreFixture fixture = new() { Files = files };
            Store store = fixture.Open(fixture.Options with { Compression = compression, MemtableBytes = 64 << 10, ZstdDictionaryBytes = 1 << 10 });
            for (int i = 0; i < 2000; i++)
            {
                string key = $"user{random.Next(3000):D6}";
                model[key] = $"{compression}, {compression} and {compression} again: {i}";
                Assert.True(StoreFixture.Set(store, key, model[key]).IsOk);
            }

            foreach ((string key, string value) in model)
            {
                Assert.Equal(value, StoreFixture.Get(store, key));
            }

            Close(store);
        }

        Assert.Empty(StoreVerification.Run(StoreFixture.Directory, new StoreEnvironment { FileSystem = files }, null, default));
    }

    [Fact]
    public void AStoreThatAsksForAMissingLibraryIsNotOpened()
    {
        StoreFixture fixture = new();
        StoreEnvironment without = new()
        {
            FileSystem = fixture.Files,
            Engine = options => options with { CompressionLibraries = new CompressionLibraries(lz4: "liblz4-absent.so.1") },
        };
        foreach (StoreOptions options in (StoreOptions[])[
            fixture.Options with { Compression = Compression.Lz4 }, fixture.Options with { BottommostCompression = Compression.Lz4 }])
        {
            StoreException refused = Assert.Throws<StoreException>(() => Store.Open(StoreFixture.Directory, options, without));
            Assert.Contains("liblz4-absent.so.1", refused.Message, StringComparison.Ordinal);
            Assert.Contains("liblz4-1", refused.Message, StringComparison.Ordinal);
        }

        // Nothing was begun, and nothing is in the way of a store that does not ask for it.
        Assert.False(fixture.Files.DirectoryExists(StoreFixture.Directory));
        Close(Store.Open(StoreFixture.Directory, fixture.Options with { Compression = Compression.Zstandard }, without));
    }

    [Fact]
    public void SettingsOfZstandardOutOfBoundsAreRefused()
    {
        StoreFixture fixture = new();
        foreach (StoreOptions options in (StoreOptions[])[
            fixture.Options with { ZstdLevel = 0 }, fixture.Options with { ZstdLevel = 23 },
            fixture.Options with { ZstdDictionaryBytes = -1 }, fixture.Options with { ZstdDictionaryBytes = 1023 },
            fixture.Options with { ZstdDictionaryBytes = (1 << 20) + 1 }])
        {
            Assert.Contains("zstd", Assert.Throws<StoreException>(() => fixture.Open(options)).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(Compression.None)]
    [InlineData(Compression.Lz4)]
    [InlineData(Compression.Snappy)]
    [InlineData(Compression.Zstandard)]
    public void ABitThatFlipsUnderARunningEngineIsFoundByTheNextRead(Compression compression)
    {
        // No cache: every read comes from the disk.
        using LsmFixture fixture = new(LsmFixture.SmallOptions with { Compression = compression, MemtableBytes = 64 << 10 }, cacheBytes: 0);
        List<string> keys = [.. Enumerable.Range(0, 200).Select(i => $"user{i:D4}")];
        keys.ForEach(key => fixture.Put(key, $"{key} and {key} and {key}"));
        fixture.Flush();
        Superversion superversion = fixture.Engine.Versions.Pin();
        SsTable table = Assert.Single(superversion.Tables);
        fixture.Engine.Versions.Unpin(superversion);
        Assert.All(keys, key => Assert.Equal($"{key} and {key} and {key}", fixture.Get(key)));
        var random = new Random(3);
        (long dataBytes, _) = DataOf(table);
        for (int i = 0; i < 300; i++)
        {
            long at = random.NextInt64(dataBytes);
            byte bit = (byte)(1 << random.Next(8));
            fixture.Files.Corrupt(table.Path, at, bit);
            int damaged = 0;
            foreach (string key in keys)
            {
                try
                {
                    Assert.Equal($"{key} and {key} and {key}", fixture.Get(key));
                }
                catch (CorruptionException damage)
                {
                    Assert.Equal(table.Path, damage.File);
                    damaged++;
                }
            }

            Assert.InRange(damaged, 1, keys.Count - 1);
            Assert.False(Epochs.IsInside);
            Assert.Throws<CorruptionException>(() => Scan(fixture.Engine));
            fixture.Files.Corrupt(table.Path, at, bit);
        }

        Assert.Equal(keys.Count, Scan(fixture.Engine));
    }

    private static int Scan(LsmEngine engine)
    {
        using EngineCursor cursor = engine.OpenCursor([], [], engine.VisibleVersion, reverse: false);
        int count = 0;
        while (cursor.MoveNext())
        {
            count++;
        }

        return count;
    }

    private static void CheckLevels(Superversion superversion, Compression compression, Compression bottommost)
    {
        foreach (SsTable table in superversion.Level0)
        {
            Assert.Equal(compression, table.Properties.Compression);
        }

        int last = superversion.DeepestLevel;
        for (int level = 1; level <= last; level++)
        {
            // Tables that moved down as they were keep what they had, also tables that were written to the last level of then.
            SsTable[] tables = superversion.Deeper[level].Tables;
            Assert.All(tables, table => Assert.True(table.Properties.Compression == compression || table.Properties.Compression == bottommost));
        }

        Assert.Contains(superversion.Deeper[last].Tables, table => table.Properties.Compression == bottommost);
        foreach (SsTable table in superversion.Tables)
        {
            // Not only meant: the data shrank, or did not at all. What is left of a block or two may not be worth it.
            (long stored, int blocks) = DataOf(table);
            long uncompressed = table.Properties.UncompressedBytes;
            bool isSmaller = stored < uncompressed;
            Assert.True(isSmaller == (table.Properties.Compression != Compression.None) || blocks < 3, $"{table.Properties.Compression}: {stored} of {uncompressed} bytes, {blocks} blocks");
        }
    }

    private static (long Bytes, int Blocks) DataOf(SsTable table)
    {
        TableReader reader = table.PinReader();
        (long Bytes, int Blocks) data = (reader.DataEnd, reader.DataBlocks);
        reader.Unpin();
        return data;
    }

    private static void Close(Store store) => store.DisposeAsync().AsTask().GetAwaiter().GetResult();
}
