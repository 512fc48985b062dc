using System.Globalization;
using System.Text;
using KeyVa.Cluster;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>Nodes come and go where partitions are led by different nodes, and whichever node is asked.</summary>
public sealed class MemberChangeTests
{
    private const int Keys = 60;

    private static readonly ClusterPeer Fourth = new("127.0.0.1", 7004);

    private static readonly ReadOnlyMemory<byte>[] SplitAt = ["g"u8.ToArray(), "p"u8.ToArray()];

    [Fact]
    public async Task ANodeLearnsThePartitionsAndIsAddedToAllOfThem()
    {
        await using ThreeNodes cluster = await StartAsync();
        ClusterNode joined = cluster.Open(4, joins: true, splitAt: [], 1, 2, 3, 4);
        Assert.Empty(joined.Partitions);
        Assert.Equal(Status.Unavailable, await joined.ConfirmReadsAsync());
        await FillAsync(cluster.Nodes[2], 0);

        // Any node may be asked, and asked again.
        for (int i = 0; i < 2; i++)
        {
            Done(await cluster.Nodes[i + 2].AddNodeAsync(4, Fourth), partitions: 3);
        }

        Assert.Equal([1L, 2L, 3L], joined.Partitions);

        // What was agreed on without it comes before what it reads.
        Assert.Equal(Status.Ok, await joined.ConfirmReadsAsync());
        Assert.All(await joined.GetStatusAsync(), static one => Assert.Equal([1L, 2L, 3L, 4L], one.Voters));
        Assert.Equal(cluster.Nodes[1].Store.Partitions.List().Select(Shown), joined.Store.Partitions.List().Select(Shown));
        await CheckAsync(joined, 0);
        await FillAsync(joined, 1);

        // What it has learned it knows, and who asks for other ranges is told.
        await cluster.StopAsync(4);
        joined = cluster.Open(4, joins: false, splitAt: ["x"u8.ToArray()], 1, 2, 3, 4);
        Assert.Contains(joined.Store.RecoveryNotes, static note => note.Contains("keeps the 3", StringComparison.Ordinal));
        await CheckAsync(joined, 1);
    }

    [Fact]
    public async Task ALeaderIsRemovedByItselfAndByOthers()
    {
        await using ThreeNodes cluster = await StartAsync();
        cluster.Open(4, joins: true, splitAt: [], 1, 2, 3, 4);
        Done(await cluster.Nodes[1].AddNodeAsync(4, Fourth), partitions: 3);
        await FillAsync(cluster.Nodes[4], 0);

        // It leads the second partition, and does not hear any more who leads it next.
        Done(await cluster.Nodes[2].RemoveNodeAsync(2), partitions: 3);
        await cluster.StopAsync(2);
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            await CheckAsync(node, 0);
            Assert.All(await node.GetStatusAsync(), static one => Assert.Equal([1L, 3L, 4L], one.Voters));
        }

        Done(await cluster.Nodes[4].RemoveNodeAsync(3), partitions: 3);
        Done(await cluster.Nodes[1].RemoveNodeAsync(3), partitions: 3);
        await FillAsync(cluster.Nodes[1], 1);
        await CheckAsync(cluster.Nodes[4], 1);
    }

    [Fact]
    public async Task AllPartitionsAreHandedToOneNodeOrOneOfThem()
    {
        await using ThreeNodes cluster = await StartAsync();
        Done(await cluster.Nodes[1].TransferAsync(3), partitions: 3);
        Assert.All(await cluster.Nodes[3].GetStatusAsync(), static one => Assert.Equal("leader", one.Role));
        Done(await cluster.Nodes[1].TransferAsync(partition: 2, node: 2), partitions: 1);

        // Another one may have said so first.
        Assert.Equal(Status.Ok, await cluster.Nodes[3].ConfirmReadsAsync());
        Assert.Equal(["leader", "follower", "leader"], (await cluster.Nodes[3].GetStatusAsync()).Select(static one => one.Role));
        ClusterChange refused = await cluster.Nodes[1].TransferAsync(9);
        Assert.Equal(Status.Invalid, refused.Status);
        Assert.All(refused.Partitions, static one => Assert.Contains("node 9 does not vote", one.Detail, StringComparison.Ordinal));
        Assert.Equal(Status.NotFound, (await cluster.Nodes[1].TransferAsync(partition: 9, node: 2)).Status);
    }

    [Fact]
    public async Task WhatEndedHalfwayGoesOnWhenItIsRepeated()
    {
        await using ThreeNodes cluster = await StartAsync(TimeSpan.FromSeconds(3));
        await FillAsync(cluster.Nodes[1], 0);

        // It is not there yet, so that it is a learner, and nothing more.
        ClusterChange late = await cluster.Nodes[2].AddNodeAsync(4, Fourth);
        Assert.Equal((Status.Unavailable, 3), (late.Status, late.Partitions.Count));
        Assert.All(late.Partitions, static one => Assert.Contains("node 4 gets nothing", one.Detail, StringComparison.Ordinal));
        Assert.Contains("0 of 3 partitions are done", late.Detail, StringComparison.Ordinal);
        Assert.All(await cluster.Nodes[1].GetStatusAsync(), static one => Assert.Equal([4L], one.Learners));
        cluster.Open(4, joins: true, splitAt: [], 1, 2, 3, 4);

        // However often it takes on a machine that is busy: each time goes on where the last one ended.
        ClusterChange added = late;
        for (int i = 0; i < 20 && added.Status != Status.Ok; i++)
        {
            added = await cluster.Nodes[3].AddNodeAsync(4, Fourth);
        }

        Done(added, partitions: 3);
        await CheckAsync(cluster.Nodes[4], 0);
    }

    [Fact]
    public async Task TheStatusOfAnyNodeSaysHowFarTheMembersAre()
    {
        await using ThreeNodes cluster = await StartAsync();
        await FillAsync(cluster.Nodes[1], 0);
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            foreach (ReplicaStatus one in await node.GetStatusAsync())
            {
                Assert.Equal(one.Role == "leader", one.Progress.Count > 0);
            }

            // On a busy machine a leader may not say so at once.
            IReadOnlyList<ReplicaStatus> asked;
            do
            {
                asked = await node.GetStatusAsync(asksLeaders: true);
            }
            while (asked.Any(static one => one.Progress.Count == 0));

            Assert.All(asked, static one => Assert.Equal(new long[] { 1, 2, 3 }.Where(member => member != one.Leader), one.Progress.Keys.Order()));
        }
    }

    [Fact]
    public async Task FirstNodesWithOtherPartitionsStopBeforeTheyAgreeOnAnything()
    {
        await using var cluster = new ThreeNodes { RequestTimeout = TimeSpan.FromSeconds(2) };
        cluster.Open(1, joins: false, SplitAt, 1, 2);
        cluster.Open(2, joins: false, ["m"u8.ToArray()], 1, 2);
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            IReadOnlyList<ReplicaStatus> status;
            do
            {
                status = await node.GetStatusAsync();
            }
            while (status.Any(static one => one.Failure is null));

            Assert.All(status, static one => Assert.Contains("split-at", one.Failure, StringComparison.Ordinal));
            WriteResult refused = await node.Store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray());
            Assert.Equal(Status.Failed, refused.Status);
            Assert.Contains("other partitions", refused.Detail, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task ANodeThatWasStartedWronglyDoesNotDisturbTheOthers()
    {
        await using var cluster = new ThreeNodes { SplitAt = SplitAt };
        cluster.Open(1, 1, 2, 3);
        cluster.Open(2, 1, 2, 3);
        await FillAsync(cluster.Nodes[1], 0);
        ClusterNode wrong = cluster.Open(3, joins: false, ["m"u8.ToArray()], 1, 2, 3);
        IReadOnlyList<ReplicaStatus> status;
        do
        {
            status = await wrong.GetStatusAsync();
        }
        while (status.Any(static one => one.Failure is null));

        Assert.All(status, static one => Assert.Contains("has other partitions (3 partitions, split at 'g' 'p') than this node (2 partitions, split at 'm')", one.Failure, StringComparison.Ordinal));
        await FillAsync(cluster.Nodes[2], 1);
        await CheckAsync(cluster.Nodes[1], 1);
        Assert.All(await cluster.Nodes[1].GetStatusAsync(), static one => Assert.Null(one.Failure));
    }

    [Fact] // Who is no first member of its groups has no part in what it holds
    public async Task ANodeThatIsAddedThoughItWasStartedWronglyDoesNotStopTheFirst()
    {
        await using var cluster = new ThreeNodes { SplitAt = SplitAt, RequestTimeout = TimeSpan.FromSeconds(2) };
        ClusterNode alone = cluster.Open(1, 1);
        await FillAsync(alone, 0);
        Assert.Equal(Status.Unavailable, (await alone.AddNodeAsync(4, Fourth)).Status);
        ClusterNode wrong = cluster.Open(4, joins: false, ["m"u8.ToArray()], 1, 4);
        IReadOnlyList<ReplicaStatus> status;
        do
        {
            status = await wrong.GetStatusAsync();
        }
        while (status.Any(static one => one.Failure is null));

        Assert.All(await alone.GetStatusAsync(), static one => Assert.Null(one.Failure));
        Assert.Contains("node 4 has other partitions", alone.LayoutFailure, StringComparison.Ordinal);
        await FillAsync(alone, 1);
        await CheckAsync(alone, 1);
    }

    private static async Task<ThreeNodes> StartAsync(TimeSpan? requestTimeout = null)
    {
        ThreeNodes cluster = ThreeNodes.Start(requestTimeout, splitAt: SplitAt);
        await cluster.LeaderAsync();
        for (int partition = 1; partition <= 3; partition++)
        {
            await cluster.LeadAsync(partition, partition);
        }

        return cluster;
    }

    private static void Done(ClusterChange change, int partitions)
    {
        Assert.Equal((Status.Ok, (string?)null), (change.Status, change.Detail));
        Assert.Equal(partitions, change.Partitions.Count);
    }

    private static async Task FillAsync(ClusterNode node, int round)
    {
        for (int i = 0; i < Keys; i++)
        {
            WriteResult written = await node.Store.UpsertAsync(Key(i), Value(i, round));
            Assert.Equal((Status.Ok, (string?)null), (written.Status, written.Detail));
        }
    }

    private static async Task CheckAsync(ClusterNode node, int round)
    {
        Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
        for (int i = 0; i < Keys; i++)
        {
            using ValueLease lease = node.Store.Get(Key(i));
            Assert.Equal(Value(i, round), lease.Value.ToArray());
        }
    }

    private static string Shown(PartitionInfo one) => $"{one.Id} {Convert.ToHexString(one.Range.From.Span)} {Convert.ToHexString(one.Range.To.Span)} {one.Engine}";

    // Of each partition as many.
    private static byte[] Key(int number) => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{"ahq"[number % 3]}{number}"));

    private static byte[] Value(int number, int round) => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{number} in round {round}"));
}
