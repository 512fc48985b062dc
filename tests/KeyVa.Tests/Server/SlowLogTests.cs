using System.Text;
using System.Text.Json;
using KeyVa.Client;
using KeyVa.Tests.Cli;
using KeyVa.Tests.Client;
using KeyVa.Tests.Resp;
using Xunit;

namespace KeyVa.Tests.Server;

/// <summary>What took long is kept, whatever door it came through, with the parts of its time; and read through every door.</summary>
public sealed class SlowLogTests : IAsyncLifetime
{
    private TestServer _server = null!;
    private RemoteControl _control = null!;
    private HttpClient _http = null!;

    public async Task InitializeAsync()
    {
        _server = await TestServer.StartAsync();
        _control = _server.ConnectControl();
        _http = new HttpClient { BaseAddress = new Uri($"http://{_server.Server.RestAddress}") };
        await _control.ChangeSettingAsync("slow-log", "0");
    }

    public async Task DisposeAsync()
    {
        _http.Dispose();
        await _control.DisposeAsync();
        await _server.DisposeAsync();
    }

    [Fact]
    public async Task RequestsOfEveryDoorAreKeptWithTheirParts()
    {
        await _http.PutAsync("/kv/rest-key", new StringContent("secret value"));
        await _http.GetStringAsync("/kv/rest-key");
        await using RemoteStore store = _server.Connect();
        await store.UpsertAsync(Bytes("grpc-key"), Bytes("secret value"));
        await using RespSocket client = await RespSocket.ConnectAsync(_server.Server.RespAddress);
        await client.CallAsync("CLIENT", "SETNAME", "tester");
        await client.CallAsync("SET", "set-key", "1");
        await client.CallAsync("INCR", "incr-key");
        await client.CallAsync("GET", "get-key");
        await client.CallAsync("INCRBYFLOAT", "float-key", "1.5");

        IReadOnlyList<RemoteSlowRequest> slow = await _control.ListSlowRequestsAsync(1000);
        Assert.Equal(slow.Select(static one => one.Number).OrderDescending(), slow.Select(static one => one.Number));
        Check(Find(slow, "rest", "upsert", "rest-key"), "204");
        Check(Find(slow, "grpc", "upsert", "grpc-key"), "Ok");
        Check(Find(slow, "resp", "upsert", "set-key"), "ok");
        Check(Find(slow, "resp", "write", "incr-key"), "ok");
        Check(Find(slow, "resp", "write", "float-key"), "ok");
        Assert.Null(Find(slow, "rest", "get", "rest-key").Parts);
        Assert.Null(Find(slow, "resp", "get", "get-key").Parts);
        Assert.Equal("tester", Find(slow, "resp", "write", "incr-key").ClientName);
        Assert.DoesNotContain(slow.Where(static one => one.Door != "resp"), static one => Text(one).Contains("secret", StringComparison.Ordinal));

        static void Check(RemoteSlowRequest request, string outcome)
        {
            Assert.Equal(outcome, request.Outcome);
            Assert.NotEmpty(request.Peer);
            RemoteWriteParts parts = Assert.IsType<RemoteWriteParts>(request.Parts);
            Assert.True(parts.Sync > TimeSpan.Zero && parts.GroupSize == 1 && parts.Partition == 1, parts.ToString());
            TimeSpan sum = parts.Queue + parts.Log + parts.Sync + parts.Apply;
            Assert.True(sum > TimeSpan.Zero && sum <= request.Duration + TimeSpan.FromMicroseconds(4), $"{sum} of {request.Duration}");
        }
    }

    [Fact]
    public async Task CommitsOverSeveralPartitionsHavePartsToo()
    {
        Store store = _server.Server.Store;
        Assert.Equal(Status.Ok, store.Partitions.Remove(1, discardData: true).Status);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, "m"u8.ToArray())).Status);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange("m"u8.ToArray(), default)).Status);
        await _control.ClearSlowRequestsAsync();
        using (StringContent batch = new("""{"operations": [{"op": "put", "key": "z", "value": "1"}, {"op": "put", "key": "a", "value": "1"}]}""", Encoding.UTF8, "application/json"))
        {
            using HttpResponseMessage done = await _http.PostAsync("/kv:batch", batch);
            Assert.Equal(System.Net.HttpStatusCode.OK, done.StatusCode);
        }

        await using RespSocket client = await RespSocket.ConnectAsync(_server.Server.RespAddress);
        Assert.Equal("+OK", await client.CallAsync("MSET", "a", "2", "z", "2"));

        IReadOnlyList<RemoteSlowRequest> slow = await _control.ListSlowRequestsAsync(1000);
        RemoteSlowRequest[] commits = [.. slow.Where(static one => Text(one).Contains("batch", StringComparison.Ordinal) || Text(one).Contains("MSET", StringComparison.Ordinal))];
        Assert.Equal(2, commits.Length);
        foreach (RemoteSlowRequest commit in commits)
        {
            RemoteWriteParts parts = Assert.IsType<RemoteWriteParts>(commit.Parts);
            Assert.True(parts is { GroupSize: 1, Partition: 2 } && parts.Sync > TimeSpan.Zero && parts.Apply > TimeSpan.Zero, parts.ToString());
            TimeSpan sum = parts.Queue + parts.Log + parts.Sync + parts.Apply;
            Assert.True(sum <= commit.Duration + TimeSpan.FromMicroseconds(4), $"{sum} of {commit.Duration}");
        }
    }

    [Fact]
    public async Task EveryDoorReadsAndClearsIt()
    {
        await _http.PutAsync("/kv/a", new StringContent("1"));
        JsonElement rest = JsonDocument.Parse(await _http.GetStringAsync("/slowlog?limit=1")).RootElement;
        JsonElement one = Assert.Single(rest.GetProperty("requests").EnumerateArray());
        Assert.Equal(("rest", "upsert"), (one.GetProperty("door").GetString(), one.GetProperty("operation").GetString()));
        Assert.True(one.GetProperty("parts").GetProperty("syncMicroseconds").GetInt64() >= 0);
        Assert.Equal(System.Net.HttpStatusCode.BadRequest, (await _http.GetAsync("/slowlog?limit=many")).StatusCode);

        (int code, string output, _) = await CommandLine.RunAsync(_server, "", ["slowlog"]);
        Assert.Equal(0, code);
        Assert.Matches(@"rest +upsert .* 204 .* PUT /kv/a", output);
        (_, output, _) = await CommandLine.RunAsync(_server, "", ["slowlog", "--json", "--limit", "1"]);
        Assert.Equal("rest", JsonDocument.Parse(output).RootElement.GetProperty("door").GetString());

        await using RespSocket client = await RespSocket.ConnectAsync(_server.Server.RespAddress);
        Assert.Contains("[PUT, /kv/a]", await client.CallAsync("SLOWLOG", "GET", "-1"));
        Assert.Equal("+OK", await client.CallAsync("SLOWLOG", "RESET"));
        await _control.ChangeSettingAsync("slow-log", "off");
        await _http.DeleteAsync("/slowlog");
        await _http.PutAsync("/kv/a", new StringContent("2"));
        await client.CallAsync("SET", "a", "3");
        Assert.Empty(await _control.ListSlowRequestsAsync());
        (_, _, string said) = await CommandLine.RunAsync(_server, "", ["slowlog"]);
        Assert.Contains("no request was slow", said);
    }

    [Fact]
    public async Task ItKeepsSoManyAndNoMore()
    {
        await _control.ChangeSettingAsync("slow-log-length", "5");
        for (int i = 0; i < 20; i++)
        {
            await _http.GetAsync($"/kv/none-{i}");
        }

        // The last one is noted once its answer is sent.
        long begun = TimeProvider.System.GetTimestamp();
        IReadOnlyList<RemoteSlowRequest> slow;
        do
        {
            slow = await _control.ListSlowRequestsAsync(1000);
            Assert.Equal(5, slow.Count);
        }
        while (!Text(slow[0]).Contains("none-19", StringComparison.Ordinal) && TimeProvider.System.GetElapsedTime(begun) < TimeSpan.FromMinutes(1));

        Assert.Contains("none-19", Text(slow[0]));
        await using RespSocket client = await RespSocket.ConnectAsync(_server.Server.RespAddress);
        await client.CallAsync("SET", new string('k', 300), new string('v', 300));
        Assert.Contains("... (172 more bytes)", Text((await _control.ListSlowRequestsAsync(1))[0]));
    }

    private static RemoteSlowRequest Find(IReadOnlyList<RemoteSlowRequest> slow, string door, string operation, string key) =>
        Assert.Single(slow, one => one.Door == door && one.Operation == operation && Text(one).Contains(key, StringComparison.Ordinal));

    private static string Text(RemoteSlowRequest request) =>
        string.Join(' ', request.Arguments.Select(static argument => Encoding.Latin1.GetString(argument.Span)));

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);
}
