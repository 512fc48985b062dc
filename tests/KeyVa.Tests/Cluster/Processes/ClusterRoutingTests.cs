using System.Diagnostics;
using System.Net;
using System.Text;
using System.Text.Json;
using KeyVa.Client;
using KeyVa.Tests.Cli;
using Xunit;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>Clients that would rather go to the leader than have a node ask it are told where it is, over each front door; all others are served by any node.</summary>
public sealed class ClusterRoutingTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private static readonly byte[] Value = "value"u8.ToArray();

    private readonly HttpClient _http = new();

    [Fact]
    public async Task WhoDoesNotWantToBeForwardedIsToldTheLeader()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(settings: ["--split-at", "m", .. ClusterOfProcesses.SteadyLeaders]);
        await LeadAsync(cluster, 1, cluster.Nodes[0]);
        await LeadAsync(cluster, 2, cluster.Nodes[1]);
        foreach (NodeProcess node in cluster.Nodes)
        {
            await OverRestAsync(cluster, node);
            await OverGrpcAsync(cluster, node);
            await OverTheCommandLineAsync(cluster, node);
        }

        // Another one leads, and is named, when the leader is gone.
        cluster.Nodes[0].Kill();
        (NodeProcess served, _) = await FollowAsync(cluster, cluster.Nodes[2], HttpMethod.Put, "/kv/a");
        Assert.NotSame(cluster.Nodes[0], served);
    }

    private async Task OverRestAsync(ClusterOfProcesses cluster, NodeProcess first)
    {
        foreach ((string key, NodeProcess leader) in ((string, NodeProcess)[])[("a", cluster.Nodes[0]), ("z", cluster.Nodes[1])])
        {
            string path = "/kv/" + key;
            foreach ((HttpMethod method, string target) in ((HttpMethod, string)[])[
                (HttpMethod.Put, path), (HttpMethod.Get, path), (HttpMethod.Get, $"{path}?encoding=base64url"), (HttpMethod.Head, path), (HttpMethod.Patch, $"{path}?function=append"),
                (HttpMethod.Get, "/history/" + key), (HttpMethod.Get, $"/kv?prefix={key}"), (HttpMethod.Delete, path), (HttpMethod.Delete, $"/kv?prefix={key}"), (HttpMethod.Post, "/kv:batch"), (HttpMethod.Post, "/kv:get")])
            {
                // A key in base64url is another one.
                string asked = target.Replace($"/{key}?encoding", $"/{(key == "a" ? "YQ" : "eg")}?encoding", StringComparison.Ordinal);
                (NodeProcess served, int hops) = await FollowAsync(cluster, first, method, asked, key);
                Assert.True(served == leader && hops == (first == leader ? 0 : 1), $"{method} {asked} by node {first.Number}: served by {served.Number} after {hops} hops");
            }
        }

        // Nobody leads all that these touch.
        foreach ((HttpMethod method, string target) in ((HttpMethod, string)[])[(HttpMethod.Get, "/kv"), (HttpMethod.Delete, "/kv?all=true")])
        {
            using HttpResponseMessage refused = await SendAsync(first, method, target, "no");
            Assert.Equal(HttpStatusCode.MisdirectedRequest, refused.StatusCode);
        }

        using HttpResponseMessage forwarded = await SendAsync(first, HttpMethod.Get, "/kv", "yes");
        Assert.Equal(HttpStatusCode.OK, forwarded.StatusCode);
        using HttpResponseMessage wrong = await SendAsync(first, HttpMethod.Put, "/kv/a", "maybe");
        Assert.Equal(HttpStatusCode.BadRequest, wrong.StatusCode);
        Assert.Contains("neither 'yes' nor 'no'", await wrong.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    private static async Task OverGrpcAsync(ClusterOfProcesses cluster, NodeProcess node)
    {
        await using RemoteStore any = RemoteStore.Connect(node.Data);
        await using RemoteStore store = RemoteStore.Connect(node.Data, new RemoteOptions { Forwards = false });
        foreach ((byte[] key, NodeProcess leader) in ((byte[], NodeProcess)[])[("a"u8.ToArray(), cluster.Nodes[0]), ("z"u8.ToArray(), cluster.Nodes[1])])
        {
            Status expected = node == leader ? Status.Ok : Status.BadNode;
            Assert.True((await any.UpsertAsync(key, Value)).IsOk);
            WriteResult written = await store.UpsertAsync(key, Value);
            Assert.Equal(expected, written.Status);
            if (expected != Status.Ok)
            {
                Assert.Contains($"node {leader.Number} leads partition", written.Detail, StringComparison.Ordinal);
                Assert.Contains($"{leader.Data} (gRPC)", written.Detail, StringComparison.Ordinal);
            }

            using var batch = new WriteBatch();
            Assert.Equal(expected, (await store.WriteAsync(batch.Put(key, Value))).Status);
            Assert.Equal(expected, (await store.RemoveAsync(key)).Status);
            Assert.Equal(expected == Status.Ok ? Status.NotFound : expected, await StatusOfAsync(async () => (await store.GetAsync(key)).Status));
            Assert.Equal(expected, await StatusOfAsync(async () =>
            {
                await foreach (Record record in store.ScanAsync(new ScanOptions { Prefix = key }))
                {
                    Assert.Equal(key, record.Key.ToArray());
                }

                return Status.Ok;
            }));
        }

        using var both = new WriteBatch();
        Assert.Equal(Status.BadNode, (await store.WriteAsync(both.Put("a"u8, Value).Put("z"u8, Value))).Status);
    }

    private static async Task OverTheCommandLineAsync(ClusterOfProcesses cluster, NodeProcess node)
    {
        (int code, _, string error) = await CommandLine.RunAsync(node.Data, node.Control, "", ["set", "a", "1", "--no-forward"]);
        Assert.Equal(node == cluster.Nodes[0] ? 0 : 4, code);
        Assert.Equal(node != cluster.Nodes[0], error.Contains(cluster.Nodes[0].Data, StringComparison.Ordinal));
        (code, _, _) = await CommandLine.RunAsync(node.Data, node.Control, "", ["set", "a", "1"]);
        Assert.Equal(0, code);
    }

    private static async Task<Status> StatusOfAsync(Func<Task<Status>> read)
    {
        try
        {
            return await read();
        }
        catch (RefusedException refused)
        {
            return refused.Status;
        }
    }

    /// <summary>Goes from node to node as it is told, until one serves the request.</summary>
    private async Task<(NodeProcess Served, int Hops)> FollowAsync(ClusterOfProcesses cluster, NodeProcess first, HttpMethod method, string target, string key = "a")
    {
        NodeProcess at = first;
        int hops = 0;
        long begin = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(begin) < Patience)
        {
            using HttpResponseMessage answer = await SendAsync(at, method, target, "no", key);
            if (answer.StatusCode == HttpStatusCode.ServiceUnavailable)
            {
                // Nobody leads for the moment.
                await Pause.ForAsync(TimeSpan.FromMilliseconds(20));
                continue;
            }

            if (answer.StatusCode != HttpStatusCode.MisdirectedRequest)
            {
                Assert.True(answer.IsSuccessStatusCode || answer.StatusCode == HttpStatusCode.NotFound, $"{method} {target}: {answer.StatusCode} {await answer.Content.ReadAsStringAsync()}");
                return (at, hops);
            }

            string leader = Assert.Single(answer.Headers.GetValues("KeyVa-Leader"));
            NodeProcess named = cluster.Nodes.Single(node => leader.Contains($"rest={node.Rest},", StringComparison.Ordinal));
            Assert.StartsWith($"node={named.Number}, rest={named.Rest}, grpc={named.Data}, control={named.Control}, resp={named.Redis}", leader, StringComparison.Ordinal);
            if (method != HttpMethod.Head)
            {
                using JsonDocument problem = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
                Assert.Equal("bad-node", problem.RootElement.GetProperty("keyva-status").GetString());
                Assert.Equal(named.Number, problem.RootElement.GetProperty("leader").GetProperty("node").GetInt32());
                Assert.Equal(named.Rest, problem.RootElement.GetProperty("leader").GetProperty("rest").GetString());
            }

            // A leader that is gone is named until it is missed.
            at = named.IsRunning ? named : at;
            hops++;
        }

        throw new TimeoutException($"{method} {target} was sent on {hops} times");
    }

    private async Task<HttpResponseMessage> SendAsync(NodeProcess node, HttpMethod method, string target, string forward, string key = "a")
    {
        using HttpRequestMessage request = new(method, new Uri($"http://{node.Rest}{target}")) { Headers = { { "KeyVa-Forward", forward } } };
        request.Content = target switch
        {
            "/kv:batch" => new StringContent($$"""{"operations": [{"op": "put", "key": "{{key}}", "value": "1"}]}""", Encoding.UTF8, "application/json"),
            "/kv:get" => new StringContent($$"""{"keys": ["{{key}}", "{{key}}1"]}""", Encoding.UTF8, "application/json"),
            _ when method == HttpMethod.Put || method == HttpMethod.Patch => new ByteArrayContent(Value),
            _ => null,
        };
        return await _http.SendAsync(request);
    }

    private static async Task LeadAsync(ClusterOfProcesses cluster, int partition, NodeProcess node)
    {
        await using RemoteControl control = RemoteControl.Connect(cluster.Nodes[0].Control);
        ClusterChangeView change;
        do
        {
            change = await control.TransferLeadershipAsync(node.Number, partition);
        }
        while (!change.IsDone);

        // All nodes know before long.
        while ((await Task.WhenAll(cluster.Nodes.Select(static one => one.ViewAsync()))).Any(view => view?.Replicas.Single(one => one.Partition == partition).Leader != node.Number))
        {
            await Pause.ForAsync(TimeSpan.FromMilliseconds(20));
        }
    }
}
