using KeyVa.Cluster;
using KeyVa.Cluster.Driver;
using KeyVa.Cluster.Transport;
using KeyVa.Io;
using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>Whoever waits for a node that ends is told so, whenever it began to wait.</summary>
public sealed class NodeEndTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task WhatIsAskedBehindTheEndIsAnswered()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(nodes: 1);
        Assert.True((await cluster.Nodes[1].Store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray())).IsOk);
        ClusterNode node = cluster.Take(1);
        await node.DisposeAsync();
        Assert.Equal(Status.Unavailable, await node.ConfirmReadsAsync().AsTask().WaitAsync(Patience));
        Assert.Equal(0, await node.CountReplicasAsync(new WriteReceipt { Partition = 1, Term = 1, Index = 2 }, 1, Patience).AsTask().WaitAsync(Patience));
        Assert.Single(await node.GetStatusAsync().WaitAsync(Patience));
    }

    [Fact]
    public async Task WhatIsAskedWhileANodeEndsIsAnswered()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(nodes: 1);
        Assert.True((await cluster.Nodes[1].Store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray())).IsOk);
        ClusterNode node = cluster.Take(1);
        using var isAsked = new SemaphoreSlim(0);
        Task ending = Task.Run(async () =>
        {
            await isAsked.WaitAsync();
            await node.DisposeAsync();
        });
        while (!ending.IsCompleted)
        {
            Status status = await node.ConfirmReadsAsync().AsTask().WaitAsync(Patience);
            Assert.True(status is Status.Ok or Status.Unavailable, $"{status}");
            isAsked.Release();
        }

        await ending;
    }

    [Fact] // Its decision is in the log, and the node ends before it could say so
    public async Task ACommitThatIsDecidedWhileTheNodeEndsIsToldOf()
    {
        var disk = new MemoryFileSystem();
        using var thread = new DriverThread();
        ClusterDriver? driver = null;
        await using InProcessTransport transport = new InProcessNetwork().Join(1, disk);
        driver = new ClusterDriver(
            new DriverOptions { Node = 1, Cluster = 1, Seed = 1, FirstVoters = [1], ElectionTimeout = 100, HeartbeatInterval = 10, Applied = End },
            transport,
            DriverThread.Clock,
            thread.Signal);
        Store store = Store.Open("/data", new StoreOptions { SplitAt = ["m"u8.ToArray()], JournalSegmentBytes = 1 << 20 }, new StoreEnvironment { FileSystem = disk, Replication = driver });
        transport.Start(driver);
        thread.Start(driver.Run, driver.Stop);
        thread.Signal();
        try
        {
            using var batch = new WriteBatch();
            batch.Put("a"u8.ToArray(), "1"u8.ToArray()).Put("z"u8.ToArray(), "1"u8.ToArray());
            Assert.True((await store.WriteAsync(batch).AsTask().WaitAsync(Patience)).IsOk);
        }
        finally
        {
            driver.Post(driver.BeginStop);
            await store.DisposeAsync();
        }

        // The first partition's only command is the decision.
        void End(long partition, Entry entry)
        {
            if (partition == 1 && entry.Kind == EntryKind.Command)
            {
                driver!.Post(driver.BeginStop);
            }
        }
    }
}
