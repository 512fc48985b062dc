using System.Diagnostics;
using System.Globalization;
using KeyVa.Tests.Client;
using KeyVa.Tests.Grpc;
using Xunit;

namespace KeyVa.Tests.Resp;

/// <summary>
/// The server as other people's clients see it, and beside Debian's Redis, reply by reply. They fail, and do not skip, where these programs are not installed.
/// </summary>
public sealed class RespClientTests
{
    private const int Commands = 4000;

    [Theory]
    [InlineData("memory")]
    [InlineData("lsm")]
    public async Task RedisCliAndRedisBenchmark(string kind) => await WithServerAsync(kind, static port => StockClient.RunRedisShellAsync("cli.sh", port));

    [Theory]
    [InlineData("memory")]
    [InlineData("three")]
    public async Task PythonRedis(string kind) => await WithServerAsync(kind, static port => StockClient.RunRedisPythonAsync("redis_client.py", port));

    [Theory]
    [InlineData("memory")]
    [InlineData("three")]
    public async Task NodeIoredisAndRedis(string kind) => await WithServerAsync(kind, static port => StockClient.RunNodeAsync("redis_client.js", port));

    /// <summary>Odd seeds speak RESP3.</summary>
    [Theory]
    [InlineData("memory", 1)]
    [InlineData("memory", 2)]
    [InlineData("lsm", 3)]
    [InlineData("lsm", 4)]
    [InlineData("three", 5)]
    [InlineData("three", 6)]
    public async Task EveryReplyIsThatOfRedis(string kind, int seed)
    {
        using RedisProcess redis = await RedisProcess.StartAsync();
        await WithServerAsync(kind, port => StockClient.RunRedisPythonAsync(
            "resp_parity.py", redis.Port, port, seed.ToString(CultureInfo.InvariantCulture), Commands.ToString(CultureInfo.InvariantCulture)));
    }

    private static async Task WithServerAsync(string kind, Func<string, Task> run)
    {
        await using TestServer server = await RespServerTests.StartAsync(kind);
        await run(server.Server.RespAddress.Port.ToString(CultureInfo.InvariantCulture));
    }

    private sealed class RedisProcess : IDisposable
    {
        private readonly Process _process;

        private RedisProcess(Process process, string port)
        {
            _process = process;
            Port = port;
        }

        public string Port { get; }

        public static async Task<RedisProcess> StartAsync()
        {
            string port = Ports.Take().ToString(CultureInfo.InvariantCulture);
            ProcessStartInfo start = new("redis-server", ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--databases", "1"])
            {
                RedirectStandardOutput = true,
            };
            Process process = Process.Start(start)!;
            for (string? line = ""; line is not null && !line.Contains("Ready to accept connections", StringComparison.Ordinal);)
            {
                line = await process.StandardOutput.ReadLineAsync();
            }

            _ = process.StandardOutput.ReadToEndAsync();
            return new RedisProcess(process, port);
        }

        public void Dispose()
        {
            _process.Kill();
            _process.WaitForExit();
            _process.Dispose();
        }
    }
}
