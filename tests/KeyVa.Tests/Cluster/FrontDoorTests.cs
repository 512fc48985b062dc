using System.Net.Sockets;
using System.Text;
using KeyVa.Cluster;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server;
using KeyVa.Server.Identity;
using KeyVa.Tests.Cluster.Processes;
using KeyVa.Tests.Resp;
using KeyVa.Tests.Server;
using KeyVa.Tests.Server.Identity;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>What the front doors of a node say that does not have what others have, and what they hand to a cluster that does not get on.</summary>
public sealed class FrontDoorTests
{
    // Nothing is to come of what is asked.
    private static readonly TimeSpan Short = TimeSpan.FromSeconds(1);

    private static readonly byte[] Key = "key"u8.ToArray();

    [Theory]
    [InlineData("GET /kv/key")]
    [InlineData("GET http://node/kv/key")]
    [InlineData("HEAD http://node/kv/key")]
    [InlineData("GET http://node/kv?prefix=k")]
    [InlineData("GET http://node/history/key")]
    public async Task AReadIsConfirmedInWhateverFormItsTargetIs(string request)
    {
        await using ThreeNodes cluster = ThreeNodes.Start(Short);
        await SetAsync(cluster, "value");
        await using KeyVaServer server = await ServeAsync(cluster, 1);
        cluster.LoseAll();
        Assert.StartsWith("HTTP/1.1 503 ", await AskAsync(server, request, ""), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 200 ", await AskAsync(server, request, "KeyVa-Consistency: local\r\n"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("GET", "key")]
    [InlineData("OBJECT", "ENCODING", "key")]
    [InlineData("MEMORY", "USAGE", "key")]
    public async Task AReadOfARedisClientIsConfirmedAlsoWhereItIsASubcommand(params string[] command)
    {
        await using ThreeNodes cluster = ThreeNodes.Start(Short);
        await SetAsync(cluster, "value");
        await using KeyVaServer server = await ServeAsync(cluster, 1);
        await using RespSocket client = await RespSocket.ConnectAsync(server.RespAddress);
        cluster.LoseAll();
        Assert.Contains("no leader", await client.CallAsync(command), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ARefusedReadHasNoReplyWhereNoneIsWanted()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(Short);
        await SetAsync(cluster, "value");
        await using KeyVaServer server = await ServeAsync(cluster, 1);
        await using RespSocket client = await RespSocket.ConnectAsync(server.RespAddress);
        cluster.LoseAll();
        await client.SendRawAsync(RespSocket.Encode("CLIENT", "REPLY", "SKIP") + RespSocket.Encode("GET", "key") + RespSocket.Encode("PING", "first"));
        Assert.Equal("first", await client.ReadAsync());
        await client.SendRawAsync(RespSocket.Encode("CLIENT", "REPLY", "OFF") + RespSocket.Encode("GET", "key") + RespSocket.Encode("CLIENT", "REPLY", "ON"));
        Assert.Equal("+OK", await client.ReadAsync());
    }

    /// <summary>An increment looks at the value before the store does: a node that is behind has another one.</summary>
    [Fact]
    public async Task AnIncrementIsNotRefusedForAValueThatIsGone()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        await SetAsync(cluster, "text");
        long leader = await cluster.LeaderAsync();
        long behind = leader % 3 + 1;
        Assert.Equal(Status.Ok, await cluster.Nodes[behind].ConfirmReadsAsync());
        await using KeyVaServer server = await ServeAsync(cluster, behind);
        cluster.Withhold(leader, behind);
        Assert.True((await cluster.Nodes[leader].Store.UpsertAsync(Key, "5"u8.ToArray())).IsOk);
        await using RespSocket client = await RespSocket.ConnectAsync(server.RespAddress);
        await client.SendAsync("INCR", "key");
        await UntilItHasComeAsync(server, "cmd=incr ");
        cluster.Heal();
        Assert.Equal(":6", await client.ReadAsync());
        Assert.Equal(":7", await client.CallAsync("INCR", "key"));
        Assert.Equal("+OK", await client.CallAsync("SET", "key", "text"));

        // Behind another write that waits, too.
        await client.SendRawAsync(RespSocket.Encode("INCR", "other") + RespSocket.Encode("INCR", "key") + RespSocket.Encode("INCR", "other"));
        Assert.Equal(":1", await client.ReadAsync());
        Assert.Equal("-ERR value is not an integer or out of range", await client.ReadAsync());
        Assert.Equal(":2", await client.ReadAsync());
    }

    [Fact]
    public async Task SetsOfAPipelineAreTriedOnceWhereNobodyLeads()
    {
        const int Sets = 8;
        await using ThreeNodes cluster = ThreeNodes.Start(Short);
        await SetAsync(cluster, "value");
        await using KeyVaServer server = await ServeAsync(cluster, 1);
        await using RespSocket client = await RespSocket.ConnectAsync(server.RespAddress);
        cluster.LoseAll();
        long before = server.Store.GetStatistics().Refused;
        await client.SendRawAsync(Pipeline(Sets));
        for (int i = 0; i < Sets; i++)
        {
            Assert.StartsWith("-", await client.ReadAsync(), StringComparison.Ordinal);
        }

        Assert.Equal(1, server.Store.GetStatistics().Refused - before);
    }

    /// <summary>One that is applied twice undoes what others have written between.</summary>
    [Fact]
    public async Task SetsOfAPipelineAreInTheLogOnceThoughTheirEndIsNotKnown()
    {
        const int Sets = 8;
        await using ThreeNodes cluster = ThreeNodes.Start(Short);
        await SetAsync(cluster, "value");
        long leader = await cluster.LeaderAsync();
        await using KeyVaServer server = await ServeAsync(cluster, leader);
        await using RespSocket client = await RespSocket.ConnectAsync(server.RespAddress);
        await using IAsyncEnumerator<WatchEvent> watch = server.Store.WatchAsync(new WatchOptions { Prefix = "set "u8.ToArray() }).GetAsyncEnumerator();
        Assert.True(await watch.MoveNextAsync());
        cluster.Withhold(leader, [.. cluster.Nodes.Keys.Where(node => node != leader)]);
        await client.SendRawAsync(Pipeline(Sets));
        for (int i = 0; i < Sets; i++)
        {
            _ = await client.ReadAsync();
        }

        cluster.Heal();
        while (!(await server.Store.UpsertAsync("set last"u8.ToArray(), Key)).IsOk)
        {
            // Until somebody leads.
        }

        List<string> seen = [];
        while (seen is not [.., "set last"])
        {
            Assert.True(await watch.MoveNextAsync());
            if (watch.Current.Kind is WatchEventKind.Put)
            {
                seen.Add(Encoding.UTF8.GetString(watch.Current.Key.Span));
            }
        }

        Assert.Equal(seen.Distinct(), seen);
    }

    /// <summary>Nobody is told of a change that came while the call waited for the leader.</summary>
    [Fact]
    public async Task AStreamThatBeginsWhenItsUserIsGoneIsRefused()
    {
        await using ThreeNodes cluster = ThreeNodes.Start();
        await SetAsync(cluster, "value");
        await using KeyVaServer server = await ServeAsync(cluster, 1, static options => options with
        {
            AdminPassword = "pw",
            PasswordIterations = PasswordHash.MinIterations,
            MaxInFlight = 1,
        });
        using HttpClient http = new() { BaseAddress = new Uri($"http://{server.RestAddress}"), DefaultRequestHeaders = { Authorization = SecuredServer.Basic("admin", "pw") } };
        using StringContent ada = new("""{"grants": ["data:read"], "password": "pw"}""", Encoding.UTF8, "application/json");
        using (HttpResponseMessage added = await http.PutAsync(new Uri("/users/ada", UriKind.Relative), ada))
        {
            Assert.True(added.IsSuccessStatusCode, await added.Content.ReadAsStringAsync());
        }

        using GrpcChannel data = new(new Uri($"http://{server.GrpcAddress}"));
        cluster.LoseAll();
        GrpcCallOptions options = new() { Metadata = new GrpcMetadata().Add("authorization", SecuredServer.Basic("ada", "pw").ToString()) };
        GrpcResponses<ScanResponse>? scan = null;
        Task<ScanResponse?> first = Task.FromResult<ScanResponse?>(null);
        try
        {
            // One is let through at a time: when others are not, it is that one. If another was there first, it was refused itself, and is sent again.
            int refusals = 0;
            while (refusals < 2 || first.IsCompleted)
            {
                if (first.IsCompleted)
                {
                    scan?.Dispose();
                    scan = data.ServerStreaming(Methods.Scan, new ScanRequest(), options);
                    first = scan.ReadAsync().AsTask();
                }

                await Pause.ForAsync(TimeSpan.FromMilliseconds(5));
                GrpcStatus other = (await data.CallAsync(Methods.ListIndexes, new ListIndexesRequest(), options)).Status;
                refusals = other.Code == GrpcStatusCode.ResourceExhausted ? refusals + 1 : 0;
            }

            using (HttpResponseMessage removed = await http.DeleteAsync(new Uri("/users/ada", UriKind.Relative)))
            {
                Assert.True(removed.IsSuccessStatusCode, await removed.Content.ReadAsStringAsync());
            }

            Assert.False(first.IsCompleted);
            cluster.Heal();
            GrpcException refused = await Assert.ThrowsAsync<GrpcException>(() => first);
            Assert.Equal(GrpcStatusCode.PermissionDenied, refused.Status.Code);
        }
        finally
        {
            scan?.Dispose();
        }
    }

    private static string Pipeline(int sets) => string.Concat(Enumerable.Range(0, sets).Select(static i => RespSocket.Encode("SET", $"set {i}", "1")));

    private static async Task SetAsync(ThreeNodes cluster, string value)
    {
        await cluster.LeaderAsync();
        while (!(await cluster.Nodes[1].Store.UpsertAsync(Key, Encoding.UTF8.GetBytes(value))).IsOk)
        {
            // Until somebody leads.
        }
    }

    private static Task<KeyVaServer> ServeAsync(ThreeNodes cluster, long node, Func<ServerOptions, ServerOptions>? change = null)
    {
        ServerOptions options = ServerFixture.AnyPorts with { Logs = new CapturedLog() };
        return KeyVaServer.StartAsync(change?.Invoke(options) ?? options, new Node(cluster.Nodes[node]), CancellationToken.None);
    }

    /// <summary>Sends a request as it is, and returns the head of its answer.</summary>
    private static async Task<string> AskAsync(KeyVaServer server, string request, string header)
    {
        using TcpClient client = new();
        await client.ConnectAsync(server.RestAddress);
        await client.Client.SendAsync(Encoding.ASCII.GetBytes($"{request} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n{header}\r\n"), SocketFlags.None);
        using StreamReader reader = new(client.GetStream(), Encoding.ASCII);
        return await reader.ReadToEndAsync();
    }

    private static async Task UntilItHasComeAsync(KeyVaServer server, string sign)
    {
        await using RespSocket other = await RespSocket.ConnectAsync(server.RespAddress);
        while (!(await other.CallAsync("CLIENT", "LIST")).Contains(sign, StringComparison.Ordinal))
        {
            await Pause.ForAsync(TimeSpan.FromMilliseconds(5));
        }
    }
}
