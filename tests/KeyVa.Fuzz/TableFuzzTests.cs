using System.Globalization;
using System.Text;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>
/// Tables of every compression with changed blocks whose checksums fit: opened, searched and gone through they are refused
/// as damaged, or give something; nothing outside their bytes is read, and there is an end.
/// </summary>
public sealed unsafe class TableFuzzTests : Fuzzing
{
    private const string Folder = "/tables";
    private const int Rows = 120;
    private static readonly string TablePath = $"{Folder}/{FileNames.Table(1)}";

    private static readonly Lazy<byte[][]> Tables = new(static () =>
    [
        Table(Compression.None, 0, ranges: false, TableBuilder.MaxIndexBytes), Table(Compression.None, 0, ranges: true, 128), Table(Compression.Lz4, 0, ranges: false, 128),
        Table(Compression.Snappy, 0, ranges: true, TableBuilder.MaxIndexBytes), Table(Compression.Zstandard, 0, ranges: false, 256), Table(Compression.Zstandard, 1024, ranges: false, TableBuilder.MaxIndexBytes),
    ]);

    private static readonly Lazy<List<BlockPlace>[]> Places = new(static () => [.. Tables.Value.Select(Checksums.BlocksOf)]);

    public TableFuzzTests() => Assert.True(BlockStructure.IsCheckedOnRead, "reads of the tests' process check every block");

    [Fact]
    public void TablesWithRightChecksumsAreReadOrRefused() => Run(8_000, Tables.Value, static (input, random) =>
    {
        try
        {
            Read(input, random);
        }
        catch (StoreException)
        {
            // Refused: damaged, or of a later version.
        }
    }, Next);

    // Same length, so that the places of the blocks stay: lengths within blocks are edited, the file's are the folder test's.
    private static byte[] Next(Random random, IReadOnlyList<byte[]> corpus)
    {
        int which = random.Next(corpus.Count);
        byte[] table = [.. corpus[which]];
        List<BlockPlace> places = Places.Value[which];
        for (int edits = random.Next(1, 4); edits > 0; edits--)
        {
            if (random.Next(8) == 0)
            {
                Put(Mutation.Edit(random, table[^TableFooter.Bytes..], [table[..TableFooter.Bytes]]), table.AsSpan(table.Length - TableFooter.Bytes));
                continue;
            }

            BlockPlace place = places[random.Next(2) == 0 ? random.Next(places.Count) : random.Next(Math.Min(places.Count, 5))];
            BlockPlace other = places[random.Next(places.Count)];
            Span<byte> block = table.AsSpan((int)place.Offset, place.Length + (random.Next(6) == 0 ? 1 : 0));
            Put(Mutation.Edit(random, block.ToArray(), [table[(int)other.Offset..(int)other.End]]), block);
        }

        Checksums.RepairTable(table, places);
        return table;
    }

    private static void Put(byte[] edited, Span<byte> to) => edited.AsSpan(0, Math.Min(edited.Length, to.Length)).CopyTo(to);

    private static void Read(byte[] bytes, Random random)
    {
        MemoryFileSystem files = new();
        files.CreateDirectory(Folder);
        using (StorageFile file = files.Create(TablePath))
        {
            file.Write(0, bytes);
        }

        using BlockCache cache = new(1 << 20);
        TableProperties properties;
        using (TableReader reader = TableReader.Open(files.Open(TablePath, writable: false), cache))
        {
            properties = reader.Properties;
            Find(reader, random);
        }

        EngineContext context = new()
        {
            FileSystem = files,
            Directory = Folder,
            Options = new EngineOptions(),
            Background = new NoWork(),
            Snapshots = new SnapshotList(),
            BlockCache = cache,
            Time = TimeProvider.System,
        };
        SsTable table = new(1, Folder, bytes.Length, properties, context);
        try
        {
            Walk(table, random, bytes.Length);
        }
        finally
        {
            cache.Tables.Close(table);
        }
    }

    private static void Find(TableReader reader, Random random)
    {
        Epochs.Enter();
        try
        {
            for (int i = 0; i < 12; i++)
            {
                byte[] key = Key(random.Next(Rows + 10));
                fixed (byte* p = key)
                {
                    ulong hash = KeyHash.Compute(p, key.Length);
                    if (reader.TryFind(p, key.Length, hash, random.Next(2) == 0 ? long.MaxValue : random.Next(2000), out BlockEntry entry))
                    {
                        Touch(new ReadOnlySpan<byte>(entry.Value, entry.ValueLength));
                    }
                }
            }
        }
        finally
        {
            Epochs.Exit();
        }
    }

    private static void Walk(SsTable table, Random random, long bytes)
    {
        // An entry takes at least eight bytes of a block, and a block of a few bytes becomes at most 255 times as many (lz4; zstd more, but not of ours).
        long most = bytes * 1024;
        using TableSource source = new([table], streaming: random.Next(2) == 0);
        for (source.SeekFirst(); source.Valid; source.Next())
        {
            Touch(source.KeySpan);
            Touch(source.ValueSpan);
            Assert.True(--most > 0, "the table has no end");
        }

        using TableSource pinned = new([table], streaming: false);
        byte[] key = Key(random.Next(Rows));
        fixed (byte* p = key)
        {
            pinned.SeekBefore(p, key.Length, random.Next(2000));
        }

        for (int i = 0; i < Rows && pinned.Valid; i++)
        {
            Touch(pinned.ValueSpan);
            pinned.Previous();
        }
    }

    private static void Touch(ReadOnlySpan<byte> bytes) => Crc32C.Compute(bytes);

    private static byte[] Key(int i) => Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"user{i:D5}"));

    private static byte[] Table(Compression compression, int dictionaryBytes, bool ranges, int maxIndexBytes)
    {
        Random random = new(7);
        MemoryFileSystem files = new();
        files.CreateDirectory(Folder);
        EngineOptions options = new() { BlockBytes = 512, Compression = compression, ZstdDictionaryBytes = dictionaryBytes };
        using (TableBuilder builder = new(files.Create(TablePath), options, 1, 1_700_000_000_000, maxIndexBytes))
        {
            for (int i = 0; i < Rows; i++)
            {
                byte[] key = Key(i);
                byte[] value = Encoding.UTF8.GetBytes(new string((char)('a' + (i % 26)), random.Next(60)) + i);
                fixed (byte* p = key)
                {
                    bool removed = random.Next(8) == 0;
                    builder.Add(p, key.Length, 1000 + i, removed ? EntryKind.Tombstone : EntryKind.Value, 1_700_000_000_000 + i, random.Next(5) == 0 && !removed ? 1L << 42 : 0, removed ? [] : value);
                }
            }

            builder.Finish(ranges ? RangeTombstones.Of(Key(3), Key(9), 5000, 1_700_000_000_500) : null);
        }

        using StorageFile file = files.Open(TablePath, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }

    private sealed class NoWork : IBackgroundWork
    {
        public void Schedule(BackgroundJob job)
        {
        }

        public void ScheduleAfter(BackgroundJob job, TimeSpan delay)
        {
        }

        public void Pause(TimeSpan delay)
        {
        }

        public void Cancel(BackgroundJob job)
        {
        }
    }
}
