using System.Text;
using KeyVa.Io;

namespace KeyVa.Tests.Stores;

/// <summary>Opens stores on a disk in memory, with a clock of the test's own.</summary>
internal sealed class StoreFixture
{
    public const string Directory = "/data";

    public StoreFixture(StoreOptions? options = null) => Options = options ?? new StoreOptions { JournalSegmentBytes = 1 << 20 };

    public MemoryFileSystem Files { get; set; } = new();

    public ManualTime Time { get; } = new();

    public StoreOptions Options { get; set; }

    public Store Open(StoreOptions? options = null) =>
        Store.Open(Directory, options ?? Options, new StoreEnvironment { FileSystem = Files, Time = Time });

    public static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    public static string? Get(Store store, string key)
    {
        using ValueLease lease = store.Get(Bytes(key));
        return lease.Found ? Encoding.UTF8.GetString(lease.Value) : null;
    }

    public static WriteResult Set(Store store, string key, string value, WriteOptions options = default) =>
        store.Upsert(Bytes(key), Bytes(value), options);

    public static string Scan(Store store, ScanOptions options)
    {
        var text = new StringBuilder();
        using ScanCursor cursor = store.Scan(options);
        if (cursor.Status != Status.Ok)
        {
            return cursor.Status.ToString();
        }

        while (cursor.MoveNext())
        {
            text.Append(Encoding.UTF8.GetString(cursor.Key)).Append(' ');
        }

        return text.ToString().TrimEnd();
    }
}
