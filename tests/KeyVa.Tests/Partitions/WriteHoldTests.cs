using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Partitions;

/// <summary>Writes of one thread that are held until it lets them go.</summary>
public sealed class WriteHoldTests
{
    private const int Writes = 20;

    [Fact]
    public async Task WhatWasHeldSharesOneSyncAndIsDoneWhenItIsReleased()
    {
        StoreFixture fixture = new(new StoreOptions { Engine = EngineKind.Memory });
        await using Store store = fixture.Open();
        long syncs = store.GetStatistics().JournalSyncs;
        ValueTask<WriteResult>[] writes = Hold(store, out WriteHold hold);
        Assert.True(hold.HasWrites);
        Assert.All(writes, static write => Assert.False(write.IsCompleted));
        Assert.Null(Get(store, "k0"));
        Assert.Equal(syncs, store.GetStatistics().JournalSyncs);

        hold.Release();
        Assert.False(hold.HasWrites);
        Assert.All(writes, static write => Assert.True(write.IsCompleted));
        Assert.Equal(syncs + 1, store.GetStatistics().JournalSyncs);
        await AllAreThereAsync(store, writes);

        // Nothing of it is left behind: the next write is not held.
        Assert.True((await store.UpsertAsync(Bytes("next"), Bytes("1"))).IsOk);
    }

    /// <summary>Held requests stand in the queue like all others: they wait for nobody in particular.</summary>
    [Fact]
    public async Task AnotherCallerTakesAlongWhatIsHeld()
    {
        StoreFixture fixture = new(new StoreOptions { Engine = EngineKind.Memory });
        await using Store store = fixture.Open();
        ValueTask<WriteResult>[] writes = Hold(store, out WriteHold hold);
        Thread other = new(() => Set(store, "other", "1"));
        other.Start();
        other.Join();
        Assert.All(writes, static write => Assert.True(write.IsCompleted));
        hold.Release();
        await AllAreThereAsync(store, writes);
    }

    [Theory]
    [InlineData(Durability.Interval, false)]
    [InlineData(Durability.Os, false)]
    [InlineData(Durability.Always, true)]
    public async Task WhatIsNotSyncedIsNotHeld(Durability durability, bool isVolatile)
    {
        StoreFixture fixture = new(new StoreOptions { Engine = EngineKind.Memory, Durability = durability, Volatile = isVolatile });
        await using Store store = fixture.Open();
        ValueTask<WriteResult>[] writes = Hold(store, out WriteHold hold);
        Assert.False(hold.HasWrites);
        Assert.All(writes, static write => Assert.True(write.IsCompleted));
        hold.Release();
        await AllAreThereAsync(store, writes);
    }

    /// <summary>Where syncs take long, the thread that holds writes does not wait for them.</summary>
    [Fact]
    public async Task AfterASlowSyncTheJournalsThreadLeads()
    {
        StoreFixture fixture = new(new StoreOptions { Engine = EngineKind.Memory });
        await using Store store = fixture.Open();
        using ManualResetEventSlim isSyncing = new();
        using ManualResetEventSlim goOn = new();
        int isSlow = 1;
        int syncingThread = 0;
        fixture.Files.Faults.Before = (operation, path) =>
        {
            if (operation != FileOperation.SyncData || !path.EndsWith(".journal", StringComparison.Ordinal))
            {
                return;
            }

            Volatile.Write(ref syncingThread, Environment.CurrentManagedThreadId);
            if (Interlocked.Exchange(ref isSlow, 0) == 1)
            {
                isSyncing.Set();
                goOn.Wait();
            }
        };
        Thread slow = new(() => Set(store, "slow", "1"));
        slow.Start();
        isSyncing.Wait();
        using (Timer release = new(_ => goOn.Set(), null, TimeSpan.FromMilliseconds(50), Timeout.InfiniteTimeSpan))
        {
            slow.Join();
        }

        int holding = Environment.CurrentManagedThreadId;
        ValueTask<WriteResult>[] writes = Hold(store, out WriteHold hold);
        hold.Release();
        await AllAreThereAsync(store, writes);
        Assert.NotEqual(holding, Volatile.Read(ref syncingThread));
    }

    /// <summary>A sync that fails is told to all who shared it.</summary>
    [Fact]
    public async Task AFailedJournalFailsWhatIsHeld()
    {
        StoreFixture fixture = new(new StoreOptions { Engine = EngineKind.Memory });
        await using Store store = fixture.Open();
        ValueTask<WriteResult>[] writes = Hold(store, out WriteHold hold);
        fixture.Files.Faults.Before = static (operation, path) =>
        {
            if (operation == FileOperation.SyncData && path.EndsWith(".journal", StringComparison.Ordinal))
            {
                throw new StorageException("fdatasync", path, 5, "Input/output error");
            }
        };
        hold.Release();
        foreach (ValueTask<WriteResult> write in writes)
        {
            Assert.Equal(Status.Failed, (await write).Status);
        }

        Assert.NotNull(store.Failure);
        fixture.Files.Faults.Before = null;
    }

    /// <summary>Begins writes on this thread, which holds them.</summary>
    private static ValueTask<WriteResult>[] Hold(Store store, out WriteHold hold)
    {
        hold = new WriteHold();
        hold.Begin();
        return [.. Enumerable.Range(0, Writes).Select(i => store.UpsertAsync(Bytes($"k{i}"), Bytes($"{i}")))];
    }

    private static async Task AllAreThereAsync(Store store, ValueTask<WriteResult>[] writes)
    {
        long version = 0;
        foreach (ValueTask<WriteResult> write in writes)
        {
            WriteResult result = await write;
            Assert.True(result.IsOk);
            Assert.True(result.Version > version, "in the order in which they were begun");
            version = result.Version;
        }

        for (int i = 0; i < Writes; i++)
        {
            Assert.Equal($"{i}", Get(store, $"k{i}"));
        }
    }
}
