using KeyVa.Cluster;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>
/// What each acknowledgement class promises, and what it may lose (docs/replication.md, Acknowledgement): entries of a leader are withheld from some of the others,
/// then nodes stop.
/// </summary>
public sealed class AcknowledgementTests
{
    private static readonly byte[] Key = "key"u8.ToArray();
    private static readonly byte[] Value = "value"u8.ToArray();

    [Fact]
    public async Task AsyncIsOnTheLeadersDiskAndLostWithIt()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(electionTimeout: ThreeNodes.SteadyElectionTimeout);
        long leader = await cluster.LeaderAsync();
        cluster.Withhold(leader, Others(cluster, leader));
        WriteResult written = await UpsertAsync(cluster, leader, Acknowledgement.Async);
        Assert.Equal((Status.Ok, AcknowledgementClass.Async, 1), (written.Status, written.Receipt.Class, written.Receipt.Replicas));
        Assert.True(written.Version > 0 && written.Receipt is { Partition: 1, Term: > 0, Index: > 0 }, written.Receipt.ToString());

        // Nobody reads what a later leader may not have, not even on the leader.
        Assert.Null(await ReadAsync(cluster, leader));
        await cluster.StopAsync(leader);
        cluster.Heal();
        Assert.Null(await ReadAsync(cluster, await cluster.LeaderAsync()));
        cluster.Open(leader, 1, 2, 3);
        Assert.Null(await ReadAsync(cluster, leader));
    }

    [Fact]
    public async Task AsyncIsThereOnceItsLeaderHasSentIt()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(electionTimeout: ThreeNodes.SteadyElectionTimeout);
        long leader = await cluster.LeaderAsync();
        cluster.Withhold(leader, Others(cluster, leader));
        Assert.True((await UpsertAsync(cluster, leader, Acknowledgement.Async)).IsOk);
        cluster.Heal();

        // Behind it in the log.
        Assert.True((await cluster.Nodes[leader].Store.UpsertAsync("other"u8.ToArray(), Value)).IsOk);
        Assert.Equal(Value, await ReadAsync(cluster, leader));
        await cluster.StopAsync(leader);
        Assert.Equal(Value, await ReadAsync(cluster, await cluster.LeaderAsync()));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task SemiSyncSurvivesIfOneThatHasItIsInTheNextMajority(bool survives)
    {
        await using ThreeNodes cluster = ThreeNodes.Start(nodes: 5, electionTimeout: ThreeNodes.SteadyElectionTimeout);
        long leader = await cluster.LeaderAsync();
        long[] others = Others(cluster, leader);
        cluster.Withhold(leader, others[1..]);
        WriteResult written = await UpsertAsync(cluster, leader, Acknowledgement.SemiSync(1));
        Assert.Equal((Status.Ok, AcknowledgementClass.SemiSync, 2), (written.Status, written.Receipt.Class, written.Receipt.Replicas));
        Assert.Null(await ReadAsync(cluster, leader));

        // Of five, three elect the next. Either the one that has it must be among them, or it is gone too.
        await cluster.StopAsync(leader);
        await cluster.StopAsync(survives ? others[3] : others[0]);
        cluster.Heal();
        Assert.Equal(survives ? Value : null, await ReadAsync(cluster, await cluster.LeaderAsync()));
    }

    [Fact]
    public async Task SemiSyncOfAMajorityIsNotLost()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(electionTimeout: ThreeNodes.SteadyElectionTimeout);
        long leader = await cluster.LeaderAsync();
        long[] others = Others(cluster, leader);
        cluster.Withhold(leader, others[1]);
        Assert.True((await UpsertAsync(cluster, leader, Acknowledgement.SemiSync(1))).IsOk);
        await cluster.StopAsync(leader);
        cluster.Heal();
        Assert.Equal(Value, await ReadAsync(cluster, await cluster.LeaderAsync()));
    }

    [Fact]
    public async Task SyncIsNotAcknowledgedBelowAMajority()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(TimeSpan.FromSeconds(5), electionTimeout: ThreeNodes.SteadyElectionTimeout);
        long leader = await cluster.LeaderAsync();
        cluster.Withhold(leader, Others(cluster, leader));
        WriteResult unknown = await UpsertAsync(cluster, leader, Acknowledgement.Sync);
        Assert.Equal((Status.Unknown, false), (unknown.Status, unknown.Receipt.IsSet));
        cluster.Heal();
        WriteResult written = await UpsertAsync(cluster, leader, Acknowledgement.Sync);
        Assert.Equal((Status.Ok, AcknowledgementClass.Sync, 2), (written.Status, written.Receipt.Class, written.Receipt.Replicas));
        await cluster.StopAsync(leader);
        Assert.Equal(Value, await ReadAsync(cluster, await cluster.LeaderAsync()));
    }

    [Fact]
    public async Task ReplicasThatDoNotComeInTimeLeaveItUnknownWithWhatWasReached()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(TimeSpan.FromSeconds(5), electionTimeout: ThreeNodes.SteadyElectionTimeout);
        long leader = await cluster.LeaderAsync();
        long[] others = Others(cluster, leader);
        cluster.Withhold(leader, others);
        WriteResult unknown = await UpsertAsync(cluster, leader, Acknowledgement.SemiSync(1));
        Assert.Equal((Status.Unknown, AcknowledgementClass.Async, 1), (unknown.Status, unknown.Receipt.Class, unknown.Receipt.Replicas));

        // Committed by two of three, while all three were asked for.
        cluster.Withhold(leader, others[1]);
        foreach (long node in (long[])[leader, others[0]])
        {
            WriteResult committed = await UpsertAsync(cluster, node, Acknowledgement.SemiSync(2));
            Assert.Equal((Status.Unknown, AcknowledgementClass.Sync, 2), (committed.Status, committed.Receipt.Class, committed.Receipt.Replicas));
            Assert.Contains("committed and applied", committed.Detail);
            Assert.Equal(Value, await ReadAsync(cluster, leader));
        }
    }

    [Fact]
    public async Task AnyNodeTakesAnyClass()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        foreach (long node in cluster.Nodes.Keys)
        {
            foreach (Acknowledgement asked in (Acknowledgement[])[Acknowledgement.Async, Acknowledgement.SemiSync(1), Acknowledgement.SemiSync(2), Acknowledgement.Sync])
            {
                WriteResult written = await UpsertAsync(cluster, node, asked);
                Assert.True(written.IsOk && written.Receipt.Class >= asked.Class && written.Receipt.Replicas >= 1 + asked.Replicas, $"{asked}: {written.Status} {written.Detail} {written.Receipt}");
            }

            using var batch = new WriteBatch { Acknowledgement = Acknowledgement.SemiSync(2) };
            WriteResult removed = await cluster.Nodes[node].Store.WriteAsync(batch.Remove(Key).Put("other"u8, Value).RemoveRange("x"u8, "y"u8));
            Assert.True(removed is { IsOk: true, Receipt.Replicas: 3 }, $"{removed.Status} {removed.Detail} {removed.Receipt}");
        }
    }

    [Fact]
    public async Task WhatCannotBeIsRefused()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
            WriteResult tooMany = await node.Store.UpsertAsync(Key, Value, new WriteOptions { Acknowledgement = Acknowledgement.SemiSync(3) });
            Assert.Equal(Status.Invalid, tooMany.Status);
            Assert.Contains("3 replicas", tooMany.Detail);
            Assert.Contains("has 2", tooMany.Detail);
            WriteResult conditional = await node.Store.UpsertAsync(Key, Value, new WriteOptions { Acknowledgement = Acknowledgement.Async, Condition = Condition.IfAbsent });
            Assert.Equal(Status.Invalid, conditional.Status);
            Assert.Contains("needs sync", conditional.Detail);
            Assert.Equal(Status.Invalid, (await node.Store.IncrementAsync(Key, 1, new WriteOptions { Acknowledgement = Acknowledgement.SemiSync(1) })).Status);
            using Transaction transaction = node.Store.Begin();
            Assert.Equal(Status.Invalid, transaction.Put(Key, Value, new WriteOptions { Acknowledgement = Acknowledgement.Async }).Status);
            Assert.Null(await ReadAsync(cluster, node.Id));
        }
    }

    [Fact]
    public async Task AVolatilePartitionHasNoReplicasToWaitFor()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(acknowledgement: Acknowledgement.SemiSync(1), isVolatile: true);
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            foreach (Func<WriteOptions, WriteResult> write in (Func<WriteOptions, WriteResult>[])
            [
                options => node.Store.Upsert(Key, Value, options),
                options => Batch(node.Store, options.Acknowledgement),
            ])
            {
                AssertRefused(write(new WriteOptions { Acknowledgement = Acknowledgement.SemiSync(1) }));
                AssertRefused(write(new WriteOptions { Acknowledgement = Acknowledgement.SemiSync(2) }));
            }

            AssertRefused(await node.Store.UpsertAsync(Key, Value, new WriteOptions { Acknowledgement = Acknowledgement.SemiSync(1) }));
            AssertRefused(await node.Store.RemoveAsync(Key, default, Acknowledgement.SemiSync(1), CancellationToken.None));
            using ValueLease none = node.Store.Get(Key);
            Assert.False(none.Found);

            // What asks for none is written, also where the default of the others would be replicas.
            Assert.True(node.Store.Upsert(Key, Value).IsOk);
            Assert.True(node.Store.Upsert(Key, Value, new WriteOptions { Acknowledgement = Acknowledgement.Async }).IsOk);
        }

        static WriteResult Batch(Store store, Acknowledgement asked)
        {
            using var batch = new WriteBatch { Acknowledgement = asked };
            return store.Write(batch.Put(Key, Value).Put("other"u8, Value));
        }

        static void AssertRefused(WriteResult refused)
        {
            Assert.Equal(Status.Invalid, refused.Status);
            Assert.Contains("partition 1 is volatile", refused.Detail);
        }
    }

    [Fact]
    public async Task TheDefaultIsForWritesThatCanHaveIt()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(acknowledgement: Acknowledgement.Async, electionTimeout: ThreeNodes.SteadyElectionTimeout);
        long leader = await cluster.LeaderAsync();
        cluster.Withhold(leader, Others(cluster, leader));
        WriteResult written = await UpsertAsync(cluster, leader, default);
        Assert.Equal((Status.Ok, AcknowledgementClass.Async), (written.Status, written.Receipt.Class));
        cluster.Heal();
        WriteResult counted = await cluster.Nodes[leader].Store.IncrementAsync("counter"u8.ToArray());
        Assert.Equal((Status.Ok, AcknowledgementClass.Sync, 1), (counted.Status, counted.Receipt.Class, counted.MergedNumber));
    }

    [Fact]
    public async Task ReplicasOfAWriteCanBeCountedOnAnyNode()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(electionTimeout: ThreeNodes.SteadyElectionTimeout);
        long leader = await cluster.LeaderAsync();
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            WriteResult written = await node.Store.UpsertAsync(Key, Value);
            Assert.Equal(2, await node.CountReplicasAsync(written.Receipt, 2, TimeSpan.FromMinutes(1)));
        }

        long[] others = Others(cluster, leader);
        cluster.Withhold(leader, others[1]);
        WriteResult withheld = await cluster.Nodes[leader].Store.UpsertAsync(Key, Value);
        foreach (long node in (long[])[leader, others[0]])
        {
            // However long the leader takes to tell of the one that has it; then no more come.
            Assert.Equal(1, await cluster.Nodes[node].CountReplicasAsync(withheld.Receipt, 1, TimeSpan.FromMinutes(1)));
            Assert.Equal(1, await cluster.Nodes[node].CountReplicasAsync(withheld.Receipt, 2, TimeSpan.FromMilliseconds(300)));
        }
    }

    [Fact]
    public async Task AStoreThatIsAloneGivesReceiptsOfItsOwnLog()
    {
        await using Store store = Store.Open("/data", new StoreOptions(), new StoreEnvironment { FileSystem = new MemoryFileSystem() });
        WriteResult first = await store.UpsertAsync(Key, Value);
        WriteResult second = store.Upsert(Key, Value, new WriteOptions { Acknowledgement = Acknowledgement.Async });
        Assert.Equal(new WriteReceipt { Partition = 1, Term = 1, Index = first.Receipt.Index, Class = AcknowledgementClass.Sync, Replicas = 1 }, first.Receipt);
        Assert.Equal(first.Receipt with { Index = first.Receipt.Index + 1 }, second.Receipt);
        WriteResult refused = store.Upsert(Key, Value, new WriteOptions { Acknowledgement = Acknowledgement.SemiSync(1) });
        Assert.Equal(Status.Invalid, refused.Status);
        Assert.Contains("one node", refused.Detail);
        Assert.Contains("one node", Assert.Throws<StoreException>(
            () => Store.Open("/other", new StoreOptions { Acknowledgement = Acknowledgement.SemiSync(1) }, new StoreEnvironment { FileSystem = new MemoryFileSystem() })).Message);
    }

    [Theory]
    [InlineData("async", true)]
    [InlineData("sync", true)]
    [InlineData("semi-sync", true)]
    [InlineData("semi-sync=1", true)]
    [InlineData("semi-sync=63", true)]
    [InlineData("semi-sync=0", false)]
    [InlineData("semi-sync=64", false)]
    [InlineData("semi-sync=-1", false)]
    [InlineData("semi-sync=", false)]
    [InlineData("quorum", false)]
    [InlineData("", false)]
    public void ClassesAreRead(string text, bool isOne)
    {
        Assert.Equal(isOne, Acknowledgement.TryParse(text, out Acknowledgement read));
        Assert.True(!isOne || read.ToString() == (text == "semi-sync" ? "semi-sync=1" : text));
    }

    private static long[] Others(ThreeNodes cluster, long node) => [.. cluster.Nodes.Keys.Where(other => other != node).Order()];

    private static async Task<WriteResult> UpsertAsync(ThreeNodes cluster, long node, Acknowledgement acknowledgement) =>
        await cluster.Nodes[node].Store.UpsertAsync(Key, Value, new WriteOptions { Acknowledgement = acknowledgement }).AsTask().WaitAsync(TimeSpan.FromMinutes(2));

    private static async Task<byte[]?> ReadAsync(ThreeNodes cluster, long node)
    {
        Assert.Equal(Status.Ok, await cluster.Nodes[node].ConfirmReadsAsync());
        using ValueLease lease = cluster.Nodes[node].Store.Get(Key);
        return lease.Found ? lease.Value.ToArray() : null;
    }
}
