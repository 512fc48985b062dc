using System.Text.Json;
using KeyVa.Cluster.Transport.ZeroMq;
using KeyVa.Tests.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary><c>keyva keygen</c>.</summary>
public sealed class KeygenCommandTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("keyva-test").FullName;
    private TestServer _server = null!;

    public async Task InitializeAsync() => _server = await TestServer.StartAsync();

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task KeysAreMadeOnceAndShown()
    {
        string file = Path.Combine(_directory, "node.key");
        (int code, string made, string error) = await CommandLine.RunAsync(_server, "", ["keygen", file]);
        Assert.Equal((0, ""), (code, error));
        Assert.True(NodeKeys.IsPublicKey(made.TrimEnd('\n')));
        Assert.Equal((0, made, ""), await CommandLine.RunAsync(_server, "", ["keygen", file, "--show"]));
        (code, string json, _) = await CommandLine.RunAsync(_server, "", ["keygen", file, "--show", "--json"]);
        Assert.Equal(0, code);
        Assert.Equal(made.TrimEnd('\n'), JsonDocument.Parse(json).RootElement.GetProperty("publicKey").GetString());

        (code, string output, error) = await CommandLine.RunAsync(_server, "", ["keygen", file]);
        Assert.Equal((4, ""), (code, output));
        Assert.Contains("never written over", error, StringComparison.Ordinal);
        Assert.Equal((0, made, ""), await CommandLine.RunAsync(_server, "", ["keygen", file, "--show"]));
        (code, _, error) = await CommandLine.RunAsync(_server, "", ["keygen", Path.Combine(_directory, "other.key"), "--show"]);
        Assert.Equal(4, code);
        Assert.Contains("keyva keygen", error, StringComparison.Ordinal);
        (code, _, error) = await CommandLine.RunAsync(_server, "", ["keygen", Path.Combine(_directory, "missing", "node.key")]);
        Assert.Equal(4, code);
        Assert.Contains("missing", error, StringComparison.Ordinal);
    }
}
