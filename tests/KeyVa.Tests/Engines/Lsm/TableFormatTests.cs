using System.Globalization;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Tests.House;
using KeyVa.Tests.Stores;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>
/// Files written by earlier builds are read for ever. Formats/ has tables of each version beside a text of what they
/// hold; those of version 1 were written by the last build that wrote it. With KEYVA_REWRITE=1, files that are missing
/// for the present version are written.
/// </summary>
public sealed class TableFormatTests
{
    private static readonly string Folder = Path.Combine(Repository.Root, "tests", "KeyVa.Tests", "Engines", "Lsm", "Formats");

    public static TheoryData<string> Names => new(TablesInFolder());

    [Theory]
    [MemberData(nameof(Names))]
    public void ATableOfAnyVersionHasWhatItHad(string name)
    {
        using TableFile file = new();
        byte[] bytes = File.ReadAllBytes(Path.Combine(Folder, name + ".sst"));
        Assert.Equal(name[1] - '0', (int)BitConverter.ToUInt32(bytes.AsSpan()[^12..]));
        Assert.Equal(File.ReadAllLines(Path.Combine(Folder, name + ".txt")), file.Read(bytes).Select(Line));
    }

    [Fact]
    public void EveryShapeIsThere()
    {
        string[] names = [.. TablesInFolder()];
        foreach (string expected in (string[])["v1-one-block", "v1-two-level-index", "v1-tombstones-and-expiries", "v1-versions-of-a-key",
            "v2-None", "v2-Lz4", "v2-Snappy", "v2-Zstandard", "v2-Zstandard-dictionary"])
        {
            Assert.Contains(expected, names);
        }
    }

    [Theory]
    [InlineData(Compression.None, 0)]
    [InlineData(Compression.Lz4, 0)]
    [InlineData(Compression.Snappy, 0)]
    [InlineData(Compression.Zstandard, 0)]
    [InlineData(Compression.Zstandard, 1024)]
    public void ThePresentVersionIsWrittenAsTheFilesWere(Compression compression, int dictionaryBytes)
    {
        List<TableRow> rows = TableFile.RandomRows(31, 900);
        using TableFile file = new() { Options = new EngineOptions { BlockBytes = 512, Compression = compression, ZstdDictionaryBytes = dictionaryBytes } };
        string path = Path.Combine(Folder, $"v{TableFooter.FormatVersion}-{compression}{(dictionaryBytes > 0 ? "-dictionary" : "")}.sst");
        byte[] bytes = file.Write(rows, maxIndexBytes: 1000);
        if (!File.Exists(path) && Environment.GetEnvironmentVariable("KEYVA_REWRITE") == "1")
        {
            File.WriteAllBytes(path, bytes);
            File.WriteAllLines(Path.ChangeExtension(path, ".txt"), rows.Select(Line));
        }

        // Not byte by byte: another version of a library may compress otherwise.
        Assert.Equal(rows, file.Read(bytes));
        Assert.Equal(rows, file.Read(File.ReadAllBytes(path)));
    }

    // The journal: of version 1 with files of version 1, and of version 2, which is all that there is.
    [Theory]
    [InlineData("store-v1")]
    [InlineData("store-journal-v2")]
    public async Task AStoreOfAnOlderVersionOpensAndHasWhatItHad(string name)
    {
        StoreFixture fixture = new();
        Load(fixture.Files, Path.Combine(Folder, name), StoreFixture.Directory);
        SortedDictionary<string, string> expected = new(StringComparer.Ordinal);
        foreach (string line in File.ReadAllLines(Path.Combine(Folder, name + ".txt")))
        {
            expected[line[..line.IndexOf('=')]] = line[(line.IndexOf('=') + 1)..];
        }

        Store store = fixture.Open();
        CheckContent(store, expected);

        // It goes on, in the present version, and both are read side by side.
        for (int i = 0; i < 300; i++)
        {
            string key = $"user{i:D5}";
            Assert.True(StoreFixture.Set(store, key, "new").IsOk);
            expected[key] = "new";
        }

        await store.DisposeAsync();
        store = fixture.Open();
        CheckContent(store, expected);
        await store.DisposeAsync();
        Assert.Empty(StoreVerification.Run(StoreFixture.Directory, new StoreEnvironment { FileSystem = fixture.Files, Time = fixture.Time }, null, default));
    }

    [Fact]
    public void AnUnknownVersionIsNamed()
    {
        byte[] footer = new byte[TableFooter.Bytes];
        TableFooter.Encode(footer, new BlockPlace(0, 24));
        footer[52] = 9;
        uint checksum = Crc32C.Extend(Crc32C.Compute(footer.AsSpan(0, 48)), footer.AsSpan(52));
        BitConverter.TryWriteBytes(footer.AsSpan(48), checksum);
        StoreException refused = Assert.Throws<StoreException>(() => TableFooter.TryDecodeWhole(footer, "/tables/000009.sst", 64, out _, out _));
        Assert.Contains("/tables/000009.sst", refused.Message, StringComparison.Ordinal);
        Assert.Contains("version 9", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TheMetaIndexNamesFurtherBlocks()
    {
        TableLayout layout = new()
        {
            Index = new BlockPlace(1000, 50),
            Filter = new BlockPlace(1055, 64),
            Dictionary = new BlockPlace(1124, 10),
            RangeTombstones = new BlockPlace(1139, 7),
            Properties = new BlockPlace(1151, 100),
            DataBlocks = 3,
            FilterProbes = 6,
            TwoLevelIndex = true,
            Compressions = 0b10001,
        };
        using NativeBuffer encoded = new();
        MetaIndex.Encode(encoded, layout);
        BlockPlace self = new(layout.Properties.End, encoded.Length);
        Assert.Equal(layout, MetaIndex.Decode(encoded.Written, "t", self));

        // A kind that may be left unread is passed over; another unknown one is not.
        byte[] bytes = encoded.Written.ToArray();
        int kindOfTombstones = 24 + (3 * 16);
        Assert.Equal((uint)TableBlockKind.RangeTombstones, BitConverter.ToUInt32(bytes, kindOfTombstones));
        bytes[kindOfTombstones] = 64;
        Assert.Equal(layout with { RangeTombstones = default }, MetaIndex.Decode(bytes, "t", self));
        bytes[kindOfTombstones] = 63;
        Assert.Contains("kind 63", Assert.Throws<StoreException>(() => MetaIndex.Decode(bytes, "t", self)).Message, StringComparison.Ordinal);

        // Whatever is cut or changed, it is refused or decoded, and never anything else.
        var random = new Random(8);
        for (int i = 0; i < 20_000; i++)
        {
            byte[] damaged = encoded.Written[..random.Next(encoded.Length + 1)].ToArray();
            for (int n = random.Next(4); n > 0 && damaged.Length > 0; n--)
            {
                damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            }

            try
            {
                TableLayout decoded = MetaIndex.Decode(damaged, "t", self);
                Assert.True(decoded.Properties.End <= self.Offset && decoded.Index.Offset >= 0 && decoded.Filter.Length > 0);
            }
            catch (StoreException refused)
            {
                Assert.NotEmpty(refused.Message);
            }
        }
    }

    [Fact]
    public void WhateverStandsAroundTheDataWithARightChecksumIsRefusedOrUsed()
    {
        var random = new Random(9);
        foreach ((Compression compression, int maxIndexBytes) in ((Compression, int)[])[
            (Compression.None, 500), (Compression.None, TableBuilder.MaxIndexBytes), (Compression.Zstandard, 500)])
        {
            using TableFile file = new() { Options = new EngineOptions { BlockBytes = 512, Compression = compression, ZstdDictionaryBytes = 1024 } };
            List<TableRow> rows = TableFile.RandomRows(9, 600);
            byte[] good = file.Write(rows, maxIndexBytes);
            List<BlockPlace> places = Places(file, good);
            int refused = 0;
            for (int i = 0; i < 3000; i++)
            {
                byte[] changed = [.. good];
                BlockPlace place = places[random.Next(places.Count)];
                for (int n = random.Next(1, 5); n > 0; n--)
                {
                    changed[place.Offset + random.Next(place.Length)] = (byte)(random.Next(2) * random.Next(256));
                }

                Span<byte> block = changed.AsSpan((int)place.Offset, place.Length + BlockFormat.TrailerBytes);
                BitConverter.TryWriteBytes(block[^4..], Crc32C.Compute(block[..^4]));
                try
                {
                    ReadEverything(file, changed, rows);
                }
                catch (StoreException found)
                {
                    Assert.NotEmpty(found.Message);
                    refused++;
                }
            }

            Assert.True(refused > 100, $"{refused} of 3000 were refused");
        }
    }

    [Fact]
    public void RangeTombstonesHaveABlockOfTheirOwn()
    {
        MemoryFileSystem files = new();
        files.CreateDirectory("/t");
        using BlockCache cache = new(1 << 20);
        using (TableBuilder builder = new(files.Create("/t/1"), new EngineOptions(), 1, 1))
        {
            Add(builder, "a");
            builder.Finish(RangeTombstones.Of("0"u8, "b"u8, 7, 8));
        }

        using TableReader reader = TableReader.Open(files.Open("/t/1", writable: false), cache);
        Assert.True(reader.Layout.RangeTombstones.Exists);
        Assert.Equal(7, reader.Ranges!.Covering("a"u8, 7));
        Assert.Equal((1, "0", "b"), (reader.Properties.RangeTombstones, System.Text.Encoding.UTF8.GetString(reader.Properties.Smallest), System.Text.Encoding.UTF8.GetString(reader.Properties.Largest)));
        Assert.False(reader.Layout.Dictionary.Exists);
    }

    [Fact]
    public void PropertiesOfLaterBuildsArePassedOver()
    {
        TableProperties properties = new() { Entries = 5, MaxVersion = 9, Compression = Compression.Snappy, RangeTombstones = 3, UncompressedBytes = 77, Smallest = [1], Largest = [2, 3] };
        using NativeBuffer encoded = new();
        properties.Encode(encoded);
        int end = encoded.Length;
        encoded.AppendVarint(1000);
        encoded.AppendVarint(5);
        encoded.Append("later"u8);
        foreach (int length in (int[])[end, encoded.Length])
        {
            TableProperties? read = TableProperties.TryDecode(encoded.Written[..length]);
            Assert.NotNull(read);
            Assert.Equal((5, 9, 3, 77), (read.Entries, read.MaxVersion, read.RangeTombstones, read.UncompressedBytes));
            Assert.Equal(Compression.Snappy, read.Compression);
            Assert.Equal<byte>([2, 3], read.Largest);
        }

        Assert.Null(TableProperties.TryDecode(encoded.Written[..^1]));
        Assert.Null(TableProperties.TryDecode(encoded.Written[..(end + 1)]));
        Assert.Null(TableProperties.TryDecode(encoded.Written[..(end - 1)]));
    }

    private static IEnumerable<string> TablesInFolder() =>
        Directory.GetFiles(Folder, "*.sst").Select(path => Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal);

    private static unsafe void Add(TableBuilder builder, string text)
    {
        byte[] key = TableFile.Utf8(text);
        fixed (byte* p = key)
        {
            builder.Add(p, key.Length, 1, EntryKind.Value, 1, 0, "value"u8);
        }
    }

    /// <summary>Every block of a table but the data blocks.</summary>
    private static unsafe List<BlockPlace> Places(TableFile file, byte[] bytes)
    {
        using TableReader reader = file.Open(bytes);
        TableLayout layout = reader.Layout;
        BlockPlace metaIndex = new(BitConverter.ToInt64(bytes, bytes.Length - 64), BitConverter.ToInt32(bytes, bytes.Length - 56));
        List<BlockPlace> places = [layout.Index, layout.Filter, layout.Properties, metaIndex];
        if (layout.Dictionary.Exists)
        {
            places.Add(layout.Dictionary);
        }

        if (layout.TwoLevelIndex)
        {
            Block* top = reader.ReadBlock(layout.Index.Offset, layout.Index.Length);
            Assert.True(IndexBlock.TryParse(Block.Data(top), top->Length, out IndexBlock index));
            for (int i = 0; i < index.Count; i++)
            {
                places.Add(new BlockPlace(index.Offset(i), index.Length(i)));
            }

            Block.Free(top);
        }

        return places;
    }

    private static unsafe void ReadEverything(TableFile file, byte[] bytes, List<TableRow> rows)
    {
        using TableReader reader = file.Open(bytes);
        reader.CheckIndex();
        Epochs.Enter();
        try
        {
            foreach (TableRow row in rows)
            {
                byte[] key = TableFile.Utf8(row.Key);
                fixed (byte* p = key)
                {
                    ulong hash = KeyHash.Compute(p, key.Length);
                    _ = reader.MayContain(hash) | reader.TryFind(p, key.Length, hash, row.Version, out _);
                }
            }
        }
        finally
        {
            Epochs.Exit();
        }

        for (int ordinal = 0; ordinal < reader.DataBlocks; ordinal++)
        {
            reader.Locate(ordinal, out long offset, out int length);
            Block.Free(reader.ReadDataBlock(offset, length));
        }
    }

    private static unsafe string ReadText(TableReader reader, BlockPlace place)
    {
        Block* block = reader.ReadBlock(place.Offset, place.Length);
        string text = System.Text.Encoding.UTF8.GetString(Block.Data(block), block->Length);
        Block.Free(block);
        return text;
    }

    private static void CheckContent(Store store, SortedDictionary<string, string> expected)
    {
        Assert.Equal(string.Join(' ', expected.Keys), StoreFixture.Scan(store, new ScanOptions()));
        foreach ((string key, string value) in expected)
        {
            Assert.Equal(value, StoreFixture.Get(store, key));
        }
    }

    private static void Load(MemoryFileSystem files, string from, string to)
    {
        files.CreateDirectory(to);
        foreach (string path in Directory.GetFiles(from))
        {
            using StorageFile file = files.Create($"{to}/{Path.GetFileName(path)}");
            file.Write(0, File.ReadAllBytes(path));
            file.Sync();
        }

        foreach (string folder in Directory.GetDirectories(from))
        {
            Load(files, folder, $"{to}/{Path.GetFileName(folder)}");
        }

        files.SyncDirectory(to);
    }

    private static string Line(TableRow row) => string.Create(
        CultureInfo.InvariantCulture,
        $"{row.Key} {row.Version} {row.Stamp} {row.ExpiresAt} {(row.Value is null ? "removed" : "=" + row.Value)}");
}
