using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>SSTables: what is written is read, through one- and two-level indexes, and damage anywhere is found.</summary>
public sealed unsafe class TableTests : IDisposable
{
    private const string Folder = "/tables";
    private readonly MemoryFileSystem _files = new();
    private readonly BlockCache _cache = new(1 << 20);
    private readonly ManualTime _time = new();

    public TableTests() => _files.CreateDirectory(Folder);

    public void Dispose() => _cache.Dispose();

    [Theory]
    [InlineData(1, TableBuilder.MaxIndexBytes, Compression.None)]
    [InlineData(2, TableBuilder.MaxIndexBytes, Compression.None)]
    [InlineData(3, 600, Compression.None)]
    [InlineData(4, 2000, Compression.None)]
    [InlineData(5, 2000, Compression.Lz4)]
    [InlineData(6, TableBuilder.MaxIndexBytes, Compression.Lz4)]
    [InlineData(7, 2000, Compression.Snappy)]
    [InlineData(8, 600, Compression.Zstandard)]
    [InlineData(9, 600, Compression.Zstandard, 1024)]
    [InlineData(10, TableBuilder.MaxIndexBytes, Compression.Zstandard, 8192)]
    public void EveryEntryIsFoundAgain(int seed, int maxIndexBytes, Compression compression, int dictionaryBytes = 0)
    {
        var random = new Random(seed);
        List<Row> rows = RandomRows(random, 3000);
        SsTable table = Write(rows, 1, new EngineOptions { BlockBytes = 512, Compression = compression, ZstdDictionaryBytes = dictionaryBytes }, maxIndexBytes);
        Assert.Equal(compression, table.Properties.Compression);
        CheckReads(table, rows, random);
        CheckSource(table, rows, random, streaming: false);
        CheckSource(table, rows, random, streaming: true);
        Assert.Equal(rows.Count, table.Properties.Entries);
        Assert.Equal(rows.Count(row => row.Value is null), table.Properties.Tombstones);
        Assert.Equal(rows.Count(row => row.ExpiresAt != 0), table.Properties.Expiring);
        Assert.Equal(rows.Max(row => row.Version), table.Properties.MaxVersion);
        Close(table);
        Assert.Equal(0, _cache.UsedBytes);
    }

    [Theory]
    [InlineData(Compression.None)]
    [InlineData(Compression.Lz4)]
    public void LongKeysAndLargeAndEmptyValues(Compression compression)
    {
        var random = new Random(5);
        List<Row> rows = [];
        for (int i = 0; i < 24; i++)
        {
            byte[] key = new byte[8192];
            Array.Fill(key, (byte)i);
            byte[] value = new byte[(i % 3) switch { 0 => 0, 1 => 1 << 20, _ => 5000 }];
            random.NextBytes(value.AsSpan(value.Length / 3));
            rows.Add(new Row(key, i + 1, 7, 0, value));
        }

        SsTable table = Write(rows, 1, new EngineOptions { Compression = compression, ZstdDictionaryBytes = 4096 });
        CheckReads(table, rows, random);
        CheckSource(table, rows, random, streaming: false);
        CheckSource(table, rows, random, streaming: true);
        Close(table);
    }

    [Fact]
    public void AFlippedBitAnywhereIsFound()
    {
        var random = new Random(6);
        List<Row> rows = RandomRows(random, 60);
        SsTable good = Write(rows, 1, new EngineOptions { BlockBytes = 400 }, maxIndexBytes: 150);
        byte[] bytes = ReadFile(good.Path);
        Close(good);
        for (int at = 0; at < bytes.Length; at++)
        {
            byte[] damaged = [.. bytes];
            damaged[at] ^= (byte)(1 << random.Next(8));
            CorruptionException? found = null;
            try
            {
                ReadAll(damaged, rows);
            }
            catch (CorruptionException damage)
            {
                found = damage;
            }

            Assert.True(found is not null, $"the flip at {at} of {bytes.Length} was not found");
            Assert.Contains("damaged.sst", found.File, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void ATableCutAnywhereIsRefused()
    {
        List<Row> rows = RandomRows(new Random(7), 40);
        SsTable good = Write(rows, 1, new EngineOptions { BlockBytes = 400 });
        byte[] bytes = ReadFile(good.Path);
        Close(good);
        for (int length = 0; length < bytes.Length; length += 3)
        {
            Assert.Throws<CorruptionException>(() => ReadAll(bytes[..length], rows));
        }
    }

    [Fact]
    public void TheFilterLetsAboutOnePercentPass()
    {
        List<Row> rows = [.. Enumerable.Range(0, 20_000).Select(i => new Row(System.Text.Encoding.UTF8.GetBytes($"present{i:D9}"), 1, 1, 0, []))];
        SsTable table = Write(rows, 1, new EngineOptions());
        Epochs.Enter();
        int passed = 0;
        for (int i = 0; i < 100_000; i++)
        {
            byte[] key = System.Text.Encoding.UTF8.GetBytes($"absent{i:D9}");
            fixed (byte* p = key)
            {
                passed += table.Reader.MayContain(KeyHash.Compute(p, key.Length)) ? 1 : 0;
            }
        }

        foreach (Row row in rows)
        {
            fixed (byte* p = row.Key)
            {
                Assert.True(table.Reader.MayContain(KeyHash.Compute(p, row.Key.Length)));
            }
        }

        Epochs.Exit();
        Assert.InRange(passed, 200, 1300);
        Close(table);
    }

    private sealed record Row(byte[] Key, long Version, long Stamp, long ExpiresAt, byte[]? Value);

    private static List<Row> RandomRows(Random random, int count)
    {
        SortedDictionary<(string Key, long Newest), Row> rows = new(Comparer<(string Key, long Newest)>.Create((a, b) =>
            string.CompareOrdinal(a.Key, b.Key) is int order and not 0 ? order : a.Newest.CompareTo(b.Newest)));
        for (int i = 0; i < count; i++)
        {
            string key = random.Next(4) switch
            {
                0 => $"user{random.Next(count):D8}",
                1 => $"{random.Next(count / 8)}",
                2 => new string((char)('a' + random.Next(3)), random.Next(1, 20)),
                _ => $"a long common beginning, and then {random.Next(count / 2):D6}",
            };
            long version = random.Next(100) == 0 ? random.NextInt64(1L << 40) : random.Next(1, 70_000);
            byte[]? value = random.Next(6) == 0 ? null : new byte[random.Next(4) == 0 ? random.Next(400) : random.Next(30)];
            random.NextBytes(value ?? []);
            long expiresAt = value is not null && random.Next(5) == 0 ? random.NextInt64(1, long.MaxValue) : 0;
            rows[(key, -version)] = new Row(System.Text.Encoding.Latin1.GetBytes(key), version, random.NextInt64(1L << 41), expiresAt, value);
        }

        return [.. rows.Values];
    }

    private SsTable Write(List<Row> rows, long id, EngineOptions options, int maxIndexBytes = TableBuilder.MaxIndexBytes)
    {
        string path = $"{Folder}/{FileNames.Table(id)}";
        using TableBuilder builder = new(_files.Create(path), options, rows.Min(row => row.Version), rows.Min(row => row.Stamp), maxIndexBytes);
        foreach (Row row in rows)
        {
            fixed (byte* p = row.Key)
            {
                builder.Add(p, row.Key.Length, row.Version, row.Value is null ? EntryKind.Tombstone : EntryKind.Value, row.Stamp, row.ExpiresAt, row.Value);
            }
        }

        builder.Finish();
        return new SsTable(id, Folder, builder.FileBytes, builder.Properties, Context(options));
    }

    private EngineContext Context(EngineOptions options) => new()
    {
        FileSystem = _files,
        Directory = Folder,
        Options = options,
        Background = new ManualBackgroundWork(),
        Snapshots = new SnapshotList(),
        BlockCache = _cache,
        Time = _time,
    };

    private void Close(SsTable table) => _cache.Tables.Close(table);

    private byte[] ReadFile(string path)
    {
        using StorageFile file = _files.Open(path, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }

    /// <summary>Opens the bytes as a table and reads everything in it; whatever it returns must be right.</summary>
    private void ReadAll(byte[] bytes, List<Row> rows)
    {
        string path = $"{Folder}/damaged.sst";
        if (_files.FileExists(path))
        {
            _files.DeleteFile(path);
        }

        using (StorageFile file = _files.Create(path))
        {
            file.Write(0, bytes);
        }

        using TableReader reader = TableReader.Open(_files.Open(path, writable: false), _cache);
        reader.CheckIndex();
        Epochs.Enter();
        try
        {
            foreach (Row row in rows)
            {
                fixed (byte* p = row.Key)
                {
                    Assert.True(reader.TryFind(p, row.Key.Length, KeyHash.Compute(p, row.Key.Length), row.Version, out BlockEntry entry));
                    Check(row, entry);
                }
            }
        }
        finally
        {
            Epochs.Exit();
        }
    }

    private static void Check(Row row, in BlockEntry entry)
    {
        Assert.Equal(row.Version, entry.Version);
        Assert.Equal(row.Stamp, entry.Stamp);
        Assert.Equal(row.ExpiresAt, entry.ExpiresAt);
        Assert.Equal(row.Value is null ? EntryKind.Tombstone : EntryKind.Value, entry.Kind);
        Assert.True(new ReadOnlySpan<byte>(entry.Value, entry.ValueLength).SequenceEqual(row.Value));
    }

    private static void CheckReads(SsTable table, List<Row> rows, Random random)
    {
        for (int i = 0; i < rows.Count; i++)
        {
            // One stay per row: epochs are process-wide, and other tests wait for memory.
            Epochs.Enter();
            Row row = rows[i];
            fixed (byte* p = row.Key)
            {
                ulong hash = KeyHash.Compute(p, row.Key.Length);
                Assert.True(table.Reader.MayContain(hash));
                Assert.True(table.Reader.TryFind(p, row.Key.Length, hash, row.Version, out BlockEntry entry));
                Check(row, entry);

                // One below: the next older version of the key, if there is one.
                bool older = i + 1 < rows.Count && rows[i + 1].Key.AsSpan().SequenceEqual(row.Key);
                Assert.Equal(older, table.Reader.TryFind(p, row.Key.Length, hash, row.Version - 1, out entry));
                if (older)
                {
                    Check(rows[i + 1], entry);
                }
            }

            Epochs.Exit();
        }

        Epochs.Enter();
        for (int i = 0; i < 500; i++)
        {
            byte[] absent = [.. rows[random.Next(rows.Count)].Key, 0, 1, 2];
            fixed (byte* p = absent)
            {
                Assert.False(table.Reader.TryFind(p, absent.Length, KeyHash.Compute(p, absent.Length), long.MaxValue, out _));
            }
        }

        Epochs.Exit();
    }

    private static void CheckSource(SsTable table, List<Row> rows, Random random, bool streaming)
    {
        using TableSource source = new([table], streaming);
        source.SeekFirst();
        foreach (Row row in rows)
        {
            CheckEntry(source, row);
            source.Next();
        }

        Assert.False(source.Valid);
        if (streaming)
        {
            return;
        }

        source.SeekLast();
        for (int i = rows.Count - 1; i >= 0; i--)
        {
            CheckEntry(source, rows[i]);
            source.Previous();
        }

        Assert.False(source.Valid);
        for (int n = 0; n < 1500; n++)
        {
            int i = random.Next(rows.Count);
            byte[] key = random.Next(3) == 0 ? [.. rows[i].Key, 0] : rows[i].Key;
            long version = random.Next(2) == 0 ? rows[i].Version : random.NextInt64(80_000);
            int expected = LowerBound(rows, key, version);
            fixed (byte* p = key)
            {
                source.SeekAtOrBehind(p, key.Length, version);
                Assert.Equal(expected < rows.Count, source.Valid);
                if (source.Valid)
                {
                    CheckEntry(source, rows[expected]);
                }

                source.SeekBefore(p, key.Length, version);
                Assert.Equal(expected > 0, source.Valid);
                if (source.Valid)
                {
                    CheckEntry(source, rows[expected - 1]);
                }
            }
        }
    }

    private static int LowerBound(List<Row> rows, byte[] key, long version)
    {
        int low = 0;
        int high = rows.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            int order = rows[middle].Key.AsSpan().SequenceCompareTo(key);
            if (order < 0 || (order == 0 && rows[middle].Version > version))
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    private static void CheckEntry(MergeSource source, Row row)
    {
        Assert.True(source.Valid);
        Assert.True(source.KeySpan.SequenceEqual(row.Key));
        Assert.Equal(KeyOrder.Head(source.Key, source.KeyLength), source.Head);
        Assert.Equal(row.Version, source.Version);
        Assert.Equal(row.Stamp, source.Stamp);
        Assert.Equal(row.ExpiresAt, source.ExpiresAt);
        Assert.True(source.ValueSpan.SequenceEqual(row.Value));
    }
}
