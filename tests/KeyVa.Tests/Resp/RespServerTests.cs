using System.Globalization;
using System.Text;
using KeyVa.Tests.Client;
using Xunit;

namespace KeyVa.Tests.Resp;

/// <summary>What Redis clients do is done to the same store, and what they are promised holds.</summary>
public sealed class RespServerTests
{
    public static TheoryData<string> Stores => ["memory", "lsm", "three"];

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task EveryFrontDoorSeesTheSameKeys(string kind)
    {
        await using TestServer server = await StartAsync(kind);
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);

        Assert.Equal("+OK", await client.CallAsync("SET", "a", "one", "PX", "100000"));
        Record record = (await server.Server.Store.GetAsync("a"u8.ToArray())).Record;
        Assert.Equal("one", Encoding.ASCII.GetString(record.Value.Span));
        Assert.Equal(record.ExpiresAtUnixMilliseconds.ToString(CultureInfo.InvariantCulture), (await client.CallAsync("PEXPIRETIME", "a"))[1..]);

        server.Server.Store.Upsert("b"u8, "41"u8);
        Assert.Equal(":42", await client.CallAsync("INCR", "b"));
        using HttpClient http = new() { BaseAddress = new Uri($"http://{server.Server.RestAddress}") };
        Assert.Equal("42", await http.GetStringAsync("/kv/b"));
        Assert.Equal("[one, 42, nil]", await client.CallAsync("MGET", "a", "b", "c"));
        Assert.Equal(":2", await client.CallAsync("DBSIZE"));
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task ExecWithoutWatchNeverFailsWhoeverWrites(string kind)
    {
        const int Clients = 6;
        const int Rounds = 40;
        await using TestServer server = await StartAsync(kind);
        async Task CountAsync()
        {
            await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
            for (int i = 0; i < Rounds; i++)
            {
                await client.SendAsync("MULTI");
                await client.SendAsync("INCRBY", "a", "1");
                await client.SendAsync("INCRBYFLOAT", "n", "1");
                await client.SendAsync("APPEND", "z", "x");
                await client.SendAsync("EXEC");
                Assert.Equal("+OK", await client.ReadAsync());
                for (int queued = 0; queued < 3; queued++)
                {
                    Assert.Equal("+QUEUED", await client.ReadAsync());
                }

                string done = await client.ReadAsync();
                string[] values = done.Trim('[', ']').Split(", ");
                Assert.True(values.Length == 3 && values[0][1..] == values[1] && values[1] == values[2][1..], done);
                Assert.Equal(":1", (await client.CallAsync("INCR", "alone"))[..1] == ":" ? ":1" : "an error");
            }
        }

        await Task.WhenAll(Enumerable.Range(0, Clients).Select(_ => Task.Run(CountAsync)));

        await using RespSocket reader = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.Equal($"[{Clients * Rounds}, {Clients * Rounds}, {Clients * Rounds}]", await reader.CallAsync("MGET", "a", "n", "alone"));
        Assert.Equal($":{Clients * Rounds}", await reader.CallAsync("STRLEN", "z"));
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task WatchSeesChangesOfOthers(string kind)
    {
        await using TestServer server = await StartAsync(kind);
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await client.CallAsync("WATCH", "a", "n");
        server.Server.Store.Upsert("n"u8, "x"u8);
        await client.CallAsync("MULTI");
        await client.CallAsync("SET", "a", "mine");
        Assert.Equal("nil", await client.CallAsync("EXEC"));

        // The watch is over, whatever became of it.
        await client.CallAsync("MULTI");
        await client.CallAsync("SET", "a", "mine");
        Assert.Equal("[+OK]", await client.CallAsync("EXEC"));

        await client.CallAsync("WATCH", "a");
        await client.CallAsync("MULTI");
        Assert.StartsWith("-ERR unknown command", await client.CallAsync("NOSUCH"));
        Assert.StartsWith("-EXECABORT", await client.CallAsync("EXEC"));
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task SetsOfAPipelineShareTheirSyncs(string kind)
    {
        const int Count = 2000;
        await using TestServer server = await StartAsync(kind);
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        long before = server.Server.Store.GetStatistics().JournalSyncs;
        StringBuilder pipeline = new();
        for (int i = 0; i < Count; i++)
        {
            // Some keys twice: the later one counts.
            string key = $"{(char)('a' + (i % 26))}{i % 1500}";
            pipeline.Append(CultureInfo.InvariantCulture, $"*3\r\n$3\r\nSET\r\n${key.Length}\r\n{key}\r\n${i.ToString(CultureInfo.InvariantCulture).Length}\r\n{i}\r\n");
        }

        pipeline.Append("*2\r\n$3\r\nGET\r\n$2\r\na0\r\n");
        await client.SendRawAsync(pipeline.ToString());
        for (int i = 0; i < Count; i++)
        {
            Assert.Equal("+OK", await client.ReadAsync());
        }

        Assert.Equal("0", await client.ReadAsync());
        for (int i = 0; i < Count; i++)
        {
            string key = $"{(char)('a' + (i % 26))}{i % 1500}";
            if (i + 1500 >= Count || (i + 1500) % 26 != i % 26)
            {
                Assert.Equal(i.ToString(CultureInfo.InvariantCulture), await client.CallAsync("GET", key));
            }
        }

        Assert.InRange(server.Server.Store.GetStatistics().JournalSyncs - before, 0, Count / 8);
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task AScanReturnsEveryKeyThatStays(string kind)
    {
        await using TestServer server = await StartAsync(kind);
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        for (int i = 0; i < 300; i++)
        {
            server.Server.Store.Upsert(Encoding.ASCII.GetBytes($"{(char)('a' + (i % 26))}:{i}"), "x"u8);
        }

        HashSet<string> found = [];
        string cursor = "0";
        do
        {
            string reply = await client.CallAsync("SCAN", cursor, "COUNT", "7", "MATCH", "?:*");
            int split = reply.IndexOf(',', StringComparison.Ordinal);
            cursor = reply[1..split];
            found.UnionWith(reply[(split + 3)..^2].Split(", ", StringSplitOptions.RemoveEmptyEntries));
            server.Server.Store.Upsert(Encoding.ASCII.GetBytes($"m:new:{found.Count}"), "x"u8);
        }
        while (cursor != "0");

        Assert.Equal(300, found.Count(static key => !key.Contains("new", StringComparison.Ordinal)));
        Assert.StartsWith("-ERR invalid cursor", await client.CallAsync("SCAN", "77"));
        Assert.NotEqual("nil", await client.CallAsync("RANDOMKEY"));

        // In a transaction too, whichever thread that runs on.
        await client.CallAsync("MULTI");
        await client.CallAsync("SET", "last:0", "x");
        await client.CallAsync("KEYS", "last:*");
        await client.CallAsync("SCAN", "0", "COUNT", "10000", "MATCH", "last:*");
        Assert.Equal("[+OK, [last:0], [0, [last:0]]]", await client.CallAsync("EXEC"));
    }

    [Fact]
    public async Task NotificationsTellOfWritesOfEveryFrontDoor()
    {
        await using TestServer server = await StartAsync("lsm");
        await using RespSocket listener = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.Equal("[notify-keyspace-events, ]", await client.CallAsync("CONFIG", "GET", "notify-keyspace-events"));
        Assert.Equal("+OK", await client.CallAsync("CONFIG", "SET", "notify-keyspace-events", "KEA"));
        Assert.Equal("[notify-keyspace-events, AKE]", await client.CallAsync("CONFIG", "GET", "notify-keyspace-events"));
        Assert.Equal("[psubscribe, __key*__:*, :1]", await listener.CallAsync("PSUBSCRIBE", "__key*__:*"));

        // What is written before the watch has begun is not told: written until it is.
        Task<string> first = listener.ReadAsync();
        while (!first.IsCompleted)
        {
            server.Server.Store.Upsert("k"u8, "x"u8);
            await client.CallAsync("PING");
        }

        await client.CallAsync("DEL", "k");
        string told = await first;
        Assert.Contains("__keyspace@0__:k, set]", told);
        List<string> all = [];
        while (!all.Exists(static one => one.EndsWith("__keyevent@0__:del, k]", StringComparison.Ordinal)))
        {
            all.Add(await listener.ReadAsync());
        }

        Assert.Contains(all, static one => one.EndsWith("__keyspace@0__:k, del]", StringComparison.Ordinal));
        Assert.StartsWith("-ERR CONFIG SET failed", await client.CallAsync("CONFIG", "SET", "notify-keyspace-events", "?"));
    }

    [Fact]
    public async Task AWriteThatBreaksALimitIsRefusedAndNothingElse()
    {
        await using TestServer server = await StartAsync("memory");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        string longest = new('v', 1 << 20);
        await client.SendAsync("SET", "a", longest);
        await client.SendAsync("SET", "b", longest + "v");
        await client.SendAsync("SET", new string('k', 8193), "v");
        await client.SendAsync("SET", "", "v");
        await client.SendAsync("SET", "c", "v");
        await client.SendAsync("GET", "a");
        Assert.Equal("+OK", await client.ReadAsync());
        Assert.StartsWith("-ERR ", await client.ReadAsync());
        Assert.StartsWith("-ERR ", await client.ReadAsync());
        Assert.StartsWith("-ERR ", await client.ReadAsync());
        Assert.Equal("+OK", await client.ReadAsync());
        Assert.Equal(longest, await client.ReadAsync());
        Assert.Equal("nil", await client.CallAsync("GET", new string('k', 8193)));
        Assert.StartsWith("-ERR ", await client.CallAsync("APPEND", "a", "v"));
        Assert.StartsWith("-ERR string exceeds", await client.CallAsync("SETRANGE", "c", "1048576", "v"));
    }

    [Fact]
    public async Task ClientsAreListedNamedAndEnded()
    {
        await using TestServer server = await StartAsync("memory");
        await using RespSocket one = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await using RespSocket other = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Assert.Equal("+OK", await other.CallAsync("CLIENT", "SETNAME", "other"));
        string id = (await other.CallAsync("CLIENT", "ID"))[1..];
        Assert.Contains("name=other", await one.CallAsync("CLIENT", "LIST"));
        Assert.Equal(":1", await one.CallAsync("CLIENT", "KILL", "ID", id));
        Assert.Equal("end", await other.ReadAsync());

        await one.SendAsync("CLIENT", "REPLY", "OFF");
        await one.SendAsync("SET", "a", "1");
        await one.SendAsync("GET", "a");
        Assert.Equal("+OK", await one.CallAsync("CLIENT", "REPLY", "ON"));
        await one.SendAsync("CLIENT", "REPLY", "SKIP");
        await one.SendAsync("GET", "a");
        Assert.Equal("1", await one.CallAsync("GET", "a"));

        Assert.Equal("+OK", await one.CallAsync("CONFIG", "SET", "slowlog-log-slower-than", "0"));
        await one.CallAsync("ECHO", "slow");
        Assert.Contains("[ECHO, slow]", await one.CallAsync("SLOWLOG", "GET"));
        Assert.Matches("^\\[\\[command, :?[0-9]+, :?[0-9]+, :?[0-9]+\\]\\]$", await one.CallAsync("LATENCY", "LATEST"));
        Assert.Matches("^\\[\\[:?[0-9]+, :?[0-9]+\\]", await one.CallAsync("LATENCY", "HISTORY", "COMMAND"));
        Assert.Equal("[]", await one.CallAsync("LATENCY", "HISTORY", "fork"));
        Assert.Contains("commands took long", await one.CallAsync("LATENCY", "DOCTOR"));
        Assert.Equal(":0", await one.CallAsync("LATENCY", "RESET", "fork"));
        Assert.Equal(":1", await one.CallAsync("LATENCY", "RESET"));
        Assert.Equal("+OK", await one.CallAsync("CONFIG", "SET", "slowlog-log-slower-than", "-1"));
        Assert.Equal(":1", await one.CallAsync("LATENCY", "RESET", "fork", "command"));
        Assert.Equal("[]", await one.CallAsync("LATENCY", "LATEST"));
        Assert.StartsWith("No command took long", await one.CallAsync("LATENCY", "DOCTOR"));
        Assert.Contains("[ECHO, slow]", await one.CallAsync("SLOWLOG", "GET", "100"));
        Assert.Matches("^\\[get, \\[calls, :?[1-9][0-9]*, histogram_usec, \\[:?[0-9]+, :?[1-9]", await one.CallAsync("LATENCY", "HISTOGRAM", "GET", "echo", "none"));
        Assert.Equal("[]", await one.CallAsync("LATENCY", "HISTOGRAM", "echo"));
        Assert.Equal("+OK", await one.CallAsync("QUIT"));
        Assert.Equal("end", await one.ReadAsync());
    }

    internal static async Task<TestServer> StartAsync(string kind)
    {
        // Longer than a busy machine keeps a test from going on: who waits for a lock gets it from its holder.
        StoreOptions options = new() { LockTimeout = TimeSpan.FromMinutes(1) };
        TestServer server = await TestServer.StartAsync(kind == "memory" ? options with { Engine = EngineKind.Memory, Volatile = true } : options);
        if (kind == "three")
        {
            IPartitions partitions = server.Server.Store.Partitions;
            Assert.Equal(Status.Ok, partitions.Remove(partitions.List()[0].Id).Status);
            (string From, string To)[] ranges = [("", "h"), ("h", "p"), ("p", "")];
            foreach ((string from, string to) in ranges)
            {
                Assert.Equal(Status.Ok, partitions.Add(new KeyRange(Encoding.ASCII.GetBytes(from), Encoding.ASCII.GetBytes(to))).Status);
            }
        }

        return server;
    }
}
