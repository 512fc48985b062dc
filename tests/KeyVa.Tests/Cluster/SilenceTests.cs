using System.Diagnostics;
using System.Text;
using KeyVa.Cluster;
using KeyVa.Tests.Cluster.Processes;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>Groups that nobody asks anything of say nothing, and lose nothing by it (docs/replication.md, Silence).</summary>
public sealed class SilenceTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(3);

    [Fact]
    public async Task AnIdleClusterSendsNothingButSignsOfLife()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        Assert.True((await cluster.Nodes[1].Store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray())).IsOk);
        await cluster.CountFramesAsync(static counted => counted.OfGroups == 0 && counted.Signs > 0, Window, Patience);

        // Four signs between each two of three nodes in an election timeout, and here and there one more.
        (_, long signs, TimeSpan lasted) = await cluster.CountFramesAsync(static counted => counted.OfGroups == 0, Window, Patience);
        long due = 6 * 4 * (long)(lasted / cluster.ElectionTimeout);
        Assert.InRange(signs, 1, due * 5 / 4);
        Assert.All(await StatesAsync(cluster), static state => Assert.True(state.Leader > 0, $"node {state.Node} knows no leader"));
    }

    [Fact]
    public async Task WithoutTheSettingHeartbeatsGoOn()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(fallsSilent: false);
        await cluster.LeaderAsync();
        (long ofGroups, long signs, _) = await cluster.CountFramesAsync(static _ => true, Window, Patience);
        Assert.True(ofGroups > 0, "there are no heartbeats");
        Assert.Equal(0, signs);
    }

    [Fact]
    public async Task ASilentLeaderIsMissed()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        long leader = await FallSilentAsync(cluster);
        await cluster.StopAsync(leader);

        // Nobody asks anything of the group meanwhile: states are what the nodes know.
        await UntilAsync(async () => (await StatesAsync(cluster)).All(state => state.Leader > 0 && state.Leader != leader));
        cluster.Open(leader, 1, 2, 3);
        await FallSilentAsync(cluster);
        Assert.True((await cluster.Nodes[leader].Store.UpsertAsync("b"u8.ToArray(), "2"u8.ToArray())).IsOk);
    }

    [Fact]
    public async Task AFollowerThatComesBackLearnsWhoLeads()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        long leader = await FallSilentAsync(cluster);
        long follower = cluster.Nodes.Keys.First(node => node != leader);
        await cluster.StopAsync(follower);
        cluster.Open(follower, 1, 2, 3);
        await UntilAsync(async () => (await StatesAsync(cluster)).All(static state => state.Leader > 0));
        await FallSilentAsync(cluster);
    }

    [Fact]
    public async Task WhoeverAsksEndsASilence()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        for (int i = 0; i < 3; i++)
        {
            long leader = await FallSilentAsync(cluster);
            ClusterNode follower = cluster.Nodes.Values.First(node => node.Id != leader);
            byte[] value = Encoding.ASCII.GetBytes($"{i}");
            Assert.Equal(Status.Ok, await follower.ConfirmReadsAsync());
            await FallSilentAsync(cluster);
            Assert.True((await follower.Store.UpsertAsync("c"u8.ToArray(), value)).IsOk);
            await FallSilentAsync(cluster);
            ClusterNode another = cluster.Nodes.Values.First(node => node.Id != leader && node != follower);
            Assert.Equal(Status.Ok, await another.ConfirmReadsAsync());
            using ValueLease lease = another.Store.Get("c"u8.ToArray());
            Assert.Equal(value, lease.Value.ToArray());
        }
    }

    private static async Task<long> FallSilentAsync(ThreeNodes cluster)
    {
        long leader = await cluster.LeaderAsync();
        await UntilAsync(async () => (await StatesAsync(cluster)).All(static state => state.IsSilent));
        return leader;
    }

    private static async Task<List<ReplicaStatus>> StatesAsync(ThreeNodes cluster)
    {
        List<ReplicaStatus> states = [];
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            states.Add((await node.GetStatusAsync())[0]);
        }

        return states;
    }

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        long begun = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(begun) < Patience, "it did not happen");
            await Pause.ForAsync(TimeSpan.FromMilliseconds(10));
        }
    }
}
