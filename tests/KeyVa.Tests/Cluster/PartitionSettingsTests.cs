using KeyVa.Cluster;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>A partition's own settings where partitions are replicated (docs/replication.md, Acknowledgement): the same on all nodes, whichever is asked, and what they lead to.</summary>
public sealed class PartitionSettingsTests
{
    private const string Name = PartitionSettings.AcknowledgementName;
    private static readonly byte[] Value = "value"u8.ToArray();

    [Fact]
    public async Task AnyNodeChangesThemForAllAndTheyAreThereAfterARestart()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(splitAt: ["m"u8.ToArray()]);
        string[] values = ["async", "semi-sync=2", "semi-sync=1"];
        foreach ((ClusterNode node, string value) in cluster.Nodes.Values.Zip(values))
        {
            PartitionResult set = await SetAsync(node, 2, value);
            Assert.Equal((Status.Ok, value), (set.Status, set.Partition!.Settings.Acknowledgement.ToString()));
            foreach (ClusterNode other in cluster.Nodes.Values)
            {
                Assert.Equal(Status.Ok, await other.ConfirmReadsAsync());
                Assert.Equal(["default", value], SettingsOf(other));
            }
        }

        foreach (long id in (long[])[1, 2, 3])
        {
            await cluster.StopAsync(id);
        }

        foreach (long id in (long[])[1, 2, 3])
        {
            cluster.Open(id, 1, 2, 3);
        }

        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
            Assert.Equal(["default", values[^1]], SettingsOf(node));
        }
    }

    [Fact]
    public async Task TheyComeWithASnapshotToANodeThatJoins()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        Assert.Equal(Status.Ok, (await SetAsync(cluster.Nodes[1], 1, "semi-sync=2")).Status);
        for (int i = 0; i < 300; i++)
        {
            Assert.True((await cluster.Nodes[1].Store.UpsertAsync(BitConverter.GetBytes(i), new byte[20_000])).IsOk);
        }

        // What follows the snapshot in the log says nothing of settings.
        ClusterNode joined = cluster.Open(4, joins: true, 1, 2, 3, 4);
        ClusterNode leader = cluster.Nodes[await cluster.LeaderAsync()];
        Assert.Equal(Status.Ok, (await leader.AddNodeAsync(4, new ClusterPeer("127.0.0.1", 7004))).Status);
        Assert.Equal(Status.Ok, await joined.ConfirmReadsAsync());
        Assert.Equal(["semi-sync=2"], SettingsOf(joined));
        await cluster.StopAsync(4);
        joined = cluster.Open(4, joins: true, 1, 2, 3, 4);
        Assert.Equal(Status.Ok, await joined.ConfirmReadsAsync());
        Assert.Equal(["semi-sync=2"], SettingsOf(joined));
    }

    [Fact]
    public async Task AStoreThatWasAloneBringsThemIntoItsCluster()
    {
        await using var cluster = new ThreeNodes();
        await using (Store alone = Store.Open("/data", new StoreOptions { JournalSegmentBytes = 1 << 20 }, new StoreEnvironment { FileSystem = cluster.Disk(1) }))
        {
            Assert.Equal(Status.Ok, (await alone.Partitions.SetAsync(1, Name, "async")).Status);
        }

        for (int opened = 0; opened < 2; opened++)
        {
            ClusterNode node = cluster.Open(1, 1);
            Assert.True((await node.Store.UpsertAsync("key"u8.ToArray(), Value)).IsOk);
            Assert.Equal(["async"], SettingsOf(node));
            await cluster.StopAsync(1);
        }
    }

    /// <summary>What a write asks for counts, else what its partition has, else what the server has.</summary>
    [Fact]
    public async Task APartitionsDefaultStandsBetweenTheWritesAndTheServers()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(acknowledgement: Acknowledgement.SemiSync(1), electionTimeout: ThreeNodes.SteadyElectionTimeout, splitAt: ["m"u8.ToArray()]);
        await cluster.LeadAsync(1, 1);
        await cluster.LeadAsync(2, 1);
        Store store = cluster.Nodes[1].Store;
        byte[] first = "a"u8.ToArray();
        byte[] second = "z"u8.ToArray();
        Assert.Equal(Status.Ok, (await SetAsync(cluster.Nodes[2], 2, "async")).Status);
        Assert.Equal(Status.Ok, await cluster.Nodes[1].ConfirmReadsAsync());
        cluster.Withhold(1, 2, 3);

        // Nobody else gets anything: only what is asynchronous is answered.
        foreach (WriteResult written in (WriteResult[])[store.Upsert(second, Value), await store.UpsertAsync(second, Value), await store.RemoveAsync(second), Batch(second), await UpsertAsync(first, Acknowledgement.Async)])
        {
            Assert.Equal((Status.Ok, AcknowledgementClass.Async), (written.Status, written.Receipt.Class));
        }

        Task<WriteResult>[] waiting =
        [
            UpsertAsync(first, default),
            UpsertAsync(second, Acknowledgement.SemiSync(1)),
            UpsertAsync(second, Acknowledgement.Sync),
            store.IncrementAsync("zz"u8.ToArray()).AsTask(),
        ];

        // One that came behind them and asks for less is answered, so they could have been.
        Assert.Equal(AcknowledgementClass.Async, (await UpsertAsync(first, Acknowledgement.Async)).Receipt.Class);
        Assert.Equal(AcknowledgementClass.Async, (await UpsertAsync(second, default)).Receipt.Class);
        Assert.All(waiting, static one => Assert.False(one.IsCompleted));
        cluster.Heal();
        foreach (WriteResult written in await Task.WhenAll(waiting).WaitAsync(TimeSpan.FromMinutes(2)))
        {
            Assert.True(written.IsOk && written.Receipt.Class is AcknowledgementClass.SemiSync or AcknowledgementClass.Sync, $"{written.Status} {written.Detail} {written.Receipt.Class}");
        }

        // Over both of them it is the strictest there is.
        Assert.Equal(AcknowledgementClass.Sync, (await Across()).Receipt.Class);

        // Back to the server's, which is semi-sync; and one that is stricter than the server's.
        Assert.Equal(Status.Ok, (await SetAsync(cluster.Nodes[3], 2, PartitionSettings.DefaultValue)).Status);
        Assert.Equal(Status.Ok, (await SetAsync(cluster.Nodes[3], 1, "sync")).Status);
        Assert.Equal(Status.Ok, await cluster.Nodes[1].ConfirmReadsAsync());
        cluster.Withhold(1, 3);
        Assert.True((await UpsertAsync(second, default)).Receipt is { Class: AcknowledgementClass.SemiSync or AcknowledgementClass.Sync, Replicas: >= 2 });
        Assert.Equal(AcknowledgementClass.Sync, (await UpsertAsync(first, default)).Receipt.Class);
        using Transaction transaction = store.Begin();
        Assert.True(transaction.Put(first, Value).IsOk);
        Assert.Equal(AcknowledgementClass.Sync, (await transaction.CommitAsync()).Receipt.Class);

        async Task<WriteResult> UpsertAsync(byte[] key, Acknowledgement asked) => await store.UpsertAsync(key, Value, new WriteOptions { Acknowledgement = asked });

        WriteResult Batch(byte[] key)
        {
            using var batch = new WriteBatch();
            return store.Write(batch.Put(key, Value).Put("zy"u8, Value));
        }

        async Task<WriteResult> Across()
        {
            using var batch = new WriteBatch();
            return await store.WriteAsync(batch.Put("b"u8, Value).Put("y"u8, Value));
        }
    }

    [Fact]
    public async Task WhatTheMembersCannotGiveIsRefused()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
            PartitionResult refused = await SetAsync(node, 1, "semi-sync=3");
            Assert.Equal(Status.Invalid, refused.Status);
            Assert.Contains("3 replicas", refused.Detail, StringComparison.Ordinal);
            Assert.Contains("has 2", refused.Detail, StringComparison.Ordinal);
            Assert.Equal(Status.Invalid, (await SetAsync(node, 1, "all")).Status);
            Assert.Equal(Status.NotFound, (await SetAsync(node, 2, "async")).Status);
            Assert.Equal(["default"], SettingsOf(node));
        }
    }

    [Fact]
    public async Task WithoutAMajorityNothingIsChanged()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(TimeSpan.FromSeconds(3));
        await cluster.LeaderAsync();
        await cluster.StopAsync(1);
        await cluster.StopAsync(2);
        PartitionResult refused = await SetAsync(cluster.Nodes[3], 1, "async");
        Assert.True(refused.Status is Status.Unavailable or Status.Unknown, refused.Status.ToString());
        Assert.Equal(["default"], SettingsOf(cluster.Nodes[3]));
    }

    /// <summary>Opening a session has to be waited for, whatever is the default.</summary>
    [Fact]
    public async Task SessionsAreOpenedSync()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        Assert.Equal(Status.Ok, (await SetAsync(cluster.Nodes[1], 1, "async")).Status);
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
            Assert.Equal(AcknowledgementClass.Sync, (await node.Store.OpenSessionAsync(node.Id)).Receipt.Class);
        }
    }

    private static Task<PartitionResult> SetAsync(ClusterNode node, long partition, string value) =>
        node.Store.Partitions.SetAsync(partition, Name, value).AsTask().WaitAsync(TimeSpan.FromMinutes(2));

    private static IEnumerable<string> SettingsOf(ClusterNode node) => node.Store.Partitions.List().Select(static one => one.Settings.Acknowledgement.ToString());
}
