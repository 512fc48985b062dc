using System.Globalization;
using System.Text;
using KeyVa.Indexes;
using KeyVa.Protocol.Resp;
using KeyVa.Server;
using KeyVa.Server.Admission;
using KeyVa.Server.Identity;
using KeyVa.Server.Resp;
using KeyVa.Tests.Client;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace KeyVa.Tests.Resp;

/// <summary>Every command has one reply, in its turn, and a command that is refused has done nothing.</summary>
public sealed class RespRepliesTests
{
    [Fact]
    public async Task AKeyThatNobodyCanWriteIsRemovedWithOneReply()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.Equal(":0", await client.CallAsync("DEL", ""));
        Assert.Equal(":0", await client.CallAsync("UNLINK", new string('k', 8193)));
        Assert.Equal("+PONG", await client.CallAsync("PING"));
    }

    [Theory]
    [MemberData(nameof(RespServerTests.Stores), MemberType = typeof(RespServerTests))]
    public async Task ASetBehindLongRepliesIsDone(string kind)
    {
        await using TestServer server = await RespServerTests.StartAsync(kind);
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        string large = new('v', 600_000);
        Assert.Equal("+OK", await client.CallAsync("SET", "a", large));
        await client.SendRawAsync(RespSocket.Encode("GET", "a") + RespSocket.Encode("GET", "a") + RespSocket.Encode("SET", "k", "v"));
        Assert.Equal(large, await client.ReadAsync());
        Assert.Equal(large, await client.ReadAsync());
        Assert.Equal("+OK", await client.ReadAsync());
        Assert.Equal("v", await client.CallAsync("GET", "k"));
    }

    [Theory]
    [MemberData(nameof(RespServerTests.Stores), MemberType = typeof(RespServerTests))]
    public async Task SetsOfOneKeyKeepTheirOrderWhenOneBesideThemIsRefused(string kind)
    {
        await using TestServer server = await RespServerTests.StartAsync(kind);
        Store store = server.Server.Store;
        Assert.True((await store.Indexes.CreateAsync(new IndexDefinition { Name = "mail", Fields = ["m"], Unique = true })).IsOk);
        Assert.True((await store.Indexes.WaitAsync("mail")).IsOk);
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.Equal("+OK", await client.CallAsync("SET", "first", "{\"m\":\"a\"}"));
        await client.SendRawAsync(
            RespSocket.Encode("SET", "k2", "{\"m\":\"a\"}") + RespSocket.Encode("SET", "k", "1") + RespSocket.Encode("SET", "k", "2") + RespSocket.Encode("GET", "k"));
        Assert.StartsWith("-ERR ", await client.ReadAsync());
        Assert.Equal("+OK", await client.ReadAsync());
        Assert.Equal("+OK", await client.ReadAsync());
        Assert.Equal("2", await client.ReadAsync());
    }

    [Theory]
    [MemberData(nameof(RespServerTests.Stores), MemberType = typeof(RespServerTests))]
    public async Task ARefusedCommandChangesNothing(string kind)
    {
        await using TestServer server = await RespServerTests.StartAsync(kind);
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        string tooLong = new('v', (1 << 20) + 1);
        Assert.Equal("+OK", await client.CallAsync("SET", "a", "1"));
        Assert.StartsWith("-ERR ", await client.CallAsync("RENAME", "a", ""));
        Assert.Equal("1", await client.CallAsync("GET", "a"));
        Assert.StartsWith("-ERR ", await client.CallAsync("MSETNX", "b", "1", "c", tooLong));
        Assert.StartsWith("-ERR ", await client.CallAsync("MSETNX", "b", "1", "", "2"));
        Assert.Equal("nil", await client.CallAsync("GET", "b"));

        // In MULTI the commands beside it are done.
        await client.CallAsync("MULTI");
        await client.CallAsync("SET", "x", "1");
        await client.CallAsync("MSET", "x", "2", "y", tooLong);
        await client.CallAsync("RENAME", "a", "");
        await client.CallAsync("SET", "z", "3");
        string done = await client.CallAsync("EXEC");
        Assert.StartsWith("[+OK, -ERR ", done);
        Assert.EndsWith(", +OK]", done);
        Assert.Equal("[1, 1, nil, 3]", await client.CallAsync("MGET", "a", "x", "y", "z"));
    }

    [Fact]
    public async Task OfAChannelThatWasLeftNothingComesBehindTheReply()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await client.CallAsync("HELLO", "3");
        Assert.Equal("[subscribe, x, :1]", await client.CallAsync("SUBSCRIBE", "x"));

        // In one piece: the message is there when the channel is left, and was not sent before.
        await client.SendRawAsync(RespSocket.Encode("PUBLISH", "x", "m") + RespSocket.Encode("UNSUBSCRIBE", "x"));
        Assert.Equal(":1", await client.ReadAsync());
        Assert.Equal("[message, x, m]", await client.ReadAsync());
        Assert.Equal("[unsubscribe, x, :0]", await client.ReadAsync());

        Assert.Equal("[subscribe, x, :1]", await client.CallAsync("SUBSCRIBE", "x"));
        await client.SendRawAsync(RespSocket.Encode("PUBLISH", "x", "m") + RespSocket.Encode("RESET") + RespSocket.Encode("PING"));
        Assert.Equal(":1", await client.ReadAsync());
        Assert.Equal("[message, x, m]", await client.ReadAsync());
        Assert.Equal("+RESET", await client.ReadAsync());
        Assert.Equal("+PONG", await client.ReadAsync());
    }

    [Fact]
    public async Task WhoEndsSendingHasTheRepliesAndTheEnd()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        for (int i = 0; i < 300; i++)
        {
            await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
            if (i % 2 == 0)
            {
                Assert.Equal("+PONG", await client.CallAsync("PING"));
            }

            await client.SendAsync("ECHO", "last");
            client.EndSending();
            Assert.Equal("last", await client.ReadAsync());
            Assert.Equal("end", await client.ReadAsync());
        }
    }

    [Fact]
    public async Task SeveralKeysAreReadForWhoeverAskedWhileTheyAreWritten()
    {
        const int Readers = 8;
        const int Rounds = 300;
        await using TestServer server = await RespServerTests.StartAsync("lsm");
        Store store = server.Server.Store;
        for (int i = 0; i < Readers; i++)
        {
            store.Upsert(Encoding.ASCII.GetBytes($"key{i}"), Encoding.ASCII.GetBytes($"value{i}"));
        }

        using CancellationTokenSource stop = new();
        Task writing = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                await Task.WhenAll(Enumerable.Range(0, 64).Select(i => store.UpsertAsync(Encoding.ASCII.GetBytes($"other{i}"), "x"u8.ToArray()).AsTask()));
            }
        });
        async Task ReadAsync(int reader)
        {
            await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
            for (int i = 0; i < Rounds; i++)
            {
                Assert.Equal($"[value{reader}, nil, value{reader}]", await client.CallAsync("MGET", $"key{reader}", $"none{reader}", $"key{reader}"));
            }
        }

        await Task.WhenAll(Enumerable.Range(0, Readers).Select(reader => Task.Run(() => ReadAsync(reader))));
        await stop.CancelAsync();
        await writing;
    }

    [Fact]
    public async Task KeysThatDoNotFitIntoAReplyAreAnError()
    {
        await using TestServer server = await RespServerTests.StartAsync("memory");
        for (int i = 0; i < 100; i++)
        {
            server.Server.Store.Upsert(Encoding.ASCII.GetBytes(i.ToString("D8", CultureInfo.InvariantCulture)), "x"u8);
        }

        // The bound of a connection is half a gigabyte; this one has less.
        ServerOptions options = new() { Data = server.Directory };
        using RequestTracer tracer = new();
        RequestObserver observer = new(server.Server.Store, NullLoggerFactory.Instance, TimeProvider.System, tracer);
        UserStore users = new(server.Server.Store.FileSystem, server.Directory, PasswordHash.MinIterations, TimeProvider.System);
        await using RespDoor door = new(
            server.Server.Store, options, new FailureLog(NullLogger.Instance), observer, new RequestMeter("resp"), new LiveConfiguration(options),
            new Authenticator(users, new PasswordChecks()), users, new OwnPassword(users, new Authenticator(users, new PasswordChecks())), new RateLimits(new PlaneLimits(), new PlaneLimits()), new AuditLog(NullLoggerFactory.Instance));
        using RespOutput output = new() { Most = 512 };
        DataCall call = new(door, output) { Rights = Rights.Everything };
        RespReader reader = new(door.Limits);
        byte[] sent = Encoding.ASCII.GetBytes(RespSocket.Encode("KEYS", "*"));
        Assert.Equal(RespRead.Complete, reader.Read(sent, 0, sent.Length));
        call.Begin(null);
        call.Run(CommandTable.Find("keys"u8)!, reader.Command);
        Assert.StartsWith("-ERR the keys come to more than 512 bytes", Encoding.ASCII.GetString(output.Unsent));
    }
}
