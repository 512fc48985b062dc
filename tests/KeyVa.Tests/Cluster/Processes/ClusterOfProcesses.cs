using KeyVa.Client;
using KeyVa.Cluster.Transport.ZeroMq;
using Xunit;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>
/// Three nodes as processes: on loopback, or each in a network namespace of its own that tests/cluster/namespaces.sh has made (KEYVA_TEST_NAMESPACES
/// is their prefix), with keys and links that can be cut.
/// </summary>
internal sealed class ClusterOfProcesses : IAsyncDisposable
{
    public static readonly TimeSpan ElectionTimeout = TimeSpan.FromSeconds(1);

    /// <summary>For tests that go by who leads, or want each request answered at once: longer than a busy machine or a slow disk keeps a leader from its heartbeats.</summary>
    public static readonly string[] SteadyLeaders = ["--election-timeout", "5s"];

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly string _folder = Directory.CreateTempSubdirectory("keyva-cluster-").FullName;
    private string _peers = "";
    private string[] _settings = [];

    private ClusterOfProcesses()
    {
    }

    /// <summary>The namespaces' prefix; null: there are none.</summary>
    public static string? Namespaces { get; } = Environment.GetEnvironmentVariable("KEYVA_TEST_NAMESPACES");

    public NodeProcess[] Nodes { get; private set; } = [];

    /// <summary>Starts the nodes and returns when one leads. A data folder and a launcher of its own may be given to a node.</summary>
    public static async Task<ClusterOfProcesses> StartAsync(int number = 0, string? data = null, string[]? launcher = null, params string[] settings)
    {
        ClusterOfProcesses cluster = new();
        string[] hosts = [.. Enumerable.Range(1, 3).Select(static i => Namespaces is null ? "127.0.0.1" : $"10.199.0.{i}")];
        int[][] ports = [.. Enumerable.Range(0, 3).Select(static _ => Namespaces is null ? Ports.Take(5) : [7400, 7401, 7402, 7403, 7404])];
        string[] keyFiles = [.. Enumerable.Range(1, 3).Select(i => Path.Combine(cluster._folder, $"node{i}.key"))];
        string[] keys = [.. keyFiles.Select(static file => Namespaces is null ? "" : MakeKeys(file))];
        string peers = string.Join(',', Enumerable.Range(0, 3).Select(i => $"{i + 1}={hosts[i]}:{ports[i][4]}{keys[i]}"));
        cluster.Nodes = [.. Enumerable.Range(0, 3).Select(i => new NodeProcess(
            i + 1, hosts[i], ports[i],
            i + 1 == number && data is not null ? data : Path.Combine(cluster._folder, $"node{i + 1}"),
            peers,
            [.. Namespaces is null ? Array.Empty<string>() : ["ip", "netns", "exec", $"{Namespaces}{i + 1}"], .. i + 1 == number && launcher is not null ? launcher : []],
            [.. Namespaces is null ? Array.Empty<string>() : ["--peer-keys", keyFiles[i]], .. settings]))];
        (cluster._peers, cluster._settings) = (peers, settings);
        foreach (NodeProcess node in cluster.Nodes)
        {
            node.Start();
        }

        await cluster.LeaderAsync();
        return cluster;
    }

    /// <summary>Starts one more node, on loopback, which waits to be added.</summary>
    public NodeProcess StartAnother()
    {
        int number = Nodes.Length + 1;
        int[] ports = Ports.Take(5);
        NodeProcess node = new(
            number, "127.0.0.1", ports, Path.Combine(_folder, $"node{number}"), $"{_peers},{number}=127.0.0.1:{ports[4]}", [], ["--cluster-join", "true", .. _settings]);
        Nodes = [.. Nodes, node];
        node.Start();
        return node;
    }

    /// <summary>The node that leads, as a majority sees it.</summary>
    public async Task<NodeProcess> LeaderAsync()
    {
        using CancellationTokenSource limit = new(Patience);
        while (true)
        {
            ClusterView?[] views = await Task.WhenAll(Nodes.Select(static node => node.IsRunning ? node.ViewAsync() : Task.FromResult<ClusterView?>(null)));
            IGrouping<long, ClusterView>? most = views.OfType<ClusterView>().Where(static view => view.Replicas.Count > 0).GroupBy(static view => view.Replicas[0].Leader)
                .Where(static one => one.Key > 0).MaxBy(static one => one.Count());
            if (most is not null && most.Count() >= 2)
            {
                return Nodes[most.Key - 1];
            }

            limit.Token.ThrowIfCancellationRequested();
            await Pause.ForAsync(TimeSpan.FromMilliseconds(50));
        }
    }

    /// <summary>Waits until all nodes have applied the same log.</summary>
    public async Task CaughtUpAsync(TimeSpan? patience = null)
    {
        using CancellationTokenSource limit = new(patience ?? Patience);
        while (true)
        {
            ClusterView?[] views = await Task.WhenAll(Nodes.Select(static node => node.ViewAsync()));
            if (views.All(static view => view?.Replicas.Count > 0) && views.Select(static view => view!.Replicas[0].AppliedIndex).Distinct().Count() == 1
                && views.All(static view => view!.Replicas[0].AppliedIndex == view.Replicas[0].LastIndex))
            {
                return;
            }

            if (limit.IsCancellationRequested)
            {
                Assert.Fail($"the nodes did not come to the same\n{await DescribeAsync()}");
            }

            await Pause.ForAsync(TimeSpan.FromMilliseconds(50));
        }
    }

    /// <summary>What each node says of itself and has logged, for whom a test fails.</summary>
    public async Task<string> DescribeAsync()
    {
        ClusterView?[] views = await Task.WhenAll(Nodes.Select(static node => node.ViewAsync()));
        return string.Join('\n', Nodes.Select((node, i) => $"node {node.Number}: {(views[i]?.Replicas is [ReplicaView one, ..] ? one.ToString() : "no answer")}\n{node.Errors}"));
    }

    public async ValueTask DisposeAsync()
    {
        foreach (NodeProcess node in Nodes)
        {
            node.Dispose();
        }

        await Task.CompletedTask;
        Directory.Delete(_folder, recursive: true);
    }

    private static string MakeKeys(string file)
    {
        NodeKeys keys = NodeKeys.Create();
        keys.Save(file);
        return "/" + keys.PublicKey;
    }
}

/// <summary>Real processes need real time to be wrong in: how long a fault lasts is what these tests are about.</summary>
internal static class Pause
{
    public static async Task ForAsync(TimeSpan time)
    {
        using PeriodicTimer timer = new(time);
        await timer.WaitForNextTickAsync();
    }
}
