using System.Globalization;
using System.Text;
using KeyVa.Client;
using KeyVa.Tests.Cli;
using Xunit;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>Three processes with three partitions, each led by another one: a fourth joins and one leaves while clients write, by one command each.</summary>
public sealed class ClusterMemberTests
{
    private const int Writers = 3;
    private const int MinWrites = 30;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    [Fact]
    public async Task ANodeJoinsAndOneLeavesAllPartitionsUnderLoad()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(settings: ["--split-at", @"g,\x70"]);
        for (int partition = 1; partition <= 3; partition++)
        {
            await LeadAsync(cluster, partition, cluster.Nodes[partition - 1]);
        }

        NodeProcess joined = cluster.StartAnother();
        Assert.Empty((await joined.ViewAsync(static _ => true)).Replicas);
        using CancellationTokenSource ending = new();
        long[] acknowledged = new long[Writers];
        Task[] writers = [.. Enumerable.Range(0, Writers).Select(i => WriteAsync(cluster.Nodes, i, acknowledged, ending.Token))];

        // Neither of the nodes that are asked leads all, and the second one goes itself.
        await MoveOnAsync(acknowledged);
        string added = await RunAsync(cluster.Nodes[1], "admin", "cluster", "add-node", "4", joined.Peer);
        Assert.Contains("partition 3: done", added, StringComparison.Ordinal);
        Assert.EndsWith("added 4\n", added, StringComparison.Ordinal);
        await MoveOnAsync(acknowledged);
        string removed = await RunAsync(cluster.Nodes[1], "admin", "cluster", "remove-node", "2");
        Assert.EndsWith("removed 2\n", removed, StringComparison.Ordinal);
        cluster.Nodes[1].Kill();
        await MoveOnAsync(acknowledged);
        await ending.CancelAsync();
        await Task.WhenAll(writers);
        foreach (NodeProcess node in (NodeProcess[])[cluster.Nodes[0], cluster.Nodes[2], joined])
        {
            // The others have agreed on it, this one may hear of it a little later.
            ClusterView view = await node.ViewAsync(static view => view.Replicas.All(static one => one.Voters.SequenceEqual([1, 3, 4]) && one.Learners.Count == 0));
            Assert.Equal([1L, 2L, 3L], view.Replicas.Select(static one => one.Partition));
            await CheckAsync(node, acknowledged);
        }

        // Each of them does without one of the others.
        Assert.EndsWith("leads: node 4\n", await RunAsync(cluster.Nodes[0], "admin", "cluster", "transfer", "4"), StringComparison.Ordinal);
        Assert.Contains("leader", await RunAsync(joined, "admin", "cluster", "status"), StringComparison.Ordinal);
        cluster.Nodes[2].Kill();
        await CheckAsync(joined, acknowledged);
    }

    private static async Task LeadAsync(ClusterOfProcesses cluster, int partition, NodeProcess node)
    {
        using CancellationTokenSource limit = new(Patience);
        await using RemoteControl control = RemoteControl.Connect(cluster.Nodes[0].Control, new RemoteOptions { Deadline = Patience, Credentials = NodeProcess.Credentials });
        ClusterChangeView change;
        do
        {
            change = await control.TransferLeadershipAsync(node.Number, partition, limit.Token);
        }
        while (!change.IsDone);

        Assert.Equal([partition], change.Partitions.Select(static one => (int)one.Partition));
    }

    private static async Task<string> RunAsync(NodeProcess node, params string[] arguments)
    {
        (int code, string output, string error) = await CommandLine.RunAsync(node.Data, node.Control, "", arguments);
        Assert.True(code == 0, $"{string.Join(' ', arguments)} by node {node.Number}: exit code {code}, {output}{error}");
        return output;
    }

    /// <summary>Writes to all partitions in turn, to one node after the other whenever one does not answer; notes how far everything was acknowledged.</summary>
    private static async Task WriteAsync(NodeProcess[] nodes, int writer, long[] acknowledged, CancellationToken ending)
    {
        int at = writer;
        RemoteOptions options = new() { Deadline = TimeSpan.FromSeconds(10), ConnectRetries = 0, Credentials = NodeProcess.Credentials };
        RemoteStore store = RemoteStore.Connect(nodes[at % nodes.Length].Data, options);
        for (long number = 1; !ending.IsCancellationRequested;)
        {
            Status status;
            try
            {
                status = (await store.UpsertAsync(Key(writer, number), Value(number), cancellation: CancellationToken.None)).Status;
            }
            catch (ServerUnreachableException)
            {
                status = Status.Unknown;
            }

            if (status == Status.Ok)
            {
                Volatile.Write(ref acknowledged[writer], number++);
                continue;
            }

            // The same again by another one: it may be done twice, and comes to the same.
            await store.DisposeAsync();
            store = RemoteStore.Connect(nodes[++at % nodes.Length].Data, options);
        }

        await store.DisposeAsync();
    }

    /// <summary>Waits until each writer has had more acknowledged.</summary>
    private static async Task MoveOnAsync(long[] acknowledged)
    {
        long[] before = [.. acknowledged];
        using CancellationTokenSource limit = new(Patience);
        while (before.Where((number, i) => Volatile.Read(ref acknowledged[i]) < number + MinWrites).Any())
        {
            limit.Token.ThrowIfCancellationRequested();
            await Pause.ForAsync(TimeSpan.FromMilliseconds(20));
        }
    }

    private static async Task CheckAsync(NodeProcess node, long[] acknowledged)
    {
        await using RemoteStore store = RemoteStore.Connect(node.Data, new RemoteOptions { Deadline = Patience, Credentials = NodeProcess.Credentials });
        for (int writer = 0; writer < Writers; writer++)
        {
            for (long number = 1; number <= acknowledged[writer]; number++)
            {
                ReadResult read = await store.GetAsync(Key(writer, number));
                Assert.True(read.Status == Status.Ok && read.Record.Value.Span.SequenceEqual(Value(number)), $"node {node.Number} has not write {number} of writer {writer}, which was acknowledged: {read.Status}, {read.Detail}");
            }
        }
    }

    private static byte[] Key(int writer, long number) => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{"ahq"[(int)(number % 3)]}{writer}-{number}"));

    private static byte[] Value(long number) => Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture));
}
