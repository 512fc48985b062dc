using System.Net;
using System.Text;
using System.Text.Json;
using KeyVa.Client;
using KeyVa.Tests.Cli;
using KeyVa.Tests.Client;
using KeyVa.Tests.Resp;
using Xunit;

namespace KeyVa.Tests.Server;

/// <summary>A running server says how it is configured, and changes what can be changed, over every way in.</summary>
public sealed class LiveConfigurationTests : IAsyncLifetime
{
    private TestServer _server = null!;
    private HttpClient _http = null!;

    public async Task InitializeAsync()
    {
        _server = await TestServer.StartAsync();
        _http = new HttpClient { BaseAddress = new Uri($"http://{_server.Server.RestAddress}") };
    }

    public async Task DisposeAsync()
    {
        _http.Dispose();
        await _server.DisposeAsync();
    }

    [Fact]
    public async Task RestListsChangesAndRefuses()
    {
        JsonElement list = JsonDocument.Parse(await _http.GetStringAsync("/config")).RootElement.GetProperty("settings");
        Assert.Equal(KeyVa.Server.SettingsSchema.All.Count, list.GetArrayLength());
        Assert.Equal("default", One(await _http.GetStringAsync("/config/lock-timeout")).GetProperty("source").GetString());

        using HttpResponseMessage changed = await _http.PutAsync("/config/lock-timeout", new StringContent("250ms"));
        Assert.Equal(HttpStatusCode.OK, changed.StatusCode);
        JsonElement setting = One(await changed.Content.ReadAsStringAsync());
        Assert.Equal(("250ms", "run time"), (setting.GetProperty("value").GetString(), setting.GetProperty("source").GetString()));
        Assert.Contains("until the server stops", setting.GetProperty("detail").GetString());
        Assert.Equal(TimeSpan.FromMilliseconds(250), _server.Server.Store.Options.LockTimeout);

        Assert.Contains("data", await ProblemAsync("/config/data", "/elsewhere", HttpStatusCode.BadRequest));
        Assert.Contains("allowed is", await ProblemAsync("/config/log-level", "loud", HttpStatusCode.BadRequest));
        Assert.Contains("'no-such'", await ProblemAsync("/config/no-such", "1", HttpStatusCode.NotFound));
        await ProblemAsync("/config/log-level", new string('x', 5000), HttpStatusCode.RequestEntityTooLarge);
        Assert.Equal(TimeSpan.FromMilliseconds(250), _server.Server.Store.Options.LockTimeout);
    }

    [Fact]
    public async Task TheControlPlaneListsChangesAndRefuses()
    {
        await using RemoteControl control = _server.ConnectControl();
        Assert.Equal(KeyVa.Server.SettingsSchema.All.Count, (await control.ListSettingsAsync()).Count);
        RemoteSettingChange change = await control.ChangeSettingAsync("max-transactions", "1");
        Assert.Equal(("1", "run time"), (change.Setting.Value, change.Setting.Source));
        await using RemoteStore store = _server.Connect();
        await using ITransaction first = await store.BeginAsync();
        RefusedException busy = await Assert.ThrowsAsync<RefusedException>(async () => await store.BeginAsync());
        Assert.Equal(Status.Busy, busy.Status);
        Assert.Equal(Status.NotFound, (await Assert.ThrowsAsync<RefusedException>(async () => await control.ChangeSettingAsync("nothing", "1"))).Status);
        Assert.Equal(Status.Invalid, (await Assert.ThrowsAsync<RefusedException>(async () => await control.ChangeSettingAsync("engine", "memory"))).Status);
        Assert.Equal(Status.NotFound, (await Assert.ThrowsAsync<RefusedException>(async () => await control.ListSettingsAsync("nothing"))).Status);
    }

    [Fact]
    public async Task RedisClientsChangeWhatRedisHas()
    {
        await using RespSocket client = await RespSocket.ConnectAsync(_server.Server.RespAddress);
        Assert.Equal("+OK", await client.CallAsync("CONFIG", "SET", "maxclients", "1", "slowlog-max-len", "7"));
        Assert.Equal("[maxclients, 1]", await client.CallAsync("CONFIG", "GET", "maxclients"));
        await using RespSocket second = await RespSocket.ConnectAsync(_server.Server.RespAddress);
        Assert.StartsWith("-ERR max number of clients", await second.ReadAsync());
        Assert.Equal("+OK", await client.CallAsync("CONFIG", "SET", "slowlog-log-slower-than", "1500"));
        Assert.Equal("[slowlog-log-slower-than, 1500]", await client.CallAsync("CONFIG", "GET", "slowlog-log-slower-than"));
        Assert.StartsWith("-ERR CONFIG SET failed", await client.CallAsync("CONFIG", "SET", "slowlog-max-len", "many"));
        Assert.StartsWith("-ERR CONFIG SET failed", await client.CallAsync("CONFIG", "SET", "appendonly", "no"));
        Assert.Equal("1500us", One(await _http.GetStringAsync("/config/slow-log")).GetProperty("value").GetString());
        Assert.Equal("7", One(await _http.GetStringAsync("/config/slow-log-length")).GetProperty("value").GetString());
    }

    [Fact]
    public async Task TheCommandLineShowsAndSets()
    {
        (int code, string output, string error) = await CommandLine.RunAsync(_server, "", ["config", "set", "slow-log", "5ms,scan=off"]);
        Assert.True(code == 0, error);
        Assert.Contains("slow-log = 5ms,scan=off", output);
        Assert.Contains("until the server stops", error);
        (code, output, _) = await CommandLine.RunAsync(_server, "", ["config", "show", "--changed"]);
        Assert.Equal(0, code);
        Assert.Matches("slow-log +5ms,scan=off +run time +changeable", output);
        Assert.DoesNotMatch("(?m)^engine ", output);
        (code, _, error) = await CommandLine.RunAsync(_server, "", ["config", "set", "engine", "memory"]);
        Assert.Equal(2, code);
        Assert.Contains("KEYVA_ENGINE", error);

        string file = Path.Combine(_server.Directory, "some.json");
        await File.WriteAllTextAsync(file, """{ "engine": "memory" }""");
        (code, output, _) = await CommandLine.RunAsync(_server, "", ["config", "show", "engine", "--offline", "--config", file, "--json"]);
        Assert.Equal(0, code);
        JsonElement setting = One(output);
        Assert.Equal(("memory", $"the file '{file}'"), (setting.GetProperty("value").GetString(), setting.GetProperty("source").GetString()));
        await File.WriteAllTextAsync(file, """{ "engine": "rocks" }""");
        (code, _, error) = await CommandLine.RunAsync(_server, "", ["config", "show", "--offline", "--config", file]);
        Assert.Equal(2, code);
        Assert.Contains("'engine'", error);
    }

    private static JsonElement One(string json) => JsonDocument.Parse(json).RootElement;

    private async Task<string> ProblemAsync(string target, string value, HttpStatusCode status)
    {
        using HttpResponseMessage response = await _http.PutAsync(target, new StringContent(value, Encoding.UTF8, "text/plain"));
        Assert.Equal(status, response.StatusCode);
        return One(await response.Content.ReadAsStringAsync()).GetProperty("detail").GetString()!;
    }
}
