using System.Text;
using KeyVa.Cluster;
using KeyVa.Cluster.Transport;
using KeyVa.Indexes;
using Xunit;

namespace KeyVa.Tests.Cluster;

public sealed class ClusterNodeTests
{
    [Fact]
    public async Task AnyNodeWritesAndEveryNodeReads()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            WriteResult written = await node.Store.UpsertAsync(Key(node.Id), Value(node.Id));
            Assert.Equal((Status.Ok, (string?)null), (written.Status, written.Detail));
        }

        foreach (ClusterNode reader in cluster.Nodes.Values)
        {
            Assert.Equal(Status.Ok, await reader.ConfirmReadsAsync());
            foreach (long writer in cluster.Nodes.Keys)
            {
                using ValueLease lease = reader.Store.Get(Key(writer));
                Assert.Equal(Value(writer), lease.Value.ToArray());
            }
        }
    }

    [Fact]
    public async Task WritesGoOnWhenTheLeaderIsGoneAndItCatchesUpWhenItIsBack()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        ClusterNode any = cluster.Nodes[1];
        Assert.True((await any.Store.UpsertAsync(Key(1), Value(1))).IsOk);
        long leader = await cluster.LeaderAsync();
        await cluster.StopAsync(leader);
        ClusterNode other = cluster.Nodes.Values.First();
        for (int i = 0; i < 50; i++)
        {
            WriteResult written = await other.Store.UpsertAsync(Key(i), Value(i + 1000));
            Assert.Equal((Status.Ok, (string?)null), (written.Status, written.Detail));
        }

        ClusterNode back = cluster.Open(leader, 1, 2, 3);
        Assert.Equal(Status.Ok, await back.ConfirmReadsAsync());
        for (int i = 0; i < 50; i++)
        {
            using ValueLease lease = back.Store.Get(Key(i));
            Assert.Equal(Value(i + 1000), lease.Value.ToArray());
        }
    }

    [Fact]
    public async Task ConditionsAndMergesAreAnsweredAsTheyWereDecided()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            WriteResult first = await node.Store.UpsertAsync(Key(7), Value(node.Id), new WriteOptions { Condition = Condition.IfAbsent });
            Assert.Equal(node.Id == 1 ? Status.Ok : Status.ConditionFailed, first.Status);
            Assert.Equal(node.Id, (await node.Store.IncrementAsync(Key(8))).MergedNumber);
            Assert.Equal(Status.NotFound, (await node.Store.RemoveAsync(Key(9))).Status);
        }
    }

    [Fact]
    public async Task WithoutAMajorityNothingIsAcknowledged()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(TimeSpan.FromSeconds(3));
        await cluster.LeaderAsync();
        await cluster.StopAsync(1);
        await cluster.StopAsync(2);
        WriteResult refused = await cluster.Nodes[3].Store.UpsertAsync(Key(1), Value(1)).AsTask().WaitAsync(TimeSpan.FromMinutes(2));
        Assert.True(refused.Status is Status.Unavailable or Status.Unknown, refused.Status.ToString());
        Assert.Contains("partition 1", refused.Detail);
        Assert.Equal(Status.Unavailable, await cluster.Nodes[3].ConfirmReadsAsync());
    }

    [Fact]
    public async Task AStoreThatWasAloneBecomesANodeWithWhatItHolds()
    {
        await using var cluster = new ThreeNodes();
        await using (Store alone = Store.Open("/data", new StoreOptions { JournalSegmentBytes = 1 << 20 }, new StoreEnvironment { FileSystem = cluster.Disk(1) }))
        {
            for (int i = 0; i < 100; i++)
            {
                Assert.True(alone.Upsert(Key(i), Value(i)).IsOk);
            }
        }

        ClusterNode node = cluster.Open(1, 1);
        Assert.True((await node.Store.UpsertAsync(Key(100), Value(100))).IsOk);
        await cluster.StopAsync(1);
        node = cluster.Open(1, 1);
        Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
        for (int i = 0; i <= 100; i++)
        {
            using ValueLease lease = node.Store.Get(Key(i));
            Assert.Equal(Value(i), lease.Value.ToArray());
        }

        await cluster.StopAsync(1);
        StoreException refused = Assert.Throws<StoreException>(() => Store.Open("/data", null, new StoreEnvironment { FileSystem = cluster.Disk(1) }));
        Assert.Contains("--cluster", refused.Message);
        refused = Assert.Throws<StoreException>(() => ClusterNode.Open(
            "/data",
            new StoreOptions(),
            new ClusterOptions { Name = "other", Node = 1, Peers = new Dictionary<long, ClusterPeer> { [1] = new("127.0.0.1", 7001) } },
            new InProcessNetwork().Join(1, cluster.Disk(1)),
            new StoreEnvironment { FileSystem = cluster.Disk(1) }));
        Assert.Contains("'test'", refused.Message);
    }

    [Fact]
    public async Task WhatAClusterCannotDoYetIsRefused()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        Store store = cluster.Nodes[1].Store;
        Assert.Equal(Status.Unsupported, store.Partitions.Remove(1, discardData: true).Status);
        Assert.Equal(Status.Unsupported, (await store.Indexes.CreateAsync(new IndexDefinition { Name = "a", Fields = ["$.a"] })).Status);
        Assert.Equal(Status.Unsupported, (await store.RollBackAsync(Key(1), AsOf.AtVersion(1))).Status);
        RefusedException locks = Assert.Throws<RefusedException>(() => store.Begin(new TransactionOptions { Concurrency = Concurrency.Pessimistic }));
        Assert.Equal(Status.Unsupported, locks.Status);
    }

    [Fact]
    public async Task ANodeJoinsLeadsAndLeaves()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        for (int i = 0; i < 300; i++)
        {
            Assert.True((await cluster.Nodes[1].Store.UpsertAsync(Key(i), Value(i))).IsOk);
        }

        cluster.Open(4, joins: true, 1, 2, 3, 4);
        ClusterNode leader = cluster.Nodes[await cluster.LeaderAsync()];
        ClusterNode other = cluster.Nodes.Values.First(node => node != leader && node.Id != 4);
        ClusterChange added = await other.AddNodeAsync(4, new ClusterPeer("127.0.0.1", 7004));
        Assert.Equal((Status.Ok, (string?)null), (added.Status, added.Detail));
        ClusterNode joined = cluster.Nodes[4];
        Assert.Equal(Status.Ok, await joined.ConfirmReadsAsync());
        for (int i = 0; i < 300; i++)
        {
            using ValueLease lease = joined.Store.Get(Key(i));
            Assert.Equal(Value(i), lease.Value.ToArray());
        }

        Assert.True((await joined.Store.UpsertAsync(Key(1), Value(-1))).IsOk);
        Assert.Equal(Status.Ok, (await leader.TransferAsync(4)).Status);
        await cluster.StopAsync(4);
        joined = cluster.Open(4, joins: true, 1, 2, 3, 4);
        Assert.Equal(Status.Ok, await joined.ConfirmReadsAsync());
        using (ValueLease lease = joined.Store.Get(Key(1)))
        {
            Assert.Equal(Value(-1), lease.Value.ToArray());
        }

        leader = cluster.Nodes[await cluster.LeaderAsync()];
        ClusterChange removed = await leader.RemoveNodeAsync(leader.Id == 4 ? 3 : 4);
        Assert.Equal((Status.Ok, (string?)null), (removed.Status, removed.Detail));
        Assert.Equal(3, (await leader.GetStatusAsync())[0].Voters.Count);
    }

    [Fact]
    public async Task AnOptimisticTransactionIsCommittedFromAnyNode()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
            CommitResult result = await node.Store.TransactAsync(transaction =>
            {
                long before;
                using (ValueLease lease = transaction.Get(Key(1)))
                {
                    before = lease.Found ? long.Parse(Encoding.ASCII.GetString(lease.Value), System.Globalization.CultureInfo.InvariantCulture) : 0;
                }

                transaction.Put(Key(1), Value(before + 1));
                return default;
            });
            Assert.True(result.IsOk, result.Detail);
        }

        Assert.Equal(Status.Ok, await cluster.Nodes[1].ConfirmReadsAsync());
        using ValueLease lease = cluster.Nodes[1].Store.Get(Key(1));
        Assert.Equal(Value(3), lease.Value.ToArray());
    }

    private static byte[] Key(long number) => Encoding.ASCII.GetBytes($"key{number}");

    private static byte[] Value(long number) => Encoding.ASCII.GetBytes($"{number}");
}
