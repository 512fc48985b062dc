using System.Text;
using KeyVa.Io;
using KeyVa.Tests.Engines;
using Xunit;

namespace KeyVa.Tests.Stores;

/// <summary>What has expired gives its room back though nobody writes any more.</summary>
public sealed class IdleExpiryTests
{
    private const int Keys = 2000;

    [Fact]
    public async Task AnIdleLsmPartitionReclaimsWhatHasExpired()
    {
        MemoryFileSystem files = new();
        ManualTime time = new();
        ManualBackgroundWork work = new();
        Store store = Open(files, time, work, EngineKind.Lsm);
        Fill(store);
        PartitionSnapshot snapshot = store.Partitions.BeginSnapshot(1, "/copy");
        work.RunAll(new Random(1));
        Assert.True(snapshot.Completion.IsCompletedSuccessfully);
        PartitionInfo before = store.Partitions.List()[0];
        Assert.True(before.Lsm!.Levels.Sum(level => level.Entries) > Keys);

        // Not yet: nothing is due, and nothing is logged.
        time.Advance(TimeSpan.FromSeconds(5));
        work.RunAll(new Random(1));
        Assert.Equal(before.AppliedIndex, store.Partitions.List()[0].AppliedIndex);

        time.Advance(TimeSpan.FromSeconds(60));
        work.RunAll(new Random(1));
        PartitionInfo after = store.Partitions.List()[0];
        Assert.Equal(1, after.Lsm!.Levels.Sum(level => level.Entries));
        Assert.True(after.StorageBytes < before.StorageBytes / 10, $"{after.StorageBytes} of {before.StorageBytes} bytes are left");

        // One empty group in the log; and when nothing expires any more, none follow.
        Assert.Equal(before.AppliedIndex + 1, after.AppliedIndex);
        time.Advance(TimeSpan.FromHours(1));
        work.RunAll(new Random(1));
        Assert.Equal(after.AppliedIndex, store.Partitions.List()[0].AppliedIndex);
        await CheckAfterAKill(files, time, work, store);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnIdleMemoryPartitionForgetsWhatHasExpired(bool isVolatile)
    {
        MemoryFileSystem files = new();
        ManualTime time = new();
        ManualBackgroundWork work = new();
        Store store = Open(files, time, work, EngineKind.Memory, isVolatile);
        Fill(store);
        work.RunAll(new Random(1));
        Assert.Equal(Keys + 1, store.GetStatistics().Keys);
        time.Advance(TimeSpan.FromSeconds(60));
        work.RunAll(new Random(1));
        Assert.Equal(1, store.GetStatistics().Keys);
        if (isVolatile)
        {
            await store.DisposeAsync();
        }
        else
        {
            await CheckAfterAKill(files, time, work, store);
        }
    }

    private static void Fill(Store store)
    {
        byte[] value = new byte[100];
        for (int i = 0; i < Keys; i++)
        {
            Assert.True(store.Upsert(Encoding.ASCII.GetBytes($"gone{i:D5}"), value, new WriteOptions { Expiry = Expiry.InMilliseconds(30_000) }).IsOk);
        }

        Assert.True(store.Upsert("stays"u8, "here"u8).IsOk);
    }

    /// <summary>The journal, the files and the clock go on from where they were.</summary>
    private static async Task CheckAfterAKill(MemoryFileSystem files, ManualTime time, ManualBackgroundWork work, Store store)
    {
        MemoryFileSystem left = files.Kill();
        try
        {
            await store.DisposeAsync();
        }
        catch (StoreException)
        {
            // Its disk is gone; what counts is the next one.
        }

        await using Store again = Open(left, time, work, EngineKind.Lsm);
        using (ValueLease stays = again.Get("stays"u8))
        {
            Assert.True(stays.Found);
        }

        using ValueLease gone = again.Get("gone00042"u8);
        Assert.False(gone.Found);
    }

    private static Store Open(MemoryFileSystem files, ManualTime time, ManualBackgroundWork work, EngineKind engine, bool isVolatile = false) =>
        Store.Open(
            "/data",
            new StoreOptions { Engine = engine, Volatile = isVolatile, Durability = Durability.Os, JournalSegmentBytes = 1 << 20 },
            new StoreEnvironment { FileSystem = files, Time = time, Background = work });
}
