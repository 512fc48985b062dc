using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>An entry of a table; no value: a tombstone.</summary>
internal sealed record TableRow(string Key, long Version, long Stamp, long ExpiresAt, string? Value);

/// <summary>Writes tables to bytes and reads bytes as tables, in memory.</summary>
internal sealed unsafe class TableFile : IDisposable
{
    private const string Folder = "/tables";
    private const long Id = 1;
    private static readonly string TablePath = $"{Folder}/{FileNames.Table(Id)}";
    private readonly MemoryFileSystem _files = new();

    public TableFile() => _files.CreateDirectory(Folder);

    public BlockCache Cache { get; } = new(1 << 20);

    public EngineOptions Options { get; init; } = new();

    public static byte[] Utf8(string text) => System.Text.Encoding.UTF8.GetBytes(text);

    /// <summary>Rows with keys in order, some with several versions, whose values repeat one another in part.</summary>
    public static List<TableRow> RandomRows(int seed, int count)
    {
        var random = new Random(seed);
        SortedDictionary<string, List<TableRow>> rows = new(StringComparer.Ordinal);
        for (int i = 0; i < count; i++)
        {
            string key = $"user{random.Next(count):D6}";
            string? value = random.Next(8) == 0 ? null : Text(random);
            long expiresAt = value is not null && random.Next(5) == 0 ? random.NextInt64(1, 1L << 42) : 0;
            if (!rows.TryGetValue(key, out List<TableRow>? versions))
            {
                rows[key] = versions = [];
            }

            versions.Insert(0, new TableRow(key, 1000 + i, 1_700_000_000_000 + random.Next(1000), expiresAt, value));
        }

        return [.. rows.Values.SelectMany(versions => versions)];
    }

    public byte[] Write(List<TableRow> rows, int maxIndexBytes = TableBuilder.MaxIndexBytes)
    {
        if (_files.FileExists(TablePath))
        {
            _files.DeleteFile(TablePath);
        }

        using (TableBuilder builder = new(_files.Create(TablePath), Options, rows.Min(row => row.Version), rows.Min(row => row.Stamp), maxIndexBytes))
        {
            foreach (TableRow row in rows)
            {
                byte[] key = Utf8(row.Key);
                fixed (byte* p = key)
                {
                    EntryKind kind = row.Value is null ? EntryKind.Tombstone : EntryKind.Value;
                    builder.Add(p, key.Length, row.Version, kind, row.Stamp, row.ExpiresAt, row.Value is null ? default : Utf8(row.Value));
                }
            }

            builder.Finish();
        }

        using StorageFile file = _files.Open(TablePath, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }

    /// <summary>Opens bytes as a table.</summary>
    public TableReader Open(byte[] bytes)
    {
        Put(bytes);
        return TableReader.Open(_files.Open(TablePath, writable: false), Cache, Options.CompressionLibraries);
    }

    /// <summary>Reads every entry of the table that the bytes are: once past the cache, once through it, and each by its key.</summary>
    public List<TableRow> Read(byte[] bytes)
    {
        TableProperties properties;
        List<TableRow> found = [];
        using (TableReader reader = Open(bytes))
        {
            properties = reader.Properties;
            reader.CheckIndex();
        }

        SsTable table = new(Id, Folder, bytes.Length, properties, Context());
        try
        {
            using (TableSource source = new([table], streaming: true))
            {
                for (source.SeekFirst(); source.Valid; source.Next())
                {
                    found.Add(Row(source));
                }
            }

            using (TableSource source = new([table], streaming: false))
            {
                int i = 0;
                for (source.SeekFirst(); source.Valid; source.Next())
                {
                    Assert.Equal(found[i++], Row(source));
                }

                Assert.Equal(found.Count, i);
            }

            found.ForEach(row => CheckGet(table, row));
            return found;
        }
        finally
        {
            Cache.Tables.Close(table);
        }
    }

    public void Dispose() => Cache.Dispose();

    private static string Text(Random random)
    {
        string[] words = ["alpha", "beta", "gamma", "delta", "the quick brown fox", "{\"name\": \"", "\", \"city\": \""];
        return string.Concat(Enumerable.Range(0, random.Next(12)).Select(_ => words[random.Next(words.Length)] + random.Next(100)));
    }

    private static TableRow Row(TableSource source) => new(
        System.Text.Encoding.UTF8.GetString(source.KeySpan), source.Version, source.Stamp, source.ExpiresAt,
        source.Kind == EntryKind.Tombstone ? null : System.Text.Encoding.UTF8.GetString(source.ValueSpan));

    private static void CheckGet(SsTable table, TableRow row)
    {
        byte[] key = Utf8(row.Key);
        Epochs.Enter();
        try
        {
            fixed (byte* p = key)
            {
                ulong hash = KeyHash.Compute(p, key.Length);
                Assert.True(table.Reader.MayContain(hash));
                Assert.True(table.Reader.TryFind(p, key.Length, hash, row.Version, out BlockEntry entry));
                Assert.Equal(row.Version, entry.Version);
                Assert.Equal(row.ExpiresAt, entry.ExpiresAt);
                Assert.Equal(row.Value is null, entry.Kind == EntryKind.Tombstone);
                Assert.True(new ReadOnlySpan<byte>(entry.Value, entry.ValueLength).SequenceEqual(Utf8(row.Value ?? "")));
            }
        }
        finally
        {
            Epochs.Exit();
        }
    }

    private void Put(byte[] bytes)
    {
        if (_files.FileExists(TablePath))
        {
            _files.DeleteFile(TablePath);
        }

        using StorageFile file = _files.Create(TablePath);
        file.Write(0, bytes);
    }

    private EngineContext Context() => new()
    {
        FileSystem = _files,
        Directory = Folder,
        Options = Options,
        Background = new ManualBackgroundWork(),
        Snapshots = new SnapshotList(),
        BlockCache = Cache,
        Time = new ManualTime(),
    };
}
