using System.Net;
using System.Text;
using KeyVa.Client;
using KeyVa.Tests.Cli;
using KeyVa.Tests.Cluster.Transport;
using KeyVa.Tests.Resp;
using Xunit;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>Acknowledgement and receipts as each front door of a cluster has them, and what Redis clients of a cluster read.</summary>
public sealed class ClusterDoorTests
{
    private static readonly byte[] Key = "key"u8.ToArray();
    private static readonly byte[] Value = "value"u8.ToArray();

    [Fact]
    public async Task EveryDoorTakesAClassAndGivesAReceipt()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(settings: ClusterOfProcesses.SteadyLeaders);
        foreach (NodeProcess node in cluster.Nodes)
        {
            await OverGrpcAsync(node);
            await OverRestAsync(node);
            await OverTheCommandLineAsync(node);
        }
    }

    [Fact]
    public async Task RedisClientsReadWhatWasAcknowledgedAnywhere()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(settings: ClusterOfProcesses.SteadyLeaders);
        RespSocket[] clients = await Task.WhenAll(cluster.Nodes.Select(static node => RespSocket.ConnectAsync(IPEndPoint.Parse(node.Redis))));
        try
        {
            for (int i = 0; i < 300; i++)
            {
                RespSocket writer = clients[i % 3];
                RespSocket reader = clients[(i + 1 + (i / 3 % 2)) % 3];
                string text = $"value {i}";
                Assert.Equal("+OK", await writer.CallAsync("SET", "key", text));

                // Several reads of a pipeline, of which some are no plain gets.
                await reader.SendRawAsync(RespSocket.Encode("GET", "key") + RespSocket.Encode("EXISTS", "key") + RespSocket.Encode("GET", "key") + RespSocket.Encode("MGET", "key", "none"));
                Assert.Equal(text, await reader.ReadAsync());
                Assert.Equal(":1", await reader.ReadAsync());
                Assert.Equal(text, await reader.ReadAsync());
                Assert.Equal($"[{text}, nil]", await reader.ReadAsync());
            }
        }
        finally
        {
            foreach (RespSocket client in clients)
            {
                await client.DisposeAsync();
            }
        }
    }

    [Fact]
    public async Task AWriteThatWasSentBeforeIsUnknownThoughTheLastAttemptNeverLeft()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync();
        NodeProcess node = cluster.Nodes[0];
        TcpRelay relay = new(() => IPEndPoint.Parse(node.Data).Port);
        RemoteOptions options = new() { WriteRetries = 1, ConnectRetries = 0, Credentials = NodeProcess.Credentials };
        await using RemoteStore store = RemoteStore.Connect($"127.0.0.1:{relay.Port}", options);
        Assert.Equal(Status.Ok, (await store.UpsertAsync(Key, Value)).Status);

        // The node has the request and cannot answer; then nobody can be reached any more. It is longer than all else that a client has to say.
        node.Stop();
        byte[] large = new byte[20_000];
        long passed = relay.Passed;
        Task<WriteResult> write = store.UpsertAsync(Key, large).AsTask();
        while (relay.Passed < passed + large.Length)
        {
            await Pause.ForAsync(TimeSpan.FromMilliseconds(5));
        }

        await relay.DisposeAsync();
        ServerUnreachableException lost = await Assert.ThrowsAsync<ServerUnreachableException>(() => write);
        node.Continue();
        Assert.False(lost.NothingSent, lost.Message);
        Assert.Contains("unknown", lost.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WaitCountsReplicasAndReadsFailWithoutAMajority()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(settings: ["--request-timeout", "6s"]);
        NodeProcess leader = await cluster.LeaderAsync();
        NodeProcess[] others = [.. cluster.Nodes.Where(node => node != leader)];
        await using RespSocket first = await RespSocket.ConnectAsync(IPEndPoint.Parse(leader.Redis));
        await using RespSocket second = await RespSocket.ConnectAsync(IPEndPoint.Parse(others[0].Redis));
        foreach (RespSocket client in (RespSocket[])[first, second])
        {
            Assert.Equal("+OK", await client.CallAsync("SET", "key", "value"));
            Assert.Equal(":2", await client.CallAsync("WAIT", "2", "60000"));
            Assert.Equal(":1", await client.CallAsync("INCR", $"counter{client.GetHashCode()}"));
            Assert.Equal(":2", await client.CallAsync("WAIT", "2", "60000"));
        }

        others[1].Kill();
        foreach (RespSocket client in (RespSocket[])[first, second])
        {
            Assert.Equal("+OK", await client.CallAsync("SET", "key", "other"));
            Assert.Equal(":1", await client.CallAsync("WAIT", "1", "60000"));
            Assert.Equal(":1", await client.CallAsync("WAIT", "2", "200"));
        }

        others[0].Kill();
        Assert.Contains("no leader", await first.CallAsync("GET", "key"), StringComparison.Ordinal);
        Assert.Contains("no leader", await first.CallAsync("MGET", "key", "other"), StringComparison.Ordinal);
        Assert.Equal("+PONG", await first.CallAsync("PING"));
    }

    /// <summary>Set at one node by the command line, it counts for Redis clients of another, who cannot say what they want, and for all others who do not.</summary>
    [Fact]
    public async Task APartitionsOwnDefaultCountsOverEveryDoor()
    {
        // Long, so that the leader does not miss the others before all is written, however slow the machine is.
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(settings: ["--election-timeout", "15s"]);
        NodeProcess leader = await cluster.LeaderAsync();
        NodeProcess other = cluster.Nodes.First(node => node != leader);
        (int code, string output, string error) = await CommandLine.RunAsync(other.Data, other.Control, "", ["admin", "partition", "set", "1", "acknowledgement=async"]);
        Assert.True(code == 0 && output.Contains("acknowledgement=async", StringComparison.Ordinal), output + error);
        (code, output, error) = await CommandLine.RunAsync(other.Data, other.Control, "", ["admin", "partition", "set", "1", "acknowledgement=semi-sync=3"]);
        Assert.True(code == 2 && error.Contains("has 2 that vote", StringComparison.Ordinal), output + error);
        await cluster.CaughtUpAsync();
        (code, output, error) = await CommandLine.RunAsync(leader.Data, leader.Control, "", ["--json", "admin", "partition", "list"]);
        Assert.True(code == 0 && output.Contains("\"settings\":{\"acknowledgement\":\"async\"}", StringComparison.Ordinal), output + error);
        await using RespSocket redis = await RespSocket.ConnectAsync(IPEndPoint.Parse(leader.Redis));
        await using RemoteStore store = RemoteStore.Connect(leader.Data);
        using HttpClient http = new() { BaseAddress = new Uri($"http://{leader.Rest}") };

        // The leader goes on until it misses them, and nothing is committed meanwhile.
        foreach (NodeProcess node in cluster.Nodes.Where(node => node != leader))
        {
            node.Stop();
        }

        Assert.Equal("+OK", await redis.CallAsync("SET", "redis", "value"));
        Assert.Equal(":0", await redis.CallAsync("WAIT", "1", "1"));
        Assert.Equal(AcknowledgementClass.Async, (await store.UpsertAsync(Key, Value)).Receipt.Class);
        using HttpResponseMessage answer = await http.PutAsync(new Uri("/kv/rest", UriKind.Relative), new ByteArrayContent(Value));
        Assert.Contains("class=async", Assert.Single(answer.Headers.GetValues("KeyVa-Receipt")), StringComparison.Ordinal);
        foreach (NodeProcess node in cluster.Nodes.Where(node => node != leader))
        {
            node.Continue();
        }
    }

    [Fact]
    public async Task NoDoorTakesReplicasOfAVolatilePartition()
    {
        // A store that was alone and has a volatile partition beside another: so it comes into a cluster.
        string folder = Directory.CreateTempSubdirectory("keyva-volatile-").FullName;
        await using (Store alone = Store.Open(folder, new StoreOptions { JournalSegmentBytes = 1 << 20 }))
        {
            Assert.Equal(Status.Ok, alone.Partitions.Remove(1, discardData: true).Status);
            Assert.Equal(Status.Ok, alone.Partitions.Add(new KeyRange(default, "b"u8.ToArray())).Status);
            Assert.Equal(Status.Ok, alone.Partitions.Add(new KeyRange("b"u8.ToArray(), default), EngineKind.Memory, isVolatile: true).Status);
        }

        int[] ports = Ports.Take(5);
        using NodeProcess node = new(1, "127.0.0.1", ports, folder, $"1=127.0.0.1:{ports[4]}", []);
        node.Start();
        const string Refusal = "partition 3 is volatile";
        await using RemoteStore store = RemoteStore.Connect(node.Data);
        WriteResult refused = await store.UpsertAsync(Key, Value, new WriteOptions { Acknowledgement = Acknowledgement.SemiSync(1) });
        Assert.Equal(Status.Invalid, refused.Status);
        Assert.Contains(Refusal, refused.Detail, StringComparison.Ordinal);
        using HttpClient http = new() { BaseAddress = new Uri($"http://{node.Rest}") };
        foreach (string target in (string[])["/kv/rest", "/kv:batch"])
        {
            using HttpRequestMessage request = target == "/kv:batch"
                ? new(HttpMethod.Post, target) { Content = new StringContent("""{"operations": [{"op": "put", "key": "rest", "value": "1"}]}""", Encoding.UTF8, "application/json") }
                : new(HttpMethod.Put, target) { Content = new ByteArrayContent(Value) };
            request.Headers.Add("KeyVa-Acknowledgement", "semi-sync=1");
            using HttpResponseMessage answer = await http.SendAsync(request);
            Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
            Assert.Contains(Refusal, await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        (int code, string output, string error) = await CommandLine.RunAsync(node.Data, node.Control, "", ["set", "cli", "value", "--ack", "semi-sync=1"]);
        Assert.True(code == 2 && error.Contains(Refusal, StringComparison.Ordinal), $"{code} {output} {error}");
        Assert.True((await store.UpsertAsync(Key, Value)).IsOk);
        node.Kill();
        Directory.Delete(folder, recursive: true);
    }

    private static async Task OverGrpcAsync(NodeProcess node)
    {
        await using RemoteStore store = RemoteStore.Connect(node.Data);
        foreach (Acknowledgement asked in (Acknowledgement[])[Acknowledgement.Async, Acknowledgement.SemiSync(2), Acknowledgement.Sync])
        {
            WriteResult written = await store.UpsertAsync(Key, Value, new WriteOptions { Acknowledgement = asked });
            AssertReached(asked, written);
            using WriteBatch batch = new() { Acknowledgement = asked };
            AssertReached(asked, await store.WriteAsync(batch.Remove(Key).Put("other"u8, Value)));
        }

        WriteResult refused = await store.UpsertAsync(Key, Value, new WriteOptions { Acknowledgement = Acknowledgement.SemiSync(3) });
        Assert.Equal(Status.Invalid, refused.Status);
        Assert.Contains("has 2", refused.Detail, StringComparison.Ordinal);
        Assert.Equal(Status.Invalid, (await store.IncrementAsync("counter"u8.ToArray(), options: new WriteOptions { Acknowledgement = Acknowledgement.Async })).Status);
        Assert.Equal(AcknowledgementClass.Sync, (await store.RemoveAsync(Key)).Receipt.Class);
        await using ITransaction transaction = await store.BeginAsync();
        Assert.Equal(Status.Invalid, (await transaction.PutAsync(Key, Value, new WriteOptions { Acknowledgement = Acknowledgement.Async })).Status);
        Assert.True((await transaction.PutAsync(Key, Value)).IsOk);
        CommitResult committed = await transaction.CommitAsync();
        Assert.True(committed is { IsOk: true, Receipt: { Class: AcknowledgementClass.Sync, Replicas: >= 2 } }, $"{committed.Status} {committed.Receipt}");
    }

    private static async Task OverRestAsync(NodeProcess node)
    {
        using HttpClient http = new() { BaseAddress = new Uri($"http://{node.Rest}") };
        foreach (string asked in (string[])["async", "semi-sync=2", "sync"])
        {
            foreach (HttpMethod method in (HttpMethod[])[HttpMethod.Put, HttpMethod.Delete])
            {
                using HttpRequestMessage request = new(method, "/kv/rest") { Content = method == HttpMethod.Put ? new ByteArrayContent(Value) : null, Headers = { { "KeyVa-Acknowledgement", asked } } };
                using HttpResponseMessage answer = await http.SendAsync(request);
                Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
                string receipt = Assert.Single(answer.Headers.GetValues("KeyVa-Receipt"));
                Assert.StartsWith("partition=1, term=", receipt, StringComparison.Ordinal);
                Assert.Contains(asked == "semi-sync=2" ? "replicas=3" : "class=", receipt, StringComparison.Ordinal);
            }

            using StringContent body = new("""{"operations": [{"op": "put", "key": "rest", "value": "1"}]}""", Encoding.UTF8, "application/json");
            using HttpRequestMessage batch = new(HttpMethod.Post, "/kv:batch") { Content = body, Headers = { { "KeyVa-Acknowledgement", asked } } };
            using HttpResponseMessage written = await http.SendAsync(batch);
            Assert.Contains("\"receipt\":{\"partition\":1,\"term\":", await written.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        foreach (string wrong in (string[])["quorum", "semi-sync=0", "semi-sync=3"])
        {
            using HttpRequestMessage request = new(HttpMethod.Put, "/kv/rest") { Content = new ByteArrayContent(Value), Headers = { { "KeyVa-Acknowledgement", wrong } } };
            using HttpResponseMessage answer = await http.SendAsync(request);
            Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
            Assert.Contains(wrong, await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }
    }

    private static async Task OverTheCommandLineAsync(NodeProcess node)
    {
        (int code, string output, string error) = await CommandLine.RunAsync(node.Data, node.Control, "", ["set", "cli", "value", "--ack", "semi-sync=2"]);
        Assert.True(code == 0 && output.Contains("sync: partition 1, term ", StringComparison.Ordinal) && output.Contains("on 3 disks", StringComparison.Ordinal), output + error);
        (code, output, error) = await CommandLine.RunAsync(node.Data, node.Control, "", ["--json", "mset", "cli", "value", "--ack", "sync"]);
        Assert.True(code == 0 && output.Contains("\"class\":\"sync\"", StringComparison.Ordinal), output + error);
        (code, output, error) = await CommandLine.RunAsync(node.Data, node.Control, "", ["del", "cli", "--ack", "async"]);
        Assert.True(code == 0 && output.Contains("partition 1, term ", StringComparison.Ordinal), output + error);
        (code, output, error) = await CommandLine.RunAsync(node.Data, node.Control, "", ["set", "cli", "value", "--ack", "all"]);
        Assert.True(code == 2 && error.Contains("--ack is 'all'", StringComparison.Ordinal), output + error);
    }

    private static void AssertReached(Acknowledgement asked, in WriteResult written) => Assert.True(
        written.IsOk && written.Receipt is { Partition: 1, Term: > 0, Index: > 0 } && written.Receipt.Class >= asked.Class && written.Receipt.Replicas > asked.Replicas,
        $"{asked}: {written.Status} {written.Detail} {written.Receipt}");
}
