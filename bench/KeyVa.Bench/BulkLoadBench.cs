using System.Diagnostics;
using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace KeyVa.Bench;

/// <summary>
/// A bulk load against plain writing of as many bytes to one file, and long scans of what was loaded from the disk. One run.
/// </summary>
internal sealed class BulkLoadBench(BenchOptions options)
{
    private const int PieceBytes = 1 << 20;

    /// <summary>Both sync after so many bytes: those of one table.</summary>
    private const long SyncEvery = 64L << 20;

    public Section Run()
    {
        Section section = new("Bulk load and long scans", askedRatio: 0);
        section.Conditions.Add(("bulk load", string.Create(
            CultureInfo.InvariantCulture,
            $"{options.Records:N0} records in key order through BeginBulkLoad into an empty store, synced and complete; raw: a file of the same bytes as the store has then, written in pieces of 1 MiB with a sync every 64 MiB")));
        section.Conditions.Add(("long scan", "all records, the files dropped from the page cache before each, the store just opened; with and without filling the block cache"));
        using DataFolder folder = new(options.Data, "bulkload");
        double load = Load(folder, out long bytes);
        double raw = WriteRaw(folder.Path + "-raw", bytes);
        Table table = new("Bulk load", ["records", "MiB", "load s", "records/s", "load MiB/s", "raw MiB/s", "load : raw"]);
        double mebibytes = bytes / (double)(1 << 20);
        table.Add(options.Records, bytes >> 20, load, (long)(options.Records / load), mebibytes / load, mebibytes / raw, raw / load);
        section.Tables.Add(table);
        Table scans = new("Cold scan", ["scan", "s", "records/s", "MiB/s"]);
        foreach ((string name, bool reverse, bool fillCache) in new[] { ("forward", false, true), ("forward, past the cache", false, false), ("reverse", true, true), ("reverse, past the cache", true, false) })
        {
            folder.DropFromPageCache();
            double seconds = Scan(folder, reverse, fillCache);
            scans.Add(name, seconds, (long)(options.Records / seconds), mebibytes / seconds);
        }

        section.Tables.Add(scans);
        return section;
    }

    private Store Open(DataFolder folder) => Store.Open(folder.Path, new StoreOptions
    {
        BlockCacheBytes = options.BlockCacheBytes,
        MemtableBytes = options.MemtableBytes,
        Compression = options.Compression == Compression.Lz4 ? KeyVa.Compression.Lz4 : KeyVa.Compression.None,
    });

    private double Load(DataFolder folder, out long bytes)
    {
        Values values = new(Values.NewPool(options.ValueBytes, options.Seed), options.ValueBytes, 0);
        byte[] key = Keys.NewBuffer(options.KeyBytes);
        Store store = Open(folder);
        try
        {
            long begun = Stopwatch.GetTimestamp();
            using BulkLoader loader = store.BeginBulkLoad();
            for (long i = 0; i < options.Records; i++)
            {
                Keys.Write(key, (ulong)i);
                if (loader.Add(key, values.Next()) != Status.Ok)
                {
                    throw new InvalidOperationException(loader.Detail);
                }
            }

            WriteResult result = loader.Complete();
            if (!result.IsOk)
            {
                throw new InvalidOperationException(result.Detail);
            }

            double seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
            bytes = Directory.EnumerateFiles(Path.Combine(folder.Path, "partitions"), "*.sst", SearchOption.AllDirectories).Sum(static file => new FileInfo(file).Length);
            return seconds;
        }
        finally
        {
            store.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    private static double WriteRaw(string path, long bytes)
    {
        byte[] piece = new byte[PieceBytes];
        new Random(1).NextBytes(piece);
        try
        {
            long begun = Stopwatch.GetTimestamp();
            using SafeFileHandle file = File.OpenHandle(path, FileMode.Create, FileAccess.Write);
            for (long at = 0; at < bytes; at += PieceBytes)
            {
                RandomAccess.Write(file, piece.AsSpan(0, (int)Math.Min(PieceBytes, bytes - at)), at);
                if ((at + PieceBytes) % SyncEvery == 0)
                {
                    RandomAccess.FlushToDisk(file);
                }
            }

            RandomAccess.FlushToDisk(file);
            return Stopwatch.GetElapsedTime(begun).TotalSeconds;
        }
        finally
        {
            File.Delete(path);
        }
    }

    private double Scan(DataFolder folder, bool reverse, bool fillCache)
    {
        Store store = Open(folder);
        try
        {
            long begun = Stopwatch.GetTimestamp();
            long records = 0;
            long touched = 0;
            using (ScanCursor cursor = store.Scan(new ScanOptions { Reverse = reverse, FillCache = fillCache }))
            {
                while (cursor.MoveNext())
                {
                    touched += cursor.Value[^1];
                    records++;
                }
            }

            return records == options.Records && touched >= 0
                ? Stopwatch.GetElapsedTime(begun).TotalSeconds
                : throw new InvalidOperationException($"a scan found {records} records");
        }
        finally
        {
            store.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }
}
