using KeyVa.Protocol.Grpc;
using Xunit;

namespace KeyVa.Tests.Grpc;

/// <summary>
/// The wire layer as other people's clients see it. They fail, and do not skip, where these clients are not installed.
/// </summary>
public sealed class StockClientTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public Task PythonGrpcio(bool gzip) => WithServerAsync(gzip, (address, protos) =>
        StockClient.RunPythonAsync("echo_client.py", [address, .. protos]));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public Task NodeGrpcJs(bool gzip) => WithServerAsync(gzip, (address, protos) =>
        StockClient.RunNodeAsync("echo_client.js", [address, .. protos]));

    private static async Task WithServerAsync(bool gzip, Func<string, string[], Task> run)
    {
        EchoServer server = new(new GrpcServiceOptions { GzipResponses = gzip }, mapped: gzip);
        await server.InitializeAsync();
        try
        {
            string root = StockClient.Root;
            await run($"127.0.0.1:{server.Address.Port}",
                [Path.Combine(root, "tests", "KeyVa.Tests", "Grpc"), Path.Combine(root, "proto")]);
        }
        finally
        {
            await server.DisposeAsync();
        }
    }
}
