using System.Text.Json;
using KeyVa.Cli;
using KeyVa.Client;
using KeyVa.Tests.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary><c>keyva top</c>: one picture of a real server, and the arithmetic behind it.</summary>
public sealed class TopCommandTests
{
    [Fact]
    public async Task OnePictureShowsWhatTheServerDoes()
    {
        await using TestServer server = await TestServer.StartAsync();
        await using RemoteStore store = server.Connect();
        await store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray());
        (int code, string output, string error) = await CommandLine.RunAsync(server, "", ["top", "--once", "--interval", "0.1"]);
        Assert.True(code == 0, error);
        Assert.Contains("keys 1", output);
        Assert.Contains("state ok", output);
        Assert.Matches(@"(?m)^grpc +upsert ", output);
        Assert.Matches(@"(?m)^ *1 +1 +1 B ", output);
        Assert.Contains("lsm engines", output);
        Assert.Contains("CONTROL", output);

        (code, output, _) = await CommandLine.RunAsync(server, "", ["top", "--once", "--interval", "0.1", "--json"]);
        Assert.Equal(0, code);
        Assert.All(output.Split('\n', StringSplitOptions.RemoveEmptyEntries), static line => JsonDocument.Parse(line).RootElement.GetProperty("table"));
    }

    [Fact]
    public async Task HealthIsAnExitCode()
    {
        await using TestServer server = await TestServer.StartAsync();
        (int code, string output, _) = await CommandLine.RunAsync(server, "", ["health"]);
        Assert.Equal((0, "serving\n"), (code, output));
        await server.StopAsync();
        (code, _, _) = await CommandLine.RunAsync(server, "", ["health"]);
        Assert.Equal(3, code);
    }

    [Fact]
    public async Task WithoutATerminalItNeedsOnce()
    {
        await using TestServer server = await TestServer.StartAsync();
        (int code, _, string error) = await CommandLine.RunAsync(server, "", ["top"]);
        Assert.Equal(2, code);
        Assert.Contains("--once", error);
        (code, _, error) = await CommandLine.RunAsync(server, "", ["top", "--once", "--interval", "0"]);
        Assert.Equal(2, code);
        Assert.Contains("--interval", error);
    }

    [Fact]
    public void RatesAreOfTheTimeBetweenTwoReadings()
    {
        IReadOnlyDictionary<string, string> none = new Dictionary<string, string>();
        IReadOnlyDictionary<string, string> get = new Dictionary<string, string> { ["door"] = "resp", ["operation"] = "get" };
        RemoteMetric[] before = [new("keyva_gets_total", none, 1000), new("keyva_gets_found_total", none, 0), new("keyva_request_seconds_count", get, 1000), new("keyva_sets_total", none, 500)];
        RemoteMetric[] now = [new("keyva_gets_total", none, 3000), new("keyva_gets_found_total", none, 500), new("keyva_request_seconds_count", get, 2000), new("keyva_sets_total", none, 20)];
        TopFigures figures = new(before, now, TimeSpan.FromSeconds(2));
        string[] store = figures.Sections()[0].Rows[0];
        Assert.Equal(["1,000", "25.0 %", "0"], store[..3]);
        Assert.Equal(["resp", "get", "500"], figures.Sections()[1].Rows[0][..3]);
    }
}
