using System.Globalization;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Stores;

/// <summary>
/// Where one partition has the journal for itself, its files may hold what the journal could still lose: a power loss then
/// leaves files that end behind the journal, and the journal goes on behind the files.
/// </summary>
public sealed class FilesAheadOfLogTests
{
    private const int Flushed = 200;

    [Fact]
    public async Task AFlushOfTheOnlyPartitionSyncsNoLogAndAPowerLossKeepsAPrefix()
    {
        int ahead = 0;
        for (int seed = 0; seed < 20; seed++)
        {
            var files = new MemoryFileSystem();
            Store store = Open(files);
            long syncs = store.GetStatistics().JournalSyncs;
            Write(store, 0, Flushed);
            await Flush(store);
            Assert.Equal(syncs, store.GetStatistics().JournalSyncs);
            Write(store, Flushed, Flushed + 50);
            files = files.Crash(seed);
            await Close(store);

            store = Open(files);
            int left = CheckPrefix(store, Flushed + 50);
            Assert.InRange(left, Flushed, Flushed + 50);
            ahead += left == Flushed ? 1 : 0;
            Write(store, left, left + 60);
            files = files.Kill();
            await Close(store);

            store = Open(files);
            Assert.Equal(left + 60, CheckPrefix(store, left + 60));
            await store.DisposeAsync();
            Assert.Empty(SmallStore.Verify(files));
        }

        Assert.True(ahead > 0, "no seed lost the whole journal: the test shows nothing");
    }

    [Fact]
    public async Task WithASecondPartitionAFlushSyncsTheLogFirst()
    {
        var files = new MemoryFileSystem();
        await using Store store = Store.Open(SmallStore.Directory, Options with { CreateDefaultPartition = false }, SmallStore.Environment(files));
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, "m"u8.ToArray())).Status);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange("m"u8.ToArray(), default)).Status);
        long syncs = store.GetStatistics().JournalSyncs;
        Write(store, 0, 20);
        await Flush(store);
        Assert.NotEqual(syncs, store.GetStatistics().JournalSyncs);
    }

    // Large memtables and checkpoints on request alone: nothing is flushed but when the test says so.
    private static Store Open(MemoryFileSystem files) =>
        Store.Open(SmallStore.Directory, Options, new StoreEnvironment { FileSystem = files });

    private static StoreOptions Options => new()
    {
        Durability = Durability.Os,
        JournalSegmentBytes = 1 << 20,
        ScrubInterval = TimeSpan.Zero,
        BlockCacheBytes = 1 << 20,
    };

    private static async Task Flush(Store store)
    {
        string copy = $"/copy-{Guid.NewGuid():N}";
        PartitionSnapshot snapshot = store.Partitions.BeginSnapshot(store.Partitions.List()[0].Id, copy);
        await snapshot.Completion;
    }

    private static async Task Close(Store store)
    {
        try
        {
            await store.DisposeAsync();
        }
        catch (StoreException)
        {
            // Its disk is dead.
        }
    }

    private static void Write(Store store, int from, int to)
    {
        for (int i = from; i < to; i++)
        {
            Assert.True(StoreFixture.Set(store, string.Create(CultureInfo.InvariantCulture, $"k{i:D5}"), i.ToString(CultureInfo.InvariantCulture)).IsOk);
        }
    }

    private static int CheckPrefix(Store store, int written)
    {
        int count = 0;
        while (count < written && StoreFixture.Get(store, string.Create(CultureInfo.InvariantCulture, $"k{count:D5}")) == count.ToString(CultureInfo.InvariantCulture))
        {
            count++;
        }

        for (int i = count; i < written; i++)
        {
            Assert.Null(StoreFixture.Get(store, string.Create(CultureInfo.InvariantCulture, $"k{i:D5}")));
        }

        return count;
    }
}
