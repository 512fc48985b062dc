using System.Net.Sockets;
using System.Text;
using KeyVa.Cluster;
using KeyVa.Server;
using KeyVa.Tests.Server;
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
}
