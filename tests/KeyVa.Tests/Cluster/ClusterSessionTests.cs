using KeyVa.Cluster;
using KeyVa.Sessions;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>A write that is sent again, to whatever node, is applied once (docs/replication.md, Sessions).</summary>
public sealed class ClusterSessionTests
{
    [Fact]
    public async Task AWriteIsAppliedOnceOnWhateverNodeItIsSentAgain()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        Assert.True((await cluster.Nodes[1].Store.OpenSessionAsync(5)).IsOk);
        for (int sequence = 1; sequence <= 6; sequence++)
        {
            foreach (ClusterNode node in cluster.Nodes.Values)
            {
                using var batch = new WriteBatch { Session = new SessionHead(5, sequence) };
                WriteResult result = await node.Store.WriteAsync(batch.Increment("counter"u8).Remove("none"u8).Put("key"u8, "value"u8));
                Assert.Equal((Status.Ok, sequence), (result.Status, result.MergedNumber));
                Assert.Equal([false, false, false], result.Removed.ToArray());
            }
        }

        using var condition = new WriteBatch { Session = new SessionHead(5, 7) };
        condition.Put("key"u8, "other"u8, new WriteOptions { Condition = Condition.IfAbsent });
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            WriteResult failed = await node.Store.WriteAsync(condition);
            Assert.True(failed is { Status: Status.ConditionFailed, FailedOperation: 0, CurrentVersion: > 0 }, $"{failed.Status}");
        }

        using var stranger = new WriteBatch { Session = new SessionHead(6, 1) };
        Assert.Equal(Status.Expired, (await cluster.Nodes[1].Store.WriteAsync(stranger.Put("key"u8, "other"u8))).Status);
    }

    [Fact]
    public async Task AWriteOfASessionThatHasEndedIsRefusedWhateverItAsksFor()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(acknowledgement: Acknowledgement.Async);
        await cluster.LeaderAsync();
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            foreach (Acknowledgement asked in (Acknowledgement[])[default, Acknowledgement.Async, Acknowledgement.SemiSync(1), Acknowledgement.Sync])
            {
                using var ended = new WriteBatch { Session = new SessionHead(6, 1), Acknowledgement = asked };
                Assert.Equal((node.Id, asked, Status.Expired), (node.Id, asked, (await node.Store.WriteAsync(ended.Put("key"u8, "value"u8))).Status));
            }
        }

        Assert.True((await cluster.Nodes[1].Store.OpenSessionAsync(7)).IsOk);
        using var known = new WriteBatch { Session = new SessionHead(7, 1), Acknowledgement = Acknowledgement.SemiSync(2) };
        WriteResult written = await cluster.Nodes[1].Store.WriteAsync(known.Put("key"u8, "value"u8));
        Assert.True(written is { Status: Status.Ok, Receipt: { Class: >= AcknowledgementClass.SemiSync, Replicas: 3 } }, $"{written.Status} {written.Receipt}");
    }

    [Fact]
    public async Task AWriteOfASessionThatIsInUseIsAnsweredAsItAsks()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(electionTimeout: ThreeNodes.SteadyElectionTimeout);
        long leader = await cluster.LeaderAsync();
        Store store = cluster.Nodes[leader].Store;
        Assert.True((await store.OpenSessionAsync(7)).IsOk);
        cluster.Withhold(leader, [.. cluster.Nodes.Keys.Where(other => other != leader)]);
        using var known = new WriteBatch { Session = new SessionHead(7, 1), Acknowledgement = Acknowledgement.Async };
        WriteResult written = await store.WriteAsync(known.Put("key"u8, "value"u8)).AsTask().WaitAsync(TimeSpan.FromMinutes(1));
        Assert.True(written is { Status: Status.Ok, Receipt.Class: AcknowledgementClass.Async }, $"{written.Status} {written.Receipt}");
    }

    [Fact]
    public async Task SessionsComeWithASnapshotAndSurviveRestarts()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        Assert.True((await cluster.Nodes[1].Store.OpenSessionAsync(5)).IsOk);
        await IncrementAsync(cluster.Nodes[1], 1);
        for (int i = 0; i < 300; i++)
        {
            Assert.True((await cluster.Nodes[1].Store.UpsertAsync(BitConverter.GetBytes(i), new byte[20_000])).IsOk);
        }

        ClusterNode joined = cluster.Open(4, joins: true, 1, 2, 3, 4);
        ClusterNode leader = cluster.Nodes[await cluster.LeaderAsync()];
        Assert.Equal(Status.Ok, (await leader.AddNodeAsync(4, new ClusterPeer("127.0.0.1", 7004))).Status);
        await IncrementAsync(joined, 1);
        foreach (long id in (long[])[1, 2, 3, 4])
        {
            await cluster.StopAsync(id);
        }

        foreach (long id in (long[])[1, 2, 3, 4])
        {
            cluster.Open(id, joins: id == 4, id == 4 ? [1, 2, 3, 4] : [1, 2, 3]);
        }

        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            await IncrementAsync(node, 1);
        }
    }

    [Fact]
    public async Task CountersHoldWhatWasAcknowledgedThoughLeadersStop()
    {
        const int Clients = 4;
        const int Rounds = 4;
        await using ThreeNodes cluster = ThreeNodes.Start(TimeSpan.FromSeconds(1));
        await cluster.LeaderAsync();
        using CancellationTokenSource stop = new();
        var stopped = new Lock();
        Task<long>[] clients = [.. Enumerable.Range(0, Clients).Select(client => CountAsync(cluster, stopped, client, stop.Token))];
        for (int round = 0; round < Rounds; round++)
        {
            long leader = await cluster.LeaderAsync();
            ClusterNode gone;
            lock (stopped)
            {
                gone = cluster.Take(leader);
            }

            await gone.DisposeAsync();
            lock (stopped)
            {
                cluster.Open(leader, 1, 2, 3);
            }

            await cluster.LeaderAsync();
        }

        await stop.CancelAsync();
        long[] acknowledged = await Task.WhenAll(clients);
        ClusterNode reader = cluster.Nodes[await cluster.LeaderAsync()];
        while (await reader.ConfirmReadsAsync() != Status.Ok)
        {
            // Nobody leads for a moment.
        }

        for (int client = 0; client < Clients; client++)
        {
            // Every one of its writes was answered in the end: so the counter is exact.
            using ValueLease lease = reader.Store.Get(Counter(client));
            Assert.True(acknowledged[client] > 0);
            Assert.Equal(acknowledged[client], long.Parse(lease.Value, System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    private static byte[] Counter(int client) => [(byte)'c', (byte)client];

    /// <summary>Adds one at a time, and sends it again, to another node, for as long as it is not known whether it was done.</summary>
    private static async Task<long> CountAsync(ThreeNodes cluster, Lock gate, int client, CancellationToken stop)
    {
        long session = 100 + client;
        int at = client;
        while (!await OpenAsync())
        {
            at++;
        }

        long sequence = 0;
        do
        {
            sequence++;
            while (true)
            {
                using var batch = new WriteBatch { Session = new SessionHead(session, sequence) };
                WriteResult result;
                try
                {
                    result = await Any().Store.WriteAsync(batch.Increment(Counter(client)), CancellationToken.None);
                }
                catch (StoreClosedException)
                {
                    // The node stopped while it was asked.
                    at++;
                    continue;
                }

                if (result.IsOk)
                {
                    Assert.Equal(sequence, result.MergedNumber);
                    break;
                }

                Assert.True(result.Status is Status.Unknown or Status.Unavailable or Status.Failed or Status.BadNode or Status.Busy, $"{result.Status} {result.Detail}");
                at++;
            }
        }
        while (!stop.IsCancellationRequested);

        return sequence;

        async Task<bool> OpenAsync()
        {
            try
            {
                return (await Any().Store.OpenSessionAsync(session)).IsOk;
            }
            catch (StoreClosedException)
            {
                // The node stopped while it was asked.
                return false;
            }
        }

        ClusterNode Any()
        {
            lock (gate)
            {
                ClusterNode[] nodes = [.. cluster.Nodes.Values];
                return nodes[at % nodes.Length];
            }
        }
    }

    private static async Task IncrementAsync(ClusterNode node, long sequence)
    {
        using var batch = new WriteBatch { Session = new SessionHead(5, sequence) };
        WriteResult result = await node.Store.WriteAsync(batch.Increment("counter"u8));
        Assert.Equal((Status.Ok, sequence), (result.Status, result.MergedNumber));
    }
}
