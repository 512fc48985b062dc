using KeyVa.Server;
using KeyVa.Tests.Grpc;
using Xunit;

namespace KeyVa.Tests.Server;

/// <summary>keyva.v1 as other people's gRPC clients see it, on a store on the real disk.</summary>
public sealed class StockClientTests
{
    [Fact]
    public Task PythonGrpcio() => WithServerAsync(arguments => StockClient.RunPythonAsync("keyva_client.py", arguments));

    [Fact]
    public Task NodeGrpcJs() => WithServerAsync(arguments => StockClient.RunNodeAsync("keyva_client.js", arguments));

    [Fact]
    public Task Curl() => WithServerAsync(arguments => StockClient.RunCurlAsync("transactions.sh", arguments[^1]));

    [Fact]
    public Task CurlWithIndexes() => WithServerAsync(arguments => StockClient.RunCurlAsync("indexes.sh", arguments[^1]));

    private static async Task WithServerAsync(Func<string[], Task> run)
    {
        string folder = Directory.CreateTempSubdirectory("keyva-").FullName;
        ServerOptions options = ServerFixture.AnyPorts with
        {
            Data = Path.Combine(folder, "data"),
            Store = new StoreOptions { Durability = Durability.Os, RetainVersionsFor = TimeSpan.FromHours(1), LockTimeout = TimeSpan.FromMinutes(1) },
            Logs = new CapturedLog(),
        };
        await using (KeyVaServer server = await KeyVaServer.StartAsync(options))
        {
            await run(
            [
                server.GrpcAddress.ToString(), server.ControlAddress.ToString(),
                Path.Combine(StockClient.Root, "proto"), Path.Combine(folder, "copy"),
                server.RestAddress.ToString(),
            ]);
        }

        Directory.Delete(folder, recursive: true);
    }
}
