using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using KeyVa.Server;
using KeyVa.Tests.Client;
using Microsoft.Extensions.Logging;
using Xunit;

namespace KeyVa.Tests.Resp;

/// <summary>Clients that send what is no command, too much of it, or nothing: they are cut off, and others notice nothing.</summary>
public sealed class RespHostileTests
{
    public static TheoryData<string, string> Broken => new()
    {
        { "*1\r\n$2147483647\r\n", "-ERR Protocol error: invalid bulk length" },
        { "*2147483647\r\n", "-ERR Protocol error: invalid multibulk length" },
        { "*1000000\r\n*1000000\r\n*1000000\r\n", "-ERR Protocol error: expected '$', got '*'" },
        { "*1\r\n*1\r\n*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'" },
        { "*3\r\n$3\r\nSET\r\n$x", null! },
        { "GET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request" },
    };

    [Theory]
    [MemberData(nameof(Broken))]
    public async Task WhatIsNoCommandEndsTheConnectionAfterWhatCameBefore(string sent, string answer)
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await client.SendRawAsync("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n" + sent);
        Assert.Equal("+OK", await client.ReadAsync());
        if (answer is not null)
        {
            Assert.Equal(answer, await client.ReadAsync());
            Assert.Equal("end", await client.ReadAsync());
        }

        await AliveAsync(server);
    }

    [Fact]
    public async Task ALineWithoutAnEndIsCutOff()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await client.SendRawAsync(new string('x', 70_000));
        Assert.Equal("-ERR Protocol error: too big inline request", await client.ReadAsync());
        await AliveAsync(server);
    }

    [Fact]
    public async Task ACommandByteByByteIsACommand()
    {
        await using TestServer server = await RespServerTests.StartAsync("lsm");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        foreach (char one in "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\nxyz\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
        {
            await client.SendRawAsync(one.ToString());
        }

        Assert.Equal("+OK", await client.ReadAsync());
        Assert.Equal("xyz", await client.ReadAsync());
    }

    [Fact]
    public async Task WhoLeavesInTheMiddleLeavesNothing()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        for (int i = 0; i < 50; i++)
        {
            await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
            await client.SendRawAsync("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\nhalf of it");
        }

        await AliveAsync(server);
        await using RespSocket reader = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.Equal("nil", await reader.CallAsync("GET", "a"));
    }

    [Fact]
    public async Task WhoTakesNoRepliesIsNotServedFurther()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        await using RespSocket writer = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await writer.CallAsync("SET", "large", new string('v', 1 << 20));
        using TcpClient deaf = new();
        await deaf.ConnectAsync(server.Server.RespAddress);
        byte[] asking = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n", 4000)));

        // 4 GB are asked for; the server stops reading when a little of it waits to be taken.
        await deaf.Client.SendAsync(asking, SocketFlags.None);
        long waiting = 0;
        while (waiting == 0)
        {
            string clients = await writer.CallAsync("CLIENT", "LIST");
            waiting = clients.Split(' ').Where(static field => field.StartsWith("omem=", StringComparison.Ordinal))
                .Max(static field => long.Parse(field.AsSpan(5), CultureInfo.InvariantCulture));
        }

        Assert.InRange(waiting, 1, 8 << 20);
        await AliveAsync(server);
    }

    [Fact]
    public async Task ManyEmptyArgumentsCountInATransaction()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        string command = "*1000000\r\n$3\r\nDEL\r\n" + string.Concat(Enumerable.Repeat("$0\r\n\r\n", 999_999));
        Assert.Equal("+OK", await client.CallAsync("MULTI"));
        for (int i = 0; i < 8; i++)
        {
            await client.SendRawAsync(command);
            Assert.Equal("+QUEUED", await client.ReadAsync());
        }

        await client.SendRawAsync(command);
        Assert.StartsWith("-ERR the transaction has more than 67108864 bytes", await client.ReadAsync());
        Assert.StartsWith("-EXECABORT", await client.CallAsync("EXEC"));
    }

    [Fact]
    public async Task SubscriptionsHaveABound()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await client.CallAsync("HELLO", "3");
        Assert.StartsWith("-ERR a channel or pattern has at most", await client.CallAsync("PSUBSCRIBE", new string('*', 9000)));
        Assert.StartsWith("-ERR a channel or pattern has at most", await client.CallAsync("PUBLISH", new string('c', 9000), "m"));
        for (int i = 0; i < 2048; i++)
        {
            Assert.StartsWith("[subscribe, ", await client.CallAsync("SUBSCRIBE", i.ToString(CultureInfo.InvariantCulture).PadLeft(8192, 'c')));
        }

        Assert.StartsWith("-ERR more than 65536 subscriptions, or 16777216 bytes", await client.CallAsync("SUBSCRIBE", "one"));
        Assert.StartsWith("[unsubscribe, ", await client.CallAsync("UNSUBSCRIBE", "0".PadLeft(8192, 'c')));
        Assert.StartsWith("[subscribe, one", await client.CallAsync("SUBSCRIBE", "one"));
    }

    [Fact]
    public async Task WhatIsNearlyACommandOrACursorIsNone()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.StartsWith("-ERR unknown command 'get '", await client.CallAsync("get ", "a"));
        Assert.StartsWith("-ERR unknown command", await client.CallAsync("get\0", "a"));
        Assert.StartsWith("-ERR unknown command", await client.CallAsync("setex ", "a", "1", "v"));
        Assert.StartsWith("-ERR invalid cursor", await client.CallAsync("SCAN", "007"));
        Assert.StartsWith("-ERR invalid cursor", await client.CallAsync("SCAN", "18446744073709551615"));
        Assert.Equal("+OK", await client.CallAsync("CONFIG", "SET", "slowlog-log-slower-than", "0"));
        await client.CallAsync("HELLO", "2", "AUTH", "default", "secret");
        await client.CallAsync("AUTH", "secret");
        Assert.DoesNotContain("secret", await client.CallAsync("SLOWLOG", "GET"));
    }

    [Fact]
    public async Task AWebPageCannotSpeakToIt()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await client.SendRawAsync("POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a 1\r\n");
        Assert.Equal("end", await client.ReadAsync());
        await using RespSocket reader = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.Equal("nil", await reader.CallAsync("GET", "a"));
    }

    [Fact]
    public async Task OneClientTooManyIsToldSo()
    {
        string folder = Directory.CreateTempSubdirectory("keyva-").FullName;
        IPEndPoint any = new(IPAddress.Loopback, 0);
        ServerOptions options = new() { Data = folder, RestListen = any, GrpcListen = any, ControlListen = any, RespListen = any, RespMaxClients = 2, LogLevel = LogLevel.None };
        await using (KeyVaServer server = await KeyVaServer.StartAsync(options))
        {
            await using RespSocket one = await RespSocket.ConnectAsync(server.RespAddress);
            await using RespSocket two = await RespSocket.ConnectAsync(server.RespAddress);
            Assert.Equal("+PONG", await one.CallAsync("PING"));
            Assert.Equal("+PONG", await two.CallAsync("PING"));
            await using RespSocket three = await RespSocket.ConnectAsync(server.RespAddress);
            Assert.Equal("-ERR max number of clients reached", await three.ReadAsync());
            Assert.Equal("+PONG", await one.CallAsync("PING"));
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task AStopEndsEveryConnection()
    {
        TestServer server = await RespServerTests.StartAsync("lsm");
        await using RespSocket idle = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await using RespSocket subscribed = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await using RespSocket writing = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.Equal("+PONG", await idle.CallAsync("PING"));
        Assert.StartsWith("[subscribe", await subscribed.CallAsync("SUBSCRIBE", "x"));
        Assert.Equal("+OK", await writing.CallAsync("CONFIG", "SET", "notify-keyspace-events", "KEA"));
        for (int i = 0; i < 200; i++)
        {
            await writing.SendAsync("SET", i.ToString(CultureInfo.InvariantCulture), "x");
        }

        await server.DisposeAsync();
        Assert.Equal("end", await idle.ReadAsync());
        Assert.Equal("end", await subscribed.ReadAsync());
    }

    private static async Task AliveAsync(TestServer server)
    {
        await using RespSocket other = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.Equal("+PONG", await other.CallAsync("PING"));
    }
}
