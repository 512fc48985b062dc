using System.Diagnostics;
using System.Text;
using KeyVa.Tests.Cli;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>
/// A cluster of real processes under load, with what happens to processes and disks: no acknowledged write is lost, no read is stale, and writes are served again soon. What happens to
/// networks: <see cref="ClusterLinkTests"/>.
/// </summary>
public sealed class ClusterFaultTests(ITestOutputHelper output)
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    // Asked for are two election timeouts on a machine that does nothing else; here tests run beside one another.
    private static readonly TimeSpan SoonEnough = 5 * ClusterOfProcesses.ElectionTimeout;

    [Fact]
    public async Task KilledAndStoppedNodesLoseNothing()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync();
        await using ClusterLoad load = new(cluster, seed: 1);
        await load.ServedAgainAsync();

        NodeProcess leader = await cluster.LeaderAsync();
        leader.Kill();
        Report("leader killed", await load.ServedAgainAsync());
        leader.Start();

        leader = await cluster.LeaderAsync();
        leader.Stop();
        Report("leader stopped", await load.ServedAgainAsync());
        // It comes back and thinks that it leads: longer than any election took.
        await Pause.ForAsync(3 * ClusterOfProcesses.ElectionTimeout);
        leader.Continue();
        await load.ServedAgainAsync();

        NodeProcess follower = cluster.Nodes.First(node => node != leader);
        follower.Kill();
        Report("a node killed", await load.ServedAgainAsync());
        follower.Start();

        foreach (NodeProcess node in cluster.Nodes)
        {
            node.Kill();
        }

        foreach (NodeProcess node in cluster.Nodes)
        {
            node.Start();
        }

        Report("all killed and started", await load.ServedAgainAsync(), asked: false);
        await cluster.CaughtUpAsync();
        await load.CheckAsync();
        output.WriteLine($"{load.Acknowledged} keys acknowledged");
    }

    [Fact] // A leader that is stopped holds a lease as it left it, but for its clock
    public async Task ALeaderThatWasStoppedReadsNothingOldByItsLease()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(settings: ["--lease-reads", "true", "--idle-silence", "false"]);
        await using ClusterLoad load = new(cluster, seed: 3);
        for (int i = 0; i < 3; i++)
        {
            await load.ServedAgainAsync();
            NodeProcess leader = await LeasedAsync(cluster);
            leader.Stop();
            Report("leader with a lease stopped", await load.ServedAgainAsync());
            leader.Continue();
        }

        await load.ServedAgainAsync();
        NodeProcess killed = await LeasedAsync(cluster);
        killed.Kill();
        Report("leader with a lease killed", await load.ServedAgainAsync());
        killed.Start();
        await LeasedAsync(cluster);
        await load.CheckAsync();
    }

    private static async Task<NodeProcess> LeasedAsync(ClusterOfProcesses cluster)
    {
        using CancellationTokenSource limit = new(TimeSpan.FromMinutes(2));
        while (true)
        {
            NodeProcess leader = await cluster.LeaderAsync();
            if (await leader.ViewAsync() is { } view && view.Replicas[0].HasLease)
            {
                return leader;
            }

            limit.Token.ThrowIfCancellationRequested();
            await Pause.ForAsync(TimeSpan.FromMilliseconds(20));
        }
    }

    [Fact]
    public async Task AFullDiskOfOneNodeSlowsNobody()
    {
        using SmallDisk disk = SmallDisk.Mount(megabytes: 24);
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(
            number: 3, data: $"{SmallDisk.Folder}/node3", launcher: disk.Launcher, "--memtable", "256KiB", "--journal-segment", "1MiB", "--journal-budget", "4MiB");
        await using ClusterLoad load = new(cluster, seed: 2);
        await load.ServedAgainAsync();
        // More than the small disk holds, through the nodes that have room.
        byte[] value = new byte[64 << 10];
        Random.Shared.NextBytes(value);
        using (ClusterRegisterClient client = new(cluster.Nodes[..2], 0, TimeSpan.FromSeconds(10)))
        {
            for (int i = 0; i < 600; i++)
            {
                // By the other one, if another leads meanwhile: the node whose disk is full may have led.
                long begun = Stopwatch.GetTimestamp();
                while (!await client.PutAsync(Encoding.ASCII.GetBytes($"large{i:D4}"), value))
                {
                    Assert.True(Stopwatch.GetElapsedTime(begun) < Patience, $"value {i} was not taken: {client.Last}");
                }
            }
        }

        Report("one disk full", await load.ServedAgainAsync());
        cluster.Nodes[2].Kill();
        await load.CheckAsync();
    }

    private void Report(string fault, TimeSpan served, bool asked = true)
    {
        output.WriteLine($"{fault}: served again after {served.TotalMilliseconds:N0} ms");
        Assert.True(!asked || served < SoonEnough, $"{fault}: served again after {served.TotalMilliseconds:N0} ms only");
    }
}
