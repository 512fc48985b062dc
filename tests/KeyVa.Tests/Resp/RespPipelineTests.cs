using System.Globalization;
using KeyVa.Tests.Client;
using Xunit;

namespace KeyVa.Tests.Resp;

/// <summary>Writes of one pipeline share syncs, and are answered as if each had come alone.</summary>
public sealed class RespPipelineTests
{
    private const int Commands = 200;

    public static TheoryData<string> Kinds => ["INCR", "INCR one", "DEL", "SETEX", "APPEND one", "SETNX", "SET one", "mixed"];

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task APipelineSharesSyncs(string kind)
    {
        await using TestServer server = await RespServerTests.StartAsync("lsm");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        string[][] commands = [.. Enumerable.Range(0, Commands).Select(i => Command(kind, i))];
        long before = server.Server.Store.GetStatistics().JournalSyncs;
        await client.SendRawAsync(string.Concat(commands.Select(RespSocket.Encode)));
        List<string> replies = [];
        for (int i = 0; i < Commands; i++)
        {
            replies.Add(await client.ReadAsync());
        }

        // One by one they would be as many as there are writes; how the pipeline is received in pieces decides how many they are.
        long syncs = server.Server.Store.GetStatistics().JournalSyncs - before;
        Assert.True(syncs <= Commands / 4, $"{syncs} syncs of {Commands} writes");
        await using TestServer alone = await RespServerTests.StartAsync("memory");
        await using RespSocket other = await RespSocket.ConnectAsync(alone.Server.RespAddress);
        for (int i = 0; i < Commands; i++)
        {
            Assert.Equal(await other.CallAsync(commands[i]), replies[i]);
        }
    }

    [Theory]
    [InlineData("lsm", 1)]
    [InlineData("lsm", 2)]
    [InlineData("three", 3)]
    [InlineData("memory", 4)]
    public async Task PipelinesAreAnsweredAsIfEachCommandHadComeAlone(string kind, int seed)
    {
        const int Rounds = 30;
        await using TestServer server = await RespServerTests.StartAsync(kind);
        await using TestServer alone = await RespServerTests.StartAsync("memory");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await using RespSocket other = await RespSocket.ConnectAsync(alone.Server.RespAddress);
        Random random = new(seed);
        for (int round = 0; round < Rounds; round++)
        {
            string[][] commands = [.. Enumerable.Range(0, 1 + random.Next(60)).Select(_ => RandomCommand(random))];
            await client.SendRawAsync(string.Concat(commands.Select(RespSocket.Encode)));
            foreach (string[] command in commands)
            {
                string expected = await other.CallAsync(command);
                Assert.True(expected == await client.ReadAsync(), $"seed {seed}, round {round}: {string.Join(' ', command)}");
            }
        }
    }

    /// <summary>Their writes are held until all have been read, and share a sync.</summary>
    [Theory]
    [InlineData("memory", 5)]
    [InlineData("lsm", 6)]
    [InlineData("three", 7)]
    public async Task ManyWhoWriteAtOnceAreAnsweredAsIfEachWereAlone(string kind, int seed)
    {
        const int Clients = 16;
        const int Rounds = 20;
        await using TestServer server = await RespServerTests.StartAsync(kind);
        await using TestServer alone = await RespServerTests.StartAsync("memory");
        await Task.WhenAll(Enumerable.Range(0, Clients).Select(async number =>
        {
            Random random = new((seed * 1000) + number);
            await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
            await using RespSocket other = await RespSocket.ConnectAsync(alone.Server.RespAddress);
            for (int round = 0; round < Rounds; round++)
            {
                string[][] commands = [.. Enumerable.Range(0, 1 + random.Next(8)).Select(_ => OwnCommand(random, number))];
                await client.SendRawAsync(string.Concat(commands.Select(RespSocket.Encode)));
                foreach (string[] command in commands)
                {
                    string expected = await other.CallAsync(command);
                    Assert.True(expected == await client.ReadAsync(), $"seed {seed}, client {number}, round {round}: {string.Join(' ', command)}");
                }
            }
        }));
    }

    private static string[] OwnCommand(Random random, int client)
    {
        string key = string.Create(CultureInfo.InvariantCulture, $"{client}:{random.Next(3)}");
        return random.Next(7) switch
        {
            0 or 1 => ["SET", key, random.Next(1000).ToString(CultureInfo.InvariantCulture)],
            2 => ["GET", key],
            3 => ["INCR", key],
            4 => ["DEL", key],
            5 => ["SET", key, "x", "NX"],
            _ => ["STRLEN", key],
        };
    }

    [Fact]
    public async Task ManyPipelinesDoNotFillTheQueueOfAPartition()
    {
        const int Clients = 24;
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { MaxQueuedWrites = 64 });
        string pipeline = string.Concat(Enumerable.Repeat(RespSocket.Encode("INCR", "counter"), 100));
        await Task.WhenAll(Enumerable.Range(0, Clients).Select(async _ =>
        {
            await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
            await client.SendRawAsync(pipeline);
            for (int i = 0; i < 100; i++)
            {
                Assert.StartsWith(":", await client.ReadAsync());
            }
        }));
        await using RespSocket reader = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.Equal("2400", await reader.CallAsync("GET", "counter"));
    }

    [Fact]
    public async Task AWriteBehindALockIsWaitedFor()
    {
        await using TestServer server = await RespServerTests.StartAsync("lsm");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Store store = server.Server.Store;
        ITransaction holder = await store.BeginAsync(new TransactionOptions { Concurrency = Concurrency.Pessimistic });
        await holder.PutAsync("held"u8.ToArray(), "1"u8.ToArray());
        await client.SendRawAsync(string.Concat(RespSocket.Encode("INCR", "free"), RespSocket.Encode("APPEND", "held", "2"), RespSocket.Encode("APPEND", "held", "3"), RespSocket.Encode("GET", "held")));
        Assert.Equal(":1", await client.ReadAsync());
        Assert.True((await holder.CommitAsync()).IsOk);
        await holder.DisposeAsync();
        Assert.Equal(":2", await client.ReadAsync());
        Assert.Equal(":3", await client.ReadAsync());
        Assert.Equal("123", await client.ReadAsync());
    }

    private static string[] Command(string kind, int i)
    {
        string key = string.Create(CultureInfo.InvariantCulture, $"key-{i}");
        return kind switch
        {
            "INCR" => ["INCR", key],
            "INCR one" => ["INCR", "counter"],
            "DEL" => ["DEL", key],
            "SETEX" => ["SETEX", key, "100", "v"],
            "APPEND one" => ["APPEND", "text", "x"],
            "SETNX" => ["SETNX", string.Create(CultureInfo.InvariantCulture, $"key-{i % 50}"), "v"],
            "SET one" => ["SET", "one", key],
            _ => (i % 5) switch
            {
                0 => ["SET", key, "1"],
                1 => ["INCR", string.Create(CultureInfo.InvariantCulture, $"number-{i}")],
                2 => ["INCR", key, "too", "many"],
                3 => ["DEL", string.Create(CultureInfo.InvariantCulture, $"key-{i - 3}")],
                _ => ["UNLINK", key],
            },
        };
    }

    private static string[] RandomCommand(Random random)
    {
        string key = "k" + (char)('a' + random.Next(6));
        string other = "z" + (char)('a' + random.Next(3));
        return random.Next(18) switch
        {
            0 or 1 => ["SET", key, random.Next(100).ToString(CultureInfo.InvariantCulture)],
            2 => ["SET", key, "007"],
            3 => ["SET", key, "v", "NX"],
            4 => ["SET", key, "v", "GET"],
            5 => ["SET", key, "v", "EX", "nonsense"],
            6 => ["INCR", key],
            7 => ["DECRBY", key, "7"],
            8 => ["DEL", key],
            9 => ["DEL", key, other, "none"],
            10 => ["APPEND", key, "5"],
            11 => ["SETEX", key, "1000", "12"],
            12 => ["PSETEX", key, "0", "12"],
            13 => ["SETNX", key, "3"],
            14 => ["MSET", key, "1", other, "2"],
            15 => ["GET", key],
            16 => ["MGET", key, other],
            _ => ["STRLEN", key],
        };
    }
}
